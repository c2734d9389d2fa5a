//! How many runners a lane has: a few for each thread, and one more for each that waits. A runner of its own for
//! each job would be there for one run only, and find nothing to do after it.

use super::{Desk, State};

/// Marks a runner as one that waits, until it is dropped.
#[derive(Debug)]
struct Stall<'a>(&'a Desk);

impl Desk {
    /// How many more runners to start so that `active` do not wait, as long as there are jobs to start, with `batch` in
    /// each run and `concurrency` alive at the most. They count as alive from now on.
    pub(in crate::worker) fn engage(&self, concurrency: usize, batch: usize, active: usize) -> usize {
        let mut state = self.lock();
        (state.concurrency, state.active) = (concurrency, active);
        let wanted = if state.blocked() || self.is_full() { 0 } else { state.runs(batch) };
        let more = wanted.min(state.missing());
        state.runners += more;
        more
    }

    /// For a runner: waits for `future`, while others may do what there is to do.
    pub(in crate::worker) async fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut stall = None;
        std::future::poll_fn(|context| {
            drop(stall.take());
            let polled = future.as_mut().poll(context);
            if polled.is_pending() {
                stall = Some(self.stall());
            }
            polled
        })
        .await
    }

    fn stall(&self) -> Stall<'_> {
        let mut state = self.lock();
        state.stalled += 1;
        if !state.waiting.is_empty() && state.missing() > 0 {
            drop(state);
            self.changed.notify_one();
        }
        Stall(self)
    }

    /// For a runner that has done its turn: whether the others can do without it. Then it leaves.
    pub(in crate::worker) fn excuse(&self) -> bool {
        let mut state = self.lock();
        let is_spare = state.runners - state.stalled > state.active;
        if is_spare {
            state.runners -= 1;
        }
        is_spare
    }
}

impl State {
    /// Runners that could be started, were there jobs for them.
    fn missing(&self) -> usize {
        let idle = self.active.saturating_sub(self.runners - self.stalled);
        idle.min(self.concurrency.saturating_sub(self.runners))
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        self.0.lock().stalled -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::tests::{end, job};
    use super::*;
    use crate::worker::brake::Brake;

    /// A desk with so many jobs.
    fn desk(jobs: u64) -> Desk {
        let desk = Desk::new();
        desk.add((0..jobs).map(|n| job(n, false)), 0);
        desk
    }

    #[test]
    fn no_more_runners_than_jobs_or_concurrency() {
        let desk = Desk::new();
        desk.add((0..10).map(|n| job(n, false)), 0);
        assert_eq!((desk.engage(4, 1, 8), desk.engage(4, 1, 8)), (4, 0));
        let desk = Desk::new();
        desk.add((0..2).map(|n| job(n, false)), 0);
        assert_eq!(desk.engage(4, 1, 8), 2);
    }

    #[test]
    fn so_many_that_do_not_wait_and_one_for_each_that_does() {
        let desk = desk(10);
        assert_eq!((desk.engage(4, 1, 2), desk.engage(4, 1, 2)), (2, 0));
        let brake = Brake::default();
        let first = desk.next(None, &brake).unwrap();
        let mut waiting = Box::pin(desk.wait(std::future::pending::<()>()));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(desk.changed.notified().now_or_never().is_some(), "the feeder is to look");
        assert_eq!((desk.engage(4, 1, 2), desk.engage(4, 1, 2)), (1, 0));
        drop(waiting);
        assert_eq!(desk.engage(4, 1, 2), 0);
        assert!(desk.excuse(), "one too many now");
        assert!(!desk.excuse());
        assert!(desk.next(end(&first), &brake).is_some());
    }

    #[test]
    fn all_that_may_run_at_once_do_if_all_wait() {
        let desk = desk(10);
        let mut waiting = Vec::new();
        while desk.engage(4, 1, 2) > 0 {
            let mut wait = Box::pin(desk.wait(std::future::pending::<()>()));
            assert!(wait.as_mut().now_or_never().is_none());
            waiting.push(wait);
        }
        // Two were engaged at first, of which one has not begun.
        assert_eq!((waiting.len(), desk.lock().runners), (3, 4));
    }
}
