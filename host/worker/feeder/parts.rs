//! What a feeder needs besides its lane.

use std::sync::Arc;

use tokio::sync::watch;

use crate::job::hold::Holds;
use crate::storage::link::Link;
use crate::storage::wake::Wake;
use crate::worker::membership::Membership;

/// How much of its work a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All.
    Serving,
    /// No more claims until an operator lets go; runs go on, jobs not started go back.
    Held,
    /// No more claims; runs go on, jobs not started go back.
    Draining,
    /// Runs are stopped and go back, attempt not counted.
    Leaving,
}

/// What a feeder needs besides its lane.
#[derive(Debug, Clone)]
pub struct FeederParts {
    /// The host among hosts.
    pub membership: Arc<Membership>,
    /// The connection that lanes claim over.
    pub link: Link,
    /// Where this connection's pushes arrive.
    pub wake: Arc<Wake>,
    /// How much the host does.
    pub phase: watch::Receiver<Phase>,
    /// What operators hold.
    pub holds: watch::Receiver<Holds>,
}

/// What has become of a lane that is no longer served: true once it is to be drained.
pub type Retired = watch::Receiver<bool>;
