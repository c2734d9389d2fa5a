//! Jobs of an at-most-once queue that were claimed and have not begun when the host stops. The claim removed them
//! from Redis, so there is no record to settle: they are pushed again.

use super::counters::Counters;
use super::feeder::Feeder;
use crate::job::store::Claimed;

impl Feeder {
    /// Pushes waiting jobs back, to be claimed next. Tried only once: if the reply was lost, a second try could make
    /// a job run twice.
    pub(super) async fn give_back_unbegun(&mut self) {
        let jobs: Vec<Claimed> = self.lane.desk.take_back().into_iter().map(|job| job.claimed).collect();
        if jobs.is_empty() {
            return;
        }
        let (queue, count) = (self.lane.queue.as_str(), jobs.len());
        let order = self.lane.current().policy.order;
        match self.lane.store.give_back_unrecorded(&jobs, order).await {
            Ok(()) => Counters::add(&self.lane.counters.released, count),
            Err(error) => {
                tracing::warn!(queue, jobs = count, %error, "jobs that had not begun may be lost: Redis did not take them back");
            }
        }
    }
}
