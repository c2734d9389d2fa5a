//! What a run reads and changes in Redis, as typed operations: `effects/key.rs` for strings, `effects/list.rs`
//! for queues. Every call takes place at once (the immediate mode). This is the seam for the atomic mode, where
//! writes are kept back and reads see them first; so nothing here knows of grants, budgets or WIT types.

mod key;
mod list;

use redis::{Cmd, FromRedisValue, Value};

use super::refusal::Refusal;
use crate::storage::fault::Fault;
use crate::storage::link::Link;
use crate::storage::script::Script;

pub use key::{KeyPage, SetCondition};
pub use list::End;

/// The effects of one run.
#[derive(Debug)]
pub struct Effects {
    link: Option<Link>,
    /// Most bytes fetched by one call.
    value_bytes_max: u64,
}

impl Effects {
    /// Effects on the Redis behind `link`; without one every operation is refused.
    pub fn new(link: Option<Link>, value_bytes_max: u64) -> Self {
        Self { link, value_bytes_max }
    }

    fn link(&self) -> Result<&Link, Refusal> {
        self.link.as_ref().ok_or(Refusal::NotRunning)
    }

    /// One command about `name`.
    async fn query<T: FromRedisValue>(&self, cmd: &Cmd, name: &str) -> Result<T, Refusal> {
        self.link()?.query(cmd).await.map_err(|fault| Refusal::of(fault, name))
    }

    /// One script call about `name`.
    async fn run<T: FromRedisValue>(&self, script: &Script, call: &Cmd, name: &str) -> Result<T, Refusal> {
        script.run(self.link()?, call).await.map_err(|fault| Refusal::of(fault, name))
    }
}

/// The answer of a script that sends a value, nothing, or the length of a value too long to send.
fn value_or_too_long(value: Value) -> Result<Option<Vec<u8>>, Refusal> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::Int(_) => Err(Refusal::Quota("value")),
        other => Err(unexpected(&other)),
    }
}

/// The answer of a script that sends several values, or the length they reached.
fn values_or_too_long(value: Value) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Int(_) => Err(Refusal::Quota("value")),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(value: &Value) -> Refusal {
    let kind = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "an array",
        _ => "another type",
    };
    Refusal::Unavailable(Fault::Unexpected(kind.to_owned()))
}
