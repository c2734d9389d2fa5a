//! One queue served by one plugin on this host: what its feeder and its runners share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::counters::Counters;
use super::desk::Desk;
use super::edition::{Edition, Editions};
use super::executor::Share;
use super::precedence::Precedence;
use super::sandboxes::{Place, Sandboxes};
use crate::job::name::QueueName;
use crate::job::store::{Delivery, JobStore};
use crate::sandbox::{Contention, Instance, Outcome};
use crate::storage::link::Link;

/// Told of every run: for measuring.
pub trait Observe: Send + Sync {
    /// A run starts with this payload.
    fn started(&self, payload: &[u8]);
    /// Redis has accepted the end of a job that was claimed then.
    fn settled(&self, claimed_at: Instant);
    /// What a run comes to without its component: for measuring what a host costs beside its guests.
    fn stand_in(&self, _payload: &[u8]) -> Option<Outcome> {
        None
    }
}

/// Who measures.
pub type Observer = Arc<dyn Observe>;

/// What a lane is made of.
pub struct Lane {
    /// The queue.
    pub queue: QueueName,
    /// The plugin's name.
    pub plugin: String,
    /// What new runs take; a run keeps what it started with.
    editions: ArcSwap<Editions>,
    runs: AtomicU64,
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
    /// The queue's share of the threads that guests run on.
    pub share: Arc<Share>,
    /// What queues of this host know of each other's priorities.
    pub precedence: Arc<Precedence>,
    /// Sandboxes of the whole host: a run waits for one rather than fail.
    pub sandboxes: Arc<Sandboxes>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Who measures, if anybody.
    pub observer: Option<Observer>,
    pub(super) desk: Desk,
    /// Given when Redis says that something of the queue changed.
    pub(super) wake: Arc<Notify>,
    /// Whether the queue was empty when last looked at.
    pub(super) idle: AtomicBool,
    /// Whether an operator held the queue when last looked at.
    pub(super) paused: AtomicBool,
}

/// The parts of a new lane.
pub struct LaneParts {
    /// The plugin's name.
    pub plugin: String,
    /// What new runs take.
    pub editions: Editions,
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
    /// The queue's share of the threads that guests run on.
    pub share: Arc<Share>,
    /// What queues of this host know of each other's priorities.
    pub precedence: Arc<Precedence>,
    /// Sandboxes of the whole host.
    pub sandboxes: Arc<Sandboxes>,
    /// Who measures, if anybody.
    pub observer: Option<Observer>,
}

impl Lane {
    /// A lane with nothing on its desk.
    pub fn new(parts: LaneParts) -> Self {
        Self {
            queue: parts.store.queue().clone(),
            plugin: parts.plugin,
            editions: ArcSwap::from_pointee(parts.editions),
            runs: AtomicU64::new(0),
            delivery: parts.delivery,
            store: parts.store,
            guests: parts.guests,
            commits: parts.commits,
            contention: parts.contention,
            share: parts.share,
            precedence: parts.precedence,
            sandboxes: parts.sandboxes,
            counters: Arc::new(Counters::default()),
            observer: parts.observer,
            desk: Desk::new(),
            wake: Arc::new(Notify::new()),
            idle: AtomicBool::new(false),
            paused: AtomicBool::new(false),
        }
    }

    /// Replaces what new runs take, in one step.
    pub fn exchange(&self, editions: Editions) {
        self.share.weigh(editions.current().policy.weight);
        self.editions.store(Arc::new(editions));
        self.sandboxes.let_go(&self.plugin, |instance| self.offers(instance));
    }

    /// Gives back a runner's place.
    pub(super) fn leave(&self, mut place: Place) {
        place.instance.take_if(|instance| !self.offers(instance));
        self.sandboxes.give_back(place);
    }

    /// Whether runs still take the version of this instance.
    fn offers(&self, instance: &Instance) -> bool {
        self.editions.load().versions().any(|version| instance.is_of(version))
    }

    /// What new runs take.
    pub fn editions(&self) -> Arc<Editions> {
        self.editions.load_full()
    }

    /// What the queue is served by.
    pub fn current(&self) -> Arc<Edition> {
        self.editions.load().current().clone()
    }

    /// What the next run takes.
    pub(super) fn next_edition(&self) -> Arc<Edition> {
        let nth = self.runs.fetch_add(1, Relaxed);
        self.editions.load().of_run(nth).clone()
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({} by {})", self.queue, self.plugin)
    }
}
