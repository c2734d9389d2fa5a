//! How long one run waited for slow replies of Redis. That time is not the guest's fault.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Shorter waits are not counted: on a busy server they are normal.
const STALL_MIN: Duration = Duration::from_millis(100);

/// The counted waits of one run.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    micros: AtomicU64,
}

/// A wait in progress. It is counted when it ends, even if the run is dropped during the wait.
struct Waiting<'a> {
    stalls: &'a Stalls,
    begun: Instant,
}

impl Stalls {
    /// Waits for a reply of Redis, and counts the wait if it was long.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        let _waiting = Waiting { stalls: self, begun: Instant::now() };
        answer.await
    }

    /// The sum of all counted waits.
    pub(super) fn total(&self) -> Duration {
        Duration::from_micros(self.micros.load(Relaxed))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        if waited >= STALL_MIN {
            let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
            self.stalls.micros.fetch_add(micros, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_long_waits_count_and_those_that_were_given_up() {
        let stalls = Stalls::default();
        stalls.wait(async {}).await;
        assert_eq!(stalls.total(), Duration::ZERO);
        let long = Waiting { stalls: &stalls, begun: Instant::now() - Duration::from_secs(2) };
        drop(long);
        assert!(stalls.total() >= Duration::from_secs(2));
    }
}
