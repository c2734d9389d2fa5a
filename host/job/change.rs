//! What a run wants changed in Redis, held back until its job completes: the writes, and what the run took for
//! granted when it decided on them. How they are applied, in one step with the job's end, is in `commit`.

use std::sync::Arc;

use super::name::{JobId, QueueName};

/// Everything one run leaves to be applied, or dropped, as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What must still be so. One that does not hold any more is a conflict, and nothing is applied.
    pub assumptions: Vec<Assumption>,
    /// What is applied, in this order. No two are about the same key, but for
    /// pushed jobs and pops.
    pub writes: Vec<Write>,
    /// Entries the run has popped: they go with its completion.
    pub taken: Vec<Taken>,
}

impl Changes {
    /// Whether there is nothing to apply and nothing to check.
    pub fn is_empty(&self) -> bool {
        self.assumptions.is_empty() && self.writes.is_empty() && self.taken.is_empty()
    }
}

/// Something a run saw and decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumption {
    /// The key; for a page of a listing its SCAN pattern.
    pub key: String,
    /// What it looked like.
    pub seen: Seen,
}

/// What a key looked like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// There was no such key.
    Absent,
    /// There was one, of any type.
    Present,
    /// A string with this value.
    Value(Vec<u8>),
    /// A string of which length and digest were kept.
    Long {
        /// Its bytes.
        length: u64,
        /// Their SHA-1, 40 hexadecimal digits.
        sha1: String,
    },
    /// A string with more bytes than this, too long to be fetched.
    Longer(u64),
    /// The absolute time of its expiry as PEXPIRETIME tells it: milliseconds, -1 never, -2 no such key.
    Expires(i64),
    /// A list of so many entries; 0: there was no such key.
    Length(u64),
    /// What LRANGE answers between these two indexes.
    Range {
        /// First index, as LRANGE counts.
        start: i64,
        /// Last index.
        stop: i64,
        /// The entries.
        entries: Vec<Vec<u8>>,
    },
    /// What one page of a listing showed.
    Page(Page),
}

/// What looking at one thing costs beside its bytes: 256 are a microsecond.
const LOOK_WORK: u64 = 256;
/// What one key that a listing passes costs.
const SCAN_WORK: u64 = 64;

impl Seen {
    /// How long Redis' thread takes to look at this again, in bytes that it could hash meanwhile: about 4 ms for a
    /// mebibyte (Redis 7.0; `GET` and `sha1hex` in a script on a processor of 2020).
    pub fn work(&self) -> u64 {
        let sum =
            |entries: &[Vec<u8>]| entries.iter().map(|entry| SCAN_WORK + entry.len() as u64).sum::<u64>();
        let bytes = match self {
            Self::Absent | Self::Present | Self::Longer(_) | Self::Expires(_) | Self::Length(_) => 0,
            Self::Value(value) => value.len() as u64,
            Self::Long { length, .. } => *length,
            // From the end of the list to its first entry, where each entry is a node of its own: 10 ns each.
            Self::Range { start, entries, .. } => {
                start.unsigned_abs().saturating_mul(3).saturating_add(sum(entries))
            }
            Self::Page(page) => page.looked.saturating_mul(SCAN_WORK).saturating_add(sum(&page.keys)),
        };
        bytes.saturating_add(LOOK_WORK)
    }
}

/// One page of a key listing, with everything it takes to look at it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where it began.
    pub cursor: u64,
    /// Most keys looked at.
    pub looks: u32,
    /// Keys after which it was full.
    pub enough: u32,
    /// Longer keys were left out.
    pub key_bytes_max: usize,
    /// Keys that were examined.
    pub looked: u64,
    /// Where the next one begins; 0: it was the last.
    pub next: u64,
    /// The keys; in which order does not matter.
    pub keys: Vec<Vec<u8>>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The key becomes a string with this value, whatever it held.
    Set {
        /// The key.
        key: String,
        /// Its value.
        value: Vec<u8>,
        /// How long it stays.
        expiry: Expiry,
    },
    /// The key goes, whatever it held.
    Delete {
        /// The key.
        key: String,
    },
    /// Adds to the decimal integer at the key; absent counts as 0.
    Add {
        /// The key.
        key: String,
        /// How much.
        delta: i64,
        /// How long it stays from now on.
        expiry: Expiry,
    },
    /// Changes only how long the key stays.
    Expire {
        /// The key.
        key: String,
        /// How long; `Keep` is of no use here.
        expiry: Expiry,
    },
    /// Takes entries off a list that were looked at before; that they are still there is an assumption. Comes
    /// before any other write about the same key.
    Pop {
        /// The list's key.
        key: String,
        /// How many at the left.
        front: u64,
        /// How many at the right.
        back: u64,
    },
    /// Plain entries for a list.
    Push {
        /// The list's key.
        key: String,
        /// Whether what the key held, of whatever type, goes first.
        replaces: bool,
        /// Pushed at the left, one after the other: the last one ends up leftmost.
        front: Vec<Vec<u8>>,
        /// Pushed at the right, one after the other.
        back: Vec<Vec<u8>>,
        /// How long the list stays.
        expiry: Expiry,
    },
    /// A job with a delay or a unique key.
    PushJob {
        /// The queue.
        queue: QueueName,
        /// The id the run was told.
        id: JobId,
        /// The producer's bytes.
        payload: Vec<u8>,
        /// Milliseconds until it is due, counted from the commit; none: ready at once.
        delay_ms: Option<u64>,
        /// The unique key, which must be free (a conflict otherwise), and for how many milliseconds it is kept.
        unique: Option<(String, u64)>,
    },
}

/// How long a key stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// As long as before; a new key for ever.
    #[default]
    Keep,
    /// For ever.
    Never,
    /// So many milliseconds from the commit; 0 is as good as deleted.
    In(u64),
}

/// An entry that a run has popped: off the list, and in a record of its host until the run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The queue.
    pub queue: QueueName,
    /// The field of the record among those of the host: `f<n>` for an entry from the front, `b<n>` from the
    /// back. `n` is used once in the life of a host id.
    pub field: Arc<str>,
}
