//! Opening and retiring lanes: from what a manifest says of a queue to a feeder that serves it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::control::dead_limits;
use crate::config::settings::Settings;
use crate::job::name::QueueName;
use crate::job::store::{DeadLimits, JobStore};
use crate::panics::named;
use crate::plugin::load::Loaded;
use crate::plugin::manifest::{Consume, EffectsMode, Manifest};
use crate::sandbox::Contention;
use crate::storage::address::AddressError;
use crate::storage::link::{Link, Tracking};
use crate::worker::edition::{Editions, Policy};
use crate::worker::executor::ExecutorHandle;
use crate::worker::fate::Rules;
use crate::worker::feeder::{Feeder, FeederParts};
use crate::worker::lane::{Lane, LaneParts, Observer};
use crate::worker::precedence::Precedence;
use crate::worker::sandboxes::Sandboxes;

/// All lanes of a host and their feeders.
pub(super) struct Lanes {
    feeders: FeederParts,
    executor: ExecutorHandle,
    guests: Link,
    commits: Link,
    contention: Arc<Contention>,
    sandboxes: Arc<Sandboxes>,
    precedence: Arc<Precedence>,
    observer: Option<Observer>,
    dead: DeadLimits,
    crashes_max: u32,
    tasks: JoinSet<bool>,
    /// Ends when the last feeder of a queue does.
    last: HashMap<QueueName, oneshot::Receiver<()>>,
    lanes: watch::Sender<Vec<Arc<Lane>>>,
    queues: watch::Sender<Vec<QueueName>>,
}

/// A lane that is served.
pub(super) struct Serving {
    lane: Arc<Lane>,
    retired: watch::Sender<bool>,
}

impl Serving {
    /// Whether this lane can serve a queue as this says.
    pub(super) fn is_for(&self, consume: &Consume) -> bool {
        self.lane.queue == consume.queue && self.lane.delivery == consume.delivery
    }

    /// Whether this lane serves `queue`, with any delivery.
    pub(super) fn serves(&self, queue: &QueueName) -> bool {
        self.lane.queue == *queue
    }

    /// Gives new runs other editions to take.
    pub(super) fn exchange(&self, editions: Editions) {
        self.lane.exchange(editions);
    }

    /// Drains the lane; its feeder ends when nothing is left.
    pub(super) fn retire(self) {
        self.retired.send_replace(true);
    }
}

impl Lanes {
    pub(super) fn new(
        settings: &Settings,
        feeders: FeederParts,
        executor: ExecutorHandle,
        observer: Option<Observer>,
    ) -> Result<Self, AddressError> {
        let primary = feeders.link.primary();
        Ok(Self {
            guests: primary.link("guests", Tracking::Off)?,
            commits: primary.link("commits", Tracking::Off)?,
            contention: Arc::default(),
            sandboxes: Arc::new(Sandboxes::new(usize::try_from(settings.ceilings.instances).unwrap_or(1))),
            precedence: Arc::default(),
            feeders,
            executor,
            observer,
            dead: dead_limits(settings),
            crashes_max: settings.host.crashes_max,
            tasks: JoinSet::new(),
            last: HashMap::new(),
            lanes: watch::Sender::new(Vec::new()),
            queues: watch::Sender::new(Vec::new()),
        })
    }

    /// Opens a lane for a queue of a plugin and starts its feeder.
    pub(super) fn open(&mut self, loaded: &Loaded, consume: &Consume, editions: Editions) -> Serving {
        let lane = Arc::new(Lane::new(LaneParts {
            plugin: loaded.name.as_str().to_owned(),
            editions,
            delivery: consume.delivery,
            store: JobStore::new(self.feeders.link.clone(), consume.queue.clone(), self.dead),
            guests: self.guests.clone(),
            commits: self.commits.clone(),
            contention: self.contention.clone(),
            share: self.executor.share(loaded.name.as_str(), consume.weight),
            precedence: self.precedence.clone(),
            sandboxes: self.sandboxes.clone(),
            observer: self.observer.clone(),
        }));
        let retired = watch::Sender::new(false);
        let (ended, next) = oneshot::channel::<()>();
        let former = self.last.insert(consume.queue.clone(), next);
        let (fed, parts, stop) = (lane.clone(), self.feeders.clone(), retired.subscribe());
        self.tasks.spawn(named("feeder", async move {
            // One feeder at a time claims from a queue: they share the host's records of it.
            if let Some(former) = former {
                let _ = former.await;
            }
            let is_empty_handed = Feeder::new(fed, parts, stop).run().await;
            drop(ended);
            is_empty_handed
        }));
        Serving { lane, retired }
    }

    /// Tells everybody which lanes there are now.
    pub(super) fn publish<'a>(&self, serving: impl Iterator<Item = &'a Serving>) {
        let lanes: Vec<Arc<Lane>> = serving.map(|serving| serving.lane.clone()).collect();
        self.queues.send_replace(lanes.iter().map(|lane| lane.queue.clone()).collect());
        self.lanes.send_replace(lanes);
    }

    /// Queues whose last feeder has not ended.
    pub(super) fn fed(&mut self) -> Vec<QueueName> {
        self.last.retain(|_, ended| matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        self.last.keys().cloned().collect()
    }

    /// Runs that ended with their host before a job is buried.
    pub(super) fn crashes_max(&self) -> u32 {
        self.crashes_max
    }

    /// Where guests run.
    pub(super) fn executor(&self) -> &ExecutorHandle {
        &self.executor
    }

    /// Where runs have their places.
    pub(super) fn sandboxes(&self) -> Arc<Sandboxes> {
        self.sandboxes.clone()
    }

    /// The lanes served now.
    pub(super) fn lanes(&self) -> watch::Receiver<Vec<Arc<Lane>>> {
        self.lanes.subscribe()
    }

    /// The queues served now.
    pub(super) fn queues(&self) -> watch::Receiver<Vec<QueueName>> {
        self.queues.subscribe()
    }

    /// Returns when every feeder has ended: whether nothing is left in their hands.
    pub(super) async fn ended(&mut self) -> bool {
        let mut empty_handed = true;
        while let Some(ended) = self.tasks.join_next().await {
            empty_handed &= ended.unwrap_or_else(|error| {
                tracing::error!(%error, "a feeder failed; its jobs come back when this host's lease ends");
                false
            });
        }
        empty_handed
    }
}

/// What a manifest says of a queue.
pub(super) fn policy(consume: &Consume, manifest: &Manifest, crashes_max: u32) -> Policy {
    let isolation = match manifest.effects_of(consume) {
        EffectsMode::Immediate => None,
        EffectsMode::Atomic(isolation) => Some(isolation),
    };
    Policy {
        isolation,
        order: consume.order,
        payload_bytes_max: manifest.limits.value_bytes,
        concurrency: usize::try_from(consume.concurrency).unwrap_or(usize::MAX),
        batch: consume.batch.map_or(1, |batch| usize::try_from(batch.size).unwrap_or(usize::MAX)),
        batch_wait: consume.batch.map_or(Duration::ZERO, |batch| batch.wait),
        timeout: consume.timeout,
        rules: Rules {
            max_attempts: consume.max_attempts,
            backoff: consume.backoff,
            in_order: consume.limits.is_in_order(),
        },
        limits: consume.limits.clone(),
        priority: consume.priority,
        weight: consume.weight,
        crashes_max,
    }
}
