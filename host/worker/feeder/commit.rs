//! Commits: runs whose effects are applied in one step with their job's end, what becomes of those that Redis
//! refuses, and the entries that runs have popped in vain. All of it travels on a connection of its own, in order.

use super::Feeder;
use super::accounts::Accounts;
use super::acl_check;
use super::outbox::by_epoch;
use super::portion::portion;
use crate::job::change::Write;
use crate::job::commit::{Commit, Verdict, Why};
use crate::job::envelope::SINGLE;
use crate::job::settle::Fate;
use crate::job::store::{Slot, StoreError};
use crate::job::take;
use crate::sandbox::outcome::{Outcome, tidy};
use crate::worker::counters::Counters;
use crate::worker::desk::{Commitment, End, Ended, Job};
use crate::worker::edition::Edition;
use crate::worker::lane::Lane;
use crate::worker::runner;

/// Conflicts of one job in a row after which its attempt has failed.
const CONFLICTS_MAX: u32 = 16;
/// Conflicts after which a job of a run of many runs by itself: the fewer jobs, the fewer fight.
const TOGETHER_CONFLICTS_MAX: u32 = 4;

impl Feeder {
    /// Puts back what runs have popped in vain, and lets those run again that only waited for this.
    pub(super) async fn put_back(&mut self) -> Result<(), StoreError> {
        let mut failure = None;
        for mut group in by_epoch(self.outbox.take_put_backs()) {
            let host = group[0].tenure.host.clone();
            let taken: Vec<_> = group.iter().flat_map(|ended| ended.put_back.iter().cloned()).collect();
            match take::put_back(&self.lane.commits, &host, &taken).await {
                Ok(()) => group.iter_mut().for_each(|ended| ended.put_back.clear()),
                Err(error) => failure = Some(error),
            }
            let mut accounts = self.accounts();
            group.into_iter().for_each(|ended| accounts.keep(ended));
        }
        if let Some(error) = failure {
            return Err(error);
        }
        // Backwards, because each is laid before the others.
        for job in self.outbox.take_reruns().into_iter().rev() {
            self.lane.desk.add_first(job);
        }
        Ok(())
    }

    /// Takes the runs that wait for a commit out of the outbox, those of one lease epoch together.
    pub(super) fn take_commits(&mut self) -> Vec<Vec<Ended>> {
        by_epoch(self.outbox.take_commits())
    }

    /// Does what the answers call for. Commits without an answer stay in the outbox: committing twice is harmless,
    /// because Redis applies a commit only while the record of the job exists.
    pub(super) async fn judge_all(
        &mut self,
        commits: Vec<Vec<Ended>>,
        verdicts: Vec<Result<Vec<Verdict>, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut failure = None;
        let mut accounts = self.accounts();
        for (group, verdicts) in commits.into_iter().zip(verdicts) {
            match verdicts {
                Ok(verdicts) => {
                    group
                        .into_iter()
                        .zip(verdicts)
                        .for_each(|(ended, verdict)| accounts.judge(ended, verdict));
                }
                Err(error) => {
                    group.into_iter().for_each(|ended| accounts.keep(ended));
                    failure = Some(error);
                }
            }
        }
        // Those that met a conflict have things to put back before they run again.
        failure.map_or(Ok(()), Err).and(self.put_back().await)
    }
}

