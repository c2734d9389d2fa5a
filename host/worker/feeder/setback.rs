//! Handles failed exchanges of a feeder: if Redis does not answer or refuses, or the lease has ended, the feeder waits
//! until another attempt makes sense. A feeder that is to stop and holds no jobs does not wait for Redis.

use std::time::{Duration, Instant};

use super::{Feeder, Phase, rights};
use crate::job::store::StoreError;
use crate::storage::reminder::Reminder;

/// First wait after a failed exchange; doubled up to the longest.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(20);
/// Longest wait between attempts to reach Redis.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Wait after a refusal that only an operator can fix.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// How long a draining feeder without jobs waits for Redis: long enough to replace a connection that was just lost.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// Longest pause before a feeder checks again whether it has to wait.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The failures that keep a feeder from its work.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// When Redis first failed to execute a command of the feeder, if it has not executed one since.
    since: Option<Instant>,
    /// Decides when to log a refusal.
    refusal: Option<Reminder>,
}

impl Trouble {
    /// Redis has executed a command of this feeder. If it `was_claim`, all former refusals are over.
    pub(super) fn ease(&mut self, was_claim: bool) {
        self.since = None;
        if was_claim {
            self.refusal = None;
        }
    }

    /// Returns for how many seconds the refusal has lasted if a line with this text is to be logged now.
    fn is_due(&mut self, text: &str) -> Option<u64> {
        self.refusal.get_or_insert_with(Reminder::growing).is_due(text).map(|lasts| lasts.as_secs())
    }
}

impl Feeder {
    /// Reacts to a failed exchange, and returns when another attempt makes sense.
    pub(super) async fn setback(&mut self, error: StoreError) {
        self.process_reply();
        self.trouble.since.get_or_insert_with(Instant::now);
        // A feeder that cannot work must not delay others.
        self.gate.withdraw();
        let queue = self.lane.queue.as_str();
        match error {
            StoreError::NoLease => self.rejoin().await,
            StoreError::Fault(fault) if fault.is_lost() => self.await_link().await,
            StoreError::Fault(fault) => {
                if let Some(lasts_s) = self.trouble.is_due(&fault.to_string()) {
                    let hint = rights::hint(&fault, &self.lane.queue);
                    tracing::warn!(queue, cause = %fault, lasts_s, hint, "Redis refuses; trying again every second");
                }
                self.pause(REFUSED_WAIT).await;
            }
            // Settling never returns this, because `fate` makes headers fit. If it did, the pause would keep the job
            // safe.
            StoreError::HeaderTooLong(_) => self.pause(REFUSED_WAIT).await,
            StoreError::WrongType(key) => {
                if let Some(lasts_s) = self.trouble.is_due(&key) {
                    let hint = "no job was claimed; delete or rename the key, and the queue continues";
                    tracing::error!(queue, key, lasts_s, hint, "a key of this queue holds another type");
                }
                self.pause(REFUSED_WAIT).await;
            }
        }
    }

    async fn await_link(&mut self) {
        let mut backoff = BACKOFF_FIRST;
        while self.parts.link.connect().await.is_err() {
            let leaves = *self.parts.phase.borrow() == Phase::Leaving;
            if leaves || self.gives_up() && self.has_nothing() {
                return;
            }
            self.pause(backoff.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        self.trouble.since = None;
    }

    /// Whether no job waits or runs here, and no end is to be reported.
    fn has_nothing(&mut self) -> bool {
        let load = self.collect(Instant::now());
        load.waiting == 0 && load.running == 0 && self.outbox.is_empty()
    }

    /// Whether a feeder without jobs stops although Redis has not confirmed it: the host drains, and Redis has not
    /// executed its commands for some time. If Redis still records jobs, because the replies to their claims were lost,
    /// other hosts reclaim them when the lease ends.
    pub(super) fn gives_up(&self) -> bool {
        let is_useless = self.trouble.since.is_some_and(|since| since.elapsed() >= GIVE_UP_AFTER);
        *self.parts.phase.borrow() == Phase::Draining && is_useless
    }

    /// Waits, unless the phase changes.
    pub(super) async fn pause(&mut self, wait: Duration) {
        let drains = *self.parts.phase.borrow() == Phase::Draining;
        let wait = if drains { wait.min(LOOK_EVERY) } else { wait };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = self.parts.phase.changed() => {}
        }
    }
}
