//! Commits: runs whose effects are applied in one step with their job's end, what becomes of those that Redis
//! refuses, and the entries that runs have popped in vain. All of it travels on a connection of its own, in order.

use super::counters::Counters;
use super::desk::{Commitment, End, Ended, Job};
use super::edition::Edition;
use super::exchange::by_tenure;
use super::feeder::Feeder;
use super::lane::Lane;
use super::{runner, wall};
use crate::job::change::Write;
use crate::job::commit::{Commit, Verdict, Why};
use crate::job::settle::Fate;
use crate::job::store::{Slot, StoreError};
use crate::job::take;
use crate::sandbox::outcome::{Outcome, tidy};

/// Conflicts of one job in a row after which its attempt has failed.
const CONFLICTS_MAX: u32 = 16;

impl Feeder {
    /// Puts back what runs have popped in vain, and lets those run again that only waited for this.
    pub(super) async fn put_back(&mut self) -> Result<(), StoreError> {
        let (back, rest): (Vec<Ended>, Vec<Ended>) =
            std::mem::take(&mut self.batch).into_iter().partition(|ended| !ended.put_back.is_empty());
        self.batch = rest;
        let mut failure = None;
        for mut group in by_tenure(back) {
            let host = group[0].tenure.host.clone();
            let taken: Vec<_> = group.iter().flat_map(|ended| ended.put_back.iter().cloned()).collect();
            match take::put_back(&self.lane.commits, &host, &taken).await {
                Ok(()) => group.iter_mut().for_each(|ended| ended.put_back.clear()),
                Err(error) => failure = Some(error),
            }
            self.batch.extend(group);
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let is_again = |ended: &Ended| matches!(ended.end, End::Again(_));
        let (again, rest): (Vec<Ended>, Vec<Ended>) =
            std::mem::take(&mut self.batch).into_iter().partition(is_again);
        self.batch = rest;
        self.batch.retain(|ended| !matches!(ended.end, End::Gone));
        // Backwards, because each is laid before the others.
        for ended in again.into_iter().rev() {
            if let End::Again(job) = ended.end {
                self.lane.desk.add_first(*job);
            }
        }
        Ok(())
    }

    /// Takes the runs that wait for a commit out of the batch, those of one tenure together.
    pub(super) fn take_commits(&mut self) -> Vec<Vec<Ended>> {
        let is_commit = |ended: &Ended| matches!(ended.end, End::Commit(_));
        if !self.batch.iter().any(is_commit) {
            return Vec::new();
        }
        let (commits, rest) = std::mem::take(&mut self.batch).into_iter().partition(is_commit);
        self.batch = rest;
        by_tenure(commits)
    }

    /// Does what the answers call for. Those without one stay in the batch: committing twice is harmless, for the
    /// record of the job is the proof.
    pub(super) async fn judge_all(
        &mut self,
        commits: Vec<Vec<Ended>>,
        verdicts: Vec<Result<Vec<Verdict>, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut failure = None;
        for (group, verdicts) in commits.into_iter().zip(verdicts) {
            match verdicts {
                Ok(verdicts) => {
                    group.into_iter().zip(verdicts).for_each(|(ended, verdict)| self.judge(ended, verdict))
                }
                Err(error) => {
                    self.batch.extend(group);
                    failure = Some(error);
                }
            }
        }
        // Those that met a conflict have things to put back before they run again.
        failure.map_or(Ok(()), Err).and(self.put_back().await)
    }

    /// Does what a commit's answer calls for.
    fn judge(&mut self, ended: Ended, verdict: Verdict) {
        let counters = self.lane.counters.clone();
        match verdict {
            Verdict::Done => {
                self.accepted(Fate::Complete, &ended);
                let End::Commit(commitment) = ended.end else { return };
                Counters::add(&counters.commits, 1);
                Counters::add(&counters.effects, effects(&commitment));
            }
            Verdict::Late => {
                self.late(&ended);
                Counters::add(&counters.fenced, 1);
                // Where it was the answer to the first commit that got lost, there is nothing to put back.
                let End::Commit(commitment) = ended.end else { return };
                let put_back = commitment.pending.changes.taken;
                self.batch.push(Ended { put_back, ..Ended::of(&commitment.job, End::Gone) });
            }
            Verdict::Conflict(key) => {
                Counters::add(&counters.conflicts, 1);
                self.lane.contention.note(&key);
                let reason = || format!("conflict: `{}` was changed by others, again and again", tidy(&key));
                self.run_again(ended, reason);
            }
            Verdict::Refused { key, why } => {
                let reason = format!("its effects were refused: key `{}` {why}", tidy(&key));
                self.refuse(ended, &Outcome::Retry { reason, after: None });
            }
            Verdict::Full => {
                let cause = "Redis has reached its memory limit and refuses effects".to_owned();
                self.refuse(ended, &Outcome::HostFault(cause));
            }
        }
    }

    /// Runs the job of a refuted run again, at once; too often refuted, the attempt has failed.
    fn run_again(&mut self, ended: Ended, reason: impl FnOnce() -> String) {
        let End::Commit(commitment) = ended.end else { return };
        let Commitment { pending, edition, mut job, .. } = *commitment;
        job.conflicts += 1;
        let put_back = pending.changes.taken;
        let end = if job.conflicts > CONFLICTS_MAX {
            self.failed(job, &edition, &Outcome::Retry { reason: reason(), after: None })
        } else {
            let (slot, tenure, claimed_at) = (ended.slot, ended.tenure, ended.claimed_at);
            Ended { slot, tenure, claimed_at, end: End::Again(Box::new(job)), put_back: Vec::new() }
        };
        self.batch.push(Ended { put_back, ..end });
    }

    /// Ends the job of a run whose effects cannot be applied.
    fn refuse(&mut self, ended: Ended, outcome: &Outcome) {
        let End::Commit(commitment) = ended.end else { return };
        let Commitment { pending, edition, job, .. } = *commitment;
        let end = self.failed(job, &edition, outcome);
        self.batch.push(Ended { put_back: pending.changes.taken, ..end });
    }

    fn failed(&self, job: Job, edition: &Edition, outcome: &Outcome) -> Ended {
        runner::fail(&self.lane, edition, outcome, job)
    }
}

/// Asks Redis to commit these, one answer for each group.
pub(super) async fn send(lane: &Lane, commits: &[Vec<Ended>]) -> Vec<Result<Vec<Verdict>, StoreError>> {
    let mut answers = Vec::with_capacity(commits.len());
    for group in commits {
        answers.push(send_group(lane, group).await);
    }
    answers
}

async fn send_group(lane: &Lane, group: &[Ended]) -> Result<Vec<Verdict>, StoreError> {
    let commitments = group.iter().filter_map(|ended| match &ended.end {
        End::Commit(commitment) => Some((ended.slot, &**commitment)),
        _ => None,
    });
    let commitments: Vec<(Slot, &Commitment)> = commitments.collect();
    let mut forbidden = wall::forbidden(&commitments).await?;
    let allowed = commitments.iter().zip(&forbidden).filter(|(_, forbidden)| forbidden.is_none());
    let asked =
        allowed.map(|((slot, commitment), _)| Commit { slot: *slot, changes: &commitment.pending.changes });
    let asked: Vec<Commit<'_>> = asked.collect();
    let mut verdicts = lane.store.commit(&lane.commits, &group[0].tenure.host, &asked).await?.into_iter();
    let verdict = |forbidden: &mut Option<String>| match forbidden.take() {
        Some(key) => Some(Verdict::Refused { key, why: Why::Forbidden }),
        None => verdicts.next(),
    };
    Ok(forbidden.iter_mut().filter_map(verdict).collect())
}

/// Keys and queues that a commit changes.
fn effects(commitment: &Commitment) -> usize {
    let changes = &commitment.pending.changes;
    let entries = |write: &Write| match write {
        Write::Push { front, back, .. } => front.len() + back.len(),
        _ => 1,
    };
    changes.writes.iter().map(entries).sum::<usize>() + changes.taken.len()
}
