//! Gives claimed jobs back that have not begun, so that another host can run them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Feeder;
use crate::job::settle::Fate;
use crate::job::store::{Claimed, Delivery};
use crate::worker::counters::Counters;
use crate::worker::desk::{Ended, Load};

impl Feeder {
    /// Gives waiting jobs back if no run ends, so that another host can run them. Jobs without a record cannot be given
    /// back.
    pub(super) fn give_back_stuck(&mut self, mut load: Load, now: Instant) -> Load {
        if !self.demand.stuck.is_due(load, now) || self.lane.delivery == Delivery::AtMostOnce {
            return load;
        }
        let jobs = self.lane.desk.take_unbegun();
        load.waiting = load.waiting.saturating_sub(jobs.len());
        if !jobs.is_empty() {
            self.demand.stuck.gave_back(load.running, now);
            let order = self.lane.current().policy.order;
            for job in jobs {
                self.outbox.add(Ended::settled(job, Fate::GiveBack(order)), now);
            }
            self.demand.wake();
            self.lane.idle.store(false, Relaxed);
        }
        load
    }

    /// Gives back the jobs of an at-most-once queue when the host stops. The claim removed them from Redis, so there is no
    /// record to settle: they are pushed again, to be claimed next. Tried only once: if the reply was lost, a second try
    /// could make a job run twice.
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
