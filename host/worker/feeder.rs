//! A lane's feeder: it alone talks to Redis about the lane's jobs. It claims in batches, reports ends in batches,
//! and waits for the next reason to do either. What it says to Redis is in `exchange`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_task::Task;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use super::adopt::AUDIT_MAX;
pub use super::desk::EFFECTS_BYTES_MAX;
use super::desk::{BATCH, Ended, Load};
use super::exchange::News;
use super::hear::Ear;
use super::lane::Lane;
use super::membership::{Membership, Tenure};
pub use super::portion::{CLAIM_BYTES_MAX, held_bytes_max};
use super::precedence::Standing;
use super::runner;
use super::setback::Trouble;
use super::stuck::Stuck;
use super::window::Window;
use crate::job::hold::{Hold, Holds};
use crate::job::settle::Fate;
use crate::job::store::{CLAIM_MAX, Delivery, Slot};
use crate::panics::named;
use crate::storage::link::Link;
use crate::storage::wake::Wake;

/// How long an end may wait for others to travel with.
const END_WAIT_MAX: Duration = Duration::from_millis(1);
/// The same where jobs wait for a runner: the more ends travel together, the less each costs Redis.
const END_WAIT_BUSY_MAX: Duration = Duration::from_millis(3);
/// Runners that do not wait, for each thread: one goes on at once where another has to wait.
const RUNNERS_PER_THREAD: usize = 2;

/// How much of its work a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All.
    Serving,
    /// No more claims until an operator lets go; runs go on, jobs not started go back.
    Held,
    /// No more claims; runs go on, jobs not started go back.
    Draining,
    /// Runs are stopped and go back, attempt not counted.
    Leaving,
}

/// What a feeder needs besides its lane.
#[derive(Debug, Clone)]
pub struct FeederParts {
    /// The host among hosts.
    pub membership: Arc<Membership>,
    /// The connection that lanes claim over.
    pub link: Link,
    /// Where this connection's pushes arrive.
    pub wake: Arc<Wake>,
    /// How much the host does.
    pub phase: watch::Receiver<Phase>,
    /// What operators hold.
    pub holds: watch::Receiver<Holds>,
}

/// What has become of a lane that is no longer served: true once it is to be drained.
pub type Retired = watch::Receiver<bool>;

/// Feeds one lane.
#[derive(Debug)]
pub struct Feeder {
    pub(super) lane: Arc<Lane>,
    pub(super) parts: FeederParts,
    retired: Retired,
    pub(super) tenure: Arc<Tenure>,
    /// Tenures that ended while jobs of theirs ran.
    pub(super) former: Vec<Arc<Tenure>>,
    /// What this host believes to have in flight, each with the bytes of its payload.
    pub(super) held: FxHashMap<(u32, Slot), u64>,
    /// Bytes of all these.
    pub(super) held_bytes: u64,
    /// What the last turn has brought and nobody has looked at: the next one is sent first.
    pub(super) news: News,
    /// Least sequence number for the next claim of this tenure.
    pub(super) next_seq: u64,
    /// Ends that Redis has not accepted.
    pub(super) batch: Vec<Ended>,
    batch_since: Option<Instant>,
    /// How long the batch may wait for more.
    end_wait: Duration,
    /// Whether somebody waits for an end in the batch.
    urgent: bool,
    /// Whether the queue may have more.
    pub(super) hungry: bool,
    /// What this queue says to others of its priority, and hears.
    pub(super) standing: Standing,
    precedence: watch::Receiver<Option<u32>>,
    /// Whether it has, and a limit kept the last claim from it.
    pub(super) limited: bool,
    /// When the next delayed job is due.
    pub(super) due: Option<Instant>,
    pub(super) window: Window,
    pub(super) stuck: Stuck,
    /// Number of claims so far.
    pub(super) claims: u64,
    runners: Vec<Task<()>>,
    pub(super) generations: watch::Receiver<u64>,
    /// Changes each time the lease is found to have ended.
    pub(super) lapses: watch::Receiver<u64>,
    pub(super) audit_wanted: bool,
    pub(super) audit_at: Instant,
    pub(super) audit_gap: Duration,
    pub(super) ear: Ear,
    /// The failures that keep this feeder from its work.
    pub(super) trouble: Trouble,
}

/// Why a wait ended.
enum Call {
    /// Ends, low water, time: look at the desk.
    Look,
    /// The queue may have something.
    Wake,
    /// Jobs were perhaps taken away.
    Word,
}

