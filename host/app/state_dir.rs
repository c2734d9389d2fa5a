//! The state folder: where a host keeps its seat, compiled components, former versions and the orders that it has
//! accepted. A host that cannot write there would lose all of that at each start, so it does not start, unless its
//! settings say that it keeps nothing.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::StartError;
use crate::config::settings::Settings;

/// Makes the state folder if it does not exist, and tries to write there. With `host.stateless`, a temporary folder takes
/// its place, which is removed when the result is dropped.
///
/// # Errors
///
/// `StartError::StateDir`: the folder cannot be made or written.
pub(super) fn prepare(settings: &mut Settings) -> Result<Option<TempDir>, StartError> {
    let folder =
        |dir: &Path, error: io::Error| StartError::StateDir(dir.display().to_string(), error.to_string());
    if settings.host.stateless {
        let temporary = tempfile::Builder::new().prefix("sandhog-state-").tempdir();
        let temporary = temporary.map_err(|error| folder(&std::env::temp_dir(), error))?;
        settings.host.state_dir = temporary.path().to_owned();
        return Ok(Some(temporary));
    }
    let dir = &settings.host.state_dir;
    write_to(dir).map_err(|error| folder(dir, error))?;
    Ok(None)
}

fn write_to(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    tempfile::Builder::new().prefix(".sandhog-").tempfile_in(dir).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_left_empty() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        write_to(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("state");
        fs::write(&file, "").unwrap();
        assert!(write_to(&file).is_err());
        assert!(write_to(&file.join("below")).is_err());
    }
}
