//! The PEM files that `[redis]` names: read up to a size limit, and refused at start if they do not hold what they
//! should.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::table::Table;

/// Most bytes that are read of a certificate or key file.
const BYTES_MAX: u64 = 1024 * 1024;

/// The bytes of a file of CA certificates; its path is relative to the folder of the settings file. It is checked
/// here because with a file without certificates no server would be trusted, and the error of the connection would
/// not name the file.
pub(super) fn authorities(table: &mut Table<'_>, name: &'static str, folder: &Path) -> Option<Vec<u8>> {
    file(table, name, folder, |bytes| {
        let mut store = RootCertStore::empty();
        for certificate in chain_of(bytes)? {
            let unusable = |error| format!("holds a certificate that cannot be an authority: {error}");
            store.add(certificate).map_err(unusable)?;
        }
        Ok(())
    })
}

/// The bytes of the file with the host's own certificate and its intermediate certificates.
pub(super) fn chain(table: &mut Table<'_>, name: &'static str, folder: &Path) -> Option<Vec<u8>> {
    file(table, name, folder, |bytes| chain_of(bytes).map(drop))
}

fn chain_of(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| format!("is not a valid PEM file: {error}"))?;
    match found.is_empty() {
        true => Err("holds no certificate (`-----BEGIN CERTIFICATE-----`)".to_owned()),
        false => Ok(found),
    }
}

/// The bytes of the file of a private key.
pub(super) fn key(table: &mut Table<'_>, name: &'static str, folder: &Path) -> Option<Vec<u8>> {
    file(table, name, folder, |bytes| match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err("holds no unencrypted private key (`-----BEGIN PRIVATE KEY-----`)".to_owned()),
    })
}

fn file(
    table: &mut Table<'_>,
    name: &'static str,
    folder: &Path,
    check: impl Fn(&[u8]) -> Result<(), String>,
) -> Option<Vec<u8>> {
    let path = folder.join(table.string(name, "/etc/sandhog/redis.pem")?);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    let checked = match read {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(length) if length as u64 > BYTES_MAX => Err(format!("has more than {BYTES_MAX} bytes")),
        Ok(_) => check(&bytes),
    };
    match checked {
        Ok(()) => Some(bytes),
        Err(problem) => {
            table.refuse(name, &format!("names `{}`, which {problem}", path.display()));
            None
        }
    }
}
