//! Damaged files in the folder of compiled components: what is not, byte for byte, what was kept under that name is
//! compiled again and never run. Input: how the kept file is changed, as many times a place and what is added there.

#![no_main]

mod stage;

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sandhog::sandbox::{CacheSettings, Sandbox};
use stage::{sandbox_with, terms};
use tempfile::TempDir;

struct Kept {
    sandbox: Sandbox,
    component: Vec<u8>,
    file: PathBuf,
    bytes: Vec<u8>,
    _folder: TempDir,
}

static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder can be made");
    let cache = folder.path().join("compiled");
    let settings = CacheSettings { folder: cache.clone(), bytes_max: 64 << 20, make: true };
    let sandbox = sandbox_with(Some(settings));
    let component =
        fs::read(std::env::var_os("SANDHOG_COMPONENT").expect("run `make fuzz`")).expect("a component");
    sandbox.load(terms(), &component).expect("it is a good one");
    let file =
        fs::read_dir(&cache).expect("there is a folder").next().expect("and a file").expect("in it").path();
    let bytes = fs::read(&file).expect("it can be read");
    Kept { sandbox, component, file, bytes, _folder: folder }
});

fuzz_target!(|input: (Vec<(u32, u8)>, Option<u32>)| {
    let kept = &*KEPT;
    let (changes, length) = input;
    let mut bytes = kept.bytes.clone();
    for (place, delta) in changes {
        let place = place as usize % bytes.len();
        bytes[place] = bytes[place].wrapping_add(delta);
    }
    if let Some(length) = length {
        bytes.truncate(length as usize % (bytes.len() + 1));
    }
    fs::write(&kept.file, &bytes).expect("it can be written");
    let before = kept.sandbox.compiled();
    kept.sandbox.load(terms(), &kept.component).expect("it is a good one still");
    let is_new = kept.sandbox.compiled() > before;
    assert_eq!(
        is_new,
        bytes != kept.bytes,
        "what was damaged was believed, or what was not was compiled again"
    );
});
