//! Bytes that are said to be a component: what they are instead, and their digest.

use sha2::{Digest as _, Sha256};

use super::load::{COMPONENT_BYTES_MAX, LoadError, problem};

/// Says what the bytes are if they are not a component.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), LoadError> {
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    if bytes.is_empty() {
        return Err(problem("is empty".to_owned()));
    }
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(problem(format!("has {} bytes; at most {COMPONENT_BYTES_MAX} are allowed", bytes.len())));
    }
    if bytes.starts_with(COMPONENT) {
        return Ok(());
    }
    if bytes.starts_with(MODULE) {
        return Err(LoadError {
            problems: vec!["is a core module, not a component".to_owned()],
            hint: Some("make a component of it: `sandhog componentize CORE.wasm -o COMPONENT.wasm`"),
        });
    }
    if bytes.starts_with(b"\0asm") {
        return Err(problem("is a component or module in a format this host does not know".to_owned()));
    }
    Err(problem(if is_text(bytes) {
        "is a text file, not a WebAssembly component".to_owned()
    } else {
        "is not a WebAssembly component".to_owned()
    }))
}

/// Whether bytes begin like a text: in UTF-8, without control characters other than white space.
pub fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(1024)];
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character of the prefix is incomplete.
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

/// SHA-256 of bytes, 64 hex digits.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
