//! What a feeder compares with Redis after a reconnect, after its lease had ended, and from time to time: the records
//! of this host with the jobs that the feeder holds. Jobs that the feeder does not know, because the reply to their
//! claim was lost, are adopted. Runs whose record is gone, because another host took the job, are stopped. Jobs that
//! were claimed under former ids and that the feeder does not know are given back.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::brake::RunKey;
use super::counters::Counters;
use super::desk::Ended;
use super::feeder::Feeder;
use super::setback::BACKOFF_FIRST;
use crate::job::lease::Death;
use crate::job::store::{Delivery, Slot, StoreError};

/// How soon after a reconnect records are compared again: a claim that was sent over the old connection may have been
/// carried out after the first comparison.
const AUDIT_FIRST: Duration = Duration::from_secs(1);
/// How often they are compared while nothing happens.
pub(super) const AUDIT_MAX: Duration = Duration::from_secs(60);

impl Feeder {
    /// Whether Redis and the feeder may disagree about the jobs that the feeder holds: after a reconnect,
    /// notifications may have been missed and replies lost; after the end of the lease, other hosts may have taken
    /// jobs.
    pub(super) fn wants_audit(&mut self) -> bool {
        let reconnected = self.generations.has_changed().unwrap_or(false);
        let lapsed = self.lapses.has_changed().unwrap_or(false);
        if reconnected || lapsed {
            self.generations.mark_unchanged();
            self.lapses.mark_unchanged();
            self.request_audit();
        }
        self.audit_wanted
    }

    pub(super) fn request_audit(&mut self) {
        (self.audit_wanted, self.hungry, self.due) = (true, true, None);
        self.audit_gap = AUDIT_FIRST;
    }

    /// Compares records with what runs; less and less often while nothing happens.
    pub(super) async fn audit(&mut self) {
        if self.adopt().await {
            self.audit_wanted = false;
            self.audit_gap = (self.audit_gap * 4).min(AUDIT_MAX);
            // Nobody else reads a queue that is paused.
            self.hungry |= self.lane.paused.load(Relaxed);
        }
        self.audit_at = Instant::now() + self.audit_gap;
    }

    /// The lease has ended: renews it, or continues under a new id if this host is not registered any more.
    pub(super) async fn rejoin(&mut self) {
        let lost = self.tenure.clone();
        match self.parts.membership.join(Some(&lost)).await {
            // Other hosts may have taken jobs meanwhile.
            Ok(_) => self.request_audit(),
            Err(_) => self.pause(BACKOFF_FIRST).await,
        }
    }

    /// Continues under the host's present id.
    fn follow(&mut self) {
        let tenure = self.parts.membership.tenure();
        if tenure.number != self.tenure.number {
            self.take_up();
            self.former.push(std::mem::replace(&mut self.tenure, tenure));
            self.next_seq = 0;
        }
    }

    /// Compares; false if Redis could not be asked.
    async fn adopt(&mut self) -> bool {
        match self.try_adopt().await {
            Ok(()) => {
                self.trouble.ease(false);
                true
            }
            Err(error) => {
                self.setback(error).await;
                false
            }
        }
    }

    async fn try_adopt(&mut self) -> Result<(), StoreError> {
        self.follow();
        let connection = *self.generations.borrow();
        self.parts.membership.describe_again(connection).await?;
        if self.lane.delivery == Delivery::AtMostOnce {
            self.former.clear();
            return Ok(());
        }
        // Cancelled jobs first, so that they are not counted as taken.
        self.listen().await?;
        self.take_up();
        let tenure = self.tenure.clone();
        let recorded = self.lane.store.inflight(&tenure.host).await?;
        self.stop_taken(tenure.number, &recorded);
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
        for former in self.former.clone() {
            let recorded = self.lane.store.inflight(&former.host).await?;
            self.stop_taken(former.number, &recorded);
        }
        self.sweep_former().await
    }

    /// Stops runs whose jobs other hosts have taken from this tenure.
    fn stop_taken(&mut self, number: u32, recorded: &[Slot]) {
        let gone = self.stop_what_is_gone(number, recorded);
        if gone > 0 {
            Counters::add(&self.lane.counters.taken, gone);
            let (plugin, queue) = (&self.lane.plugin, self.lane.queue.as_str());
            tracing::warn!(plugin, queue, jobs = gone, "stopped runs of jobs that this host no longer owns");
        }
    }

    /// Stops the runs of a tenure that have no record among `recorded`; returns their number.
    pub(super) fn stop_what_is_gone(&mut self, number: u32, recorded: &[Slot]) -> usize {
        let recorded: HashSet<RunKey> = recorded.iter().map(|slot| (number, *slot)).collect();
        // Runs that have ended are about to be reported, and Redis will answer that they come too late.
        self.lane.desk.collect(&mut self.batch);
        let ended: HashSet<RunKey> = self.batch.iter().flat_map(Ended::runs).collect();
        let is_gone = |run: &&RunKey| run.0 == number && !recorded.contains(*run) && !ended.contains(*run);
        let gone: HashSet<RunKey> = self.held.keys().filter(is_gone).copied().collect();
        if gone.is_empty() {
            return 0;
        }
        for run in &gone {
            self.held_bytes -= self.held.remove(run).unwrap_or(0);
        }
        self.lane.desk.stop(&gone);
        self.hungry |= self.limited;
        gone.len()
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
            let swept = self.lane.store.reap(&former.host, Death::Alive, crashes_max).await;
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