impl Feeder {
    /// A feeder that has not begun. The host must have joined.
    pub fn new(lane: Arc<Lane>, parts: FeederParts, retired: Retired) -> Self {
        let now = Instant::now();
        let keys = lane.store.keys();
        for key in [&keys.list, &keys.ready, &keys.delayed, &keys.paused, &keys.vacant] {
            parts.wake.watch_key(key, &lane.wake);
        }
        let mut standing = lane.precedence.join();
        let priority = lane.current().policy.priority;
        standing.press(priority, priority > 0);
        Self {
            precedence: standing.changes(),
            standing,
            tenure: parts.membership.tenure(),
            former: Vec::new(),
            held: FxHashMap::default(),
            news: News::default(),
            held_bytes: 0,
            next_seq: 0,
            batch: Vec::new(),
            batch_since: None,
            end_wait: END_WAIT_MAX,
            urgent: false,
            hungry: true,
            limited: false,
            due: None,
            window: Window::new(now),
            stuck: Stuck::new(now),
            claims: 0,
            runners: Vec::new(),
            generations: parts.link.generations(),
            lapses: parts.membership.lapses(),
            audit_wanted: false,
            audit_at: now + AUDIT_MAX,
            audit_gap: AUDIT_MAX,
            ear: Ear::default(),
            trouble: Trouble::default(),
            lane,
            parts,
            retired,
        }
    }

    /// Feeds until it is told to leave and nothing is left in its hands. False: something may be left, as far as
    /// Redis knows; it comes back when the lease ends.
    pub async fn run(mut self) -> bool {
        self.hear().await;
        let is_empty_handed = loop {
            let phase = self.next_phase();
            if phase != Phase::Serving {
                self.take_up();
            }
            if phase == Phase::Leaving && self.lane.delivery == Delivery::AtMostOnce {
                self.give_back_unbegun().await;
            }
            let load = self.tidy(phase);
            let load = self.give_back_stuck(load);
            if phase == Phase::Held {
                // Nobody needs to look at the queue until an operator lets go, and then this feeder does.
                self.hungry = true;
                self.note_idle(false);
            }
            let still = load.running == 0 && load.waiting == 0;
            let audit_wanted = self.wants_audit();
            let done = still && load.runners == 0 && self.batch.is_empty();
            if done && (phase == Phase::Leaving || (phase == Phase::Draining && !audit_wanted)) {
                break !audit_wanted;
            }
            if done && self.gives_up() {
                break false;
            }
            // No claim before: it could be given the sequence numbers of one whose reply was lost.
            if audit_wanted && phase != Phase::Leaving {
                self.audit().await;
                continue;
            }
            if self.is_called() {
                self.hear().await;
                continue;
            }
            let claim = self.appetite(load, phase);
            let claim = self.give_precedence(claim, load, phase);
            let now = Instant::now();
            if claim > 0 || self.is_batch_due(still, now) {
                (self.batch_since, self.urgent) = (None, false);
                if !self.exchange(claim).await && phase == Phase::Leaving {
                    break false;
                }
                continue;
            }
            self.take_up();
            if now >= self.audit_at {
                self.audit().await;
            } else {
                match self.wait(load).await {
                    Call::Look => {}
                    Call::Wake => self.hungry = true,
                    Call::Word => self.hear().await,
                }
            }
        };
        self.parts.wake.forget(&self.lane.wake);
        self.parts.wake.forget(&self.ear.signal);
        is_empty_handed && self.former.is_empty()
    }

    /// The current phase, with its changes marked as seen: only later ones end the next `wait`.
    fn next_phase(&mut self) -> Phase {
        self.retired.mark_unchanged();
        self.parts.holds.mark_unchanged();
        self.parts.phase.mark_unchanged();
        self.phase()
    }

    /// The current phase: that of the host, or a later one if the lane is retired or held. Changes are not marked as seen,
    /// because only the loop of `run` acts on each.
    pub(super) fn phase(&self) -> Phase {
        let own = if *self.retired.borrow() { Phase::Draining } else { Phase::Serving };
        let holds = self.parts.holds.borrow();
        let is_held = holds.since_ms(Hold::Plugin(&self.lane.plugin)).is_some()
            || holds.since_ms(Hold::Host(self.tenure.host.seat())).is_some();
        let held = if is_held { Phase::Held } else { Phase::Serving };
        own.max(held).max(*self.parts.phase.borrow())
    }

    /// Collects ends, starts runners for what waits, and in a shutdown takes back what need not run.
    fn tidy(&mut self, phase: Phase) -> Load {
        self.runners.retain(|runner| !runner.is_finished());
        if phase == Phase::Leaving {
            // Stops them: each hands in what it held.
            self.runners.clear();
        }
        let edition = self.lane.current();
        let policy = &edition.policy;
        let keeps = self.lane.delivery == Delivery::AtLeastOnce;
        if phase != Phase::Serving && keeps {
            let order = policy.order;
            let back = |job| Ended::settled(job, Fate::GiveBack(order));
            self.batch.extend(self.lane.desk.take_back().into_iter().map(back));
        }
        self.engage();
        let before = self.batch.len();
        let mut load = self.lane.desk.collect(&mut self.batch);
        load.waiting += self.news.jobs.len();
        self.urgent |= self.batch[before..].iter().any(Ended::is_urgent);
        if self.batch.len() > before {
            // What ended makes room.
            self.hungry |= self.limited;
            let jobs = self.batch[before..].iter().map(Ended::jobs).sum();
            let now = Instant::now();
            self.window.ended(jobs, now);
            self.stuck.ended(jobs, now);
        }
        // What limits keep waiting, an end may let go.
        let is_busy = load.waiting > 0 && !self.limited;
        self.end_wait = if is_busy { END_WAIT_BUSY_MAX } else { END_WAIT_MAX };
        if !self.batch.is_empty() {
            self.begin_batch(Instant::now());
        }
        load
    }

