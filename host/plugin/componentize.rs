//! From a core module with embedded WIT (what a guest's compiler writes) to a component.
//!
//! Offline and pure: bytes in, bytes out. Whether the component may run here is decided where it is loaded.

use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata, metadata};
use wit_parser::{Resolve, SourceMap};

use crate::sandbox::bytes::is_text;

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";
/// Version and layer that follow the magic in a core module.
const CORE: &[u8] = &[1, 0, 0, 0];

/// The contract with guests, as it stands in `wit/`.
const CONTRACT: [(&str, &str); 6] = [
    ("handler.wit", include_str!("../../wit/handler.wit")),
    ("kv.wit", include_str!("../../wit/kv.wit")),
    ("queue.wit", include_str!("../../wit/queue.wit")),
    ("status.wit", include_str!("../../wit/status.wit")),
    ("types.wit", include_str!("../../wit/types.wit")),
    ("worlds.wit", include_str!("../../wit/worlds.wit")),
];
/// What it builds on.
const FOREIGN: [(&str, &str); 2] = [
    ("store.wit", include_str!("../../wit/deps/config/store.wit")),
    ("logging.wit", include_str!("../../wit/deps/logging/logging.wit")),
];

/// What a module is for, where it does not say so itself: a world of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Jobs, one a call.
    QueueWorker,
    /// Jobs, many a call.
    BatchWorker,
    /// Settings.
    ConfigReader,
}

impl World {
    /// Its name in `wit/worlds.wit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueWorker => "queue-worker",
            Self::BatchWorker => "batch-worker",
            Self::ConfigReader => "config-reader",
        }
    }
}

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
    /// It says for itself what it is for.
    #[error("the module has embedded WIT already: leave `--world` out")]
    HasWit,
    /// The module and its WIT do not fit, or the module is damaged; holds the cause.
    #[error("the module cannot be made into a component: {0}")]
    Unfit(String),
}

/// Makes a component of the core module `core`.
///
/// A module that imports WASI preview 1 gets the adapter to WASI 0.2 linked in; any other does not, so that
/// its component imports only what it uses.
///
/// `world` is for modules without embedded WIT: compilers that cannot write it (Go's), or were not told to.
pub fn componentize(core: &[u8], world: Option<World>) -> Result<Vec<u8>, ComponentizeError> {
    expect_core_module(core)?;
    expect_whole_sections(&core[8..])?;
    let (stripped, _) = metadata::decode(core).map_err(|error| unfit(&error))?;
    let mut core = std::borrow::Cow::Borrowed(core);
    match (stripped.is_some(), world) {
        (true, None) => {}
        (true, Some(_)) => return Err(ComponentizeError::HasWit),
        (false, None) => return Err(ComponentizeError::NoWit),
        (false, Some(world)) => embed(core.to_mut(), world)?,
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        })
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| unfit(&error))
}

/// Writes into a module what it is for.
fn embed(core: &mut Vec<u8>, world: World) -> Result<(), ComponentizeError> {
    let mut resolve = Resolve::default();
    for (name, text) in FOREIGN {
        resolve.push_str(name, text).map_err(|error| unfit(&error))?;
    }
    let mut files = SourceMap::default();
    CONTRACT.iter().for_each(|(name, text)| files.push_str(name, *text));
    let files = files.parse().map_err(|(_, error)| unfit(&error))?;
    let package = resolve.push_group(files).map_err(|error| unfit(&error))?;
    let world = resolve.select_world(&[package], Some(world.name())).map_err(|error| unfit(&error))?;
    embed_component_metadata(core, &resolve, world, StringEncoding::UTF8).map_err(|error| unfit(&error))
}

/// Says what `bytes` are when they are not a core module.
fn expect_core_module(bytes: &[u8]) -> Result<(), ComponentizeError> {
    match bytes.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(CORE) => Ok(()),
        Some(rest) if rest.get(2) == Some(&1) => Err(ComponentizeError::Component),
        Some(_) => Err(ComponentizeError::Foreign),
        None if bytes.is_empty() => Err(ComponentizeError::Empty),
        None if is_text(bytes) => Err(ComponentizeError::Text),
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
        componentize(bytes, None).expect_err("must be refused").to_string()
    }

    #[test]
    fn says_what_a_file_is_when_it_is_no_core_module() {
        assert_eq!(refusal(b""), "the file is empty");
        assert_eq!(refusal(b"(module)"), "this is text, not WebAssembly in its binary form");
        assert_eq!(
            refusal("(module) ;; żółw\r\n".as_bytes()),
            "this is text, not WebAssembly in its binary form"
        );
        assert_eq!(refusal(b"\x7fELF\xff"), "this is not a WebAssembly file");
        assert_eq!(refusal(&vec![0; 5 << 20]), "this is not a WebAssembly file");
        assert_eq!(refusal(b"\xff\xfe(\0m\0"), "this is not a WebAssembly file");
        assert_eq!(refusal(b"\0asm"), "this is not a WebAssembly file");
        let component = wat::parse_str("(component)").unwrap();
        assert_eq!(refusal(&component), "this is a component already, not a core module");
    }

    #[test]
    fn a_module_without_wit_is_refused() {
        let module = wat::parse_str("(module)").unwrap();
        assert!(matches!(componentize(&module, None), Err(ComponentizeError::NoWit)));
    }

    #[test]
    fn a_module_without_wit_is_for_the_world_that_is_named() {
        let memory = "(memory (export \"memory\") 1) (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const 0)";
        let reader = format!(
            "(module {memory} (func (export \"sandhog:worker/config-source@0.1.0#read\") (result i32) i32.const 0))"
        );
        let reader = wat::parse_str(reader).unwrap();
        let component = componentize(&reader, Some(World::ConfigReader)).unwrap();
        assert!(component.starts_with(b"\0asm\x0d"), "it is a component");
        let other =
            componentize(&reader, Some(World::QueueWorker)).expect_err("it handles no jobs").to_string();
        assert!(other.contains("sandhog:worker/handler@0.1.0"), "{other}");
        let mut named = reader;
        embed(&mut named, World::ConfigReader).unwrap();
        assert!(componentize(&named, None).is_ok());
        assert!(matches!(componentize(&named, Some(World::ConfigReader)), Err(ComponentizeError::HasWit)));
    }

    #[test]
    fn the_contract_is_whole() {
        let files = |folder: &str| {
            let entries =
                std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
        };
        assert_eq!(files("wit"), CONTRACT.len());
        assert_eq!(files("wit/deps/config") + files("wit/deps/logging"), FOREIGN.len());
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
