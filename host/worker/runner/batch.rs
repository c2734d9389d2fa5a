//! Runs of many jobs in one call. Each job is answered for itself; a call that fails, fails all of its jobs, and each of
//! them runs by itself from then on, so that only the one to blame goes on failing.

use std::sync::Arc;

use tokio::time::{Instant, sleep, sleep_until};

use super::{Seat, fail, headers, patience, to_commit};
use crate::job::envelope::SINGLE;
use crate::job::store::Delivery;
use crate::sandbox::outcome::Outcome;
use crate::sandbox::run::{BatchReport, JobCall};
use crate::sandbox::{Drained, Instance};
use crate::worker::desk::{End, Ended, Job, Waits};
use crate::worker::edition::Edition;

impl Seat<'_> {
    /// Takes the first job of a run, and more that lie ready. True: it is to `gather` before it runs.
    pub(super) fn begin_batch(&mut self, job: Job, edition: &Edition) -> bool {
        let single = job.single;
        self.held.push(job);
        let waits = if edition.policy.batch_wait.is_zero() { Waits::Last } else { Waits::First };
        if !single {
            self.gathers = self.take_more(edition, waits);
        }
        self.gathers
    }

    /// Waits for more jobs, as long as the operator says and no longer than there is room.
    pub(super) async fn gather(&mut self, edition: &Edition) {
        let lane = self.lane;
        let until = Instant::now() + edition.policy.batch_wait;
        while self.gathers {
            let waits = tokio::select! {
                () = lane.desk.laid_out.notified() => Waits::Again,
                () = sleep_until(until) => Waits::Last,
            };
            self.gathers = self.take_more(edition, waits);
        }
    }

    /// Takes more jobs, as many as may go together: all payloads of a call are no more than one may be.
    fn take_more(&mut self, edition: &Edition, waits: Waits) -> bool {
        let mut bytes: u64 = self.held.iter().map(|job| job.claimed.bytes()).sum();
        let tenure = self.held[0].tenure.number;
        let fits = |job: &Job| {
            bytes = bytes.saturating_add(job.claimed.bytes());
            bytes <= edition.policy.payload_bytes_max && job.tenure.number == tenure
        };
        let missing = edition.policy.batch.saturating_sub(self.held.len());
        let (more, gathers) = self.lane.desk.more(missing, fits, waits, &self.brake);
        self.held.extend(more);
        gathers
    }

    /// Runs the jobs it has; an end for each, or one for those that end with one commit.
    pub(super) async fn run_batch(
        &mut self,
        edition: &Arc<Edition>,
        kept: &mut Option<Instance>,
    ) -> Vec<Ended> {
        if let Some(observer) = &self.lane.observer {
            self.held.iter().for_each(|job| observer.started(&job.claimed.payload));
        }
        let tenure = self.held[0].tenure.clone();
        self.adapt(edition, &tenure);
        let conflicts = self.held.iter().map(|job| job.conflicts).max().unwrap_or(0);
        let all_headers: Vec<Vec<(&str, &str)>> = self.held.iter().map(headers).collect();
        let calls = self.held.iter().zip(&all_headers);
        let calls: Vec<JobCall<'_>> = calls.map(|(job, headers)| self.call(job, headers, edition)).collect();
        let run = async {
            if conflicts > 1 {
                sleep(patience(conflicts)).await;
            }
            edition.version.run_batch_in(kept, &calls, &self.context).await
        };
        let report = tokio::select! {
            biased;
            () = self.brake.pulled() => return self.stopped_batch(),
            report = run => report,
        };
        self.charge(&report.run);
        let report = report.excused();
        let jobs = std::mem::take(&mut self.held);
        self.end_batch(jobs, report, edition)
    }

    /// The ends of a run some of whose jobs were taken away: the others run again.
    fn stopped_batch(&mut self) -> Vec<Ended> {
        let gone = self.brake.gone();
        let Drained { sure, unsure } = self.takings.drain();
        let is_gone = |job: &Job| gone.contains(&(job.tenure.number, job.claimed.slot));
        let end = |job| if is_gone(&job) { Ended::of(&job, End::Gone) } else { Ended::again(job) };
        put_back(self.held.drain(..).map(end).collect(), [sure, unsure].concat())
    }

    /// What is to be said to Redis about a run.
    fn end_batch(&self, jobs: Vec<Job>, report: BatchReport, edition: &Arc<Edition>) -> Vec<Ended> {
        let BatchReport { mut run, answers } = report;
        let Drained { sure, unsure } = self.takings.drain();
        let taken = [sure.clone(), unsure.clone()].concat();
        if run.outcome != Outcome::Done {
            return put_back(self.fail_all(jobs, run.outcome, edition), taken);
        }
        answers.iter().for_each(|answer| edition.tally.count(answer));
        let answered = jobs.into_iter().zip(answers).map(|(mut job, answer)| {
            job.claimed.header.drop_note(SINGLE);
            (job, answer)
        });
        let (done, mut others): (Vec<_>, Vec<_>) = answered.partition(|(_, answer)| *answer == Outcome::Done);
        let mut done = done.into_iter();
        // Nothing of a call in which no job was done.
        let Some((first, _)) = done.next() else { return put_back(self.settle_all(others, edition), taken) };
        others.splice(0..0, done);
        if self.lane.delivery == Delivery::AtLeastOnce {
            let all_done = others.iter().filter(|(_, answer)| *answer == Outcome::Done).map(|(job, _)| job);
            for job in all_done.chain([&first]) {
                self.leave_result(&mut run.pending, job, Vec::new());
            }
        }
        match to_commit(run.pending, sure, edition) {
            Some(pending) => put_back(vec![self.commit(pending, edition.clone(), first, others)], unsure),
            None => {
                others.insert(0, (first, Outcome::Done));
                put_back(self.settle_all(others, edition), unsure)
            }
        }
    }

    fn settle_all(&self, answered: Vec<(Job, Outcome)>, edition: &Edition) -> Vec<Ended> {
        let settle = |(job, answer): (Job, Outcome)| match answer {
            Outcome::Done => Ended::of(&job, End::Complete),
            answer => fail(self.lane, edition, &answer, job),
        };
        answered.into_iter().map(settle).collect()
    }

    /// The end of a call that failed.
    fn fail_all(&self, jobs: Vec<Job>, mut outcome: Outcome, edition: &Edition) -> Vec<Ended> {
        let count = jobs.len();
        if let (Outcome::Trapped { reason, .. }, true) = (&mut outcome, count > 1) {
            *reason = format!("{reason}, in a call for {count} jobs");
        }
        let mut ends = Vec::with_capacity(count);
        for mut job in jobs {
            edition.tally.count(&outcome);
            if !outcome.is_blameless() {
                job.claimed.header.set_note(SINGLE, "1");
            }
            ends.push(fail(self.lane, edition, &outcome, job));
            if let Outcome::Trapped { backtrace, .. } = &mut outcome {
                // One is enough: it is the same for all.
                backtrace.clear();
            }
        }
        ends
    }
}

/// The same ends, with entries that go back to their lists before anything else is said.
fn put_back(mut ends: Vec<Ended>, back: Vec<crate::job::change::Taken>) -> Vec<Ended> {
    if let Some(first) = ends.first_mut() {
        first.put_back = back;
    }
    ends
}
