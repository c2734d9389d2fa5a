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
    /// The queues it serves.
    pub queues: Vec<String>,
    /// The version that new runs take, then one on trial, then those whose last runs go on.
    pub versions: Vec<VersionReport>,
    /// Why what was offered last was refused, if it was: the version above goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// A version of a plugin on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// SHA-256 of the component, 64 hex digits.
    pub version: String,
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
