//! Turns: a turn is one round trip to Redis that acknowledges completed jobs and claims new ones. Ends that need more
//! than an acknowledgement are settled before it, one script call each.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::outbox::by_epoch;
use super::{Feeder, Phase};
use crate::job::envelope::{Header, SINGLE};
use crate::job::name::JobId;
use crate::job::settle::{Fate, Settlement};
use crate::job::store::{Claimed, Delivery, Slot, StoreError, Turn, TurnReply};
use crate::worker::counters::Counters;
use crate::worker::desk::{End, Ended, Job};
use crate::worker::lane::Lane;

/// What a job that ends in another way than completed costs the processors besides its run: a script of its own in Redis,
/// and what this thread does for it. A plugin that fails all the time pays for it with its own runs.
const SETTLE_COST: Duration = Duration::from_micros(50);

/// What the last turn has brought, until it is processed. The next turn is sent first, so that neither Redis nor this
/// thread waits for the other.
#[derive(Debug, Default)]
pub(super) struct PendingReply {
    /// The acknowledged ends, and how many of these were late.
    acked: Vec<Ended>,
    late: usize,
    /// The claimed jobs, and when they were claimed.
    jobs: Vec<Claimed>,
    at: Option<Instant>,
}

impl PendingReply {
    /// Claimed jobs.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Bytes of their payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.jobs.iter().map(Claimed::bytes).sum()
    }
}

