//! The jobs that a feeder believes this host to have in flight, each with the bytes of its payload.

use rustc_hash::FxHashMap;

use crate::worker::brake::RunKey;

/// Jobs that this host has claimed and whose end Redis has not accepted, by lease epoch and slot. Their bytes always
/// add up to `bytes()`.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    bytes_of: FxHashMap<RunKey, u64>,
    bytes: u64,
}

impl InFlight {
    /// Adds a job. A job that is already known keeps one entry, with the new size.
    pub(super) fn insert(&mut self, job: RunKey, bytes: u64) {
        let before = self.bytes_of.insert(job, bytes).unwrap_or(0);
        self.bytes = self.bytes - before + bytes;
    }

    /// Removes a job. Does nothing if it is not in flight.
    pub(super) fn remove(&mut self, job: RunKey) {
        self.bytes -= self.bytes_of.remove(&job).unwrap_or(0);
    }

    /// Whether the job is in flight.
    pub(super) fn contains(&self, job: RunKey) -> bool {
        self.bytes_of.contains_key(&job)
    }

    /// Bytes of the payload of one job; 0 if it is not in flight.
    pub(super) fn bytes_of(&self, job: RunKey) -> u64 {
        self.bytes_of.get(&job).copied().unwrap_or(0)
    }

    /// Bytes of all payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The jobs that were claimed in the lease epoch of this number.
    pub(super) fn of_epoch(&self, number: u32) -> impl Iterator<Item = RunKey> {
        self.bytes_of.keys().filter(move |(epoch, _)| *epoch == number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::store::Slot;

    fn job(epoch: u32, seq: u64) -> RunKey {
        (epoch, Slot { seq, enveloped: false })
    }

    #[test]
    fn the_bytes_are_those_of_the_jobs_whatever_is_added_or_removed_twice() {
        let mut jobs = InFlight::default();
        jobs.insert(job(0, 1), 10);
        jobs.insert(job(0, 2), 20);
        jobs.insert(job(0, 2), 5);
        jobs.insert(job(1, 1), 100);
        assert_eq!((jobs.bytes(), jobs.bytes_of(job(0, 2))), (115, 5));
        jobs.remove(job(0, 1));
        jobs.remove(job(0, 1));
        jobs.remove(job(7, 7));
        assert_eq!((jobs.bytes(), jobs.bytes_of(job(0, 1)), jobs.contains(job(0, 1))), (105, 0, false));
        jobs.remove(job(0, 2));
        jobs.remove(job(1, 1));
        assert_eq!(jobs.bytes(), 0);
    }

    #[test]
    fn jobs_of_two_epochs_are_different_jobs() {
        let mut jobs = InFlight::default();
        jobs.insert(job(0, 1), 1);
        jobs.insert(job(1, 1), 1);
        jobs.insert(job(1, 2), 1);
        assert_eq!(jobs.of_epoch(0).collect::<Vec<_>>(), [job(0, 1)]);
        assert_eq!(jobs.of_epoch(1).count(), 2);
        assert_eq!(jobs.of_epoch(2).count(), 0);
    }
}
