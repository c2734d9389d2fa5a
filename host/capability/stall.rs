//! How long one run was kept waiting by a Redis that did not answer: such time is not the guest's fault.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A shorter wait is what calls cost on a busy server.
const STALL_MIN: Duration = Duration::from_millis(100);

/// The stalls of one run.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    micros: AtomicU64,
}

/// A wait under way. Counted when it ends, also if the run is dropped in the middle of it.
struct Waiting<'a> {
    stalls: &'a Stalls,
    begun: Instant,
}

impl Stalls {
    /// Waits for an answer of Redis.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        let _waiting = Waiting { stalls: self, begun: Instant::now() };
        answer.await
    }

    /// All stalls together.
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