impl Feeder {
    /// Reports the ends that are more than a plain completion of the present lease epoch. Those that Redis has not
    /// accepted stay in the outbox.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        let settlements = self.outbox.take_settlements();
        let count = u32::try_from(settlements.len()).unwrap_or(u32::MAX);
        if count > 0 {
            self.lane.share.charge(SETTLE_COST * count);
        }
        let mut failure = None;
        for group in by_epoch(settlements) {
            if let Err(error) = settle_group(&mut self.accounts(), group).await {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Acknowledges plain completions, and claims up to `claim` jobs.
    pub(super) async fn turn(&mut self, claim: u32) -> Result<(), StoreError> {
        let record_bytes = |ended: &Ended| {
            if ended.slot.enveloped { self.in_flight.bytes_of((ended.tenure.number, ended.slot)) } else { 0 }
        };
        let acked = self.outbox.take_acks(record_bytes);
        let edition = self.lane.current();
        let policy = &edition.policy;
        // Hosts that wait for the fleet's limits are notified by a turn.
        if claim == 0 && acked.is_empty() && policy.limits.fleet_concurrency.is_none() {
            return Ok(());
        }
        let acks: Vec<Slot> = acked.iter().map(|ended| ended.slot).collect();
        let epoch = self.epochs.present().clone();
        let turn = Turn {
            host: &epoch.host,
            acks: &acks,
            claim,
            next_seq: self.epochs.next_seq(),
            order: policy.order,
            delivery: self.lane.delivery,
            bytes_max: self.capacity().room_bytes,
            payload_bytes_max: policy.payload_bytes_max,
            limits: &policy.limits,
            nth: self.claims,
        };
        self.claims += u64::from(claim > 0);
        let lane = self.lane.clone();
        let meanwhile = async {
            // The connection's task shares this thread: it sends the call first.
            tokio::task::yield_now().await;
            self.process_reply();
        };
        let (reply, ()) = tokio::join!(lane.store.turn(&turn), meanwhile);
        match reply {
            Ok(reply) => {
                self.keep_reply(acked, claim, reply);
                Ok(())
            }
            Err(error) => {
                let was_acked = matches!(error, StoreError::NoLease | StoreError::WrongType(_));
                let mut accounts = self.accounts();
                for ended in acked {
                    // If only the claim was refused, Redis does not report how many were late.
                    if was_acked { accounts.accepted(Fate::Complete, &ended) } else { accounts.keep(ended) }
                }
                Err(error)
            }
        }
    }

    fn keep_reply(&mut self, acked: Vec<Ended>, claim: u32, reply: TurnReply) {
        Counters::add(&self.lane.counters.turns, 1);
        let now = Instant::now();
        let late = acked.len().saturating_sub(usize::try_from(reply.settled).unwrap_or(usize::MAX));
        let jobs = if claim > 0 {
            self.epochs.claimed_to(reply.next_seq);
            self.demand.learn(&reply, now);
            note_claim(&self.lane, &reply);
            reply.jobs
        } else {
            Vec::new()
        };
        self.reply = PendingReply { acked, late, jobs, at: Some(now) };
    }

    /// Does what the reply of the last turn calls for, if it has not been done yet.
    pub(super) fn process_reply(&mut self) {
        let PendingReply { acked, late, jobs, at } = std::mem::take(&mut self.reply);
        let mut accounts = self.accounts();
        for (nth, ended) in acked.into_iter().enumerate() {
            // The reply tells how many were late, not which.
            if nth < late { accounts.late(&ended) } else { accounts.accepted(Fate::Complete, &ended) }
        }
        if let Some(at) = at {
            self.lay_out(jobs, at);
        }
    }

    /// Puts claimed jobs into the run queue.
    pub(super) fn lay_out(&mut self, jobs: Vec<Claimed>, now: Instant) {
        if !jobs.is_empty() {
            self.demand.stuck.laid_out(now);
        }
        let epoch = self.epochs.present().clone();
        if self.lane.delivery == Delivery::AtLeastOnce {
            jobs.iter().for_each(|job| self.in_flight.insert((epoch.number, job.slot), job.bytes()));
        }
        let job = |claimed: Claimed| {
            let alone = is_suspect(&self.lane, &claimed.header);
            let single = alone || is_single(&self.lane, &claimed.header);
            Job { claimed, tenure: epoch.clone(), claimed_at: now, alone, single, conflicts: 0 }
        };
        let jobs: Vec<Job> = jobs.into_iter().map(job).collect();
        self.lane.desk.add(jobs.into_iter(), self.demand.ahead(&self.capacity(), Instant::now()) / 2);
        // A lane that is held or about to end starts nothing more.
        if self.phase() == Phase::Serving {
            self.start_runners();
        }
    }
}

async fn settle_group(accounts: &mut Accounts<'_>, group: Vec<Ended>) -> Result<(), StoreError> {
    let Some(host) = group.first().map(|ended| ended.tenure.host.clone()) else { return Ok(()) };
    let settlements: Vec<Settlement> = group.iter().map(settlement).collect();
    let answers = match accounts.lane.store.settle(&host, &settlements).await {
        Ok(answers) => answers,
        Err(error) => {
            group.into_iter().for_each(|ended| accounts.keep(ended));
            return Err(error);
        }
    };
    let mut failure = None;
    for ((ended, settlement), answer) in group.into_iter().zip(settlements).zip(answers) {
        match answer {
            Ok(true) => accounts.accepted(settlement.fate, &ended),
            Ok(false) => accounts.late(&ended),
            Err(error) => {
                accounts.keep(ended);
                failure = Some(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What Redis is told of this end.
fn settlement(ended: &Ended) -> Settlement {
    let slot = ended.slot;
    if let End::Settle(settled) = &ended.end {
        let (header, fate) = &**settled;
        return Settlement { slot, header: header.clone(), fate: *fate };
    }
    debug_assert!(matches!(ended.end, End::Complete), "the outbox has a list for each other end");
    // A plain completion of an earlier epoch: its header is not written anywhere.
    let id = JobId::claimed(&ended.tenure.host, slot.seq);
    let header = Header { id, attempts: 0, crashes: 0, first_seen_ms: 0, notes: Vec::new() };
    Settlement { slot, header, fate: Fate::Complete }
}

/// Publishes within this host what a claim says about the queue.
fn note_claim(lane: &Lane, reply: &TurnReply) {
    Counters::add(&lane.counters.claimed, reply.jobs.len());
    // The poll would find jobs that must wait, again and again.
    lane.paused.store(reply.paused, Relaxed);
    let is_hungry = reply.more && !reply.paused;
    lane.idle.store(!is_hungry && !reply.limited, Relaxed);
    if reply.oversized > 0 {
        Counters::add(&lane.counters.buried, usize::try_from(reply.oversized).unwrap_or(0));
        let (plugin, queue, jobs) = (&lane.plugin, lane.queue.as_str(), reply.oversized);
        tracing::warn!(plugin, queue, jobs, "jobs buried unseen: payload larger than `limits.value`");
    }
}

/// Whether a job is given to a run of its own where runs take many: a call that fails must not be the end of a job
/// that is not to blame.
fn is_single(lane: &Lane, header: &Header) -> bool {
    let last = lane.current().policy.rules.max_attempts.saturating_sub(1);
    let keeps = lane.delivery == Delivery::AtLeastOnce;
    header.note(SINGLE).is_some() || keeps && header.attempts >= last
}

/// Whether a job is one crash short of the limit.
fn is_suspect(lane: &Lane, header: &Header) -> bool {
    header.crashes > 0 && header.crashes.saturating_add(1) >= lane.current().policy.crashes_max
}
