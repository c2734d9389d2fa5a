//! What a feeder has lost sight of: jobs of its own whose claim was carried out and whose reply was lost, and what its
//! former tenures had claimed.

use std::time::Instant;

use super::counters::Counters;
use super::feeder::Feeder;
use crate::job::store::{Delivery, Slot, StoreError};

impl Feeder {
    /// Runs what Redis says we hold and we know nothing of: its claim was carried out, the reply was lost. Also
    /// clears up after former tenures. False when Redis could not be asked.
    pub(super) async fn adopt(&mut self) -> bool {
        match self.try_adopt().await {
            Ok(()) => true,
            Err(error) => {
                self.setback(error).await;
                false
            }
        }
    }

    async fn try_adopt(&mut self) -> Result<(), StoreError> {
        if self.lane.delivery == Delivery::AtMostOnce {
            return Ok(());
        }
        self.take_up();
        let tenure = self.tenure.clone();
        let recorded = self.lane.store.inflight(&tenure.host).await?;
        let given = recorded.iter().map(|slot| slot.seq + 1).max();
        self.next_seq = self.next_seq.max(given.unwrap_or(0));
        let unknown = |slot: &Slot| !self.held.contains_key(&(tenure.number, *slot));
        let lost: Vec<Slot> = recorded.into_iter().filter(unknown).collect();
        if !lost.is_empty() {
            let jobs = self.lane.store.fetch(&tenure.host, &lost).await?;
            tracing::info!(
                queue = self.lane.queue.as_str(),
                jobs = jobs.len(),
                "adopted jobs of lost replies"
            );
            Counters::add(&self.lane.counters.adopted, jobs.len());
            self.lay_out(jobs, Instant::now());
        }
        if let Err(error) = self.lane.store.trim().await {
            tracing::debug!(queue = self.lane.queue.as_str(), %error, "dead jobs were not trimmed");
        }
        self.listen().await?;
        self.sweep_former().await
    }

    /// Gives back what former tenures claimed without our knowing, once none of their known jobs runs.
    async fn sweep_former(&mut self) -> Result<(), StoreError> {
        let crashes_max = self.lane.current().policy.crashes_max;
        let mut kept = Vec::new();
        for former in std::mem::take(&mut self.former) {
            if self.held.keys().any(|(number, _)| *number == former.number) {
                kept.push(former);
                continue;
            }
            let swept = self.lane.store.reap(&former.host, true, crashes_max).await;
            if !matches!(&swept, Ok(reaped) if reaped.left == 0) {
                kept.push(former);
            }
            if let Err(error) = swept {
                self.former.extend(kept);
                return Err(error);
            }
        }
        self.former.extend(kept);
        Ok(())
    }
}
