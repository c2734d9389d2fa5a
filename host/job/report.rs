//! What a host tells the fleet, and people, about each of its plugins. Nothing here is used to run them.

use serde::{Deserialize, Serialize};

/// A plugin as it is now on one host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PluginReport {
    /// Its name.
    pub name: String,
    /// `worker` or `config-reader`.
    pub kind: String,
    /// SHA-256 of the component that new runs take, 64 hex digits.
    pub version: String,
    /// The release that was taken in last, served or on trial: component, manifest and signature as one.
    #[serde(default)]
    pub release: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// The version that new runs take, then one on trial, then those whose last runs go on.
    pub versions: Vec<VersionReport>,
    /// Calls of its runs that no grant covers, since it was loaded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub denied: u64,
    /// Why what was offered last was refused, if it was: the version above goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The release that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The deploy it was refused with; 0 for the plugin folder.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused_deploy: u64,
    /// The latest version is being compiled, or waits for a compiler. The version above, if any, continues.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loading: bool,
    /// A compiler works on it now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compiling: bool,
}

/// A version of a plugin on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// SHA-256 of the component, 64 hex digits.
    pub version: String,
    /// Its release: component, manifest and signature as one.
    #[serde(default)]
    pub release: String,
    /// Where it is on its way.
    pub state: VersionState,
    /// Share of new runs that take it, 0 to 1.
    pub share: f64,
    /// Runs that have ended since it was taken in.
    pub runs: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// When it was taken in, in milliseconds since 1970 by the host's clock.
    pub since_ms: u64,
}

/// Where a version is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// New runs take it.
    Current,
    /// It is tried on a share of the runs.
    Canary,
    /// No new run takes it; some go on.
    Draining,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl VersionState {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Canary => "canary",
            Self::Draining => "draining",
        }
    }
}

/// Swaps that the fleet remembers, of all plugins on all hosts.
pub const SWAPS_MAX: usize = 1000;

/// A version that came, went, or was refused, on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// When, in milliseconds since 1970 by the host's clock.
    pub at_ms: u64,
    /// The plugin.
    pub plugin: String,
    /// What became of the version.
    pub what: SwapKind,
    /// SHA-256 of the component, 64 hex digits; empty where it could not even be read.
    pub version: String,
    /// Why it was refused or rolled back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapKind {
    /// It is the first one of its plugin, which came while the host was at work.
    Loaded,
    /// It took the place of another.
    Swapped,
    /// It is tried on a share of the runs.
    Canary,
    /// It was tried and takes all runs.
    Promoted,
    /// It was tried and given up.
    RolledBack,
    /// It was not taken.
    Refused,
    /// Its plugin is gone.
    Removed,
}

impl SwapKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Swapped => "swapped",
            Self::Canary => "canary",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled back",
            Self::Refused => "refused",
            Self::Removed => "removed",
        }
    }
}
