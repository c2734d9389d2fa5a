//! How many bytes one call to Redis has to do with: Redis serves nobody else meanwhile. A claim brings payloads. What ends
//! a job with a header has Redis read its record, for the notes that are in it, and the payload is part of the record.

use super::desk::Ended;
use super::feeder::Feeder;

/// Most bytes of one claim: its answer lies in memory more than once while it is read, and Redis, which needs some
/// milliseconds for each MiB, serves nobody else meanwhile.
pub const CLAIM_BYTES_MAX: u64 = 2 << 20;

/// Most bytes of payloads that a lane holds before it claims no more: those of its runs, and as much again as one claim
/// brings for the next ones.
pub fn held_bytes_max(concurrency: usize, payload_bytes_max: u64) -> u64 {
    payload_bytes_max.saturating_mul(concurrency as u64).saturating_add(CLAIM_BYTES_MAX)
}

/// Most bytes of such records in one call; one is there in any case.
const RECORDS_BYTES_MAX: u64 = 2 << 20;

/// How many of these, by the bytes of the records that Redis reads of each, go into one call.
pub(super) fn portion(bytes: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0;
    let fits = |bytes: &u64| {
        sum += bytes;
        sum <= RECORDS_BYTES_MAX
    };
    bytes.take_while(fits).count().max(1)
}

impl Feeder {
    /// Takes those ends out of the batch that are too many for one turn.
    pub(super) fn keep_for_later(&mut self) -> Vec<Ended> {
        let count = portion(self.batch.iter().map(|ended| self.record_bytes(ended)));
        self.batch.split_off(count.min(self.batch.len()))
    }

    fn record_bytes(&self, ended: &Ended) -> u64 {
        let held = || self.held.get(&(ended.tenure.number, ended.slot));
        if ended.slot.enveloped { held().copied().unwrap_or(0) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_many_small_records_and_one_large_one() {
        let portion = |bytes: &[u64]| portion(bytes.iter().copied());
        assert_eq!(portion(&[0; 500]), 500);
        assert_eq!(portion(&[100; 500]), 500);
        assert_eq!(portion(&[1 << 20; 5]), 2);
        assert_eq!(portion(&[64 << 20, 1]), 1);
        assert_eq!(portion(&[1, 64 << 20]), 1);
    }
}
