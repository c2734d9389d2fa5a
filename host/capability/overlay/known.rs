//! What a run took for granted: each thing once, and answered from here when the run asks again, so that one run
//! never sees two states of what it decided on.

use std::collections::HashMap;

use crate::capability::refusal::Refusal;
use crate::job::change::{Assumption, Seen};

/// Longest value kept as it is; of a longer one length and digest are kept.
const KEPT_BYTES_MAX: usize = 1024;
/// Most bytes of keys and values that one run can take for granted.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// What an assumption takes besides its key and value.
const BYTES_EACH: usize = 64;

/// Everything one run took for granted.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: HashMap<String, Key>,
    list: Vec<Assumption>,
    bytes: usize,
}

/// What is known of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Key {
    /// Whether there is such a key.
    pub(super) present: Option<bool>,
    /// Its value, if it was short.
    pub(super) text: Option<Vec<u8>>,
}

impl Known {
    /// What is known of `key`.
    pub(super) fn of(&self, key: &str) -> Option<&Key> {
        self.keys.get(key)
    }

    /// Takes for granted that `key` is there, or is not.
    pub(super) fn assume_presence(&mut self, key: &str, present: bool) -> Result<(), Refusal> {
        if self.of(key).and_then(|known| known.present) == Some(present) {
            return Ok(());
        }
        self.assume(key, if present { Seen::Present } else { Seen::Absent })?;
        self.keys.entry(key.to_owned()).or_default().present = Some(present);
        Ok(())
    }

    /// Takes for granted that `key` holds this string.
    pub(super) fn assume_text(&mut self, key: &str, value: &[u8]) -> Result<(), Refusal> {
        if value.len() > KEPT_BYTES_MAX {
            let sha1 = sha1_smol::Sha1::from(value).digest().to_string();
            return self.assume_long(key, value.len() as u64, sha1);
        }
        self.assume(key, Seen::Value(value.to_owned()))?;
        *self.keys.entry(key.to_owned()).or_default() =
            Key { present: Some(true), text: Some(value.to_owned()) };
        Ok(())
    }

    /// Takes for granted that `key` holds a string of this length and digest.
    pub(super) fn assume_long(&mut self, key: &str, length: u64, sha1: String) -> Result<(), Refusal> {
        self.assume(key, Seen::Long { length, sha1 })?;
        self.keys.entry(key.to_owned()).or_default().present = Some(true);
        Ok(())
    }

    /// Takes anything else for granted; the same twice is taken once, if it comes in a row.
    pub(super) fn assume(&mut self, key: &str, seen: Seen) -> Result<(), Refusal> {
        let assumption = Assumption { key: key.to_owned(), seen };
        if self.list.last() == Some(&assumption) {
            return Ok(());
        }
        self.bytes += BYTES_EACH + key.len() + weight(&assumption.seen);
        if self.bytes > BYTES_MAX {
            return Err(Refusal::Quota("effect-bytes"));
        }
        self.list.push(assumption);
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
