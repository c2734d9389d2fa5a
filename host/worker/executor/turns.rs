//! Whose turn it is: members with tasks to run, by the time they have used. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// How far behind the others a member may be that had nothing to do: what it saved beyond that it does not get back.
const CREDIT: Duration = Duration::from_millis(2);

/// One of those who share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Member(u64);

/// Members and what they want to run.
#[derive(Debug)]
pub(super) struct Turns<T> {
    members: HashMap<Member, Account<T>>,
    /// Those with something to run, whoever has used least first.
    waiting: BTreeSet<(Duration, Member)>,
    /// What the member had used whose turn came last, at the most: those who come back start from about here.
    now: Duration,
    joined: u64,
}

#[derive(Debug)]
struct Account<T> {
    /// Time used, divided by the weight.
    used: Duration,
    weight: u32,
    tasks: VecDeque<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { members: HashMap::new(), waiting: BTreeSet::new(), now: Duration::ZERO, joined: 0 }
    }
}

impl<T> Turns<T> {
    /// One more who shares; of two that want to run, one with twice the weight gets twice the time.
    pub(super) fn join(&mut self, weight: u32) -> Member {
        self.joined += 1;
        let member = Member(self.joined);
        self.members
            .insert(member, Account { used: self.now, weight: weight.max(1), tasks: VecDeque::new() });
        member
    }

    /// Gives a member another weight.
    pub(super) fn weigh(&mut self, member: Member, weight: u32) {
        if let Some(account) = self.members.get_mut(&member) {
            account.weight = weight.max(1);
        }
    }

    /// The greatest weight of all members.
    pub(super) fn weight_max(&self) -> Option<u32> {
        self.members.values().map(|account| account.weight).max()
    }

    /// Forgets a member that has nothing to run any more.
    pub(super) fn leave(&mut self, member: Member) {
        if let Some(account) = self.members.remove(&member) {
            self.waiting.remove(&(account.used, member));
        }
    }

    /// Something to run; after what the member has already.
    pub(super) fn add(&mut self, member: Member, task: T) {
        let Some(account) = self.members.get_mut(&member) else { return };
        if account.tasks.is_empty() {
            account.used = account.used.max(self.now.saturating_sub(CREDIT));
            self.waiting.insert((account.used, member));
        }
        account.tasks.push_back(task);
    }

    /// What runs next, and at whose expense.
    pub(super) fn next(&mut self) -> Option<(Member, T)> {
        self.next_of(|_| true)
    }

    /// The next task of the members that may run one.
    pub(super) fn next_of(&mut self, may: impl Fn(Member) -> bool) -> Option<(Member, T)> {
        let (used, member) = *self.waiting.iter().find(|(_, member)| may(*member))?;
        self.now = self.now.max(used);
        let account = self.members.get_mut(&member)?;
        let task = account.tasks.pop_front()?;
        if account.tasks.is_empty() {
            self.waiting.remove(&(used, member));
        }
        Some((member, task))
    }

    /// Whether one of the members that may run a task has one.
    pub(super) fn has_next_of(&self, may: impl Fn(Member) -> bool) -> bool {
        self.waiting.iter().any(|(_, member)| may(*member))
    }

    /// Puts time on a member's account.
    pub(super) fn charge(&mut self, member: Member, took: Duration) {
        let Some(account) = self.members.get_mut(&member) else { return };
        let before = account.used;
        account.used += took / account.weight;
        if self.waiting.remove(&(before, member)) {
            self.waiting.insert((account.used, member));
        }
    }

    /// All that waits.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.waiting.clear();
        self.members.values_mut().flat_map(|account| account.tasks.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn whoever_used_least_goes_next() {
        let mut turns = Turns::default();
        let (a, b) = (turns.join(1), turns.join(1));
        for task in 0..4 {
            turns.add(a, task);
            turns.add(b, 10 + task);
        }
        let mut order = Vec::new();
        while let Some((member, task)) = turns.next() {
            // One of a's takes three times as long as one of b's.
            turns.charge(member, if member == a { MS * 3 } else { MS });
            order.push(task);
        }
        assert_eq!(order, [0, 10, 11, 12, 1, 13, 2, 3]);
    }

    #[test]
    fn twice_the_weight_is_twice_the_time() {
        let mut turns = Turns::default();
        let (a, b) = (turns.join(1), turns.join(1));
        turns.weigh(b, 2);
        for _ in 0..12 {
            turns.add(a, "a");
            turns.add(b, "b");
        }
        let mut order = String::new();
        for _ in 0..12 {
            let (member, task) = turns.next().unwrap();
            turns.charge(member, MS);
            order.push_str(task);
        }
        assert_eq!(order.matches('b').count(), 8, "{order}");
    }

    #[test]
    fn rest_is_not_saved_up() {
        let mut turns = Turns::default();
        let (a, b) = (turns.join(1), turns.join(1));
        for _ in 0..100 {
            turns.add(a, "a");
            let (member, _) = turns.next().unwrap();
            turns.charge(member, MS);
        }
        for _ in 0..10 {
            turns.add(a, "a");
            turns.add(b, "b");
        }
        let mut order = String::new();
        for _ in 0..10 {
            let (member, task) = turns.next().unwrap();
            order.push_str(task);
            turns.charge(member, MS);
        }
        // A few turns ahead for having rested, then one each.
        assert_eq!(order, "bbbabababa");
    }

    #[test]
    fn who_left_is_forgotten() {
        let mut turns = Turns::default();
        let a = turns.join(1);
        turns.add(a, 1);
        assert_eq!(turns.drain(), [1]);
        turns.leave(a);
        turns.charge(a, MS);
        turns.add(a, 2);
        assert!(turns.next().is_none());
    }
}
