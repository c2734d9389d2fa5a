//! The operator's manifest of a plugin: what it is, what it consumes, what it may touch, how much it may use.
//! A plugin cannot grant itself anything. Reading the file is in `read`; whether the component fits is looked
//! at in `sandbox`.

mod read;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::capability::grant::Grants;
use crate::capability::plan::Isolation;
use crate::config::document::Lines;
use crate::config::problem::Problems;
use crate::config::settings::Ceilings;
use crate::job::backoff::Backoff;
use crate::job::limit::QueueLimits;
use crate::job::name::QueueName;
use crate::job::store::{Delivery, Order};

pub use crate::sandbox::{Kind, Limits, ProfileChoice};

/// Everything a manifest says, with its defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What the plugin is.
    pub kind: Kind,
    /// The queues a worker serves; empty for a config reader.
    pub consume: Vec<Consume>,
    /// When a job's writes take place, as far as its queue allows: `effects_of`.
    pub effects: EffectsMode,
    /// What it may touch.
    pub grants: Grants,
    /// Static settings, visible through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// What one run may use.
    pub limits: Limits,
    /// Runs in one instance before it is thrown away.
    pub reuse: u32,
    /// How its code keeps it within its memory.
    pub profile: ProfileChoice,
    /// Wall clock of one run of a config reader.
    pub read_timeout: Duration,
    /// Key of the Redis hash to which a config reader's settings are published.
    pub publish: Option<String>,
    /// How a new version is tried; absent: it takes all runs at once.
    pub canary: Option<Canary>,
    /// Where its fields stand, for problems that show only when plugins are seen together.
    pub lines: Lines,
}

/// How a worker serves one queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Consume {
    /// The queue.
    pub queue: QueueName,
    /// From which end jobs are taken.
    pub order: Order,
    /// Whether a job outlives a crash.
    pub delivery: Delivery,
    /// Runs at once on this host.
    pub concurrency: u32,
    /// How many jobs a run is given; none: one.
    pub batch: Option<Batch>,
    /// Attempts after which a job is dead.
    pub max_attempts: u32,
    /// Wall clock of one run.
    pub timeout: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// What the whole fleet may run of it.
    pub limits: QueueLimits,
    /// Queues of one host with a lower one take no jobs while this one has some that wait.
    pub priority: u32,
    /// How much of the processors it gets beside others that want them, too.
    pub weight: u32,
}

/// How jobs are gathered for one call of a batch worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Most jobs of a call.
    pub size: u32,
    /// Longest wait for more, once there is one.
    pub wait: Duration,
}

/// How a new version is tried on some of the runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// Share of the runs that take it, above 0 and up to 1.
    pub share: f64,
    /// How long, before it takes all.
    pub length: Duration,
    /// Share of its runs that may fail. Beyond it, and beyond the share of the version before, it is rolled back.
    pub max_failure_rate: f64,
}

/// When a job's writes take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectsMode {
    /// Each at once.
    Immediate,
    /// All together with the job's completion, or not at all.
    Atomic(Isolation),
}

impl Default for EffectsMode {
    fn default() -> Self {
        Self::Atomic(Isolation::default())
    }
}

impl Manifest {
    /// Reads a manifest; `origin` is the file's name as the operator knows it, `ceilings` what the host allows
    /// at the most.
    pub fn parse(origin: &str, text: &str, ceilings: &Ceilings) -> Result<Self, Problems> {
        read::manifest(origin, text, ceilings)
    }

    /// Whether some of its runs hold their effects back.
    pub fn is_atomic(&self) -> bool {
        self.consume.iter().any(|consume| self.effects_of(consume) != EffectsMode::Immediate)
    }

    /// When the writes of this queue's jobs take place. A job that is forgotten as it is taken leaves no record that
    /// a commit could be tied to.
    pub fn effects_of(&self, consume: &Consume) -> EffectsMode {
        match consume.delivery {
            Delivery::AtLeastOnce => self.effects,
            Delivery::AtMostOnce => EffectsMode::Immediate,
        }
    }
}
