//! What operators hold: plugins in the whole fleet, and hosts. One key, so that every host hears of all with one read;
//! that of queues stands with each queue, where the claim's script sees it.

use std::collections::BTreeMap;

use redis::Value;

use super::key::HELD;
use super::reply::{number, text};
use super::script;
use super::store::{StoreError, wrong_type};
use crate::storage::bounded::{self, Bound, Element};
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Most held plugins and hosts, and the longest name and time of one.
const HELD_BOUND: Bound = Bound { elements: 10_000, bytes: 256 };

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold<'a> {
    /// A plugin, on every host.
    Plugin(&'a str),
    /// A host, by its seat: all its lives until it is started again.
    Host(&'a str),
}

impl Hold<'_> {
    fn field(self) -> String {
        match self {
            Self::Plugin(name) => format!("plugin:{name}"),
            Self::Host(seat) => format!("host:{seat}"),
        }
    }
}

/// Everything that is held, with the Redis time since when, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    fields: BTreeMap<String, u64>,
}

impl Holds {
    /// Since when this is held; none: it is not.
    pub fn since_ms(&self, hold: Hold<'_>) -> Option<u64> {
        self.fields.get(&hold.field()).copied()
    }
}

/// Reads what is held. A connection that tracks keys is told of the next change.
pub async fn read(link: &Link) -> Result<Holds, StoreError> {
    let pairs = bounded::pairs(link, HELD, HELD_BOUND).await.map_err(|fault| wrong_type(fault, HELD))?;
    // A time that was spoiled by hand holds all the same.
    let since_ms = |since: Element| since.text().and_then(|since| since.parse().ok()).unwrap_or(0);
    let fields = pairs.into_iter().filter_map(|(field, since)| Some((field.text()?, since_ms(since))));
    Ok(Holds { fields: fields.collect() })
}

/// Holds it from now on; false if it was held already.
pub async fn hold(link: &Link, hold: Hold<'_>) -> Result<bool, StoreError> {
    write(link, HELD, &hold.field()).await
}

/// Holds a queue by its key `paused`; false if it was held already. By a script, because a plain command is refused at
/// Redis' memory limit, when it is most wanted.
pub(super) async fn pause(link: &Link, paused: &str) -> Result<bool, StoreError> {
    write(link, paused, "").await
}

async fn write(link: &Link, key: &str, field: &str) -> Result<bool, StoreError> {
    let mut call = script::HOLD.call(&[key]);
    call.arg(field);
    match script::HOLD.run::<Value>(link, &call).await? {
        held @ Value::Int(_) => Ok(number(&held)? != 0),
        key => Err(StoreError::WrongType(text(key)?)),
    }
}

/// Lets go of it; false if nobody held it.
pub async fn let_go(link: &Link, hold: Hold<'_>) -> Result<bool, StoreError> {
    let gone: Result<bool, Fault> = link.query(redis::cmd("HDEL").arg(HELD).arg(hold.field())).await;
    gone.map_err(|fault| wrong_type(fault, HELD))
}
