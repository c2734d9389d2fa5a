//! Ends of runs that Redis has not accepted yet. An end is sorted once, when it is added, into the list of the one step
//! that sends it. A step takes its list, and adds again what Redis has not accepted: reporting an end twice is harmless,
//! because Redis accepts it only while the record of the job exists.

use std::time::{Duration, Instant};

use super::portion::portion;
use crate::worker::brake::RunKey;
use crate::worker::desk::{BATCH, Desk, End, Ended, Job, Load};

/// Ends to report, by the step that reports them. The order of the steps is that of the fields.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Number of the present lease epoch. Only jobs that were claimed in it can be acknowledged in a turn.
    epoch: u32,
    /// Runs with popped entries that must go back to their lists. The end is sorted again once they are back.
    put_backs: Vec<Ended>,
    /// Jobs that run again on this host.
    reruns: Vec<Job>,
    /// Runs whose effects are applied together with the end of their jobs.
    commits: Vec<Ended>,
    /// Ends that need a script call each: all but plain completions of the present epoch.
    settlements: Vec<Ended>,
    /// Plain completions: the next turn acknowledges them all at once.
    acks: Vec<Ended>,
    /// Since when there has been an end that no step has tried to send.
    since: Option<Instant>,
    /// Whether other runs wait for one of the commits.
    is_urgent: bool,
    /// Empty; keeps its memory for the next `collect`.
    collected: Vec<Ended>,
}

impl Outbox {
    /// Adds an end.
    pub(super) fn add(&mut self, ended: Ended, now: Instant) {
        self.is_urgent |= ended.is_urgent();
        let is_present = ended.tenure.number == self.epoch;
        match ended.end {
            _ if !ended.put_back.is_empty() => self.put_backs.push(ended),
            // The job is no longer ours: Redis needs no report.
            End::Gone => return,
            End::Again(job) => self.reruns.push(*job),
            End::Commit(_) => self.commits.push(ended),
            End::Complete if is_present => self.acks.push(ended),
            End::Complete | End::Settle(_) => self.settlements.push(ended),
        }
        self.since.get_or_insert(now);
    }

    /// Adds what runners have handed in. Returns the load of the run queue, and how many jobs have ended.
    pub(super) fn collect(&mut self, desk: &Desk, now: Instant) -> (Load, usize) {
        let mut collected = std::mem::take(&mut self.collected);
        let load = desk.collect(&mut collected);
        let jobs = collected.iter().map(Ended::jobs).sum();
        collected.drain(..).for_each(|ended| self.add(ended, now));
        self.collected = collected;
        (load, jobs)
    }

    /// From now on, jobs are claimed in the lease epoch of this number.
    pub(super) fn begin_epoch(&mut self, number: u32) {
        self.epoch = number;
        self.settlements.append(&mut self.acks);
    }

    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        let all = [&self.put_backs, &self.commits, &self.settlements, &self.acks];
        all.iter().map(|list| list.len()).sum::<usize>() + self.reruns.len()
    }

    /// When the ends have waited for others for `wait`.
    pub(super) fn due_at(&self, wait: Duration) -> Option<Instant> {
        self.since.map(|since| since + wait)
    }

    /// Whether to report now: there is enough for a batch, an end has waited for `wait`, another run waits for one, or
    /// nothing more can come because the lane is `still`.
    pub(super) fn is_due(&self, still: bool, wait: Duration, now: Instant) -> bool {
        let waited = self.due_at(wait).is_some_and(|due| due <= now);
        self.len() >= BATCH || (!self.is_empty() && (still || waited || self.is_urgent))
    }

    /// Call before the steps: ends that they leave or add wait from the next `start_clock` on.
    pub(super) fn stop_clock(&mut self) {
        (self.since, self.is_urgent) = (None, false);
    }

    /// Ends that are still here after the steps wait from `now` on.
    pub(super) fn start_clock(&mut self, now: Instant) {
        if !self.is_empty() {
            self.since.get_or_insert(now);
        }
    }

    /// The runs that the ends are of.
    pub(super) fn runs(&self) -> impl Iterator<Item = RunKey> {
        let lists = [&self.put_backs, &self.commits, &self.settlements, &self.acks];
        let reruns = self.reruns.iter().map(|job| (job.tenure.number, job.claimed.slot));
        lists.into_iter().flatten().flat_map(Ended::runs).chain(reruns)
    }

    /// For the step that puts popped entries back.
    pub(super) fn take_put_backs(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.put_backs)
    }

    /// Jobs to run again, in the order in which they were added.
    pub(super) fn take_reruns(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.reruns)
    }

    /// For the step that commits.
    pub(super) fn take_commits(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.commits)
    }

    /// For the step that settles.
    pub(super) fn take_settlements(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.settlements)
    }

    /// For the turn: as many plain completions as fit into one, by the bytes of the record of each.
    pub(super) fn take_acks(&mut self, record_bytes: impl Fn(&Ended) -> u64) -> Vec<Ended> {
        let count = portion(self.acks.iter().map(record_bytes)).min(self.acks.len());
        self.acks.drain(..count).collect()
    }

    /// Everything. For jobs that are not recorded in Redis: nobody needs a report.
    pub(super) fn take_all(&mut self) -> Vec<Ended> {
        self.since = None;
        let lists = [&mut self.put_backs, &mut self.commits, &mut self.settlements, &mut self.acks];
        lists.into_iter().flat_map(std::mem::take).collect()
    }
}

