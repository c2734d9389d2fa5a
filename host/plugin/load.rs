//! From the two files of a plugin to a version that can run: the one path for start-up, reload and `check`.

use std::sync::Arc;

use super::manifest::{Kind, Manifest};
use super::name::PluginName;
use super::scan::Source;
use crate::config::problem::{Problem, Problems};
use crate::sandbox::engine::Sandbox;
use crate::sandbox::line::Turn;
use crate::sandbox::load::{LoadError, NotLoaded, Terms, Version};
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
    let version = sandbox.load(terms(&source.name, &source.manifest), &source.component);
    let version = version.map_err(|error| refused(&source.component_origin, error))?;
    Ok(loaded(source.name, source.manifest, version))
}

/// The same for a caller that has a turn in the line; none if others go first.
pub fn load_in(source: &Source, sandbox: &Sandbox, turn: &Turn) -> Result<Option<Loaded>, Problems> {
    let Source { name, manifest, component, component_origin, .. } = source;
    match sandbox.load_in(terms(name, manifest), component, turn) {
        Ok(version) => Ok(Some(loaded(name.clone(), manifest.clone(), version))),
        Err(NotLoaded::Postponed) => Ok(None),
        Err(NotLoaded::Refused(error)) => Err(refused(component_origin, error)),
    }
}

fn loaded(name: PluginName, manifest: Manifest, version: Version) -> Loaded {
    Loaded { name, manifest: Arc::new(manifest), version: Arc::new(version), user: None }
}

fn refused(origin: &str, error: LoadError) -> Problems {
    let mut list: Vec<Problem> = error.problems.into_iter().map(|text| Problem::new(origin, text)).collect();
    if let (Some(last), Some(hint)) = (list.last_mut(), error.hint) {
        last.text = format!("{}; {hint}", last.text);
    }
    Problems { list }
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
