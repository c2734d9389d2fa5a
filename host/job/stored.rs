//! Walks the keys of Redis that match a pattern, with type, memory and time to live of each. Operators use it to see
//! what a plugin has written. The walk reads a bounded part at a time.

use redis::{Pipeline, Value, cmd};

use super::pace::Pace;
use super::reply::{text, unexpected};
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Keys that Redis examines for one part, whether they match or not.
pub const PART_KEYS: u64 = 1000;

/// A key that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its name.
    pub name: Vec<u8>,
    /// The type, as Redis names it.
    pub kind: String,
    /// Memory of name and value, as `MEMORY USAGE` estimates it.
    pub bytes: u64,
    /// The time to live; none if the key does not expire.
    pub ttl_ms: Option<u64>,
}

/// A walk over the keys, from a cursor of `SCAN`.
pub struct StoredKeys<'l> {
    link: &'l Link,
    pattern: &'l str,
    cursor: Option<u64>,
    pace: Pace,
}

impl<'l> StoredKeys<'l> {
    /// Starts from the cursor of another walk, or from 0.
    pub fn new(link: &'l Link, pattern: &'l str, cursor: u64) -> Self {
        Self { link, pattern, cursor: Some(cursor), pace: Pace::default() }
    }

    /// The keys of the next part; none after the last part.
    pub async fn part(&mut self) -> Result<Option<Vec<StoredKey>>, Fault> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let (next, keys) = self.pace.page(part(self.link, self.pattern, cursor)).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(keys))
    }

    /// The cursor of the next part; none after the last part.
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }
}

async fn part(link: &Link, pattern: &str, cursor: u64) -> Result<(u64, Vec<StoredKey>), Fault> {
    let mut scan = cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PART_KEYS);
    let (next, names): (u64, Vec<Vec<u8>>) = link.ask(&scan).await?;
    let mut questions = Pipeline::new();
    for name in &names {
        questions.cmd("TYPE").arg(name).cmd("MEMORY").arg("USAGE").arg(name).cmd("PTTL").arg(name);
    }
    if names.is_empty() {
        return Ok((next, Vec::new()));
    }
    let mut answers = link.read(questions).await?.into_iter();
    let mut keys = Vec::new();
    for name in names {
        let (Some(kind), Some(bytes), Some(ttl)) = (answers.next(), answers.next(), answers.next()) else {
            return Err(unexpected(&Value::Nil));
        };
        let (kind, bytes, ttl) = (text(kind?)?, bytes?, ttl?);
        // The key may be deleted between two commands.
        if let (Value::Int(bytes), Value::Int(ttl)) = (bytes, ttl)
            && kind != "none"
            && ttl != -2
        {
            let bytes = u64::try_from(bytes).unwrap_or(0);
            keys.push(StoredKey { name, kind, bytes, ttl_ms: u64::try_from(ttl).ok() });
        }
    }
    Ok((next, keys))
}
