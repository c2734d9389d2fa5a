//! What lies between a lane's feeder and its runners: jobs to start, and ends to report. One lock, taken once per
//! job by the runner (hand in one, take the next) and once per batch by the feeder.

mod crew;
mod gather;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub(super) use self::gather::Waits;
use super::brake::{Brake, Brakes, RunKey};
use super::edition::Edition;
use super::membership::Tenure;
use crate::job::change::Taken;
use crate::job::envelope::Header;
use crate::job::settle::Fate;
use crate::job::store::{Claimed, Slot};
use crate::sandbox::{Outcome, Pending};

/// Ends that make a batch worth sending at once.
pub(super) const BATCH: usize = 128;

/// Effects that wait for their commit, beyond which a lane starts no run. Those that run may bring theirs on top.
pub const EFFECTS_BYTES_MAX: u64 = 8 << 20;

/// A claimed job on its way to a run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) claimed: Claimed,
    /// Which of the host's tenures claimed it.
    pub(super) tenure: Arc<Tenure>,
    pub(super) claimed_at: Instant,
    /// One crash short of the limit: runs while nothing else of the lane does, so that only a guilty job can
    /// reach the limit.
    pub(super) alone: bool,
    /// Given to a run of its own, where runs take many.
    pub(super) single: bool,
    /// Runs since the claim that ended well and could not be committed.
    pub(super) conflicts: u32,
}

/// The end of one run.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) slot: Slot,
    pub(super) tenure: Arc<Tenure>,
    pub(super) claimed_at: Instant,
    pub(super) end: End,
    /// Entries that the run has popped and that go back to their lists before anything else is said.
    pub(super) put_back: Vec<Taken>,
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum End {
    /// Completed, nothing to say but that.
    Complete,
    /// Completed, with effects to be applied in the same step.
    Commit(Box<Commitment>),
    /// Its commit met a conflict: it runs again, as soon as what it popped is back.
    Again(Box<Job>),
    /// Its commit came too late, so nothing more is to be said than to put back what it popped.
    Gone,
    /// Anything else.
    Settle(Box<(Header, Fate)>),
}

/// A run that waits for its commit.
#[derive(Debug)]
pub(super) struct Commitment {
    pub(super) pending: Pending,
    /// What ran.
    pub(super) edition: Arc<Edition>,
    /// The job, should it have to run again.
    pub(super) job: Job,
    /// Further jobs of the same run, each with what became of it; those that are done end with the first.
    pub(super) others: Vec<(Job, Outcome)>,
    /// What it weighs on its lane.
    pub(super) _weight: Weight,
}

/// Bytes that weigh on a lane until this is dropped.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: u64,
    sum: Arc<AtomicU64>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Relaxed);
    }
}

impl Ended {
    /// The end of a run of `job`.
    pub(super) fn of(job: &Job, end: End) -> Self {
        let (slot, tenure, claimed_at) = (job.claimed.slot, job.tenure.clone(), job.claimed_at);
        Self { slot, tenure, claimed_at, end, put_back: Vec::new() }
    }

    /// The job runs again.
    pub(super) fn again(job: Job) -> Self {
        let (slot, tenure, claimed_at) = (job.claimed.slot, job.tenure.clone(), job.claimed_at);
        Self { slot, tenure, claimed_at, end: End::Again(Box::new(job)), put_back: Vec::new() }
    }

    /// The job is handed in, or back, with this fate.
    pub(super) fn settled(job: Job, fate: Fate) -> Self {
        let (slot, tenure, claimed_at) = (job.claimed.slot, job.tenure, job.claimed_at);
        let end = End::Settle(Box::new((job.claimed.header, fate)));
        Self { slot, tenure, claimed_at, end, put_back: Vec::new() }
    }

    /// Whether other runs wait for this commit.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(&self.end, End::Commit(commitment) if commitment.pending.turn.is_some())
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Jobs not started.
    pub(super) waiting: usize,
    /// Jobs in a run.
    pub(super) running: usize,
    /// Runner tasks alive.
    pub(super) runners: usize,
}

