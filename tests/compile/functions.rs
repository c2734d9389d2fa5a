//! A new version of a plugin is compiled with the functions that the last one has: only what changed is compiled.

use std::sync::Arc;

use sandhog::sandbox::compile::{Functions, child};
use sandhog::sandbox::{CacheSettings, Compiling, Outcome, Profile, Sandbox, Terms};
use tempfile::TempDir;

use super::sandbox;
use crate::support::guest::{compiling, run, terms, worker};

/// Functions of a component that is large enough for a pack.
const FUNCTIONS: usize = 8_000;

/// A large component whose handler ends with `body`.
fn large(body: &str) -> Vec<u8> {
    let one = |nth: usize| {
        let sum = "(i32.mul (local.get 0) (i32.const 7)) (i32.add (i32.const 9)) (local.set 0) ".repeat(10);
        format!("(func (param i32) (result i32) {sum} (i32.add (local.get 0) (i32.const {nth})))\n")
    };
    worker("", &(0..FUNCTIONS).map(one).collect::<String>(), body)
}

fn with(place: &TempDir) -> Sandbox {
    let cache = CacheSettings { folder: place.path().join("compiled"), bytes_max: 1 << 30, make: true };
    sandbox(Compiling { cache: Some(cache), ..compiling() })
}

fn packs(place: &TempDir) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(place.path().join("compiled")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("functions-")).collect()
}

#[test]
fn a_version_that_differs_in_its_handler_finds_functions_of_the_last_one() {
    let compile = |component: &[u8], functions: Functions| {
        let functions = Arc::new(functions);
        child::compile(component, Profile::Compute, Some(functions.clone())).unwrap();
        Arc::into_inner(functions).unwrap()
    };
    let first = compile(&large("i32.const 0"), Functions::default());
    let all = first.compiled();
    assert!(all > FUNCTIONS / 2, "{all}");
    let second = compile(&large("nop nop i32.const 0"), Functions::of_pack(first.into_pack().unwrap()));
    // With one thread all others are found. With several, Cranelift's keys also depend on what a thread compiled before.
    assert!(second.compiled() < all, "{} of {all}", second.compiled());
}

#[tokio::test]
async fn versions_of_a_plugin_share_a_pack_and_other_plugins_have_their_own() {
    let place = TempDir::new().unwrap();
    let host = with(&place);
    let load = |plugin: &str, body: &str| {
        host.load(Terms { plugin: plugin.to_owned(), ..terms() }, &large(body)).unwrap()
    };
    for body in ["i32.const 0", "nop i32.const 0", "nop nop i32.const 0"] {
        assert_eq!(run(&load("one", body)).await.outcome, Outcome::Done);
        assert_eq!(packs(&place).len(), 1);
    }
    load("two", "nop nop nop i32.const 0");
    assert_eq!(packs(&place).len(), 2);
    load("two", "nop nop i32.const 0");
    assert_eq!(host.compiled(), 4, "a component that is known needs no pack");
}

#[tokio::test]
async fn a_pack_that_was_changed_is_not_used() {
    let place = TempDir::new().unwrap();
    with(&place).load(terms(), &large("i32.const 0")).unwrap();
    let pack = packs(&place).pop().unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    let version = with(&place).load(terms(), &large("nop i32.const 0")).unwrap();
    assert_eq!(run(&version).await.outcome, Outcome::Done);
    assert_ne!(std::fs::read(&pack).unwrap(), bytes, "it was made anew");
}

#[test]
fn small_components_leave_no_pack() {
    let place = TempDir::new().unwrap();
    with(&place).load(terms(), &worker("", "", "i32.const 0")).unwrap();
    assert!(packs(&place).is_empty());
}
