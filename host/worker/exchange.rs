//! The turns of a feeder with Redis: each turn reports ends and claims jobs. `setback` handles failed turns, `adopt`
//! records whose claim reply was lost. An end stays in the batch until Redis has accepted it: saying it twice is
//! harmless, for the record of the job is the proof.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::commit;
use super::counters::Counters;
use super::desk::{End, Ended, Job};
use super::feeder::{Feeder, Phase};
use crate::job::envelope::{Header, SINGLE};
use crate::job::name::JobId;
use crate::job::settle::{Fate, Settlement};
use crate::job::store::{Claimed, Delivery, Slot, StoreError, Turn, TurnReply};

/// Wait for room in the fleet, should the word of it be lost.
const LIMITED_WAIT: Duration = Duration::from_secs(5);

/// What a job that ends in another way than completed costs the processors besides its run: a script of its own in Redis,
/// and what this thread does for it. A plugin that fails all the time pays for it with its own runs.
const SETTLE_COST: Duration = Duration::from_micros(50);

/// What a turn has brought.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What it acknowledged, and how many of these were late.
    ended: Vec<Ended>,
    late: usize,
    /// What it claimed, and when.
    pub(super) jobs: Vec<Claimed>,
    at: Option<Instant>,
}

impl News {
    /// Bytes of the jobs' payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.jobs.iter().map(Claimed::bytes).sum()
    }
}

impl Feeder {
    /// Reports the batch and claims up to `claim` jobs. False: it did not work out; what is to be done about it
    /// is done.
    pub(super) async fn exchange(&mut self, claim: u32) -> bool {
        if self.lane.delivery == Delivery::AtMostOnce {
            // Nothing was recorded at the claim, so there is nothing to end.
            for ended in std::mem::take(&mut self.batch) {
                let fate = if matches!(ended.end, End::Complete) { Fate::Complete } else { Fate::Discard };
                self.count(fate, &ended);
            }
        }
        match self.say(claim).await {
            Ok(()) => {
                self.trouble.ease(claim > 0);
                true
            }
            Err(error) => {
                self.setback(error).await;
                false
            }
        }
    }

    async fn say(&mut self, claim: u32) -> Result<(), StoreError> {
        self.put_back().await?;
        let commits = self.take_commits();
        let lane = self.lane.clone();
        if lane.current().policy.limits.fleet_concurrency.is_some() {
            // One after the other: what is committed makes room for what is claimed.
            let verdicts = commit::send(&lane, &commits).await;
            let judged = self.judge_all(commits, verdicts).await;
            return self.tell(claim).await.and(judged);
        }
        // Side by side: they are about different jobs and travel on different connections. The claim first: what it
        // brings runs while Redis commits.
        let (told, verdicts) = tokio::join!(self.tell(claim), commit::send(&lane, &commits));
        let judged = self.judge_all(commits, verdicts).await;
        told.and(judged)
    }

    async fn tell(&mut self, claim: u32) -> Result<(), StoreError> {
        let unready = self.set_aside_unready();
        let told = self.settle_and_turn(claim).await;
        self.batch.extend(unready);
        told
    }

    /// Removes the ends from the batch that a settlement must not report yet: commits without a reply, and jobs whose
    /// popped entries are not back yet. If such a job were settled now, its effects would be lost.
    fn set_aside_unready(&mut self) -> Vec<Ended> {
        let is_ready = |ended: &Ended| matches!(ended.end, End::Complete | End::Settle(_));
        let (ready, unready) = std::mem::take(&mut self.batch).into_iter().partition(is_ready);
        self.batch = ready;
        unready
    }

    async fn settle_and_turn(&mut self, claim: u32) -> Result<(), StoreError> {
        self.settle().await?;
        let later = self.keep_for_later();
        let told = self.turn(claim).await;
        self.batch.extend(later);
        told
    }

