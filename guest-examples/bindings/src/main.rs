//! Writes the bindings in C and Go that examples and templates keep, so that who builds them needs no generator:
//! `scripts/guests.sh bindings`, after a change of `wit/`. The test finds out when that was forgotten.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

/// Where the bindings of a world are kept, by language. Parts of it may be links to what other worlds have, too.
const KEPT: [(&str, [&str; 2]); 3] = [
    ("queue-worker", ["guest-examples/c/orders/bindings", "guest-examples/go/orders/bindings"]),
    ("batch-worker", ["templates/c/batch/bindings", "templates/go/batch/bindings"]),
    ("config-reader", ["templates/c/config-reader/bindings", "templates/go/config-reader/bindings"]),
];
/// What the projects in Go have in common: bindings that are not with their world are there.
const GO_SHARED: &str = "templates/go/shared/bindings";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    for (path, text) in bindings()? {
        write(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// An interface that is new in the contract has no folder yet.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
}

/// Every file of bindings, and what it should hold.
fn bindings() -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeMap::new();
    for (world, [c, go]) in KEPT {
        // What the object file would hold is added by `sandhog componentize --world`.
        let options = wit_bindgen_c::Opts { no_object_file: true, ..Default::default() };
        for (name, text) in generated(&root, world, options.build())?.iter() {
            let text = if name.ends_with(".h") {
                must_look(&String::from_utf8_lossy(text)).into()
            } else {
                text.to_owned()
            };
            found.insert(root.join(c).join(name), text);
        }
        let options = wit_bindgen_go::Opts { pkg_name: Some("guest/bindings".into()), ..Default::default() };
        for (name, text) in generated(&root, world, options.build())?.iter() {
            let own = root.join(go).join(name);
            let shared = root.join(GO_SHARED).join(name);
            // What neither has is new in the contract: the world's own, until a link says otherwise.
            let is_shared = shared.exists() && !own.exists();
            found.insert(if is_shared { shared } else { own }, text.to_owned());
        }
    }
    Ok(found)
}

/// A header in which the compiler notices a call whose answer nobody looks at. Those of the host answer `bool`.
fn must_look(header: &str) -> String {
    header.replace("\nextern bool ", "\nextern __attribute__((warn_unused_result)) bool ")
}

fn generated(root: &Path, world: &str, mut generator: Box<dyn WorldGenerator>) -> Outcome<Files> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root.join("wit"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_are_those_of_the_contract() {
        let all = bindings().expect("the contract has bindings");
        assert!(all.len() > 20, "{} files", all.len());
        for (path, text) in all {
            let kept = fs::read(&path).unwrap_or_default();
            assert!(kept == text, "{} is not of this contract: scripts/guests.sh bindings", path.display());
        }
    }
}
