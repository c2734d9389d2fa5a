//! Compares the records of this host in Redis with the jobs that the feeder holds: after a reconnect, after the lease
//! had ended, and from time to time. Jobs that the feeder does not know, because the reply to their claim was lost, are
//! recovered. Runs whose record is gone, because another host took the job, are stopped. Jobs that were claimed in
//! earlier lease epochs and that the feeder does not know are given back.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Feeder;
use super::in_flight::InFlight;
use super::outbox::Outbox;
use super::setback::BACKOFF_FIRST;
use crate::job::lease::Death;
use crate::job::store::{Delivery, Slot, StoreError};
use crate::worker::brake::RunKey;
use crate::worker::counters::Counters;

/// How soon after a reconnect records are compared again: a claim that was sent over the old connection may have been
/// carried out after the first comparison.
const GAP_FIRST: Duration = Duration::from_secs(1);
/// How often they are compared while nothing happens.
const GAP_MAX: Duration = Duration::from_secs(60);

/// When to compare.
#[derive(Debug)]
pub(super) struct Reconciling {
    /// Changes with each new connection: notifications may have been missed and replies lost.
    generations: watch::Receiver<u64>,
    /// Changes each time the lease is found to have ended: other hosts may have taken jobs.
    lapses: watch::Receiver<u64>,
    /// Whether Redis and the feeder may disagree. No claim is made before they are compared: it could be given the
    /// sequence numbers of a claim whose reply was lost.
    is_wanted: bool,
    at: Instant,
    gap: Duration,
}

impl Reconciling {
    pub(super) fn new(generations: watch::Receiver<u64>, lapses: watch::Receiver<u64>, now: Instant) -> Self {
        Self { generations, lapses, is_wanted: false, at: now + GAP_MAX, gap: GAP_MAX }
    }

    /// Whether Redis and the feeder may disagree about the jobs that the feeder holds.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// When to compare next, if nothing happens before.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// The connection that the feeder talks over.
    fn generation(&self) -> u64 {
        *self.generations.borrow()
    }

    /// Whether there is a new connection, or the lease has ended, since this was last asked.
    fn has_changed(&mut self) -> bool {
        let reconnected = self.generations.has_changed().unwrap_or(false);
        let lapsed = self.lapses.has_changed().unwrap_or(false);
        self.generations.mark_unchanged();
        self.lapses.mark_unchanged();
        reconnected || lapsed
    }

    /// Waits for a new connection or the end of the lease.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.generations.changed() => {}
            Ok(()) = self.lapses.changed() => {}
            // The host ends.
            else => std::future::pending().await,
        }
    }

    fn request(&mut self) {
        (self.is_wanted, self.gap) = (true, GAP_FIRST);
    }

    /// Plans the next comparison: less and less often while nothing happens.
    fn plan(&mut self, was_done: bool, now: Instant) {
        if was_done {
            self.is_wanted = false;
            self.gap = (self.gap * 4).min(GAP_MAX);
        }
        self.at = now + self.gap;
    }
}

impl Feeder {
    /// Notes a new connection, or the end of the lease.
    pub(super) fn note_changes(&mut self) {
        if self.reconciling.has_changed() {
            self.request_reconciliation();
        }
    }

    pub(super) fn request_reconciliation(&mut self) {
        self.reconciling.request();
        self.demand.forget();
    }

    /// Compares records with what runs.
    pub(super) async fn reconcile(&mut self) {
        let result = self.try_reconcile().await;
        let was_done = result.is_ok();
        match result {
            Ok(()) => {
                self.trouble.ease(false);
                if self.lane.paused.load(Relaxed) {
                    // Nobody else reads a queue that is paused.
                    self.demand.wake();
                }
            }
            Err(error) => self.setback(error).await,
        }
        self.reconciling.plan(was_done, Instant::now());
    }

    /// The lease has ended: renews it, or continues under a new id if this host is not registered any more.
    pub(super) async fn rejoin(&mut self) {
        let lost = self.epochs.present().clone();
        match self.parts.membership.join(Some(&lost)).await {
            // Other hosts may have taken jobs meanwhile.
            Ok(_) => self.request_reconciliation(),
            Err(_) => self.pause(BACKOFF_FIRST).await,
        }
    }

    /// Continues in the host's present lease epoch.
    fn follow_epoch(&mut self) {
        let epoch = self.parts.membership.tenure();
        if epoch.number != self.epochs.present().number {
            self.process_reply();
            self.outbox.begin_epoch(epoch.number);
            self.epochs.begin(epoch);
        }
    }

