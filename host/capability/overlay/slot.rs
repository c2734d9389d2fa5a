//! What one run has done to one key, as far as it is not in Redis yet. Pure: what Redis holds is handed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::job::change::{Expiry, Write};

/// One key of an overlay.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// Whether what Redis holds has gone, by deletion or replacement.
    pub(super) replaced: bool,
    /// What the run put there.
    pub(super) held: Held,
    /// How long it stays.
    pub(super) due: Due,
}

/// What a run put at a key.
#[derive(Debug, Clone, Default)]
pub(super) enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// A string. It always replaces.
    Text(Vec<u8>),
    /// Something to add to the integer in Redis. Never replaces: then the sum is known.
    Sum(i64),
    /// Entries around those in Redis.
    List(Entries),
}

/// Entries that a run has pushed and not popped.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    /// Left of those in Redis, leftmost first.
    pub(super) front: VecDeque<Vec<u8>>,
    /// Right of those in Redis, rightmost last.
    pub(super) back: VecDeque<Vec<u8>>,
}

impl Entries {
    fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }
}

/// How long a key stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Due {
    /// As long as Redis says.
    #[default]
    Keep,
    /// For ever.
    Never,
    /// Until then.
    At(Instant),
}

/// What a key is, as far as the run alone can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// There, because of the run.
    Present,
    /// Gone, because of the run.
    Absent,
    /// As Redis says.
    AsStored,
}

impl Slot {
    /// Lets go of what has expired by now.
    pub(super) fn age(&mut self, now: Instant) {
        if matches!(self.due, Due::At(at) if at <= now) {
            self.delete();
        }
    }

    /// Whether there is such a key.
    pub(super) fn presence(&self) -> Presence {
        match &self.held {
            Held::Text(_) | Held::Sum(_) => Presence::Present,
            Held::List(entries) if entries.len() > 0 => Presence::Present,
            _ if self.replaced => Presence::Absent,
            _ => Presence::AsStored,
        }
    }

    /// The key goes.
    pub(super) fn delete(&mut self) {
        *self = Self { replaced: true, held: Held::Nothing, due: Due::Keep };
    }

    /// The key becomes a string, for as long as `due` says.
    pub(super) fn set(&mut self, value: Vec<u8>, due: Due) {
        *self = Self { replaced: true, held: Held::Text(value), due };
    }

    /// The entries the run put there; none if it put something else there.
    pub(super) fn list(&mut self) -> Option<&mut Entries> {
        if let Held::Nothing = self.held {
            self.held = Held::List(Entries::default());
        }
        match &mut self.held {
            Held::List(entries) => Some(entries),
            _ => None,
        }
    }

    /// How many entries the run put there; none if it put something else there.
    pub(super) fn length(&self) -> Option<usize> {
        match &self.held {
            Held::Nothing => Some(0),
            Held::List(entries) => Some(entries.len()),
            _ => None,
        }
    }

    /// The write that brings Redis to this; none if there is nothing to do.
    pub(super) fn into_write(self, key: String, now: Instant) -> Option<Write> {
        let expiry = match self.due {
            Due::Keep => Expiry::Keep,
            Due::Never => Expiry::Never,
            Due::At(at) => Expiry::In(millis(at.saturating_duration_since(now))),
        };
        let presence = self.presence();
        match self.held {
            _ if presence == Presence::Absent => Some(Write::Delete { key }),
            Held::Text(value) => Some(Write::Set { key, value, expiry }),
            Held::Sum(delta) => Some(Write::Add { key, delta, expiry }),
            Held::List(entries) if entries.len() > 0 => {
                // Pushed one after the other, so the leftmost goes last.
                let (front, back) = (entries.front.into_iter().rev().collect(), entries.back.into());
                Some(Write::Push { key, replaces: self.replaced, front, back, expiry })
            }
            _ if expiry == Expiry::Keep => None,
            _ => Some(Write::Expire { key, expiry }),
        }
    }
}

/// Whole milliseconds, rounded up: a key lives at least as long as it was told to.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
