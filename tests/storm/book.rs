//! What was pushed and what must be found once the dust has settled: a pure comparison. What the worker writes for
//! a job is in `guest-examples/rust/chaos-ledger/src/book.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::snapshot::Snapshot;
use super::twins::Twins;

/// Most problems of one kind that are told one by one.
const TOLD_MAX: usize = 5;

/// A job of `ledger`.
#[derive(Debug, Clone)]
pub struct Job {
    /// Given once.
    pub id: u64,
    /// Added to the balance.
    pub amount: i64,
    /// What else it asks for.
    pub words: String,
    /// The options it is pushed with; without any, it is pushed plainly.
    pub options: Vec<String>,
}

impl Job {
    /// Its payload.
    pub fn payload(&self) -> String {
        format!("{} {}{}", self.id, self.amount, self.words)
    }

    fn has_follower(&self) -> bool {
        self.words.contains(" follow=") || self.words.contains(" once=")
    }

    /// The sequences it takes a number of, as receipts name them.
    fn sequences(&self) -> impl Iterator<Item = String> {
        let words = self.words.split(' ').filter_map(|word| word.split_once('='));
        words.filter(|(name, _)| ["seq", "swap"].contains(name)).map(|(name, key)| format!("{name}:{key}"))
    }
}

/// The other side of the ledger: what its writer knows.
#[derive(Debug, Default)]
pub struct Book {
    /// The jobs of this round.
    pub jobs: BTreeMap<u64, Job>,
    /// The equal jobs of this round.
    pub twins: Twins,
    /// Jobs that may be nowhere, and are pushed again then: nobody knows whether their push took place, or a
    /// foreign consumer has taken them.
    pub excused: BTreeSet<u64>,
    /// Whether this round had a fault that loses history: then any job may be nowhere.
    pub lossy: bool,
    /// Tickets that nobody has yet.
    pub tickets: BTreeSet<String>,
    /// The balance and the sequences when the round began.
    pub balance: i64,
    sequences: BTreeMap<String, u64>,
}

impl Book {
    /// Jobs without a trace, now that nothing is anywhere.
    pub fn missing(&self, found: &Snapshot) -> Vec<u64> {
        self.jobs.keys().copied().filter(|id| !found.markers.contains_key(&id.to_string())).collect()
    }

    /// Whether every one of them may be missing.
    pub fn excuses(&self, missing: &[u64]) -> bool {
        self.lossy || missing.iter().all(|id| self.excused.contains(id))
    }

    /// Everything that is not as it must be.
    pub fn check(&self, found: &Snapshot) -> Vec<String> {
        let mut problems = Problems::default();
        let ids: BTreeSet<String> = self.jobs.keys().map(ToString::to_string).collect();
        let sum = self.balance + self.jobs.values().map(|job| job.amount).sum::<i64>();
        problems.demand(found.balance == sum, || format!("the balance is {}, not {sum}", found.balance));
        problems.demand(found.dead == 0, || format!("{} jobs are dead", found.dead));
        problems.each("a violation seen by the worker", &found.violations);
        problems.each("a key that should not be there", &found.strangers);
        problems.each("a note that was not taken down", &found.todos);
        problems.each("a marker that never expires", &found.eternal);
        // A lost job cannot free its unique key.
        if !self.lossy {
            problems.each("a unique key without a job", &found.unique);
        }
        for (id, value) in &found.markers {
            problems.demand(ids.contains(id), || format!("a marker of job {id}, which is not of this round"));
            problems.demand(id == value, || format!("the marker of job {id} says {value}"));
        }
        problems.once("marker", &ids, found.markers.keys());

        let receipts: Vec<Receipt<'_>> = found.receipts.iter().map(|line| Receipt::parse(line)).collect();
        problems.once("receipt", &ids, receipts.iter().map(|receipt| receipt.id));
        let audit: Vec<&str> =
            found.audit.iter().step_by(2).filter_map(|line| line.strip_suffix(" a")).collect();
        let pairs = found
            .audit
            .chunks(2)
            .all(|pair| matches!(pair, [a, b] if a.strip_suffix(" a") == b.strip_suffix(" b")));
        problems.demand(pairs, || "the two entries of some audit are not side by side".to_owned());
        problems.once("audit", &ids, audit);

        let following = self.jobs.values().filter(|job| job.has_follower());
        let following: BTreeSet<String> = following.map(|job| job.id.to_string()).collect();
        problems.once("follower's marker", &following, &found.followed);
        problems.once("follower's receipt", &following, &found.follow_receipts);

        problems.0.extend(self.twins.check(&found.twins));
        self.check_sequences(found, &receipts, &mut problems);
        let given = receipts.iter().flat_map(|receipt| receipt.given("ticket"));
        problems.once(
            "holder of ticket",
            &self.tickets,
            found.tickets.iter().map(String::as_str).chain(given),
        );
        problems.into_lines()
    }

