//! From the two files of a plugin to a version that can run: the one path for start-up, reload and `check`.

use std::sync::Arc;

use super::manifest::{Kind, Manifest};
use super::name::PluginName;
use super::scan::Source;
use crate::config::problem::{Problem, Problems};
use crate::sandbox::engine::Sandbox;
use crate::sandbox::load::{LoadError, Terms, Version};
use crate::storage::user::PluginUser;

/// A plugin that can be served.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its name.
    pub name: PluginName,
    /// What the operator says about it.
    pub manifest: Arc<Manifest>,
    /// What new runs take.
    pub version: Arc<Version>,
    /// Its own Redis user, where hosts make some.
    pub user: Option<Arc<PluginUser>>,
}

/// Compiles and fits a component; blocks for as long as that takes (tens of milliseconds for a small one).
pub fn load(source: Source, sandbox: &Sandbox) -> Result<Loaded, Problems> {
    let Source { name, manifest, component, component_origin, .. } = source;
    let refused = |error: LoadError| {
        let mut list: Vec<Problem> =
            error.problems.into_iter().map(|text| Problem::new(component_origin.clone(), text)).collect();
        if let (Some(last), Some(hint)) = (list.last_mut(), error.hint) {
            last.text = format!("{}; {hint}", last.text);
        }
        Problems { list }
    };
    let version = sandbox.load(terms(&name, &manifest), &component).map_err(refused)?;
    Ok(Loaded { name, manifest: Arc::new(manifest), version: Arc::new(version), user: None })
}

/// What the operator says about a component, as far as runs are concerned.
pub fn terms(name: &PluginName, manifest: &Manifest) -> Terms {
    Terms {
        plugin: name.as_str().to_owned(),
        kind: manifest.kind,
        grants: Arc::new(manifest.grants.clone()),
        limits: manifest.limits,
        config: Arc::new(manifest.config.clone()),
        reuse: manifest.reuse,
        profile: manifest.profile,
    }
}

/// The word for a kind.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Worker => "worker",
        Kind::BatchWorker => "batch-worker",
        Kind::ConfigReader => "config-reader",
    }
}
