//! Jobs for runs that take many: which go together, and who waits for more.

use super::{Commitment, Desk, End, Ended, Job, State};
use crate::sandbox::Outcome;
use crate::worker::brake::{Brake, RunKey};

/// Whether a runner waits for more jobs of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Waits {
    /// If nobody else does.
    First,
    /// It has waited, and goes on.
    Again,
    /// Not any more.
    Last,
}

impl Desk {
    /// For a runner: more jobs to run together with those it has, in their order, `missing` at the most and as long as
    /// one `fits`. True: it is the one that gathers, and asks again when something is `laid_out`, or for the last time.
    pub(in crate::worker) fn more(
        &self,
        missing: usize,
        mut fits: impl FnMut(&Job) -> bool,
        waits: Waits,
        brake: &Brake,
    ) -> (Vec<Job>, bool) {
        let mut state = self.lock();
        if waits != Waits::First {
            state.gathering = None;
        }
        let mut more = Vec::new();
        while more.len() < missing
            && let Some(job) = state.waiting.pop_front_if(|job| !job.single && fits(job))
        {
            brake.join((job.tenure.number, job.claimed.slot));
            more.push(job);
        }
        state.running += more.len();
        let may_wait = more.len() < missing && state.waiting.is_empty() && !state.closing;
        let gathers = waits != Waits::Last && may_wait && state.gathering.is_none();
        if gathers {
            state.gathering = Some(missing - more.len());
        }
        // What is left may need another runner, and what is low another claim.
        let calls = state.waiting.len() <= state.low_water || !gathers && !state.waiting.is_empty();
        drop(state);
        if calls {
            self.changed.notify_one();
        }
        (more, gathers)
    }

    /// As `hand_in`, for all jobs of a run.
    pub(in crate::worker) fn hand_in_all(&self, ends: Vec<Ended>) {
        let mut state = self.lock();
        ends.into_iter().for_each(|ended| state.end(ended));
        drop(state);
        self.changed.notify_one();
    }
}

impl Ended {
    /// How many jobs' run this ends.
    pub(in crate::worker) fn jobs(&self) -> usize {
        self.others().len() + 1
    }

    /// The runs that this ends.
    pub(in crate::worker) fn runs(&self) -> impl Iterator<Item = RunKey> {
        let others = self.others().iter().map(|(job, _)| (job.tenure.number, job.claimed.slot));
        others.chain([(self.tenure.number, self.slot)])
    }

    fn others(&self) -> &[(Job, Outcome)] {
        if let End::Commit(commitment) = &self.end { &commitment.others } else { &[] }
    }
}

impl Commitment {
    /// All jobs of the run, each with what became of it.
    pub(in crate::worker) fn into_jobs(self) -> impl Iterator<Item = (Job, Outcome)> {
        std::iter::once((self.job, Outcome::Done)).chain(self.others)
    }
}

impl State {
    /// Runs that it takes to have all jobs running for which nobody waits, `batch` in each at the most.
    pub(super) fn runs(&self, batch: usize) -> usize {
        let waiting = self.waiting.len().saturating_sub(self.gathering.unwrap_or(0));
        if batch == 1 {
            return waiting;
        }
        let singles = self.waiting.iter().filter(|job| job.single).count().min(waiting);
        singles + (waiting - singles).div_ceil(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    fn desk(jobs: impl Iterator<Item = (u64, bool)>) -> Desk {
        let desk = Desk::new();
        desk.add(jobs.map(|(seq, single)| Job { single, ..job(seq, false) }), 0);
        desk
    }

    fn sequence(jobs: &[Job]) -> Vec<u64> {
        jobs.iter().map(|job| job.claimed.slot.seq).collect()
    }

    #[test]
    fn jobs_go_together_up_to_the_one_that_does_not_fit() {
        let desk = desk((0..10).map(|n| (n, n == 6)));
        assert_eq!(desk.engage(8, 4, 8), 4, "three runs of four, one for the single job");
        let first = desk.next(None, &Brake::default()).unwrap();
        let (more, gathers) = desk.more(3, |_| true, Waits::First, &Brake::default());
        assert_eq!((first.claimed.slot.seq, sequence(&more), gathers), (0, vec![1, 2, 3], false));
        let next = desk.next(None, &Brake::default()).unwrap();
        let (more, gathers) = desk.more(3, |job| job.claimed.slot.seq != 5, Waits::First, &Brake::default());
        assert_eq!((next.claimed.slot.seq, sequence(&more), gathers), (4, vec![], false));
        assert_eq!(desk.next(None, &Brake::default()).unwrap().claimed.slot.seq, 5);
        let (more, gathers) = desk.more(3, |_| true, Waits::First, &Brake::default());
        assert_eq!((sequence(&more), gathers), (vec![], false), "a single job is no part of a batch");
    }

    #[test]
    fn one_runner_waits_and_no_other_is_started_for_what_it_waits_for() {
        let desk = desk([(0, false)].into_iter());
        assert_eq!(desk.engage(8, 4, 8), 1);
        desk.next(None, &Brake::default()).unwrap();
        assert!(desk.more(3, |_| true, Waits::First, &Brake::default()).1);
        assert!(!desk.more(3, |_| true, Waits::First, &Brake::default()).1, "another one waits already");
        desk.add((1..6).map(|n| job(n, false)), 0);
        assert_eq!(desk.engage(8, 4, 8), 1, "two more than it waits for");
        let (more, gathers) = desk.more(3, |_| true, Waits::Again, &Brake::default());
        assert_eq!((sequence(&more), gathers), (vec![1, 2, 3], false));
        // Nothing more will come.
        desk.next(None, &Brake::default()).unwrap();
        assert_eq!(desk.take_back().len(), 1);
        assert!(!desk.more(3, |_| true, Waits::First, &Brake::default()).1);
        // A plugin that was held goes on.
        desk.add([job(7, false)].into_iter(), 0);
        assert!(desk.more(3, |_| true, Waits::First, &Brake::default()).1);
    }
}
