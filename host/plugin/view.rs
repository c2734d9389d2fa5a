//! What people and programs are shown of a plugin; nothing here is used to run it.

use serde::Serialize;

/// A plugin as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// `worker` or `config-reader`.
    pub kind: &'static str,
    /// SHA-256 of the component that new runs take, 64 hex digits.
    pub version: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// Why what lies in the folder now was refused, if it was: the version above goes on.
    pub refusal: Option<String>,
}
