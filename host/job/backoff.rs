//! How long a failed job waits before it runs again. Pure: time and chance come from the caller.

use std::time::Duration;

/// Delays that grow from attempt to attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// After the first failed attempt.
    pub base: Duration,
    /// How much longer each further delay is.
    pub factor: f64,
    /// No delay is longer, but for jitter.
    pub max: Duration,
    /// Share of a delay by which it is shortened or lengthened at random, so that jobs that failed together do
    /// not come back together.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(600), jitter: 0.2 }
    }
}

impl Backoff {
    /// The delay after `attempt` failed attempts (1 after the first); `random` is from 0 to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts from float saturate")]
    pub fn delay_ms(&self, attempt: u32, random: f64) -> u64 {
        let grown = self.base.as_secs_f64() * self.factor.powf(f64::from(attempt.saturating_sub(1)));
        // NaN, from infinity times zero, becomes the maximum here.
        let delay = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter * (random * 2.0 - 1.0);
        (delay * spread * 1000.0).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_maximum_and_stay_there() {
        let backoff = Backoff::default();
        for (attempt, delay_ms) in [
            (0, 1_000),
            (1, 1_000),
            (2, 2_000),
            (3, 4_000),
            (10, 512_000),
            (11, 600_000),
            (u32::MAX, 600_000),
        ] {
            assert_eq!(backoff.delay_ms(attempt, 0.5), delay_ms, "attempt {attempt}");
        }
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let backoff = Backoff::default();
        assert_eq!((backoff.delay_ms(1, 0.0), backoff.delay_ms(1, 1.0)), (800, 1_200));
        let steady = Backoff { jitter: 0.0, ..backoff };
        assert_eq!((steady.delay_ms(1, 0.0), steady.delay_ms(1, 1.0)), (1_000, 1_000));
    }

    #[test]
    fn extremes_give_numbers() {
        let zero = Backoff { base: Duration::ZERO, factor: f64::INFINITY, ..Backoff::default() };
        assert_eq!(zero.delay_ms(5, 0.5), 600_000);
        assert_eq!(zero.delay_ms(1, 0.5), 0);
        let never = Backoff { max: Duration::ZERO, ..Backoff::default() };
        assert_eq!(never.delay_ms(9, 1.0), 0);
    }
}