impl Accounts<'_> {
    /// Does what a commit's answer calls for.
    fn judge(&mut self, ended: Ended, verdict: Verdict) {
        let counters = self.lane.counters.clone();
        match verdict {
            Verdict::Done => {
                let End::Commit(commitment) = ended.end else { return };
                Counters::add(&counters.effects, effects(&commitment));
                let edition = commitment.edition.clone();
                for (job, answer) in commitment.into_jobs() {
                    match answer {
                        Outcome::Done => {
                            self.accepted(Fate::Complete, &Ended::of(&job, End::Complete));
                            Counters::add(&counters.commits, 1);
                        }
                        answer => self.keep(self.failed(job, &edition, &answer)),
                    }
                }
            }
            Verdict::Late => {
                // Where it was the answer to the first commit that got lost, there is nothing to put back.
                let End::Commit(mut commitment) = ended.end else { return };
                let put_back = std::mem::take(&mut commitment.pending.changes.taken);
                self.keep(Ended { put_back, ..Ended::of(&commitment.job, End::Gone) });
                let edition = commitment.edition.clone();
                for (job, answer) in commitment.into_jobs() {
                    match answer {
                        Outcome::Done => self.fenced(&job),
                        answer => self.keep(self.failed(job, &edition, &answer)),
                    }
                }
            }
            Verdict::Parted(gone) => self.part(ended, &gone),
            Verdict::Conflict(key) => {
                Counters::add(&counters.conflicts, 1);
                self.lane.contention.note(&key);
                if let End::Commit(commitment) = &ended.end {
                    commitment.edition.foresight.doubt();
                }
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
        let End::Commit(mut commitment) = ended.end else { return };
        let mut put_back = std::mem::take(&mut commitment.pending.changes.taken);
        let edition = commitment.edition.clone();
        let failure = Outcome::Retry { reason: reason(), after: None };
        for (mut job, answer) in commitment.into_jobs() {
            job.conflicts += 1;
            job.single |= job.conflicts > TOGETHER_CONFLICTS_MAX;
            let end = match answer {
                _ if job.conflicts <= CONFLICTS_MAX => Ended::again(job),
                Outcome::Done => self.failed(job, &edition, &failure),
                answer => self.failed(job, &edition, &answer),
            };
            self.keep(Ended { put_back: std::mem::take(&mut put_back), ..end });
        }
    }

    /// Some jobs of a run are no longer ours: the others run again, each by itself.
    fn part(&mut self, ended: Ended, gone: &[Slot]) {
        let End::Commit(mut commitment) = ended.end else { return };
        let mut put_back = std::mem::take(&mut commitment.pending.changes.taken);
        for (mut job, _) in commitment.into_jobs() {
            job.single = true;
            let end = if gone.contains(&job.claimed.slot) {
                self.fenced(&job);
                Ended::of(&job, End::Gone)
            } else {
                Ended::again(job)
            };
            self.keep(Ended { put_back: std::mem::take(&mut put_back), ..end });
        }
    }

    /// Takes note that a run had lost its job.
    fn fenced(&mut self, job: &Job) {
        self.late(&Ended::of(job, End::Gone));
        Counters::add(&self.lane.counters.fenced, 1);
    }

    /// Ends the job of a run whose effects cannot be applied.
    fn refuse(&mut self, ended: Ended, outcome: &Outcome) {
        let End::Commit(mut commitment) = ended.end else { return };
        let mut put_back = std::mem::take(&mut commitment.pending.changes.taken);
        let edition = commitment.edition.clone();
        // Perhaps it was not the effect of all of them that was refused.
        let is_shared = !commitment.others.is_empty() && !outcome.is_blameless();
        for (mut job, answer) in commitment.into_jobs() {
            let end = if answer == Outcome::Done {
                if is_shared {
                    job.claimed.header.set_note(SINGLE, "1");
                }
                self.failed(job, &edition, outcome)
            } else {
                self.failed(job, &edition, &answer)
            };
            self.keep(Ended { put_back: std::mem::take(&mut put_back), ..end });
        }
    }

    fn failed(&self, job: Job, edition: &Edition, outcome: &Outcome) -> Ended {
        runner::fail(self.lane, edition, outcome, job)
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
    let mut forbidden = acl_check::forbidden(&commitments).await?;
    let allowed = commitments.iter().zip(&forbidden).filter(|(_, forbidden)| forbidden.is_none());
    let allowed: Vec<_> =
        allowed.map(|((slot, commitment), _)| (*slot, *commitment, others(commitment))).collect();
    let asked = allowed.iter().map(|(slot, commitment, others)| Commit {
        slot: *slot,
        others,
        changes: &commitment.pending.changes,
    });
    let mut asked: Vec<Commit<'_>> = asked.collect();
    let mut bytes: Vec<u64> = allowed.iter().map(|(_, commitment, _)| record_bytes(commitment)).collect();
    let mut verdicts = Vec::with_capacity(asked.len());
    while !asked.is_empty() {
        let count = portion(bytes.iter().copied());
        let host = &group[0].tenure.host;
        verdicts.extend(lane.store.commit(&lane.commits, host, &asked[..count]).await?);
        asked.drain(..count);
        bytes.drain(..count);
    }
    let mut verdicts = verdicts.into_iter();
    let verdict = |forbidden: &mut Option<String>| match forbidden.take() {
        Some(key) => Some(Verdict::Refused { key, why: Why::Forbidden }),
        None => verdicts.next(),
    };
    Ok(forbidden.iter_mut().filter_map(verdict).collect())
}

/// Bytes of the records that Redis reads for a commit.
fn record_bytes(commitment: &Commitment) -> u64 {
    let jobs = std::iter::once(&commitment.job).chain(commitment.others.iter().map(|(job, _)| job));
    jobs.filter(|job| job.claimed.slot.enveloped).map(|job| job.claimed.bytes()).sum()
}

/// The records of further jobs that end with a commit.
fn others(commitment: &Commitment) -> Vec<Slot> {
    let done = commitment.others.iter().filter(|(_, answer)| *answer == Outcome::Done);
    done.map(|(job, _)| job.claimed.slot).collect()
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
