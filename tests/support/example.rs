//! The guests of `guest-examples/`, built. Guests that are only hostile are written as text: `support::guest`.

use std::path::PathBuf;

use sandhog::config::settings::Ceilings;
use sandhog::plugin::load::{Loaded, load};
use sandhog::plugin::scan::Pair;

use super::guest::sandbox;

/// The component of the guest `name`.
pub(crate) fn path(name: &str) -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("guest-examples/built");
    let places = [built.clone(), built.join("probes")].map(|folder| folder.join(format!("{name}.wasm")));
    let found = places.into_iter().find(|place| place.exists());
    found.unwrap_or_else(|| panic!("the guest `{name}` is not built; run `make guests` (`make test` does)"))
}

/// The bytes of the component `name`.
pub(crate) fn component(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// The manifest that lies beside the component `name`.
pub(crate) fn manifest(name: &str) -> String {
    std::fs::read_to_string(path(name).with_extension("toml")).unwrap()
}

/// The plugin `name` as it is loaded from the folder, with its own manifest.
pub(crate) fn plugin(name: &str) -> Loaded {
    let ceilings =
        Ceilings { memory_bytes: 64 << 20, value_bytes: 8 << 20, component_bytes: 64 << 20, instances: 64 };
    let source = Pair::of(&path(name), None).and_then(|pair| pair.read(&ceilings, &[]));
    let loaded = source.and_then(|source| load(source, sandbox()));
    loaded.unwrap_or_else(|problems| panic!("`{name}` is refused:\n{problems}"))
}
