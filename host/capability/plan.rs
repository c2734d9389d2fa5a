//! When the effects of a run take place: at once, or together with its job's completion.

use crate::job::name::HostId;
use crate::storage::link::Link;

/// When a run's effects take place.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Each at once.
    Immediate,
    /// All at the end, together with the job's completion, or not at all.
    Atomic(Atomic),
}

/// How effects are held back.
#[derive(Debug, Clone)]
pub struct Atomic {
    /// What a run takes for granted.
    pub isolation: Isolation,
    /// What a pop does.
    pub pops: Pops,
}

/// What a run takes for granted when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// What it decided on: conditions, swaps, increments, answers about what was there before.
    #[default]
    ReadCommitted,
    /// All that it read.
    Serializable,
}

/// What a pop does while the run has not completed.
#[derive(Debug, Clone)]
pub enum Pops {
    /// Takes the entry off the list, into a record of this host, over this connection (the one that commits
    /// travel on).
    Take {
        /// The connection.
        link: Link,
        /// The host.
        host: HostId,
    },
    /// Looks at the entry and leaves it; that it is still there is an assumption. For runs outside a host.
    Look,
}
