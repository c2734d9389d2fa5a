//! The lease epochs under which a feeder has jobs: the present one, and earlier ones whose jobs have not all ended.

use std::sync::Arc;

use crate::job::store::Slot;
use crate::worker::membership::Tenure;

/// The lease epochs of a feeder's jobs.
#[derive(Debug)]
pub(super) struct Epochs {
    present: Arc<Tenure>,
    /// Earlier epochs, the oldest first.
    pub(super) expired: Vec<Arc<Tenure>>,
    /// Least sequence number for the next claim of the present epoch.
    next_seq: u64,
}

impl Epochs {
    pub(super) fn new(present: Arc<Tenure>) -> Self {
        Self { present, expired: Vec::new(), next_seq: 0 }
    }

    /// The present epoch.
    pub(super) fn present(&self) -> &Arc<Tenure> {
        &self.present
    }

    /// Least sequence number for the next claim.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Continues in this epoch; false if it is the present one.
    pub(super) fn begin(&mut self, epoch: Arc<Tenure>) -> bool {
        if epoch.number == self.present.number {
            return false;
        }
        self.expired.push(std::mem::replace(&mut self.present, epoch));
        self.next_seq = 0;
        true
    }

    /// A claim has given all sequence numbers below this one.
    pub(super) fn claimed_to(&mut self, next_seq: u64) {
        self.next_seq = next_seq;
    }

    /// Redis has records of the present epoch with these slots: no claim gives their numbers again.
    pub(super) fn has_recorded(&mut self, recorded: &[Slot]) {
        let given = recorded.iter().map(|slot| slot.seq + 1).max();
        self.next_seq = self.next_seq.max(given.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::name::HostId;

    fn epoch(number: u32) -> Arc<Tenure> {
        Arc::new(Tenure { number, host: HostId::new("h", 1, u64::from(number)).unwrap() })
    }

    #[test]
    fn a_new_epoch_counts_from_zero_and_the_former_one_is_kept() {
        let mut epochs = Epochs::new(epoch(0));
        epochs.claimed_to(7);
        assert!(!epochs.begin(epoch(0)));
        assert_eq!((epochs.next_seq(), epochs.expired.len()), (7, 0));
        assert!(epochs.begin(epoch(1)));
        assert_eq!((epochs.next_seq(), epochs.present().number, epochs.expired[0].number), (0, 1, 0));
    }

    #[test]
    fn the_sequence_numbers_of_a_claim_whose_reply_was_lost_are_not_given_again() {
        let mut epochs = Epochs::new(epoch(0));
        epochs.claimed_to(7);
        epochs.has_recorded(&[]);
        assert_eq!(epochs.next_seq(), 7);
        epochs.has_recorded(&[Slot { seq: 9, enveloped: false }, Slot { seq: 3, enveloped: true }]);
        assert_eq!(epochs.next_seq(), 10);
        epochs.has_recorded(&[Slot { seq: 4, enveloped: false }]);
        assert_eq!(epochs.next_seq(), 10);
    }
}
