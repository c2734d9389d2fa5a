//! How many jobs a lane holds beyond those that run: enough that runs never wait for Redis, not so many that
//! jobs wait here while another host is idle. Pure arithmetic. If runs do not reach these jobs all the same, `stuck`
//! gives them back.

use std::time::{Duration, Instant};

/// Jobs held back for runs of the next few milliseconds, at the most.
const AHEAD_MAX: usize = 1024;
/// How far ahead to claim: some round trips under load, where Redis is busy with commits for milliseconds.
const AHEAD_MS: f64 = 8.0;
/// Weight of the latest measurement in the rate.
const WEIGHT: f64 = 0.3;
/// Shortest time over which a rate is measured.
const SPAN_MIN: Duration = Duration::from_millis(1);
/// How long a rate counts in full while no run ends: a busy Redis takes some of this time to answer.
const BELIEVED: Duration = Duration::from_millis(10);
/// The rate then halves in this time, again and again.
const HALVES_IN: Duration = Duration::from_millis(10);

/// Learns how fast runs end and says how many jobs to hold.
#[derive(Debug)]
pub(super) struct Prefetch {
    jobs_per_ms: f64,
    ended: u64,
    since: Instant,
}

impl Prefetch {
    pub(super) fn new(now: Instant) -> Self {
        Self { jobs_per_ms: 0.0, ended: 0, since: now }
    }

    /// Takes note of `count` runs that ended by `now`.
    pub(super) fn ended(&mut self, count: usize, now: Instant) {
        self.ended += count as u64;
        let span = now.saturating_duration_since(self.since);
        if span < SPAN_MIN {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        let rate = self.ended as f64 / (span.as_secs_f64() * 1000.0);
        self.jobs_per_ms += WEIGHT * (rate - self.jobs_per_ms);
        (self.ended, self.since) = (0, now);
    }

    /// Jobs to hold beyond those that run: fewer and fewer while no run ends.
    pub(super) fn ahead(&self, now: Instant) -> usize {
        let doubted = now.saturating_duration_since(self.since).saturating_sub(BELIEVED);
        let believed = (-doubted.as_secs_f64() / HALVES_IN.as_secs_f64()).exp2();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just below")]
        let ahead = (self.jobs_per_ms * believed * AHEAD_MS) as usize;
        ahead.min(AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_jobs_are_not_claimed_ahead_and_fast_ones_are() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(start);
        assert_eq!(prefetch.ahead(start), 0);
        for second in 1..20 {
            prefetch.ended(8, start + Duration::from_secs(second));
        }
        let start = start + Duration::from_secs(19);
        assert_eq!(prefetch.ahead(start), 0, "eight runs a second: nothing ahead");
        for step in 1..200 {
            prefetch.ended(1000, start + Duration::from_millis(step * 10));
        }
        let now = start + Duration::from_millis(1990);
        assert!((300..=AHEAD_MAX).contains(&prefetch.ahead(now)), "{}", prefetch.ahead(now));
        let now = start + Duration::from_secs(3);
        prefetch.ended(usize::MAX >> 20, now);
        assert_eq!(prefetch.ahead(now), AHEAD_MAX, "bounded");
    }

    #[test]
    fn the_rate_of_the_past_is_forgotten_while_no_run_ends() {
        let start = Instant::now();
        let mut prefetch = Prefetch::new(start);
        for step in 1..200 {
            prefetch.ended(1000, start + Duration::from_millis(step * 10));
        }
        let last = start + Duration::from_millis(1990);
        let after = |ms| prefetch.ahead(last + Duration::from_millis(ms));
        assert_eq!(after(0), after(10), "a few milliseconds say nothing");
        assert!(after(20) < after(10) && after(20) > 0);
        assert_eq!(after(110), 0);
    }
}
