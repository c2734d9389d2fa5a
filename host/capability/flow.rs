//! How much of one plugin's traffic may be under way between the host and Redis. Redis carries out what has arrived on a
//! connection before it turns to the next one: 64 replies of 8 MiB at once would hold up everybody for a third of a
//! second. So a plugin has a bounded number of bytes under way; calls beyond it wait, which costs nobody else anything.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes that one plugin may have under way: some milliseconds of Redis' time. Larger values travel one by one.
const UNDER_WAY_BYTES: u64 = 2 << 20;
/// What is counted: a call without a value still counts one.
const UNIT_BYTES: u64 = 1 << 10;

/// One plugin's flow on this host.
#[derive(Debug)]
pub(super) struct Flow {
    room: Semaphore,
    /// Units a reply is expected to have: quick to rise with one that had more, slow to fall.
    expected: AtomicU32,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { room: Semaphore::new(units(UNDER_WAY_BYTES) as usize), expected: AtomicU32::new(1) }
    }

    /// Waits for room for a call that sends so many bytes and whose reply may have up to `reply_bytes_max`.
    pub(super) async fn enter(&self, sent_bytes: usize, reply_bytes_max: u64) -> SemaphorePermit<'_> {
        let reply = self.expected.load(Relaxed).min(units(reply_bytes_max));
        let wanted = units(sent_bytes as u64).max(reply).min(units(UNDER_WAY_BYTES));
        self.room.acquire_many(wanted).await.expect("it is never closed")
    }

    /// Learns how long a reply was.
    pub(super) fn learn(&self, reply_bytes: usize) {
        let (was, is) = (self.expected.load(Relaxed), units(reply_bytes as u64));
        // Two that learn at once may lose one of their lessons; there will be more.
        self.expected.store(if is >= was { is } else { was - (was - is).div_ceil(16) }, Relaxed);
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_replies_travel_together_and_giant_ones_one_by_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let flow = Flow::new();
            let most = 8 << 20;
            let small: Vec<_> = futures_util::future::join_all((0..1000).map(|_| flow.enter(20, most))).await;
            drop(small);
            flow.learn(8 << 20);
            let giant = flow.enter(20, most).await;
            assert!(flow.room.try_acquire().is_err(), "a second one waits");
            drop(giant);
            let bounded = flow.enter(20, 4 << 10).await;
            assert_eq!(bounded.num_permits(), 4, "a call that cannot have a giant reply");
            drop(bounded);
            for _ in 0..300 {
                flow.learn(10);
            }
            assert_eq!(flow.enter(20, most).await.num_permits(), 1, "forgotten in the end");
            assert_eq!(flow.enter(100 << 20, most).await.num_permits(), 2048, "what is sent counts as well");
        });
    }
}