    /// Every number was given once, and to whom it was due.
    fn check_sequences(&self, found: &Snapshot, receipts: &[Receipt<'_>], problems: &mut Problems) {
        let mut due: BTreeMap<String, u64> = BTreeMap::new();
        for sequence in self.jobs.values().flat_map(Job::sequences) {
            *due.entry(sequence).or_default() += 1;
        }
        let named: BTreeSet<&String> = due.keys().chain(found.sequences.keys()).collect();
        for sequence in named {
            let before = self.sequences.get(sequence).copied().unwrap_or(0);
            let last = before + due.get(sequence).copied().unwrap_or(0);
            let stands = found.sequences.get(sequence).copied().unwrap_or(0);
            problems
                .demand(stands == last, || format!("the sequence {sequence} stands at {stands}, not {last}"));
            let numbers: BTreeSet<String> = (before + 1..=last).map(|n| n.to_string()).collect();
            let given = receipts.iter().flat_map(|receipt| receipt.given(sequence));
            problems.once(&format!("holder of {sequence} number"), &numbers, given);
        }
    }

    /// Closes the round: what was found is where the next one begins.
    pub fn close(&mut self, found: &Snapshot) {
        self.balance = found.balance;
        self.sequences = found.sequences.clone();
        self.tickets = found.tickets.iter().cloned().collect();
        self.jobs.clear();
        self.twins = Twins::default();
        self.excused.clear();
        self.lossy = false;
    }
}

/// `<id> <name>=<value>…`
struct Receipt<'a> {
    id: &'a str,
    words: Vec<(&'a str, &'a str)>,
}

impl<'a> Receipt<'a> {
    fn parse(line: &'a str) -> Self {
        let (id, words) = line.split_once(' ').unwrap_or((line, ""));
        Self { id, words: words.split(' ').filter_map(|word| word.split_once('=')).collect() }
    }

