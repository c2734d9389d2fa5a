//! Equal jobs: the same payload and the same id, pushed many times. Only their number shows whether one was mistaken for
//! another. A batch worker runs them (`guest-examples/rust/batch-probe`); each leaves its payload in
//! a list.

use std::collections::{BTreeMap, BTreeSet};

use redis::cmd;
use sandhog::job::producer;

use super::Storm;

/// Their queue.
pub const QUEUE: &str = "twins";
/// The list where each leaves its payload.
pub const RECEIPTS: &str = "receipts";
/// The list where the worker records its calls; it is not checked.
pub const CALLS: &str = "calls";
/// How many kinds of twins there are.
const KINDS: usize = 3;
/// Most twins per push.
const PUSHED_MAX: u64 = 6;

/// What was pushed in this round.
#[derive(Debug, Default)]
pub struct Twins {
    /// How many were pushed, by payload.
    pub pushed: BTreeMap<String, u64>,
    /// Payloads that may be missing, because it is unknown whether their push took place.
    pub excused: BTreeSet<String>,
}

impl Twins {
    /// How many of each payload have left no receipt.
    pub fn missing(&self, receipts: &[String]) -> BTreeMap<String, u64> {
        let found = counted(receipts);
        let missing = |(payload, pushed): (&String, &u64)| {
            let left = pushed.saturating_sub(found.get(payload.as_str()).copied().unwrap_or(0));
            (left > 0).then(|| (payload.clone(), left))
        };
        self.pushed.iter().filter_map(missing).collect()
    }

    /// Whether each of them may be missing, depending on whether the round has lost data.
    pub fn excuses(&self, missing: &BTreeMap<String, u64>, lossy: bool) -> bool {
        lossy || missing.keys().all(|payload| self.excused.contains(payload))
    }

    /// Every number that is wrong.
    pub fn check(&self, receipts: &[String]) -> Vec<String> {
        let found = counted(receipts);
        let named: BTreeSet<&str> =
            found.keys().copied().chain(self.pushed.keys().map(String::as_str)).collect();
        let numbers =
            |name: &str| (found.get(name).copied().unwrap_or(0), self.pushed.get(name).copied().unwrap_or(0));
        named
            .into_iter()
            .map(|name| (name, numbers(name)))
            .filter(|(_, (found, pushed))| found != pushed)
            .map(|(name, (found, pushed))| format!("twins `{name}`: {found} instead of {pushed}"))
            .collect()
    }
}

fn counted(receipts: &[String]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for receipt in receipts {
        *counts.entry(receipt.as_str()).or_default() += 1;
    }
    counts
}

impl Storm {
    /// Pushes some twins, if this storm has any.
    pub(super) async fn push_some_twins(&mut self) {
        if !self.weather.twins {
            return;
        }
        let payload = format!("ok {}", self.rng.usize(..KINDS));
        let count = self.rng.u64(1..=PUSHED_MAX);
        let delay_ms = self.rng.bool().then(|| self.rng.u64(..60));
        *self.book.twins.pushed.entry(payload.clone()).or_default() += count;
        self.push_twins(&payload, count, delay_ms).await;
    }

    /// Pushes them in one step, so that all are due in the same millisecond.
    pub(super) async fn push_twins(&mut self, payload: &str, count: u64, delay_ms: Option<u64>) {
        let script = producer::scripts().remove(0);
        let mut push = cmd("EVAL");
        push.arg(script.text).arg(1).arg(QUEUE).arg(payload).arg("id").arg("twin");
        if let Some(delay_ms) = delay_ms {
            push.arg("delay").arg(delay_ms);
        }
        let mut pipe = redis::pipe();
        for _ in 0..count {
            pipe.add_command(push.clone());
        }
        if self.server.transact(&mut pipe).await.is_err() {
            self.book.twins.excused.insert(payload.to_owned());
        }
    }
}

#[test]
fn twins_are_counted() {
    let texts = |entries: &[&str]| entries.iter().map(ToString::to_string).collect::<Vec<_>>();
    let pushed = [("a".to_owned(), 2), ("b".to_owned(), 1)].into();
    let mut twins = Twins { pushed, ..Twins::default() };
    assert_eq!(twins.check(&texts(&["a", "b", "a"])), Vec::<String>::new());
    let merged = texts(&["a", "b", "b", "c"]);
    let told = ["twins `a`: 1 instead of 2", "twins `b`: 2 instead of 1", "twins `c`: 1 instead of 0"];
    assert_eq!(twins.check(&merged), told);
    let missing = twins.missing(&merged);
    assert_eq!(missing, BTreeMap::from([("a".to_owned(), 1)]));
    assert!(!twins.excuses(&missing, false) && twins.excuses(&missing, true));
    twins.excused.insert("a".to_owned());
    assert!(twins.excuses(&missing, false));
}