    async fn try_reconcile(&mut self) -> Result<(), StoreError> {
        self.follow_epoch();
        self.parts.membership.describe_again(self.reconciling.generation()).await?;
        if self.lane.delivery == Delivery::AtMostOnce {
            self.epochs.expired.clear();
            return Ok(());
        }
        // Cancelled jobs first, so that they are not counted as taken.
        self.read_notice().await?;
        self.process_reply();
        let epoch = self.epochs.present().clone();
        let recorded = self.lane.store.inflight(&epoch.host).await?;
        self.stop_taken(epoch.number, &recorded);
        self.epochs.has_recorded(&recorded);
        let lost = lost(&self.in_flight, epoch.number, recorded);
        if !lost.is_empty() {
            let jobs = self.lane.store.fetch(&epoch.host, &lost).await?;
            let queue = self.lane.queue.as_str();
            tracing::info!(queue, jobs = jobs.len(), "recovered jobs whose claim reply was lost");
            Counters::add(&self.lane.counters.adopted, jobs.len());
            self.lay_out(jobs, Instant::now());
        }
        if let Err(error) = self.lane.store.trim().await {
            tracing::debug!(queue = self.lane.queue.as_str(), %error, "dead jobs were not trimmed");
        }
        for expired in self.epochs.expired.clone() {
            let recorded = self.lane.store.inflight(&expired.host).await?;
            self.stop_taken(expired.number, &recorded);
        }
        self.sweep_expired().await
    }

    /// Stops runs whose jobs other hosts have taken from this epoch.
    fn stop_taken(&mut self, number: u32, recorded: &[Slot]) {
        let stopped = self.stop_unrecorded(number, recorded);
        if stopped > 0 {
            Counters::add(&self.lane.counters.taken, stopped);
            let (plugin, queue) = (&self.lane.plugin, self.lane.queue.as_str());
            tracing::warn!(
                plugin,
                queue,
                jobs = stopped,
                "stopped runs of jobs that this host no longer owns"
            );
        }
    }

    /// Stops the runs of an epoch that have no record among `recorded`; returns their number.
    pub(super) fn stop_unrecorded(&mut self, number: u32, recorded: &[Slot]) -> usize {
        // Runs that have ended are about to be reported, and Redis will answer that they come too late.
        self.collect(Instant::now());
        let gone = gone(&self.in_flight, &self.outbox, number, recorded);
        if !gone.is_empty() {
            gone.iter().for_each(|run| self.in_flight.remove(*run));
            self.lane.desk.stop(&gone);
            self.demand.made_room();
        }
        gone.len()
    }

    /// Gives back what earlier epochs claimed without the feeder's knowledge, once none of their known jobs runs.
    async fn sweep_expired(&mut self) -> Result<(), StoreError> {
        let crashes_max = self.lane.current().policy.crashes_max;
        for expired in self.epochs.expired.clone() {
            if self.in_flight.of_epoch(expired.number).next().is_some() {
                continue;
            }
            let swept = self.lane.store.reap(&expired.host, Death::Alive, crashes_max).await?;
            if swept.left == 0 {
                self.epochs.expired.retain(|epoch| epoch.number != expired.number);
            }
        }
        Ok(())
    }
}

/// Records of an epoch that the feeder does not know.
fn lost(in_flight: &InFlight, number: u32, recorded: Vec<Slot>) -> Vec<Slot> {
    recorded.into_iter().filter(|slot| !in_flight.contains((number, *slot))).collect()
}

/// Runs of an epoch that go on although their job has no record.
fn gone(in_flight: &InFlight, outbox: &Outbox, number: u32, recorded: &[Slot]) -> HashSet<RunKey> {
    let recorded: HashSet<RunKey> = recorded.iter().map(|slot| (number, *slot)).collect();
    let ended: HashSet<RunKey> = outbox.runs().collect();
    in_flight.of_epoch(number).filter(|run| !recorded.contains(run) && !ended.contains(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::desk::tests::job;
    use crate::worker::desk::{End, Ended};

    fn slot(seq: u64) -> Slot {
        Slot { seq, enveloped: false }
    }

    #[test]
    fn a_record_that_is_not_known_is_lost_and_a_run_without_a_record_is_gone_unless_it_has_ended() {
        let mut in_flight = InFlight::default();
        [1, 2, 3].into_iter().for_each(|seq| in_flight.insert((0, slot(seq)), 1));
        in_flight.insert((1, slot(9)), 1);
        let mut outbox = Outbox::default();
        outbox.add(Ended::of(&job(3, false), End::Complete), Instant::now());
        let recorded = vec![slot(1), slot(4)];
        assert_eq!(gone(&in_flight, &outbox, 0, &recorded), [(0, slot(2))].into());
        assert_eq!(lost(&in_flight, 0, recorded), [slot(4)]);
    }

    #[test]
    fn records_are_compared_soon_after_a_reconnect_and_less_and_less_often_afterwards() {
        let (generations, lapses) = (watch::Sender::new(0), watch::Sender::new(0));
        let now = Instant::now();
        let mut reconciling = Reconciling::new(generations.subscribe(), lapses.subscribe(), now);
        assert!(!reconciling.has_changed() && !reconciling.is_wanted());
        generations.send_modify(|number| *number += 1);
        assert!(reconciling.has_changed() && !reconciling.has_changed());
        reconciling.request();
        reconciling.plan(false, now);
        assert!(reconciling.is_wanted() && reconciling.at() == now + GAP_FIRST, "it failed");
        let gaps = [4, 16, 60, 60];
        for seconds in gaps {
            reconciling.plan(true, now);
            assert_eq!(reconciling.at(), now + Duration::from_secs(seconds));
        }
        assert!(!reconciling.is_wanted());
        lapses.send_modify(|number| *number += 1);
        assert!(reconciling.has_changed());
    }
}