/// Ends by the lease epoch in which their jobs were claimed, each group in its order.
pub(super) fn by_epoch(ends: Vec<Ended>) -> Vec<Vec<Ended>> {
    let mut groups: Vec<Vec<Ended>> = Vec::new();
    for ended in ends {
        match groups.iter_mut().find(|group| group[0].tenure.number == ended.tenure.number) {
            Some(group) => group.push(ended),
            None => groups.push(vec![ended]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::change::Taken;
    use crate::job::name::QueueName;
    use crate::job::settle::Fate;
    use crate::worker::desk::tests::job;

    const WAIT: Duration = Duration::from_millis(1);

    fn sequence(ends: &[Ended]) -> Vec<u64> {
        ends.iter().map(|ended| ended.slot.seq).collect()
    }

    fn complete(seq: u64) -> Ended {
        Ended::of(&job(seq, false), End::Complete)
    }

    fn popped() -> Vec<Taken> {
        vec![Taken { queue: QueueName::new("list").unwrap(), field: "f1".into() }]
    }

    #[test]
    fn every_end_is_in_the_list_of_the_step_that_sends_it() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.add(complete(0), now);
        outbox.add(Ended::settled(job(1, false), Fate::Release), now);
        outbox.add(Ended::again(job(2, false)), now);
        outbox.add(Ended { put_back: popped(), ..complete(3) }, now);
        outbox.add(Ended { put_back: popped(), ..Ended::of(&job(4, false), End::Gone) }, now);
        outbox.add(Ended::of(&job(5, false), End::Gone), now);
        assert_eq!(outbox.len(), 5, "nobody needs to hear of the last one");
        assert_eq!(sequence(&outbox.take_acks(|_| 0)), [0]);
        assert_eq!(sequence(&outbox.take_settlements()), [1]);
        assert_eq!(outbox.take_reruns()[0].claimed.slot.seq, 2);
        assert_eq!(sequence(&outbox.take_put_backs()), [3, 4]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_completion_is_reported_after_the_entries_that_its_run_popped_are_back() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.add(Ended { put_back: popped(), ..complete(0) }, now);
        assert!(outbox.take_acks(|_| 0).is_empty());
        for mut ended in outbox.take_put_backs() {
            ended.put_back.clear();
            outbox.add(ended, now);
        }
        assert_eq!(sequence(&outbox.take_acks(|_| 0)), [0]);
    }

    #[test]
    fn completions_of_a_former_epoch_are_settled_under_its_id() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.add(complete(0), now);
        outbox.begin_epoch(1);
        outbox.add(complete(1), now);
        assert!(outbox.take_acks(|_| 0).is_empty());
        assert_eq!(sequence(&outbox.take_settlements()), [0, 1]);
    }

    #[test]
    fn a_turn_takes_as_many_acknowledgements_as_fit_and_leaves_the_others_in_their_order() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        (0..3).for_each(|seq| outbox.add(complete(seq), now));
        assert_eq!(sequence(&outbox.take_acks(|_| u64::MAX >> 8)), [0], "one at least");
        assert_eq!(sequence(&outbox.take_acks(|_| 1)), [1, 2]);
        assert!(outbox.take_acks(|_| 1).is_empty());
    }

    #[test]
    fn ends_are_reported_when_they_have_waited_or_fill_a_batch_or_nothing_more_can_come() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        assert!(!outbox.is_due(true, WAIT, now), "there is nothing to report");
        outbox.add(complete(0), now);
        assert!(!outbox.is_due(false, WAIT, now) && outbox.is_due(true, WAIT, now));
        assert!(outbox.is_due(false, WAIT, now + WAIT));
        outbox.stop_clock();
        assert!(!outbox.is_due(false, WAIT, now + WAIT), "a step has tried");
        outbox.start_clock(now + WAIT);
        assert!(outbox.is_due(false, WAIT, now + 2 * WAIT), "and has failed");
        (1..BATCH as u64).for_each(|seq| outbox.add(complete(seq), now + WAIT));
        assert!(outbox.is_due(false, WAIT, now + WAIT));
    }

    #[test]
    fn all_runs_whose_end_is_not_reported_are_known() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.add(complete(0), now);
        outbox.add(Ended::again(job(1, false)), now);
        outbox.add(Ended { put_back: popped(), ..complete(2) }, now);
        let mut runs: Vec<u64> = outbox.runs().map(|(_, slot)| slot.seq).collect();
        runs.sort_unstable();
        assert_eq!(runs, [0, 1, 2]);
    }
}
