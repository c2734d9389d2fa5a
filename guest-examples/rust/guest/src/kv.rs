//! Redis strings: the keys that every other client of that Redis sees.
//!
//! In the atomic effects mode, the default, writes are held back and take place with the job's completion; reads see
//! what the run itself has written. Calls that answer something about the old value *decide*: if it has changed by the
//! end of the run, the job runs again. The whole contract stands in `wit/kv.wit`.
//!
//! ```no_run
//! use std::time::Duration;
//! use sandhog_guest::{Result, kv};
//!
//! fn seen(order: &str) -> Result<bool> {
//!     let marker = format!("seen:{order}");
//!     if !kv::set_if_absent(&marker, "", Some(Duration::from_secs(7 * 24 * 60 * 60)))? {
//!         return Ok(true);
//!     }
//!     kv::add("orders", 1)?;
//!     let limit: Option<u64> = kv::get("limit")?;
//!     kv::set_for("last", order, Duration::from_secs(limit.unwrap_or(60)))?;
//!     Ok(false)
//! }
//! ```

use std::time::Duration;

use crate::bindings::worker::sandhog::worker::kv as raw;
use crate::error::{Result, millis};
use crate::value::{FromValue, ToValue, read};

/// The value of `key`; none if there is no such key.
pub fn get<T: FromValue>(key: &str) -> Result<Option<T>> {
    raw::get(key)?.map(|bytes| read(key, bytes)).transpose()
}

/// The values of up to 1,000 keys, in their order, in one round trip.
pub fn get_many<T: FromValue>(keys: &[String]) -> Result<Vec<Option<T>>> {
    let values = raw::get_many(keys)?.into_iter().zip(keys);
    values.map(|(value, key)| value.map(|bytes| read(key, bytes)).transpose()).collect()
}

/// Sets `key`, for ever, whatever it held.
pub fn set(key: &str, value: impl ToValue) -> Result<()> {
    Ok(raw::set(key, &value.to_value())?)
}

/// Sets `key`, whatever it held, to expire in `time`.
pub fn set_for(key: &str, value: impl ToValue, time: Duration) -> Result<()> {
    set_with(key, value, raw::Condition::Always, Some(time)).map(drop)
}

/// Sets `key` if there is none; answers whether it did. Decides.
pub fn set_if_absent(key: &str, value: impl ToValue, time: Option<Duration>) -> Result<bool> {
    set_with(key, value, raw::Condition::IfAbsent, time)
}

/// Sets `key` if it is there; answers whether it did. Decides.
pub fn set_if_present(key: &str, value: impl ToValue, time: Option<Duration>) -> Result<bool> {
    set_with(key, value, raw::Condition::IfPresent, time)
}

fn set_with(
    key: &str,
    value: impl ToValue,
    condition: raw::Condition,
    time: Option<Duration>,
) -> Result<bool> {
    let options = raw::SetOptions { ttl_ms: time.map(millis), condition };
    Ok(raw::set_with(key, &value.to_value(), options)?)
}

/// Sets up to 1,000 keys in one round trip, as one step.
pub fn set_many<V: ToValue>(entries: impl IntoIterator<Item = (impl Into<String>, V)>) -> Result<()> {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value.to_value().into_owned()));
    Ok(raw::set_many(&entries.collect::<Vec<_>>())?)
}

/// Deletes `key`; answers whether it was there. Decides.
pub fn delete(key: &str) -> Result<bool> {
    Ok(raw::delete(key)?)
}

/// Whether there is such a key, of any type.
pub fn exists(key: &str) -> Result<bool> {
    Ok(raw::exists(key)?)
}

/// Adds to the whole number at `key` (absent counts as 0). Never conflicts with other jobs: for counters and sums.
pub fn add(key: &str, delta: i64) -> Result<()> {
    Ok(raw::add(key, delta)?)
}

/// As [`add`], and answers the new value, which no other job is given. Decides.
pub fn increment(key: &str, delta: i64) -> Result<i64> {
    Ok(raw::increment(key, delta)?)
}

/// Replaces the value if it is still `expected` (none: absent); `replacement` none deletes. Answers whether it did.
/// Decides.
pub fn compare_and_swap(
    key: &str,
    expected: Option<impl ToValue>,
    replacement: Option<impl ToValue>,
) -> Result<bool> {
    let expected = expected.as_ref().map(ToValue::to_value);
    let replacement = replacement.as_ref().map(ToValue::to_value);
    Ok(raw::compare_and_swap(key, expected.as_deref(), replacement.as_deref())?)
}

/// Lets `key` expire in `time` (none: never); answers whether it was there. Decides.
pub fn expire(key: &str, time: Option<Duration>) -> Result<bool> {
    Ok(raw::expire(key, time.map(millis))?)
}

/// How long until `key` expires; none if it is absent or never does.
pub fn ttl(key: &str) -> Result<Option<Duration>> {
    Ok(raw::ttl(key)?.map(Duration::from_millis))
}

/// The keys that start with `prefix`, in no order, page by page as they are asked for; one may come twice.
///
/// ```no_run
/// # fn names() -> sandhog_guest::Result<Vec<String>> {
/// let mut names: Vec<String> = sandhog_guest::kv::keys("user:").collect::<Result<_, _>>()?;
/// names.sort_unstable();
/// names.dedup();
/// # Ok(names)
/// # }
/// ```
pub fn keys(prefix: &str) -> Keys<'_> {
    Keys { prefix, page: Vec::new().into_iter(), next: Next::First }
}

/// Keys that start with a prefix: see [`keys`].
#[derive(Debug)]
pub struct Keys<'a> {
    prefix: &'a str,
    page: std::vec::IntoIter<String>,
    next: Next,
}

/// Which page comes next.
#[derive(Debug)]
enum Next {
    First,
    At(String),
    None,
}

impl Iterator for Keys<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let cursor = match std::mem::replace(&mut self.next, Next::None) {
                Next::First => None,
                Next::At(cursor) => Some(cursor),
                Next::None => return None,
            };
            match raw::list_keys(self.prefix, cursor.as_deref()) {
                Ok(page) => {
                    self.page = page.keys.into_iter();
                    self.next = page.cursor.map_or(Next::None, Next::At);
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
