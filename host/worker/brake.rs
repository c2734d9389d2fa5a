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
    run: Option<RunKey>,
    is_pulled: bool,
}

impl Brake {
    /// A run begins.
    pub(super) fn begin(&self, run: RunKey) {
        *self.lock() = State { run: Some(run), is_pulled: false };
    }

    /// Returns when the present run is to be stopped.
    pub(super) async fn pulled(&self) {
        // What was given for a former run is of no meaning.
        while !self.lock().is_pulled {
            self.given.notified().await;
        }
    }

    fn pull(&self, runs: &HashSet<RunKey>) {
        let mut state = self.lock();
        if state.run.is_some_and(|run| runs.contains(&run)) {
            state.is_pulled = true;
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
