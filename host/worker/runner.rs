//! Runs jobs off a lane's desk, one after the other, until none is left. Never talks to Redis about jobs: how a run
//! ended goes back to the desk.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use super::brake::Brake;
use super::counters::Counters;
use super::desk::{Commitment, End, Ended, Job};
use super::edition::Edition;
use super::fate::{self, Ran};
use super::lane::Lane;
use super::membership::Tenure;
use crate::job::change::Taken;
use crate::job::envelope::Header;
use crate::job::settle::Fate;
use crate::job::status;
use crate::job::store::{Claimed, Delivery};
use crate::sandbox::load::Kind;
use crate::sandbox::outcome::Outcome;
use crate::sandbox::run::{JobCall, RunContext, RunReport};
use crate::sandbox::{Atomic, Board, Drained, Instance, Isolation, Pending, Plan, Pops, Take, Takings};

/// Runs after which a runner lets other tasks have the thread, though none of its guests had to wait.
const RUNS_PER_TURN: u32 = 16;
/// What a KiB of values on its way costs the processors besides the guest's own thread, in Redis, the network and the
/// thread that reads replies: about 1 GB a second on a slow machine.
const MOVE_COST_PER_KIB: Duration = Duration::from_micros(1);
/// Less than this in one run is not charged.
const CHARGED_KIB_MIN: u32 = 16;
/// A job's longest wait after its second conflict; doubled with each further one, up to the maximum.
const PATIENCE_FIRST: Duration = Duration::from_micros(250);
const PATIENCE_MAX: Duration = Duration::from_millis(20);

/// Runs jobs until the desk is empty. Dropping the future in a run hands the job back, attempt not counted.
pub(super) async fn run(lane: Arc<Lane>) {
    let edition = lane.current();
    let (link, settings, timeout) = (lane.guests.clone(), edition.settings.current(), edition.policy.timeout);
    let board = Board { link: lane.guests.clone(), keys: lane.store.keys().clone(), timeout };
    let board = Some(Arc::new(board));
    let context = RunContext { link, settings, timeout, plan: Plan::Immediate, foresight: None, board };
    // A plugin's own user has no right to the bucket, so the host's connection is used. All versions of a plugin share
    // the bucket.
    edition.version.keep_write_rate(&lane.commits);
    let brake = lane.desk.fit_brake();
    let takings = Arc::default();
    let mut seat = Seat {
        lane: &lane,
        context,
        takings,
        brake: brake.clone(),
        held: Vec::new(),
        gathers: false,
        left: false,
    };
    let mut ended = None;
    let mut runs = 0;
    let desk = &lane.desk;
    let mut place = desk.wait(lane.sandboxes.take(&edition.version)).await;
    while let Some(job) = desk.next(ended.take(), &brake) {
        // Fixed here for the whole run, whatever is swapped meanwhile.
        let edition = lane.next_edition();
        runs += 1;
        let end = if edition.version.kind() == Kind::BatchWorker {
            if seat.begin_batch(job, &edition) {
                lane.leave(place);
                desk.wait(seat.gather(&edition)).await;
                place = desk.wait(lane.sandboxes.take(&edition.version)).await;
            }
            let ends = desk.wait(seat.run_batch(&edition, &mut place.instance)).await;
            desk.hand_in_all(ends);
            None
        } else {
            Some(desk.wait(seat.run(job, edition, &mut place.instance)).await)
        };
        if runs % RUNS_PER_TURN == 0 {
            // Handed in before the pause: a runner stopped there would forget the end it holds.
            end.into_iter().for_each(|end| desk.hand_in(end));
            lane.leave(place);
            if desk.excuse() {
                seat.left = true;
                return;
            }
            tokio::task::yield_now().await;
            // Behind whoever waits: a lane with a backlog must not keep its sandboxes for ever.
            place = desk.wait(lane.sandboxes.take(&lane.current().version)).await;
        } else {
            ended = end;
        }
    }
    lane.leave(place);
    seat.left = true;
}

/// A runner's place at the desk. Whatever way the runner goes, the job it holds is handed in.
struct Seat<'a> {
    lane: &'a Lane,
    context: RunContext,
    /// What the present run has popped.
    takings: Arc<Takings>,
    /// What stops the present run from outside.
    brake: Arc<Brake>,
    /// The jobs of the present run.
    held: Vec<Job>,
    /// Whether it is the one that waits for more of them.
    gathers: bool,
    left: bool,
}

