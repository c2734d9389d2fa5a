//! What a feeder does before it talks to Redis: it starts runners, and collects the ends that they hand in.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{Feeder, Phase};
use crate::job::settle::Fate;
use crate::job::store::Delivery;
use crate::panics::named;
use crate::worker::desk::{Ended, Load};
use crate::worker::runner;

/// How long an end may wait for others to travel with.
pub(super) const END_WAIT_MAX: Duration = Duration::from_millis(1);
/// The same while jobs wait for a runner: the more ends travel together, the less each costs Redis.
const END_WAIT_BUSY_MAX: Duration = Duration::from_millis(3);
/// Runners that do not wait, for each thread: one continues immediately when another has to wait.
const RUNNERS_PER_THREAD: usize = 2;

impl Feeder {
    /// Brings runners and outbox up to date: in a shutdown, jobs that need not run go back.
    pub(super) fn prepare(&mut self, phase: Phase) -> Load {
        self.runners.retain(|runner| !runner.is_finished());
        if phase == Phase::Leaving {
            // Stops them: each hands in what it held.
            self.runners.clear();
        }
        let now = Instant::now();
        if phase != Phase::Serving && self.lane.delivery == Delivery::AtLeastOnce {
            let order = self.lane.current().policy.order;
            for job in self.lane.desk.take_back() {
                self.outbox.add(Ended::settled(job, Fate::GiveBack(order)), now);
            }
        }
        self.start_runners();
        let load = self.collect(now);
        // If limits keep jobs waiting, the end of one job may let another one through.
        let is_busy = load.waiting > 0 && !self.demand.is_limited();
        self.end_wait = if is_busy { END_WAIT_BUSY_MAX } else { END_WAIT_MAX };
        let load = self.give_back_stuck(load, now);
        if phase == Phase::Held {
            // The poll need not read the queue until an operator lets go, and then this feeder does.
            self.demand.wake();
            self.lane.idle.store(false, Relaxed);
        }
        load
    }

    /// Collects the ends that runners have handed in. Claimed jobs that are not in the run queue yet count as waiting.
    pub(super) fn collect(&mut self, now: Instant) -> Load {
        let (mut load, jobs_ended) = self.outbox.collect(&self.lane.desk, now);
        self.outbox.start_clock(now);
        if jobs_ended > 0 {
            self.demand.ended(jobs_ended, now);
        }
        load.waiting += self.reply.jobs();
        load
    }

    /// Starts runners for the jobs in the run queue.
    pub(super) fn start_runners(&mut self) {
        let edition = self.lane.current();
        let (policy, active) = (&edition.policy, self.lane.share.threads() * RUNNERS_PER_THREAD);
        for _ in 0..self.lane.desk.engage(policy.concurrency, policy.batch, active) {
            self.runners.push(self.lane.share.spawn(named("runner", runner::run(self.lane.clone()))));
        }
    }
}
