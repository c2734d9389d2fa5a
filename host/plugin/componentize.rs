//! From a core module with embedded WIT (what a guest's compiler writes) to a component.
//!
//! Offline and pure: bytes in, bytes out. Whether the component may run here is decided where it is loaded.

use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, metadata};

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";
/// Version and layer that follow the magic in a core module.
const CORE: &[u8] = &[1, 0, 0, 0];

/// Why a file is not made into a component.
#[derive(Debug, Error)]
pub enum ComponentizeError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Done already.
    #[error("this is a component already, not a core module")]
    Component,
    /// The text form of WebAssembly, or any other text.
    #[error("this is text, not WebAssembly in its binary form")]
    Text,
    /// Some other bytes.
    #[error("this is not a WebAssembly file")]
    Foreign,
    /// A module, but it does not say which world it is for.
    #[error("the module has no embedded WIT (a `component-type` section, which `wit-bindgen` writes)")]
    NoWit,
    /// The module and its WIT do not fit, or the module is damaged; holds the cause.
    #[error("the module cannot be made into a component: {0}")]
    Unfit(String),
}

/// Makes a component of the core module `core`.
///
/// A module that imports WASI preview 1 gets the adapter to WASI 0.2 linked in; any other does not, so that
/// its component imports only what it uses.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, ComponentizeError> {
    expect_core_module(core)?;
    expect_whole_sections(&core[8..])?;
    let (stripped, _) = metadata::decode(core).map_err(|error| unfit(&error))?;
    if stripped.is_none() {
        return Err(ComponentizeError::NoWit);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        })
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| unfit(&error))
}

/// Says what `bytes` are when they are not a core module.
fn expect_core_module(bytes: &[u8]) -> Result<(), ComponentizeError> {
    match bytes.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(CORE) => Ok(()),
        Some(rest) if rest.get(2) == Some(&1) => Err(ComponentizeError::Component),
        Some(_) => Err(ComponentizeError::Foreign),
        None if bytes.is_empty() => Err(ComponentizeError::Empty),
        None if std::str::from_utf8(bytes).is_ok() => Err(ComponentizeError::Text),
        None => Err(ComponentizeError::Foreign),
    }
}

/// Refuses a module whose last section is cut off: the library that reads it would panic.
fn expect_whole_sections(mut rest: &[u8]) -> Result<(), ComponentizeError> {
    while let Some((_id, after)) = rest.split_first() {
        rest = leb128(after)
            .and_then(|(length, content)| content.get(length..))
            .ok_or_else(|| ComponentizeError::Unfit("its last section is cut off".to_owned()))?;
    }
    Ok(())
}

/// An unsigned number of up to 32 bits and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(number).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

/// The whole chain of causes in one line.
fn unfit(error: &impl std::fmt::Display) -> ComponentizeError {
    let chain = format!("{error:#}");
    ComponentizeError::Unfit(chain.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        componentize(bytes).expect_err("must be refused").to_string()
    }

    #[test]
    fn says_what_a_file_is_when_it_is_no_core_module() {
        assert_eq!(refusal(b""), "the file is empty");
        assert_eq!(refusal(b"(module)"), "this is text, not WebAssembly in its binary form");
        assert_eq!(refusal(b"\x7fELF\xff"), "this is not a WebAssembly file");
        assert_eq!(refusal(b"\0asm"), "this is not a WebAssembly file");
        let component = wat::parse_str("(component)").unwrap();
        assert_eq!(refusal(&component), "this is a component already, not a core module");
    }

    #[test]
    fn a_module_without_wit_is_refused() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(matches!(componentize(&module), Err(ComponentizeError::NoWit)));
    }

    #[test]
    fn a_damaged_module_is_refused_in_one_line() {
        let module = wat::parse_str("(module (func (export \"a\")))").unwrap();
        let sections = |length: usize| expect_whole_sections(&module[8..length]).is_ok();
        let whole = (8..=module.len()).filter(|length| sections(*length)).count();
        for length in 8..module.len() {
            let text = refusal(&module[..length]);
            // Cut between two sections a module is whole again, but has no WIT.
            let expected = if sections(length) { "" } else { "the module cannot be made into a component: " };
            assert!(text.starts_with(expected) && !text.contains('\n'), "{length} bytes: {text}");
        }
        // Nothing, and after each of: types, functions, exports, code; the names of the text may follow.
        assert!(whole >= 5, "{whole}");
    }
}