impl Seat<'_> {
    async fn run(&mut self, job: Job, edition: Arc<Edition>, kept: &mut Option<Instance>) -> Ended {
        if let Some(observer) = &self.lane.observer {
            observer.started(&job.claimed.payload);
        }
        self.adapt(&edition, &job.tenure);
        // One that was refuted once is told nothing but what is so.
        self.context.foresight = (job.conflicts == 0).then(|| (edition.foresight.clone(), job.claimed_at));
        self.held.push(job);
        let job = &self.held[0];
        let headers = headers(job);
        let call = self.call(job, &headers, &edition);
        let patience = (job.conflicts > 1).then(|| patience(job.conflicts));
        let run = async {
            if let Some(patience) = patience {
                tokio::time::sleep(patience).await;
            }
            match self.lane.observer.as_ref().and_then(|observer| observer.stand_in(call.payload)) {
                Some(outcome) => RunReport::of(outcome),
                None => edition.version.run_job_in(kept, call, &self.context).await,
            }
        };
        let report = tokio::select! {
            biased;
            () = self.brake.pulled() => return self.stopped(),
            report = run => report,
        };
        self.charge(&report);
        let report = report.excused();
        let job = self.held.pop().expect("nobody else takes what this runner holds");
        if is_doubtful(&report) {
            edition.foresight.doubt();
            return self.run_again(job);
        }
        edition.tally.count(&report.outcome);
        self.end(job, report, edition)
    }

    /// The job, as the guest sees it.
    fn call<'j>(&'j self, job: &'j Job, headers: &'j [(&'j str, &'j str)], edition: &Edition) -> JobCall<'j> {
        let Claimed { header, payload, .. } = &job.claimed;
        JobCall {
            id: header.id.as_str(),
            queue: self.lane.queue.as_str(),
            payload,
            attempt: header.attempts.saturating_add(1),
            max_attempts: edition.policy.rules.max_attempts,
            first_seen_ms: header.first_seen_ms,
            headers,
        }
    }

    /// Charges the plugin for what its run has moved.
    fn charge(&self, report: &RunReport) {
        // In whole steps: charging takes the scheduler's lock.
        let moved_kib = u32::try_from(report.usage.moved_bytes >> 10).unwrap_or(u32::MAX);
        if moved_kib >= CHARGED_KIB_MIN {
            self.lane.share.charge(MOVE_COST_PER_KIB * moved_kib);
        }
    }

    /// The end of a run whose job was taken away: there is nothing to say, but what it popped goes back.
    fn stopped(&mut self) -> Ended {
        let job = self.held.pop().expect("nobody else takes what this runner holds");
        let Drained { sure, unsure } = self.takings.drain();
        Ended { put_back: [sure, unsure].concat(), ..Ended::of(&job, End::Gone) }
    }

    /// The end of a run that nobody can judge: its job runs once more.
    fn run_again(&self, mut job: Job) -> Ended {
        job.conflicts += 1;
        let Drained { sure, unsure } = self.takings.drain();
        Ended { put_back: [sure, unsure].concat(), ..Ended::again(job) }
    }

    /// What is to be said to Redis about a run.
    fn end(&self, job: Job, report: RunReport, edition: Arc<Edition>) -> Ended {
        let RunReport { outcome, mut pending, result, .. } = report;
        let Drained { sure, unsure } = self.takings.drain();
        if outcome != Outcome::Done {
            let end = fail(self.lane, &edition, &outcome, job);
            return Ended { put_back: [sure, unsure].concat(), ..end };
        }
        if self.lane.delivery == Delivery::AtLeastOnce {
            self.leave_result(&mut pending, &job, result.unwrap_or_default());
        }
        let end = match to_commit(pending, sure, &edition) {
            Some(pending) => self.commit(pending, edition, job, Vec::new()),
            None => Ended::of(&job, End::Complete),
        };
        Ended { put_back: unsure, ..end }
    }

    /// Leaves the result of a job that is done with the run's effects, if its producer wants one.
    fn leave_result(&self, pending: &mut Option<Pending>, job: &Job, value: Vec<u8>) {
        if let Some(kept_ms) = result_wanted(&job.claimed.header) {
            let pending = pending.get_or_insert_default();
            pending.bytes += value.len() as u64;
            let left = status::leave_result(&self.lane.queue, &job.claimed.header.id, &value, kept_ms);
            pending.changes.writes.push(left);
        }
    }

    /// The end of a run whose effects are to be committed.
    fn commit(
        &self,
        pending: Pending,
        edition: Arc<Edition>,
        job: Job,
        others: Vec<(Job, Outcome)>,
    ) -> Ended {
        let (slot, tenure, claimed_at) = (job.claimed.slot, job.tenure.clone(), job.claimed_at);
        let _weight = self.lane.desk.weigh(pending.bytes);
        let end = End::Commit(Box::new(Commitment { pending, edition, job, others, _weight }));
        Ended { slot, tenure, claimed_at, end, put_back: Vec::new() }
    }

    /// Brings the context up to date with what the operator and config readers say now.
    fn adapt(&mut self, edition: &Edition, tenure: &Tenure) {
        let policy = &edition.policy;
        self.context.timeout = policy.timeout;
        self.context.settings = edition.settings.current();
        let user = edition.user.as_ref();
        self.context.link = user.map_or(&self.lane.guests, |user| user.link()).clone();
        let is_of_user = |take: &Take| take.user.as_ref().map(Arc::as_ptr) == user.map(Arc::as_ptr);
        let fits = match (&self.context.plan, policy.isolation) {
            (Plan::Immediate, wanted) => wanted.is_none(),
            (Plan::Atomic(atomic), wanted) => {
                let is_of_both = matches!(&atomic.pops, Pops::Take(take)
                    if *take.host == tenure.host && is_of_user(take));
                wanted == Some(atomic.isolation) && is_of_both
            }
        };
        if !fits {
            self.context.plan = match policy.isolation {
                None => Plan::Immediate,
                Some(isolation) => {
                    let host = Arc::new(tenure.host.clone());
                    let (link, takings) = (self.lane.commits.clone(), self.takings.clone());
                    let take = Take { link, user: user.cloned(), host, takings };
                    let (pops, contention) = (Pops::Take(take), Some(self.lane.contention.clone()));
                    Plan::Atomic(Arc::new(Atomic { isolation, pops, contention }))
                }
            };
        }
    }
}

