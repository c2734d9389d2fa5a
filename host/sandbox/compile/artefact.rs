//! Compiled code in a file, and the one place that takes it for what it says it is. An artefact comes from a child
//! that has just compiled it, or from the cache with a seal that fits.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::process::memory_file;

/// Begins the seal; another form of it gets another number.
const MAGIC: &[u8; 8] = b"sandhog1";
/// Bytes of the seal behind the code: ELF readers do not look there, and the code keeps its alignment.
pub(super) const SEAL_BYTES: u64 = 8 + 32;
/// Piece in which a file is read to compute its seal.
const PIECE_BYTES: usize = 256 * 1024;

/// Compiled code that may be loaded. Nobody writes to the file any more.
#[derive(Debug)]
pub(super) struct Artefact(File);

impl Artefact {
    /// What a child has written, in memory.
    pub(super) fn of_child(file: File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Err(io::Error::other("it answered nothing"));
        }
        Ok(Self(file))
    }

    /// What lies in a file of the cache, if the seal was made for this name and these bytes. Whoever can write
    /// our files can make a seal as well: it is against damage and confusion. Against others there are the
    /// owner and the mode of folder and file; a key beside them would be read by whoever can write there.
    pub(super) fn sealed(file: File, name: &str) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let Some(code_bytes) = length.checked_sub(SEAL_BYTES) else { return Ok(None) };
        let mut found = [0; SEAL_BYTES as usize];
        file.read_exact_at(&mut found, code_bytes)?;
        let expected = seal(&file, code_bytes, name)?;
        Ok((found == expected).then_some(Self(file)))
    }

    /// Copies it into `file`, with a seal behind it.
    pub(super) fn copy_sealed(&self, mut file: File, name: &str) -> io::Result<Self> {
        let code_bytes = self.bytes()?;
        self.copy(&mut file)?;
        file.write_all(&seal(&self.0, code_bytes, name)?)?;
        Ok(Self(file))
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Maps the code. On a file system that must not hold programs (`noexec`), from a copy in memory.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        map(engine, &self.0).or_else(|error| {
            let mut copy = memory_file()?;
            self.copy(&mut copy)?;
            map(engine, &copy).map_err(|_| error)
        })
    }

    pub(super) fn copy(&self, to: &mut File) -> io::Result<()> {
        let mut from = &self.0;
        from.rewind()?;
        io::copy(&mut from, to)?;
        Ok(())
    }
}

/// Loads by the open file, not by name: what was checked is what is mapped.
#[expect(unsafe_code, reason = "compiled code is what this process runs: it must come from our own compiler")]
fn map(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the bytes are those our own compiler has written for this very engine version: an `Artefact` is made
    // of a child's answer or of a sealed file only. Later writes would show through the mapping, and there are
    // none: files are written under another name and renamed, belong to us, and nobody else may write to them.
    unsafe { Component::deserialize_file(engine, path) }
}

/// The seal of the first `code_bytes` of a file under this name.
fn seal(file: &File, code_bytes: u64, name: &str) -> io::Result<[u8; SEAL_BYTES as usize]> {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update(code_bytes.to_le_bytes());
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < code_bytes {
        let wanted = usize::try_from(code_bytes - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        file.read_exact_at(&mut piece[..wanted], at)?;
        hash.update(&piece[..wanted]);
        at += wanted as u64;
    }
    let mut seal = [0; SEAL_BYTES as usize];
    seal[..MAGIC.len()].copy_from_slice(MAGIC);
    seal[MAGIC.len()..].copy_from_slice(&hash.finalize());
    Ok(seal)
}
