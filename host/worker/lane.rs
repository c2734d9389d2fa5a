//! One queue served by one plugin on this host: what its feeder and its runners share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore};

use super::counters::Counters;
use super::desk::Desk;
use super::fate::Rules;
use crate::job::name::QueueName;
use crate::job::store::{Delivery, JobStore, Order};
use crate::plugin::snapshot::SettingsView;
use crate::sandbox::load::Version;
use crate::sandbox::{Contention, Foresight, Isolation};
use crate::storage::link::Link;

/// How the operator wants a queue served.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which end of the list comes first.
    pub order: Order,
    /// Runs at once on this host.
    pub concurrency: usize,
    /// Wall clock of one run.
    pub timeout: Duration,
    /// What failed runs come to.
    pub rules: Rules,
    /// Runs that ended with their host before a job is buried.
    pub crashes_max: u32,
    /// What a run takes for granted when its effects are committed with its completion; none: each of its
    /// effects takes place at once.
    pub isolation: Option<Isolation>,
}

/// Told of every run: for measuring.
pub trait Observe: Send + Sync {
    /// A run starts with this payload.
    fn started(&self, payload: &[u8]);
    /// Redis has accepted the end of a job that was claimed then.
    fn settled(&self, claimed_at: Instant);
}

/// Who measures.
pub type Observer = Arc<dyn Observe>;

/// What a lane is made of.
pub struct Lane {
    /// The queue.
    pub queue: QueueName,
    /// The plugin's name.
    pub plugin: String,
    /// The version new runs take; a run keeps the one it started with.
    pub version: Arc<ArcSwap<Version>>,
    /// The settings new runs see.
    pub settings: Arc<ArcSwap<SettingsView>>,
    /// How to serve the queue; may be replaced while it is served.
    pub policy: ArcSwap<Policy>,
    /// Whether a job survives its host; fixed for the life of the lane.
    pub delivery: Delivery,
    /// Jobs in Redis.
    pub store: JobStore,
    /// The connection of guests' calls.
    pub guests: Link,
    /// The connection of commits, and of what has to be in order with them.
    pub commits: Link,
    /// Keys that runs of this host fight about.
    pub contention: Arc<Contention>,
    /// What runs of this queue were seen to read.
    pub(super) foresight: Arc<Foresight>,
    /// Sandboxes of the whole host: a run waits for one rather than fail.
    pub sandboxes: Arc<Semaphore>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Who measures, if anybody.
    pub observer: Option<Observer>,
    pub(super) desk: Desk,
    /// Given when Redis says that something of the queue changed.
    pub(super) wake: Arc<Notify>,
    /// Whether the queue was empty when last looked at.
    pub(super) idle: AtomicBool,
}

/// The parts of a new lane.
pub struct LaneParts {
    /// The plugin's name.
    pub plugin: String,
    /// The version new runs take.
    pub version: Arc<ArcSwap<Version>>,
    /// The settings new runs see.
    pub settings: Arc<ArcSwap<SettingsView>>,
    /// How to serve the queue.
    pub policy: Policy,
    /// Whether a job survives its host.
    pub delivery: Delivery,
    /// Jobs in Redis.
    pub store: JobStore,
    /// The connection of guests' calls.
    pub guests: Link,
    /// The connection of commits, and of what has to be in order with them.
    pub commits: Link,
    /// Keys that runs of this host fight about.
    pub contention: Arc<Contention>,
    /// Sandboxes of the whole host.
    pub sandboxes: Arc<Semaphore>,
    /// Who measures, if anybody.
    pub observer: Option<Observer>,
}

impl Lane {
    /// A lane with nothing on its desk.
    pub fn new(parts: LaneParts) -> Self {
        Self {
            queue: parts.store.queue().clone(),
            plugin: parts.plugin,
            version: parts.version,
            settings: parts.settings,
            policy: ArcSwap::from_pointee(parts.policy),
            delivery: parts.delivery,
            store: parts.store,
            guests: parts.guests,
            commits: parts.commits,
            contention: parts.contention,
            foresight: Arc::default(),
            sandboxes: parts.sandboxes,
            counters: Arc::new(Counters::default()),
            observer: parts.observer,
            desk: Desk::new(),
            wake: Arc::new(Notify::new()),
            idle: AtomicBool::new(false),
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({} by {})", self.queue, self.plugin)
    }
}