/// Whether a run has not completed its job, and was told what only a commit could have shown to be right.
fn is_doubtful(report: &RunReport) -> bool {
    report.presumed && report.outcome != Outcome::Done && !report.outcome.is_blameless()
}

/// How long the result of a job is to be kept, if its producer wants one.
fn result_wanted(header: &Header) -> Option<u64> {
    let kept_ms: u64 = header.note(status::RESULT_NOTE)?.parse().ok()?;
    Some(kept_ms.clamp(1, u64::try_from(status::RESULT_KEPT_MAX.as_millis()).unwrap_or(u64::MAX)))
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.left {
            let Drained { sure, unsure } = self.takings.drain();
            let back = |job| Ended::settled(job, Fate::Release);
            let mut ends: Vec<Ended> = self.held.drain(..).map(back).collect();
            if let Some(first) = ends.first_mut() {
                first.put_back = [sure, unsure].concat();
            }
            self.lane.desk.abandon(ends, self.gathers);
        }
    }
}

/// What there is to commit of a run that completed, if it is more than the completion.
fn to_commit(pending: Option<Pending>, taken: Vec<Taken>, edition: &Edition) -> Option<Pending> {
    let mut pending = pending?;
    pending.changes.taken = taken;
    // Where nothing is changed, what was decided on matters only to those who want all they read to have been so at one
    // moment; but nobody has read yet what was presumed.
    let settles = pending.changes.writes.is_empty() && pending.changes.taken.is_empty();
    let is_read = !pending.presumed && edition.policy.isolation != Some(Isolation::Serializable);
    let is_plain = pending.changes.is_empty() || (settles && is_read);
    (!is_plain).then_some(pending)
}

/// What the producer attached.
fn headers(job: &Job) -> Vec<(&str, &str)> {
    let all = job.claimed.header.producer_headers();
    all.map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// How long a job waits before it runs once more after so many conflicts: those who fight are to come apart.
fn patience(conflicts: u32) -> Duration {
    let most = PATIENCE_FIRST * 2_u32.saturating_pow(conflicts.min(16));
    most.min(PATIENCE_MAX).mul_f64(fastrand::f64())
}

/// The end of a job whose run did not complete it.
pub(super) fn fail(lane: &Lane, edition: &Edition, outcome: &Outcome, mut job: Job) -> Ended {
    let (version, rules) = (edition.version.digest(), &edition.policy.rules);
    let ran = Ran { plugin: &lane.plugin, version };
    let fate = fate::decide(outcome, &mut job.claimed.header, rules, ran, fastrand::f64());
    if matches!(outcome, Outcome::Outage(_)) {
        Counters::add(&lane.counters.outages, 1);
    }
    if edition.version.may_say(outcome.words()) {
        report(lane, version, outcome, &job.claimed.header, fate);
    }
    Ended::settled(job, fate)
}

fn report(lane: &Lane, version: &str, outcome: &Outcome, header: &Header, fate: Fate) {
    let (plugin, queue, job) = (&lane.plugin, lane.queue.as_str(), header.id.as_str());
    let version = version.get(..12).unwrap_or(version);
    let reason = outcome.reason();
    let (reason, attempt) = (reason.as_ref(), header.attempts);
    if let Outcome::Trapped { backtrace, .. } = outcome {
        tracing::warn!(plugin, version, queue, job, reason, backtrace, "guest trapped");
    }
    let lost = lane.delivery == Delivery::AtMostOnce;
    match fate {
        _ if lost => tracing::warn!(plugin, version, queue, job, reason, "job failed and is not kept"),
        Fate::Bury => tracing::warn!(plugin, version, queue, job, attempt, reason, "job buried"),
        Fate::Retry { delay_ms } => {
            tracing::info!(plugin, version, queue, job, attempt, reason, delay_ms, "job will be retried");
        }
        _ => tracing::info!(plugin, version, queue, job, reason, "job discarded"),
    }
}
