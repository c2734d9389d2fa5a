//! What a run is determined by, exchanged whole so that no run mixes two versions of a plugin; and which of two
//! editions a run takes while a new one is tried on a share of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::fate::Rules;
use crate::job::limit::QueueLimits;
use crate::job::store::Order;
use crate::plugin::snapshot::SettingsView;
use crate::sandbox::load::Version;
use crate::sandbox::outcome::Outcome;
use crate::sandbox::{Foresight, Isolation};
use crate::storage::user::PluginUser;

/// How the operator wants a queue served.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which end of the list comes first.
    pub order: Order,
    /// Runs at once on this host.
    pub concurrency: usize,
    /// Most jobs of a run.
    pub batch: usize,
    /// Longest wait for more jobs of a run.
    pub batch_wait: Duration,
    /// Wall clock of one run.
    pub timeout: Duration,
    /// What failed runs come to.
    pub rules: Rules,
    /// What the whole fleet may run of the queue.
    pub limits: QueueLimits,
    /// Queues of this host with a lower one take no jobs while this one has some that wait.
    pub priority: u32,
    /// The queue's share of the threads that guests run on, beside those of others.
    pub weight: u32,
    /// Largest payload a run is given; a job with a larger one is buried.
    pub payload_bytes_max: u64,
    /// Runs that ended with their host before a job is buried.
    pub crashes_max: u32,
    /// What a run takes for granted when its effects are committed with its completion; none: each of its
    /// effects takes place at once.
    pub isolation: Option<Isolation>,
}

impl Policy {
    /// Jobs in runs at once on this host.
    pub(super) fn jobs_at_once(&self) -> usize {
        self.concurrency.saturating_mul(self.batch)
    }
}

/// One version of a plugin on one queue, with everything the operator said about it.
#[derive(Debug)]
pub struct Edition {
    /// What is run.
    pub version: Arc<Version>,
    /// The settings its runs see.
    pub settings: Arc<SettingsView>,
    /// How the queue is served.
    pub policy: Policy,
    /// Its own Redis user; none: guests' calls travel as the host's.
    pub user: Option<Arc<PluginUser>>,
    /// What its runs on this queue were seen to do.
    pub foresight: Arc<Foresight>,
    /// What became of its runs, on all queues of the plugin.
    pub tally: Arc<Tally>,
}

/// Runs of one version of a plugin on this host.
#[derive(Debug, Default)]
pub struct Tally {
    runs: AtomicU64,
    failures: AtomicU64,
}

/// The edition that runs take, and one that is tried on a share of them.
#[derive(Debug)]
pub struct Editions {
    current: Arc<Edition>,
    canary: Option<(Arc<Edition>, f64)>,
}

impl Tally {
    /// Counts a run. A fault of the host or of Redis is not a failure of the version.
    pub(super) fn count(&self, outcome: &Outcome) {
        self.runs.fetch_add(1, Relaxed);
        if !outcome.is_blameless() && !matches!(outcome, Outcome::Done | Outcome::Discarded(_)) {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    /// Runs that ended, and how many of them failed.
    pub fn read(&self) -> (u64, u64) {
        // In this order: never more failures than runs.
        let failures = self.failures.load(Relaxed);
        (self.runs.load(Relaxed).max(failures), failures)
    }
}

impl Editions {
    /// One edition for every run.
    pub fn only(current: Arc<Edition>) -> Self {
        Self { current, canary: None }
    }

    /// The one that goes on if the other is given up.
    pub fn current(&self) -> &Arc<Edition> {
        &self.current
    }

    /// The versions that new runs take.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Version> {
        let canary = self.canary.iter().map(|(canary, _)| canary);
        std::iter::once(&self.current).chain(canary).map(|edition| &*edition.version)
    }

    /// The same, with `canary` for `share` (0 to 1) of the runs.
    pub fn with_canary(&self, canary: Arc<Edition>, share: f64) -> Self {
        Self { current: self.current.clone(), canary: Some((canary, share)) }
    }

    /// The edition of run number `nth`: of any number of runs in a row the canary has its share, give or take one.
    pub(super) fn of_run(&self, nth: u64) -> &Arc<Edition> {
        match &self.canary {
            Some((canary, share)) if is_due(nth, *share) => canary,
            _ => &self.current,
        }
    }
}

#[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "whole numbers; far from where they end")]
fn is_due(nth: u64, share: f64) -> bool {
    let due = |runs: u64| (runs as f64 * share).floor();
    due(nth + 1) != due(nth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_in_any_stretch_of_runs() {
        for share in [0.0, 0.01, 0.1, 1.0 / 3.0, 0.5, 0.999, 1.0] {
            for from in [0, 7, 1_000_000] {
                for length in [1_u32, 10, 100, 1000] {
                    let due = (from..from + u64::from(length)).filter(|nth| is_due(*nth, share)).count();
                    let exact = f64::from(length) * share;
                    assert!(
                        (f64::from(u32::try_from(due).unwrap()) - exact).abs() <= 1.0,
                        "{share} {from} {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn faults_of_the_host_and_of_redis_are_no_failures() {
        let tally = Tally::default();
        let runs = [
            Outcome::Done,
            Outcome::HostFault(String::new()),
            Outcome::Outage(String::new()),
            Outcome::TimedOut,
            Outcome::Buried(String::new()),
        ];
        runs.iter().for_each(|outcome| tally.count(outcome));
        assert_eq!(tally.read(), (5, 2));
    }
}
