//! When the effects of a run take place: at once, or together with its job's completion.

use std::sync::Arc;

use super::contention::Contention;
use super::takings::Takings;
use crate::job::name::HostId;
use crate::storage::link::Link;
use crate::storage::user::PluginUser;

/// When a run's effects take place.
#[derive(Debug, Clone, Default)]
pub enum Plan {
    /// Each at once.
    #[default]
    Immediate,
    /// All at the end, together with the job's completion, or not at all.
    Atomic(Arc<Atomic>),
}

/// How effects are held back.
#[derive(Debug, Clone)]
pub struct Atomic {
    /// What a run takes for granted.
    pub isolation: Isolation,
    /// What a pop does.
    pub pops: Pops,
    /// Keys that runs of this host fight about.
    pub contention: Option<Arc<Contention>>,
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
    /// Takes the entry off the list, into a record of this host.
    Take(Take),
    /// Looks at the entry and leaves it; that it is still there is an assumption. For runs outside a host.
    Look,
}

/// How entries are taken.
#[derive(Debug, Clone)]
pub struct Take {
    /// The connection that commits travel on: the order of the two is certain.
    pub link: Link,
    /// The plugin's own Redis user, who must be allowed to; none: the host's word is enough.
    pub user: Option<Arc<PluginUser>>,
    /// The host.
    pub host: Arc<HostId>,
    /// What the run has taken. Outlives the run, however it ends.
    pub takings: Arc<Takings>,
}
