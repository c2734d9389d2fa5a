//! Python with the plain `redis` client, which `scripts/install-python-client.sh` installs.

use std::path::{Path, PathBuf};

/// Python with the newest client that is pinned.
pub fn newest() -> PathBuf {
    interpreter("python")
}

/// Python with each pinned client: the newest, and an old one that many programs still use.
pub fn all() -> [PathBuf; 2] {
    [newest(), interpreter("python-old")]
}

fn interpreter(folder: &str) -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(folder).join("bin/python");
    assert!(
        python.exists(),
        "Python's `redis` client is not installed; run `make python` (`make test` does)"
    );
    python
}