    /// Reports the ends that are more than a plain completion, and those of former tenures.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let number = self.tenure.number;
        let (plain, special): (Vec<Ended>, Vec<Ended>) = self
            .batch
            .drain(..)
            .partition(|ended| matches!(ended.end, End::Complete) && ended.tenure.number == number);
        self.batch = plain;
        let count = u32::try_from(special.len()).unwrap_or(u32::MAX);
        if count > 0 {
            self.lane.share.charge(SETTLE_COST * count);
        }
        let mut failure = None;
        for group in by_tenure(special) {
            if let Err(error) = self.settle_group(group).await {
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn settle_group(&mut self, group: Vec<Ended>) -> Result<(), StoreError> {
        let Some(host) = group.first().map(|ended| ended.tenure.host.clone()) else { return Ok(()) };
        let settlements: Vec<Settlement> = group.iter().map(settlement).collect();
        let answers = match self.lane.store.settle(&host, &settlements).await {
            Ok(answers) => answers,
            Err(error) => {
                self.batch.extend(group);
                return Err(error);
            }
        };
        let mut failure = None;
        for ((ended, settlement), answer) in group.into_iter().zip(settlements).zip(answers) {
            match answer {
                Ok(true) => self.accepted(settlement.fate, &ended),
                Ok(false) => self.late(&ended),
                Err(error) => {
                    self.batch.push(ended);
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Acknowledges what is left of the batch, and claims.
    async fn turn(&mut self, claim: u32) -> Result<(), StoreError> {
        let acks: Vec<Slot> = self.batch.iter().map(|ended| ended.slot).collect();
        let edition = self.lane.current();
        let policy = &edition.policy;
        // Hosts that wait for room in the fleet hear of it by a turn.
        if claim == 0 && acks.is_empty() && policy.limits.fleet_concurrency.is_none() {
            return Ok(());
        }
        let (order, limits, delivery) = (policy.order, &policy.limits, self.lane.delivery);
        let tenure = self.tenure.clone();
        let (next_seq, nth) = (self.next_seq, self.claims);
        self.claims += u64::from(claim > 0);
        let (bytes_max, payload_bytes_max) = (self.room_bytes(), policy.payload_bytes_max);
        let host = &tenure.host;
        let acks = &acks;
        let turn =
            Turn { host, acks, claim, next_seq, order, delivery, bytes_max, payload_bytes_max, limits, nth };
        let lane = self.lane.clone();
        let meanwhile = async {
            // The connection's task shares this thread: it sends the call first.
            tokio::task::yield_now().await;
            self.take_up();
        };
        let (reply, ()) = tokio::join!(lane.store.turn(&turn), meanwhile);
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                if matches!(error, StoreError::NoLease | StoreError::WrongType(_)) {
                    // Only the claim was refused. How many of the others were late is not told then.
                    for ended in std::mem::take(&mut self.batch) {
                        self.accepted(Fate::Complete, &ended);
                    }
                }
                return Err(error);
            }
        };
        Counters::add(&self.lane.counters.turns, 1);
        let late = acks.len().saturating_sub(usize::try_from(reply.settled).unwrap_or(usize::MAX));
        let ended = std::mem::take(&mut self.batch);
        let jobs = if claim > 0 { self.take_in(reply) } else { Vec::new() };
        self.news = News { ended, late, jobs, at: Some(Instant::now()) };
        Ok(())
    }

    /// Notes what a reply says about the queue; the jobs it brought.
    fn take_in(&mut self, reply: TurnReply) -> Vec<Claimed> {
        let now = Instant::now();
        Counters::add(&self.lane.counters.claimed, reply.jobs.len());
        self.next_seq = reply.next_seq;
        self.hungry = reply.more && !reply.paused;
        self.limited = reply.limited;
        // The poll would find jobs that must wait, again and again.
        self.lane.paused.store(reply.paused, Relaxed);
        self.note_idle(!self.hungry && !reply.limited);
        if reply.oversized > 0 {
            Counters::add(&self.lane.counters.buried, usize::try_from(reply.oversized).unwrap_or(0));
            let (plugin, queue, jobs) = (&self.lane.plugin, self.lane.queue.as_str(), reply.oversized);
            tracing::warn!(plugin, queue, jobs, "jobs buried unseen: payload larger than `limits.value`");
        }
        let wait = |due_ms: u64| Duration::from_millis(due_ms.saturating_sub(reply.now_ms) + 1);
        self.due = reply.next_due_ms.map(|due_ms| now + wait(due_ms));
        if reply.limited {
            self.due = Some(self.due.unwrap_or(now + LIMITED_WAIT));
        }
        if reply.paused {
            // Redis says when it no longer is.
            self.due = None;
        }
        reply.jobs
    }

    /// Does what the reply of the last turn calls for, where it has not been done yet.
    pub(super) fn take_up(&mut self) {
        let News { ended, late, jobs, at } = std::mem::take(&mut self.news);
        for (nth, ended) in ended.into_iter().enumerate() {
            // The reply tells how many were late, not which.
            if nth < late { self.late(&ended) } else { self.accepted(Fate::Complete, &ended) }
        }
        if let Some(at) = at {
            self.lay_out(jobs, at);
        }
    }

    /// Puts claimed jobs on the desk.
    pub(super) fn lay_out(&mut self, jobs: Vec<Claimed>, now: Instant) {
        if !jobs.is_empty() {
            self.stuck.laid_out(now);
        }
        let number = self.tenure.number;
        if self.lane.delivery == Delivery::AtLeastOnce {
            for job in &jobs {
                let bytes = job.bytes();
                self.held.insert((number, job.slot), bytes);
                self.held_bytes += bytes;
            }
        }
        let job = |claimed: Claimed| {
            let alone = self.is_suspect(&claimed.header);
            let single = alone || self.is_single(&claimed.header);
            Job { claimed, tenure: self.tenure.clone(), claimed_at: now, alone, single, conflicts: 0 }
        };
        let jobs: Vec<Job> = jobs.into_iter().map(job).collect();
        self.lane.desk.add(jobs.into_iter(), self.ahead() / 2);
        // One that is held or on its way out starts nothing more.
        if self.phase() == Phase::Serving {
            self.engage();
        }
    }

    /// Whether a job is given to a run of its own where runs take many: a call that fails must not be the end of a job
    /// that is not to blame.
    fn is_single(&self, header: &Header) -> bool {
        let last = self.lane.current().policy.rules.max_attempts.saturating_sub(1);
        let keeps = self.lane.delivery == Delivery::AtLeastOnce;
        header.note(SINGLE).is_some() || keeps && header.attempts >= last
    }

    /// Whether a job is one crash short of the limit.
    fn is_suspect(&self, header: &Header) -> bool {
        header.crashes > 0 && header.crashes.saturating_add(1) >= self.lane.current().policy.crashes_max
    }

    pub(super) fn accepted(&mut self, fate: Fate, ended: &Ended) {
        if let Fate::Retry { delay_ms } = fate {
            // Without key tracking, nothing else wakes the feeder when the job is due.
            let due = Instant::now() + Duration::from_millis(delay_ms + 1);
            self.due = Some(self.due.map_or(due, |known| known.min(due)));
        }
        self.let_go(ended);
        self.count(fate, ended);
    }

    pub(super) fn late(&mut self, ended: &Ended) {
        self.let_go(ended);
        Counters::add(&self.lane.counters.late, 1);
    }

    fn let_go(&mut self, ended: &Ended) {
        let bytes = self.held.remove(&(ended.tenure.number, ended.slot));
        self.held_bytes -= bytes.unwrap_or(0);
    }

    fn count(&self, fate: Fate, ended: &Ended) {
        let counters = &self.lane.counters;
        let counter = match fate {
            Fate::Complete => &counters.completed,
            Fate::Discard => &counters.discarded,
            Fate::Retry { .. } => &counters.retried,
            Fate::Bury => &counters.buried,
            Fate::Release | Fate::GiveBack(_) => &counters.released,
        };
        Counters::add(counter, 1);
        // A job that goes back has not ended.
        let is_back = matches!(fate, Fate::Release | Fate::GiveBack(_));
        if let Some(observer) = self.lane.observer.as_ref().filter(|_| !is_back) {
            observer.settled(ended.claimed_at);
        }
    }
}

/// Ends of one tenure together, in their order.
pub(super) fn by_tenure(ends: Vec<Ended>) -> Vec<Vec<Ended>> {
    let mut groups: Vec<Vec<Ended>> = Vec::new();
    for ended in ends {
        match groups.iter_mut().find(|group| group[0].tenure.number == ended.tenure.number) {
            Some(group) => group.push(ended),
            None => groups.push(vec![ended]),
        }
    }
    groups
}

/// What the store is to be told of this end.
fn settlement(ended: &Ended) -> Settlement {
    let slot = ended.slot;
    if let End::Settle(settled) = &ended.end {
        let (header, fate) = &**settled;
        return Settlement { slot, header: header.clone(), fate: *fate };
    }
    debug_assert!(matches!(ended.end, End::Complete), "set aside before");
    // A plain completion of a former tenure: its header is not written anywhere.
    let id = JobId::claimed(&ended.tenure.host, slot.seq);
    let header = Header { id, attempts: 0, crashes: 0, first_seen_ms: 0, notes: Vec::new() };
    Settlement { slot, header, fate: Fate::Complete }
}
