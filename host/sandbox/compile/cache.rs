//! The folder of compiled components: one file for each, named after the component and the engine, written under
//! another name and renamed, the longest unused thrown out. Hosts of one user may share it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::artefact::{Artefact, SEAL_BYTES};

/// Ending of a compiled component.
const COMPILED: &str = "cwasm";
/// Ending of one that is being written.
const UNFINISHED: &str = "part";
/// Age at which nobody writes to an unfinished file any more.
const UNFINISHED_MAX: Duration = Duration::from_secs(3600);
/// Mode bits that would let others write.
const OTHERS_WRITE: u32 = 0o022;

/// Where compiled components are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder.
    pub folder: PathBuf,
    /// All files together; those that were not used for longest go first.
    pub bytes_max: u64,
    /// Makes the folder if it does not exist. Commands other than a host do so only if they cannot take the folder
    /// away from a host that runs as another user.
    pub make: bool,
}

impl CacheSettings {
    /// Whether compiled components can be kept there. Makes the folder if the settings allow it.
    pub fn is_usable(&self) -> bool {
        Cache::open(self.clone()).is_ok_and(|cache| cache.is_some())
    }
}

/// The folder, looked at and found to be ours alone.
#[derive(Debug)]
pub(super) struct Cache {
    settings: CacheSettings,
}

/// What lies under a name.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Good(Artefact),
    Damaged(String),
}

impl Cache {
    /// Opens the folder; nothing if it is not there and not to be made.
    pub(super) fn open(settings: CacheSettings) -> Result<Option<Self>, String> {
        let cache = Self { settings };
        let shown = cache.folder().display();
        match cache.prepare() {
            Ok(()) => Ok(Some(cache)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !cache.settings.make => Ok(None),
            Err(error) => Err(format!("compiled components cannot be kept in `{shown}`: {error}")),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.settings.folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.{COMPILED}"))
    }

    /// Looks a compiled component up; using one makes it young.
    pub(super) fn find(&self, name: &str) -> Found {
        // A name that is a pipe or a link is not ours, and must not keep us waiting.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(self.path(name));
        match opened.and_then(|file| self.examine(file, name)) {
            Ok(Ok(artefact)) => Found::Good(artefact),
            Ok(Err(why)) => Found::Damaged(why.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(error) => Found::Damaged(error.to_string()),
        }
    }

    fn examine(&self, file: File, name: &str) -> io::Result<Result<Artefact, &'static str>> {
        let about = file.metadata()?;
        if !about.is_file() || about.uid() != geteuid().as_raw() || about.mode() & OTHERS_WRITE != 0 {
            return Ok(Err("others may have written it"));
        }
        // Nothing larger was ever kept.
        if about.len() > self.settings.bytes_max {
            return Ok(Err("it is too large"));
        }
        // On a file system that cannot be written to, files do not grow old.
        let _ = file.set_modified(SystemTime::now());
        Ok(Artefact::sealed(file, name)?.ok_or("its checksum does not fit"))
    }

    /// Removes what lies under a name; whether that was possible.
    pub(super) fn discard(&self, name: &str) -> bool {
        fs::remove_file(self.path(name)).is_ok()
    }

    /// Keeps a compiled component and answers it as it lies there; nothing if it alone is too large.
    pub(super) fn keep(&self, name: &str, compiled: &Artefact) -> io::Result<Option<Artefact>> {
        if compiled.bytes()?.saturating_add(SEAL_BYTES) > self.settings.bytes_max {
            return Ok(None);
        }
        self.prepare()?;
        let unfinished = self.folder().join(format!("{name}.{:016x}.{UNFINISHED}", fastrand::u64(..)));
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let kept = compiled.copy_sealed(file, name).and_then(|kept| {
            fs::rename(&unfinished, self.path(name))?;
            Ok(kept)
        });
        if kept.is_err() {
            // What is left of it goes later, with its age.
            let _ = fs::remove_file(&unfinished);
        }
        let kept = kept?;
        self.trim(name);
        Ok(Some(kept))
    }

    /// Makes the folder, if that is wanted, and looks whether it is ours alone.
    fn prepare(&self) -> io::Result<()> {
        let folder = self.folder();
        if self.settings.make {
            if let Some(parent) = folder.parent() {
                fs::create_dir_all(parent)?;
            }
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let about = fs::symlink_metadata(folder)?;
        if !about.is_dir() {
            return Err(io::Error::other("it is no folder"));
        }
        if about.uid() != geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user"));
        }
        if about.mode() & OTHERS_WRITE != 0 {
            let remedy = format!("others may write to it; run `chmod 700 {}`", folder.display());
            return Err(io::Error::other(remedy));
        }
        Ok(())
    }

    /// Throws out what was not used for longest until the rest fits, but never `name`.
    fn trim(&self, name: &str) {
        let (mut files, now) = (Vec::new(), SystemTime::now());
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
            let (Ok(used), true) = (about.modified(), about.is_file()) else { continue };
            let ending = path.extension().and_then(|ending| ending.to_str());
            if ending == Some(COMPILED) {
                files.push((used, about.len(), path));
            } else if ending == Some(UNFINISHED)
                && now.duration_since(used).is_ok_and(|age| age > UNFINISHED_MAX)
            {
                let _ = fs::remove_file(path);
            }
        }
        files.sort_unstable();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        let keep = self.path(name);
        for (_, length, path) in files.into_iter().filter(|(.., path)| *path != keep) {
            if bytes <= self.settings.bytes_max {
                break;
            }
            // One that another host has thrown out just now is gone as well.
            let _ = fs::remove_file(path);
            bytes -= length;
        }
    }
}
