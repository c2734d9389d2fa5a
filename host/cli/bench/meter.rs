//! What a bench notes of a host's runs, and what stands in for the component where the host alone is measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use sandhog::sandbox::Outcome;
use sandhog::worker::lane::Observe;

use super::micros;

/// What stands in for the component.
pub(super) type StandIn = fn(&[u8]) -> Outcome;

/// Notes what the host does. All times count from its making.
pub(super) struct Meter {
    origin: Instant,
    stand_in: Option<StandIn>,
    /// Microseconds at the first start of a run; `u64::MAX` before it.
    first_us: AtomicU64,
    last_us: AtomicU64,
    settled: AtomicU64,
    claim_to_settled: Mutex<Histogram<u64>>,
}

impl Meter {
    pub(super) fn new(stand_in: Option<StandIn>) -> Self {
        Self {
            origin: Instant::now(),
            stand_in,
            first_us: AtomicU64::new(u64::MAX),
            last_us: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            claim_to_settled: Mutex::new(micros()),
        }
    }

    /// From the first start of a run to the last settlement.
    pub(super) fn took_us(&self) -> u64 {
        let first_us = self.first_us.load(Ordering::Relaxed);
        self.last_us.load(Ordering::Relaxed).saturating_sub(first_us).max(1)
    }

    /// Jobs settled so far.
    pub(super) fn settled_jobs(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// From the claim of a job to its settlement.
    pub(super) fn latency(&self) -> Histogram<u64> {
        self.claim_to_settled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Observe for Meter {
    fn started(&self, _: &[u8]) {
        if self.first_us.load(Ordering::Relaxed) == u64::MAX {
            self.first_us.fetch_min(self.now_us(), Ordering::Relaxed);
        }
    }

    fn settled(&self, claimed_at: Instant) {
        let took = u64::try_from(claimed_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.claim_to_settled.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
        self.last_us.store(self.now_us(), Ordering::Relaxed);
        self.settled.fetch_add(1, Ordering::Release);
    }

    fn stand_in(&self, payload: &[u8]) -> Option<Outcome> {
        self.stand_in.map(|handle| handle(payload))
    }
}

/// The handler that does nothing.
pub(super) fn noop(_: &[u8]) -> Outcome {
    Outcome::Done
}

/// The handler of the example `cpu`, line by line.
pub(super) fn cpu(payload: &[u8]) -> Outcome {
    const ROUNDS: u32 = 10_000;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for _ in 0..ROUNDS {
        for byte in payload {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    std::hint::black_box(hash);
    Outcome::Done
}
