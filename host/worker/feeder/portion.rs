//! Limits of the bytes of one call to Redis, which serves nobody else meanwhile. A claim returns payloads. For the
//! end of a job with a header, Redis reads its record because of the notes in it, and the payload is part of the
//! record.

/// Most bytes of payloads in one claim. While the reply is read, memory holds it several times, and Redis needs some
/// milliseconds for each MiB.
pub const CLAIM_BYTES_MAX: u64 = 2 << 20;

/// Most bytes of payloads that a lane holds before it claims no more: those of its runs, and one more claim for the
/// next runs.
pub fn held_bytes_max(concurrency: usize, payload_bytes_max: u64) -> u64 {
    payload_bytes_max.saturating_mul(concurrency as u64).saturating_add(CLAIM_BYTES_MAX)
}

/// Most bytes of records that Redis reads in one call; one record is allowed whatever its size.
const RECORDS_BYTES_MAX: u64 = 2 << 20;

/// How many of these, by the bytes of their records, go into one call: at least one.
pub(super) fn portion(bytes: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0;
    let fits = |bytes: &u64| {
        sum += bytes;
        sum <= RECORDS_BYTES_MAX
    };
    bytes.take_while(fits).count().max(1)
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
