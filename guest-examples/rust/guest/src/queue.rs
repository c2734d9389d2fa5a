//! Redis lists as queues: an entry is gone once it is taken. A queue's name is the key of its list.
//!
//! In the atomic effects mode pushes appear with the job's completion; what was popped goes back if the run fails.
//!
//! ```no_run
//! use std::time::Duration;
//! use sandhog_guest::{Result, queue};
//!
//! fn remind(user: &str) -> Result<()> {
//!     queue::push("audit", &format!("reminder for {user}"))?;
//!     queue::Entry::new("reminders")
//!         .delay(Duration::from_secs(3600))
//!         .unique(&format!("remind:{user}"), Duration::from_secs(7200))
//!         .push(user)?;
//!     Ok(())
//! }
//! ```

use std::time::Duration;

use crate::bindings::worker::sandhog::worker::queue as raw;
use crate::error::{Result, millis};
use crate::value::{FromValue, ToValue, read};

pub use raw::PushOutcome as Pushed;

/// Pushes to the back; answers how many wait then, as far as this run can see.
pub fn push(queue: &str, payload: impl ToValue) -> Result<u64> {
    Ok(raw::push(queue, &payload.to_value())?)
}

/// Pushes up to 1,000 payloads to the back, in order, as one step; answers how many wait then.
pub fn push_many<P: ToValue>(queue: &str, payloads: impl IntoIterator<Item = P>) -> Result<u64> {
    let payloads = payloads.into_iter().map(|payload| payload.to_value().into_owned());
    Ok(raw::push_many(queue, &payloads.collect::<Vec<_>>())?)
}

/// Takes the entry at the front; none if there is none.
pub fn pop<T: FromValue>(queue: &str) -> Result<Option<T>> {
    take(queue, raw::End::Front)
}

/// Takes the entry at the back; none if there is none.
pub fn pop_back<T: FromValue>(queue: &str) -> Result<Option<T>> {
    take(queue, raw::End::Back)
}

fn take<T: FromValue>(queue: &str, end: raw::End) -> Result<Option<T>> {
    raw::pop(queue, end)?.map(|bytes| read(queue, bytes)).transpose()
}

/// How many entries wait.
pub fn length(queue: &str) -> Result<u64> {
    Ok(raw::length(queue)?)
}

/// Up to `count` entries (at most 1,000) from the front, left where they are.
pub fn peek<T: FromValue>(queue: &str, count: u32) -> Result<Vec<T>> {
    raw::peek(queue, count)?.into_iter().map(|bytes| read(queue, bytes)).collect()
}

/// A push with options. An entry with a delay or a unique key has no place in the list: hosts claim it before the
/// list's entries once it is due.
#[derive(Debug, Clone)]
#[must_use = "nothing is pushed before `push`"]
pub struct Entry<'a> {
    queue: &'a str,
    end: raw::End,
    delay: Option<Duration>,
    unique: Option<(&'a str, Duration)>,
}

impl<'a> Entry<'a> {
    /// For the back of this queue, at once.
    pub fn new(queue: &'a str) -> Self {
        Self { queue, end: raw::End::Back, delay: None, unique: None }
    }

    /// For the front: it is claimed next.
    pub fn front(self) -> Self {
        Self { end: raw::End::Front, ..self }
    }

    /// Not to be claimed before this has passed, at most 365 days.
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// Not pushed while another entry with this key waits or runs, for `time` at the most.
    pub fn unique(self, key: &'a str, time: Duration) -> Self {
        Self { unique: Some((key, time)), ..self }
    }

    /// Pushes it; answers what became of it.
    pub fn push(self, payload: impl ToValue) -> Result<Pushed> {
        let unique = self.unique.map(|(key, time)| raw::Uniqueness { key: key.into(), ttl_ms: millis(time) });
        let options = raw::PushOptions { end: self.end, delay_ms: self.delay.map(millis), unique };
        Ok(raw::push_with(self.queue, &payload.to_value(), &options)?)
    }
}