/// The desk of one lane.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Given when the feeder should look: a batch is full, jobs run low, or everything is still.
    pub(super) changed: Notify,
    /// Given when a runner that gathers jobs should look for more.
    pub(super) laid_out: Notify,
    /// Bytes of effects that wait for their commit.
    effects: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    ended: Vec<Ended>,
    running: usize,
    runners: usize,
    /// Of these, how many wait: for Redis, for a place, for more jobs.
    stalled: usize,
    /// How many may be alive.
    concurrency: usize,
    /// How many there are to be that do not wait.
    active: usize,
    alone: bool,
    low_water: usize,
    brakes: Brakes,
    /// Jobs that a runner waits for: there is one that gathers at most.
    gathering: Option<usize>,
    /// Nothing more comes, until something does: a held plugin goes on one day.
    closing: bool,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            laid_out: Notify::new(),
            effects: Arc::default(),
        }
    }

    /// Lays out jobs; the feeder is called when fewer than `low_water` are left.
    pub(super) fn add(&self, jobs: impl Iterator<Item = Job>, low_water: usize) {
        let mut state = self.lock();
        state.waiting.extend(jobs);
        (state.low_water, state.closing) = (low_water, false);
        if state.gathering.is_some() {
            self.laid_out.notify_one();
        }
    }

    /// Lays out a job that runs again at once, before all others.
    pub(super) fn add_first(&self, job: Job) {
        self.lock().waiting.push_front(job);
        self.laid_out.notify_one();
    }

    /// For a runner: hands in the end of its last job and takes the next one. None means: leave.
    pub(super) fn next(&self, ended: Option<Ended>, brake: &Brake) -> Option<Job> {
        let mut state = self.lock();
        let handed_in = ended.is_some();
        if let Some(ended) = ended {
            state.end(ended);
        }
        let job = if state.blocked() || self.is_full() { None } else { state.waiting.pop_front() };
        match &job {
            Some(job) => {
                state.alone = job.alone;
                state.running += 1;
                // Before the lock is let go: a job is either among those that wait, or can be stopped.
                brake.begin((job.tenure.number, job.claimed.slot));
            }
            None => state.runners -= 1,
        }
        let low = job.is_some() && state.waiting.len() == state.low_water;
        let still = job.is_none() && state.running == 0;
        if low || still || (handed_in && state.calls()) {
            drop(state);
            self.changed.notify_one();
        }
        job
    }

    /// For a new runner: what stops its runs.
    pub(super) fn fit_brake(&self) -> Arc<Brake> {
        self.lock().brakes.fit()
    }

    /// For the feeder: drops these jobs if they wait, and stops them if they run.
    pub(super) fn stop(&self, runs: &HashSet<RunKey>) {
        let mut state = self.lock();
        state.waiting.retain(|job| !runs.contains(&(job.tenure.number, job.claimed.slot)));
        state.brakes.pull(runs);
    }

    /// For a runner about to pause: hands in without taking.
    pub(super) fn hand_in(&self, ended: Ended) {
        let mut state = self.lock();
        state.end(ended);
        if state.calls() || state.running == 0 {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// For a runner that was stopped: hands in what it held, and leaves. `gathering`: it waited for more.
    pub(super) fn abandon(&self, ended: impl IntoIterator<Item = Ended>, gathering: bool) {
        let mut state = self.lock();
        ended.into_iter().for_each(|ended| state.end(ended));
        state.runners -= 1;
        if gathering {
            state.gathering = None;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Effects of so many bytes wait for their commit from now on.
    pub(super) fn weigh(&self, bytes: u64) -> Weight {
        self.effects.fetch_add(bytes, Relaxed);
        Weight { bytes, sum: self.effects.clone() }
    }

    /// Whether nothing may start until commits are answered: a Redis slower than the guests must not fill the memory.
    /// The feeder has them in its hands, and starts runners afterwards.
    fn is_full(&self) -> bool {
        self.effects.load(Relaxed) >= EFFECTS_BYTES_MAX
    }

    /// For the feeder: moves all ends into `batch` and tells what is left to do.
    pub(super) fn collect(&self, batch: &mut Vec<Ended>) -> Load {
        let mut state = self.lock();
        batch.append(&mut state.ended);
        Load { waiting: state.waiting.len(), running: state.running, runners: state.runners }
    }

    /// For the feeder: takes back the jobs that were not started.
    pub(super) fn take_back(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.closing = true;
        self.laid_out.notify_one();
        state.waiting.drain(..).collect()
    }

    /// For the feeder: takes back the jobs that have not run yet, while others keep running.
    pub(super) fn take_unbegun(&self) -> Vec<Job> {
        let mut state = self.lock();
        let (unbegun, rest) = state.waiting.drain(..).partition(|job| job.conflicts == 0);
        state.waiting = rest;
        unbegun.into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, the counts are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, ended: Ended) {
        self.running -= ended.jobs();
        self.ended.push(ended);
        self.alone = false;
    }

    /// Whether this end is one the feeder wants to know of: the first starts its clock, a full batch ends it,
    /// for an urgent one it does not wait.
    fn calls(&self) -> bool {
        let last_is_urgent = self.ended.last().is_some_and(Ended::is_urgent);
        self.ended.len() == 1 || self.ended.len() == BATCH || last_is_urgent
    }

    /// Whether the next job must wait because it, or what runs, has to be alone.
    fn blocked(&self) -> bool {
        self.alone || (self.running > 0 && self.waiting.front().is_some_and(|job| job.alone))
    }
}

#[cfg(test)]
pub(in crate::worker) mod tests {
    use super::*;
    use crate::job::name::{HostId, JobId};

    pub(in crate::worker) fn job(seq: u64, alone: bool) -> Job {
        let id = JobId::new(format!("j-{seq}")).unwrap();
        let header = Header { id, attempts: 0, crashes: 0, first_seen_ms: 0, notes: Vec::new() };
        let claimed = Claimed { slot: Slot { seq, enveloped: alone }, header, payload: Vec::new() };
        let tenure = Arc::new(Tenure { number: 0, host: HostId::new("h", 1, 1).unwrap() });
        Job { claimed, tenure, claimed_at: Instant::now(), alone, single: alone, conflicts: 0 }
    }

    pub(super) fn end(job: &Job) -> Option<Ended> {
        Some(Ended::of(job, End::Complete))
    }

    #[test]
    fn a_suspect_runs_alone() {
        let desk = Desk::new();
        desk.add([job(0, false), job(1, true), job(2, false)].into_iter(), 0);
        assert_eq!(desk.engage(4, 1, 8), 3);
        let first = desk.next(None, &Brake::default()).unwrap();
        assert!(desk.next(None, &Brake::default()).is_none(), "the suspect waits for the first job");
        let suspect = desk.next(end(&first), &Brake::default()).unwrap();
        assert!(suspect.alone);
        assert!(desk.next(None, &Brake::default()).is_none(), "nothing starts beside it");
        assert_eq!(desk.engage(4, 1, 8), 0);
        assert_eq!(desk.next(end(&suspect), &Brake::default()).unwrap().claimed.slot.seq, 2);
    }

    #[test]
    fn nothing_starts_while_too_many_effects_wait_for_their_commit() {
        let desk = Desk::new();
        desk.add((0..3).map(|n| job(n, false)), 0);
        desk.engage(1, 1, 8);
        let first = desk.next(None, &Brake::default()).unwrap();
        let weights = [desk.weigh(EFFECTS_BYTES_MAX - 1), desk.weigh(1)];
        assert!(desk.next(end(&first), &Brake::default()).is_none());
        assert_eq!(desk.engage(4, 1, 8), 0);
        drop(weights);
        assert_eq!(desk.engage(4, 1, 8), 2);
    }

    #[test]
    fn what_a_stopped_runner_held_is_reported() {
        let desk = Desk::new();
        desk.add([job(0, false)].into_iter(), 0);
        desk.engage(1, 1, 8);
        let held = desk.next(None, &Brake::default()).unwrap();
        desk.abandon(end(&held), false);
        let mut batch = Vec::new();
        assert_eq!(desk.collect(&mut batch), Load { waiting: 0, running: 0, runners: 0 });
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn what_is_to_be_stopped_neither_waits_nor_runs() {
        use futures_util::FutureExt as _;

        let desk = Desk::new();
        desk.add((0..3).map(|n| job(n, false)), 0);
        let brake = desk.fit_brake();
        let run = |job: &Job| (job.tenure.number, job.claimed.slot);
        let running = desk.next(None, &brake).unwrap();
        desk.stop(&[run(&running), run(&job(1, false))].into());
        assert!(brake.pulled().now_or_never().is_some());
        let next = desk.next(end(&running), &brake).unwrap();
        assert_eq!(next.claimed.slot.seq, 2);
        assert!(brake.pulled().now_or_never().is_none());
    }
}
