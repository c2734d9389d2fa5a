//! What a run took for granted: each thing once, and answered from here when the run asks again, so that one run
//! never sees two states of a value that it decided on. This file also bounds the work of the commit: the bytes that
//! Redis checks again, together with those that it writes.

use std::collections::HashMap;

use crate::capability::refusal::Refusal;
use crate::job::change::{Assumption, Seen};

/// Longest value kept as it is; of a longer one length and digest are kept.
const KEPT_BYTES_MAX: usize = 1024;
/// Most bytes of keys and values that one run can take for granted.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// What an assumption takes besides its key and value.
const BYTES_EACH: usize = 64;
/// Most work of a commit, in bytes: what it checks (`Seen::work`) and what it writes. 4 MiB of values, about 16 ms of
/// Redis, or four values of the longest length; and a thousand short keys or entries besides. A budget of its own for
/// writes would make it 30 ms.
const WORK_MAX: u64 = 4 << 20;
const WORK_VALUES: u64 = 4;
const WORK_BESIDE: u64 = 1 << 18;

/// Everything one run took for granted.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: HashMap<String, Key>,
    list: Vec<Assumption>,
    bytes: usize,
    work: u64,
    work_max: u64,
}

/// What is known of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Key {
    /// Whether there is such a key.
    pub(super) present: Option<bool>,
    /// Its value, if it was short.
    pub(super) text: Option<Vec<u8>>,
    /// Whether its value is longer than a run may fetch.
    pub(super) is_longer: bool,
    /// Where the assumptions about it are in the list.
    listed: Vec<usize>,
}

impl Known {
    /// Nothing yet, in a run that may fetch values of so many bytes.
    pub(super) fn new(value_bytes_max: u64) -> Self {
        let values = WORK_MAX.max(value_bytes_max.saturating_mul(WORK_VALUES));
        let work_max = values.saturating_add(WORK_BESIDE);
        Self { work_max, ..Self::default() }
    }

    /// What is known of `key`.
    pub(super) fn of(&self, key: &str) -> Option<&Key> {
        self.keys.get(key)
    }

    /// Takes for granted that `key` is there, or is not.
    pub(super) fn assume_presence(&mut self, key: &str, present: bool) -> Result<(), Refusal> {
        if self.of(key).and_then(|known| known.present) == Some(present) {
            return Ok(());
        }
        let known = self.assume(key, if present { Seen::Present } else { Seen::Absent })?;
        known.present = Some(present);
        Ok(())
    }

    /// Takes for granted that `key` holds this string.
    pub(super) fn assume_text(&mut self, key: &str, value: &[u8]) -> Result<(), Refusal> {
        if value.len() > KEPT_BYTES_MAX {
            let (length, sha1) = (value.len() as u64, sha1_smol::Sha1::from(value).digest().to_string());
            self.assume(key, Seen::Long { length, sha1 })?.present = Some(true);
            return Ok(());
        }
        let known = self.assume(key, Seen::Value(value.to_owned()))?;
        (known.present, known.text) = (Some(true), Some(value.to_owned()));
        Ok(())
    }

    /// Takes for granted that `key` holds a string of more than so many bytes.
    pub(super) fn assume_longer(&mut self, key: &str, bytes: u64) -> Result<(), Refusal> {
        let known = self.assume(key, Seen::Longer(bytes))?;
        (known.present, known.is_longer) = (Some(true), true);
        Ok(())
    }

    /// Whether a page of this listing may begin at `cursor`: at the start, or where one that was seen has ended.
    pub(super) fn has_page_from(&self, pattern: &str, cursor: u64) -> bool {
        let listed = self.of(pattern).map_or(&[][..], |known| &known.listed);
        cursor == 0
            || listed.iter().any(|at| matches!(&self.list[*at].seen, Seen::Page(page) if page.next == cursor))
    }

    /// Takes anything else for granted; the same is taken once.
    pub(super) fn assume(&mut self, key: &str, seen: Seen) -> Result<&mut Key, Refusal> {
        let known = self.keys.entry(key.to_owned()).or_default();
        if known.listed.iter().any(|at| self.list[*at].seen == seen) {
            return Ok(known);
        }
        self.bytes += BYTES_EACH + key.len() + weight(&seen);
        self.work = self.work.saturating_add(seen.work());
        if self.bytes > BYTES_MAX || self.work > self.work_max {
            return Err(Refusal::Quota("effect-bytes"));
        }
        known.listed.push(self.list.len());
        self.list.push(Assumption { key: key.to_owned(), seen });
        Ok(known)
    }

    /// Counts bytes that the commit will write.
    pub(super) fn add_written(&mut self, bytes: usize) -> Result<(), Refusal> {
        let work = self.work.saturating_add(bytes as u64);
        if work > self.work_max {
            return Err(Refusal::Quota("effect-bytes"));
        }
        self.work = work;
        Ok(())
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it.
    pub(super) fn into_assumptions(self) -> Vec<Assumption> {
        self.list
    }
}

/// Bytes of values.
fn weight(seen: &Seen) -> usize {
    let sum = |values: &[Vec<u8>]| values.iter().map(|value| BYTES_EACH + value.len()).sum();
    match seen {
        Seen::Value(value) => value.len(),
        Seen::Range { entries, .. } => sum(entries),
        Seen::Page(page) => sum(&page.keys),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(length: u64) -> Seen {
        Seen::Long { length, sha1: length.to_string() }
    }

    #[test]
    fn the_same_is_assumed_once_whatever_stands_between() {
        let mut known = Known::new(1 << 20);
        for _ in 0..1_000 {
            known.assume("a", long(1 << 20)).unwrap();
            known.assume("b", long(1 << 20)).unwrap();
            known.assume_presence("c", false).unwrap();
        }
        assert_eq!(known.into_assumptions().len(), 3);
    }

    #[test]
    fn what_a_commit_would_look_at_is_bounded() {
        let mut known = Known::new(1 << 20);
        let fit = (0..).take_while(|n| known.assume(&n.to_string(), long(1 << 20)).is_ok()).count();
        assert_eq!(fit, 4);
        assert!(matches!(known.assume_text("d", &vec![b'x'; 1 << 20]), Err(Refusal::Quota("effect-bytes"))));
        let mut known = Known::new(1 << 20);
        known.add_written(2 << 20).unwrap();
        let fit = (0..).take_while(|n| known.assume(&n.to_string(), long(1 << 20)).is_ok()).count();
        assert_eq!(fit, 2, "what is written counts as well");
        let mut known = Known::new(1 << 20);
        known.assume("a", long(1 << 20)).unwrap();
        let fit = (0..4).take_while(|_| known.add_written(1 << 20).is_ok()).count();
        assert_eq!(fit, 3);
        let mut known = Known::new(64);
        let fit = (0..).take_while(|n| known.assume_presence(&n.to_string(), true).is_ok()).count();
        assert_eq!(fit as u64, (WORK_MAX + WORK_BESIDE) / Seen::Present.work());
    }
}
