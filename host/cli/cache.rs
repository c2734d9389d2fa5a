//! The cache of compiled components for commands that are not a host, such as `invoke` and `test`: the one of `run`.

use std::path::Path;

use rustix::process::geteuid;
use sandhog::app::compiling;
use sandhog::config::settings::Settings;
use sandhog::sandbox::{Compiling, Tier};

use crate::cli::child;

/// How a command compiles: it uses the cache of `run`, and makes it if `is_ours`.
pub(crate) fn compiling_here(settings: &Settings, tier: Tier) -> Compiling {
    compiling(settings, child::OURSELVES.into(), tier, is_ours(&settings.host.state_dir))
}

/// The tier of `dev`, `invoke` and `test`, whose user wrote the component.
pub(crate) fn tier(is_optimized: bool) -> Tier {
    if is_optimized { Tier::Optimized } else { Tier::FOR_AUTHORS }
}

/// Whether this user may make the cache in the state folder. A host that runs as another user cannot use a cache that
/// we make: it would compile everything at each start.
pub(crate) fn is_ours(state_dir: &Path) -> bool {
    is_of(state_dir, geteuid().as_raw())
}

fn is_of(state_dir: &Path, user: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // A relative path would have no ancestor that exists.
    let Ok(state_dir) = std::path::absolute(state_dir) else { return false };
    let owner = |folder: &Path| folder.metadata().map(|about| about.uid()).ok();
    match owner(&state_dir) {
        Some(owner) => owner == user,
        // Root can make folders anywhere, for example in the home folder of the user who called `sudo`.
        None if user == 0 => state_dir.ancestors().find_map(owner) == Some(0),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_of_another_user_stays_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, missing) = (geteuid().as_raw(), folder.path().join("state/sandhog"));
        assert!(is_of(folder.path(), ours) && is_of(&missing, ours));
        assert!(is_of(Path::new("no-such-folder"), ours), "in a folder of ours");
        assert!(!is_of(folder.path(), ours + 1));
        assert_eq!(is_of(&missing, 0), ours == 0, "root makes no folder in the home of another user");
    }
}