    /// Notes since when the batch has not been empty.
    pub(super) fn begin_batch(&mut self, now: Instant) {
        self.batch_since.get_or_insert(now);
    }

    /// Starts runners for what waits on the desk.
    pub(super) fn engage(&mut self) {
        let edition = self.lane.current();
        let (policy, active) = (&edition.policy, self.lane.share.threads() * RUNNERS_PER_THREAD);
        for _ in 0..self.lane.desk.engage(policy.concurrency, policy.batch, active) {
            self.runners.push(self.lane.share.spawn(named("runner", runner::run(self.lane.clone()))));
        }
    }

    /// How many jobs to claim now; 0 when the queue has none or enough lie here.
    fn appetite(&self, load: Load, phase: Phase) -> u32 {
        if phase != Phase::Serving || !self.hungry || self.room_bytes() == 0 {
            return 0;
        }
        let concurrency = self.lane.current().policy.jobs_at_once();
        let keeps = self.lane.delivery == Delivery::AtLeastOnce;
        // A job taken for ever is not taken before it can run.
        let ahead = self.ahead();
        let size = concurrency + if keeps { ahead } else { 0 };
        let size = size.min(self.stuck.most());
        let room = size.saturating_sub(load.waiting + load.running);
        // Half of what lies ahead at a time, lest every finished job fetch one other; but a lane that has room to
        // run takes what it can get.
        let worth = (ahead / 2).clamp(1, BATCH);
        let starving = load.waiting == 0 && load.running < concurrency;
        if room >= worth || (room > 0 && starving) {
            u32::try_from(room).unwrap_or(u32::MAX).min(CLAIM_MAX)
        } else {
            0
        }
    }

    /// Tells others whether jobs wait here, and claims none while others of a higher priority do.
    fn give_precedence(&mut self, claim: u32, load: Load, phase: Phase) -> u32 {
        let priority = self.lane.current().policy.priority;
        let presses = phase == Phase::Serving && (self.hungry || load.waiting > 0);
        self.standing.press(priority, presses && priority > 0);
        if self.standing.must_yield(priority) { 0 } else { claim }
    }

    /// Jobs to hold beyond those that run; none where others would have to wait for them.
    pub(super) fn ahead(&self) -> usize {
        if self.lane.current().policy.limits.is_concurrency() { 0 } else { self.window.ahead(Instant::now()) }
    }

    /// Bytes of payloads that may be claimed now.
    pub(super) fn room_bytes(&self) -> u64 {
        let policy = &self.lane.current().policy;
        let most = held_bytes_max(policy.concurrency, policy.payload_bytes_max);
        most.saturating_sub(self.held_bytes + self.news.bytes()).min(CLAIM_BYTES_MAX)
    }

    fn is_batch_due(&self, still: bool, now: Instant) -> bool {
        let waited = self.batch_since.is_some_and(|since| now.duration_since(since) >= self.end_wait);
        self.batch.len() >= BATCH || (!self.batch.is_empty() && (still || waited || self.urgent))
    }

    async fn wait(&mut self, load: Load) -> Call {
        let batch_due = self.batch_since.map(|since| since + self.end_wait);
        let until = [batch_due, self.due, self.stuck.look_at(load), Some(self.audit_at)];
        let until = until.into_iter().flatten().min();
        let until = tokio::time::Instant::from_std(until.expect("an audit is always planned"));
        tokio::select! {
            () = self.lane.desk.changed.notified() => Call::Look,
            () = self.lane.wake.notified() => Call::Wake,
            () = self.ear.signal.notified() => Call::Word,
            () = tokio::time::sleep_until(until) => {
                if self.due.is_some_and(|due| due <= Instant::now()) {
                    self.due = None;
                    return Call::Wake;
                }
                Call::Look
            }
            Ok(()) = self.precedence.changed() => Call::Look,
            Ok(()) = self.generations.changed() => {
                self.request_audit();
                Call::Look
            }
            Ok(()) = self.lapses.changed() => {
                self.request_audit();
                Call::Look
            }
            _ = self.parts.phase.changed() => Call::Look,
            Ok(()) = self.parts.holds.changed() => Call::Look,
            Ok(()) = self.retired.changed() => Call::Look,
        }
    }

    /// Tells the safety poll whether to look at this queue.
    pub(super) fn note_idle(&self, idle: bool) {
        self.lane.idle.store(idle, Relaxed);
    }
}
