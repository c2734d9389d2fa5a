//! What happened on this host, counted: read by tables, the bench and metrics. Nothing decides on these.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one lane since the host started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Jobs taken from Redis.
    pub claimed: AtomicU64,
    /// Jobs whose run ended well and whose end Redis has accepted.
    pub completed: AtomicU64,
    /// Failed runs that will run again.
    pub retried: AtomicU64,
    /// Jobs sent to the dead ones.
    pub buried: AtomicU64,
    /// Jobs dropped at their handler's word.
    pub discarded: AtomicU64,
    /// Jobs taken away by an operator after they were claimed.
    pub cancelled: AtomicU64,
    /// Jobs that other hosts took after they were claimed, because the lease had ended, or whose record was lost.
    /// Their runs were stopped.
    pub taken: AtomicU64,
    /// Jobs handed back without a counted attempt.
    pub released: AtomicU64,
    /// Ends that came too late: the job was no longer ours.
    pub late: AtomicU64,
    /// Jobs found after a reconnect whose claim reply was lost.
    pub adopted: AtomicU64,
    /// Completions whose effects were applied with them; they count as completed, too.
    pub commits: AtomicU64,
    /// Keys and queues changed by these: with the one before, effects per job.
    pub effects: AtomicU64,
    /// Commits that were refused because something the run had decided on was no longer so. The job ran again.
    pub conflicts: AtomicU64,
    /// Commits that came too late and were not applied: the job was no longer ours. They count as late, too.
    pub fenced: AtomicU64,
    /// Runs that did not complete because Redis was unavailable; their jobs run again without a counted attempt.
    pub outages: AtomicU64,
    /// Calls of the turn script.
    pub turns: AtomicU64,
}

impl Counters {
    /// Adds to one counter.
    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    /// Reads one counter.
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }
}
