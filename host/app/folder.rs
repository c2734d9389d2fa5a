//! Checks, before a start waits for Redis, whether the plugin folder can be served.

use super::StartError;
use crate::config::settings::{PluginsFrom, Settings};
use crate::plugin::scan::scan;

/// Refuses a start from a plugin folder that cannot be read or is empty. Problems of single plugins are reported when
/// the plugins are loaded.
pub(super) fn check(settings: &Settings) -> Result<(), StartError> {
    if settings.plugins.source != PluginsFrom::Folder {
        return Ok(());
    }
    let (pairs, problems) = scan(&settings.plugins_dir);
    match problems.is_empty() {
        true if pairs.is_empty() => Err(StartError::NoPlugins(settings.plugins_dir.display().to_string())),
        false if !settings.plugins_dir.is_dir() => Err(StartError::Plugins(problems)),
        _ => Ok(()),
    }
}
