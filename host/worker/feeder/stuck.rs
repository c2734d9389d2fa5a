//! Gives claimed jobs back to the queue if no run ends, so that another host can run them. After that this host
//! claims no more until a run ends, or until a wait that doubles each time: a host that is alone must not claim and
//! give back all the time.

use std::time::{Duration, Instant};

use crate::worker::desk::Load;

/// How long claimed jobs wait here while no run ends.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long nothing is claimed after the first time if no run ends; doubled each time, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Whether runs end, and how many jobs may be held if they do not.
#[derive(Debug)]
pub(super) struct Stuck {
    /// Since when no run has ended and nothing was claimed, or when that was last checked.
    since: Instant,
    /// Most jobs to hold, including those that run.
    most: usize,
    /// When `most` stops applying.
    retry_at: Option<Instant>,
    retry_after: Duration,
}

impl Stuck {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, most: usize::MAX, retry_at: None, retry_after: RETRY_FIRST }
    }

    /// Records `count` runs that ended by `now`: each makes room for one job that runs and one that follows.
    pub(super) fn ended(&mut self, count: usize, now: Instant) {
        self.since = now;
        self.most = self.most.saturating_add(count.saturating_mul(2));
        self.retry_after = RETRY_FIRST;
    }

    /// Records that jobs were claimed.
    pub(super) fn laid_out(&mut self, now: Instant) {
        self.since = now;
    }

    /// Most jobs to hold, including those that run.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether waiting jobs are to be given back: no run has ended for some time. Asked again, it answers after as long.
    pub(super) fn is_due(&mut self, load: Load, now: Instant) -> bool {
        self.retry(now);
        if load.waiting == 0 || now < self.since + PATIENCE {
            return false;
        }
        self.since = now;
        // If nothing runs, the jobs are about to start.
        load.running > 0
    }

    /// Lifts the limit once enough time has passed.
    fn retry(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            (self.most, self.retry_at) = (usize::MAX, None);
        }
    }

    /// When to check again, with this load.
    pub(super) fn look_at(&self, load: Load) -> Option<Instant> {
        // Some of the waiting jobs may have begun meanwhile.
        let patience = (load.waiting > 0).then(|| self.since + PATIENCE);
        patience.into_iter().chain(self.retry_at).min()
    }

    /// Records that jobs were given back while `running` jobs ran.
    pub(super) fn gave_back(&mut self, running: usize, now: Instant) {
        (self.since, self.most) = (now, running);
        self.retry_at = Some(now + self.retry_after);
        self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_gave_back_claims_no_more_until_a_run_ends_or_ever_more_time_has_passed() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut stuck = Stuck::new(start);
        let most = |stuck: &mut Stuck, now| {
            stuck.retry(now);
            stuck.most()
        };
        assert_eq!(most(&mut stuck, start), usize::MAX);
        stuck.gave_back(8, start);
        stuck.ended(1, start);
        assert_eq!(most(&mut stuck, start), 10, "one for the place, one to follow");
        for (given_back, still, no_more) in [(0, 0, 1), (1, 2, 3), (3, 6, 7)] {
            stuck.gave_back(8, after(given_back));
            assert_eq!(most(&mut stuck, after(still)), 8);
            assert_eq!(most(&mut stuck, after(no_more)), usize::MAX);
        }
        for _ in 0..99 {
            stuck.gave_back(8, after(9));
        }
        assert_eq!(most(&mut stuck, after(68)), 8);
        assert_eq!(most(&mut stuck, after(69)), usize::MAX, "a minute at the longest");
    }
}
