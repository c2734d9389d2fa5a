//! What becomes of versions on this host, until the fleet has been told.

use std::time::SystemTime;

use crate::job::report::{Swap, SwapKind};

/// Most that waits; while Redis is away the latest are kept.
const PENDING_MAX: usize = 100;
/// Longest reason that is told.
const WHY_CHARS_MAX: usize = 500;

/// What the fleet was not told of.
#[derive(Debug, Default)]
pub(super) struct History {
    pending: Vec<Swap>,
}

impl History {
    /// Notes what became of a version; of one that could not even be read, that is empty.
    pub(super) fn add(&mut self, plugin: &str, what: SwapKind, version: &str, why: &str) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push(Swap {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            plugin: plugin.to_owned(),
            what,
            version: version.to_owned(),
            why: why.chars().take(WHY_CHARS_MAX).collect(),
        });
    }

    /// What is to be told, the oldest first.
    pub(super) fn pending(&self) -> &[Swap] {
        &self.pending
    }

    /// It was told.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }
}
