//! Any text as `sandhog.toml`: resolved or refused; what is refused is never quoted with the password of a URL.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sandhog::config::settings::{Overrides, Settings};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder can be made"));

fuzz_target!(|text: &[u8]| {
    let file = FOLDER.path().join("sandhog.toml");
    std::fs::write(&file, text).expect("the file can be written");
    let said = match Settings::resolve(&Overrides::default(), Some(&file)) {
        Ok(settings) => format!("{settings:?}"),
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.to_string()
        }
    };
    // The seeds have this password in their URLs. Elsewhere in a file it is no password.
    let text = String::from_utf8_lossy(text);
    if text.matches("hunter2").count() == text.matches(":hunter2@").count()
        && text.matches("url").count() == 1
    {
        let is_url = text.contains("url = \"redis://anna:hunter2@");
        assert!(!is_url || !said.contains("hunter2"), "{said}");
    }
});
