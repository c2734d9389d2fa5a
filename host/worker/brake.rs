//! How a run is stopped from outside: whoever runs jobs has a brake, and whoever hears that a job is no longer ours
//! pulls it. A brake that is pulled late stops nothing else: it knows which run it is in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::job::store::Slot;

/// A run: the number of the tenure that claimed its job, and where the record is.
pub(super) type RunKey = (u32, Slot);

/// One runner's brake.
#[derive(Debug, Default)]
pub(super) struct Brake {
    state: Mutex<State>,
    given: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// One run for each of its jobs.
    runs: Vec<RunKey>,
    /// Those that are to be stopped.
    pulled: Vec<RunKey>,
}

impl Brake {
    /// A run begins.
    pub(super) fn begin(&self, run: RunKey) {
        let mut state = self.lock();
        state.runs.clear();
        state.runs.push(run);
        state.pulled.clear();
    }

    /// Another job is part of the present run.
    pub(super) fn join(&self, run: RunKey) {
        self.lock().runs.push(run);
    }

    /// The jobs for which the present run was stopped.
    pub(super) fn gone(&self) -> Vec<RunKey> {
        self.lock().pulled.clone()
    }

    /// Returns when the present run is to be stopped.
    pub(super) async fn pulled(&self) {
        // What was given for a former run is of no meaning.
        while self.lock().pulled.is_empty() {
            self.given.notified().await;
        }
    }

    fn pull(&self, runs: &HashSet<RunKey>) {
        let mut state = self.lock();
        let State { runs: own, pulled } = &mut *state;
        pulled.extend(own.iter().filter(|run| runs.contains(*run)));
        if !pulled.is_empty() {
            drop(state);
            self.given.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The brakes of all runners of a lane.
#[derive(Debug, Default)]
pub(super) struct Brakes {
    list: Vec<Weak<Brake>>,
    /// How many there may be before those of runners that left are looked for.
    tidy_at: usize,
}

impl Brakes {
    /// One for a new runner; it counts as long as the runner keeps it.
    pub(super) fn fit(&mut self) -> Arc<Brake> {
        if self.list.len() >= self.tidy_at {
            self.list.retain(|brake| brake.strong_count() > 0);
            self.tidy_at = self.list.len() * 2 + 16;
        }
        let brake = Arc::new(Brake::default());
        self.list.push(Arc::downgrade(&brake));
        brake
    }

    /// Stops these runs.
    pub(super) fn pull(&self, runs: &HashSet<RunKey>) {
        self.list.iter().filter_map(Weak::upgrade).for_each(|brake| brake.pull(runs));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const fn run(seq: u64) -> RunKey {
        (0, Slot { seq, enveloped: false })
    }

    #[test]
    fn only_the_run_that_is_meant_stops() {
        let mut brakes = Brakes::default();
        let (one, other) = (brakes.fit(), brakes.fit());
        one.begin(run(1));
        other.begin(run(2));
        brakes.pull(&[run(1), run(3)].into());
        assert!(one.pulled().now_or_never().is_some());
        assert!(other.pulled().now_or_never().is_none());
        one.begin(run(4));
        brakes.pull(&[run(1)].into());
        assert!(one.pulled().now_or_never().is_none(), "the next run goes on");
    }

    #[test]
    fn a_run_of_many_jobs_stops_for_any_of_them_and_knows_for_which() {
        let mut brakes = Brakes::default();
        let brake = brakes.fit();
        brake.begin(run(1));
        brake.join(run(2));
        brakes.pull(&[run(2), run(3)].into());
        assert!(brake.pulled().now_or_never().is_some());
        assert_eq!(brake.gone(), [run(2)]);
    }

    #[test]
    fn brakes_of_runners_that_left_are_forgotten() {
        let mut brakes = Brakes::default();
        let kept = brakes.fit();
        for _ in 0..1000 {
            brakes.fit();
        }
        assert!(brakes.list.len() < 100, "{}", brakes.list.len());
        kept.begin(run(1));
        brakes.pull(&[run(1)].into());
        assert!(kept.pulled().now_or_never().is_some());
    }
}