    fn given(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.words.iter().filter(move |(found, _)| *found == name).map(|(_, value)| *value)
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn demand(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    fn each(&mut self, what: &str, found: &[String]) {
        self.0.extend(found.iter().map(|entry| format!("{what}: {entry}")));
    }

    /// Demands that each of `expected` is found exactly once and nothing else is found.
    fn once<S: AsRef<str>>(
        &mut self,
        what: &str,
        expected: &BTreeSet<String>,
        found: impl IntoIterator<Item = S>,
    ) {
        let mut counts: BTreeMap<String, usize> = expected.iter().map(|name| (name.clone(), 0)).collect();
        for name in found {
            *counts.entry(name.as_ref().to_owned()).or_default() += 1;
        }
        for (name, count) in counts {
            let wanted = usize::from(expected.contains(&name));
            self.demand(count == wanted, || format!("{what} {name}: {count} instead of {wanted}"));
        }
    }

    /// The lines, without the many of one kind.
    fn into_lines(self) -> Vec<String> {
        let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.0 {
            let kind: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
            kinds.entry(kind).or_default().push(line);
        }
        let mut told = Vec::new();
        for mut lines in kinds.into_values() {
            let more = lines.len().saturating_sub(TOLD_MAX);
            lines.truncate(TOLD_MAX);
            told.extend(lines);
            if more > 0 {
                told.push(format!("… and {more} more like this"));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    /// A round of two jobs on a ledger that has seen others, and what it leaves when all is right.
    fn round() -> (Book, Snapshot) {
        let job =
            |id, amount, words: &str| (id, Job { id, amount, words: words.to_owned(), options: Vec::new() });
        let book = Book {
            jobs: [job(7, 5, " seq=0 ticket=front"), job(8, -2, " seq=0 once=40 swap=1")].into(),
            tickets: ["t1".to_owned(), "t2".to_owned()].into(),
            balance: 100,
            sequences: [("seq:0".to_owned(), 3)].into(),
            ..Book::default()
        };
        let found = Snapshot {
            balance: 103,
            markers: [("7".to_owned(), "7".to_owned()), ("8".to_owned(), "8".to_owned())].into(),
            sequences: [("seq:0".to_owned(), 5), ("swap:1".to_owned(), 1)].into(),
            receipts: texts(&["8 seq:0=4 swap:1=1", "7 seq:0=5 ticket=t2"]),
            audit: texts(&["8 a", "8 b", "7 a", "7 b"]),
            followed: texts(&["8"]),
            follow_receipts: texts(&["8"]),
            tickets: texts(&["t1"]),
            ..Snapshot::default()
        };
        (book, found)
    }

    #[test]
    fn a_right_ledger_has_no_problems() {
        let (book, found) = round();
        assert_eq!(book.check(&found), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_lost_or_doubled_is_told() {
        type Harm = fn(&mut Snapshot);
        let harms: &[(Harm, &str)] = &[
            (|s| s.balance += 1, "the balance is 104, not 103"),
            (|s| s.dead = 1, "1 jobs are dead"),
            (|s| s.violations = texts(&["job 7: not so"]), "a violation seen by the worker: job 7: not so"),
            (|s| s.strangers = texts(&["x"]), "a key that should not be there: x"),
            (|s| s.unique = texts(&["u"]), "a unique key without a job: u"),
            (|s| s.todos = texts(&["7"]), "a note that was not taken down: 7"),
            (|s| s.eternal = texts(&["7"]), "a marker that never expires: 7"),
            (|s| drop(s.markers.remove("7")), "marker 7: 0 instead of 1"),
            (|s| drop(s.markers.insert("7".into(), "8".into())), "the marker of job 7 says 8"),
            (
                |s| drop(s.markers.insert("6".into(), "6".into())),
                "a marker of job 6, which is not of this round",
            ),
            (|s| drop(s.receipts.remove(0)), "receipt 8: 0 instead of 1"),
            (|s| s.receipts.push("7".into()), "receipt 7: 2 instead of 1"),
            (|s| s.receipts.push("6".into()), "receipt 6: 1 instead of 0"),
            (|s| drop(s.audit.pop()), "the two entries of some audit are not side by side"),
            (|s| s.audit.swap(1, 3), "the two entries of some audit are not side by side"),
            (|s| s.audit.extend(texts(&["7 a", "7 b"])), "audit 7: 2 instead of 1"),
            (|s| s.followed.clear(), "follower's marker 8: 0 instead of 1"),
            (|s| s.follow_receipts.push("8".into()), "follower's receipt 8: 2 instead of 1"),
            (
                |s| *s.sequences.entry("seq:0".into()).or_default() = 6,
                "the sequence seq:0 stands at 6, not 5",
            ),
            (|s| s.receipts[1] = "7 seq:0=4 ticket=t2".into(), "holder of seq:0 number 4: 2 instead of 1"),
            (|s| s.receipts[0] = "8 seq:0=4".into(), "holder of swap:1 number 1: 0 instead of 1"),
            (|s| s.tickets.clear(), "holder of ticket t1: 0 instead of 1"),
            (|s| s.twins.push("ok 0".into()), "twins `ok 0`: 1 instead of 0"),
            (|s| s.tickets.push("t2".into()), "holder of ticket t2: 2 instead of 1"),
        ];
        for (harm, told) in harms {
            let (book, mut found) = round();
            harm(&mut found);
            let problems = book.check(&found);
            assert!(problems.iter().any(|problem| problem == told), "{told}: {problems:?}");
        }
    }

    #[test]
    fn a_job_without_a_trace_needs_an_excuse() {
        let (mut book, mut found) = round();
        found.markers.remove("8");
        assert_eq!(book.missing(&found), [8]);
        assert!(!book.excuses(&[8]));
        book.excused.insert(8);
        assert!(book.excuses(&[8]) && !book.excuses(&[7, 8]));
        book.lossy = true;
        assert!(book.excuses(&[7, 8]));
    }
}
