//! Reading and changing Redis at once, call by call: the immediate mode, and what the overlay of the atomic mode
//! reads. `direct/key.rs` has the operations on strings, `direct/list.rs` those on lists.

mod key;
mod list;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::SemaphorePermit;

use super::refusal::Refusal;
use super::stall::Stalls;
use super::voice::Voice;
use super::write_rate::WriteRate;
use crate::storage::fault::Fault;
use crate::storage::link::Link;
use crate::storage::script::Script;

pub(super) use key::SetCondition;

/// Redis, as a run reaches it.
#[derive(Debug)]
pub(super) struct Direct {
    link: Option<Link>,
    /// Most bytes fetched by one call.
    pub(super) value_bytes_max: u64,
    voice: Arc<Voice>,
    /// Bytes of values that were sent and fetched.
    moved_bytes: AtomicU64,
    pub(super) stalls: Stalls,
}

impl Direct {
    /// The Redis behind `link`; without one every operation is refused.
    pub(super) fn new(link: Option<Link>, value_bytes_max: u64, voice: Arc<Voice>) -> Self {
        Self { link, value_bytes_max, voice, moved_bytes: AtomicU64::new(0), stalls: Stalls::default() }
    }

    /// Bytes of values that were sent and fetched.
    pub(super) fn moved_bytes(&self) -> u64 {
        self.moved_bytes.load(Relaxed)
    }

    /// Waits until what is sent, and a reply such as the plugin's last ones, may be under way.
    pub(super) async fn room(&self, sent_bytes: usize) -> SemaphorePermit<'_> {
        self.moved_bytes.fetch_add(sent_bytes as u64, Relaxed);
        self.voice.flow.enter(sent_bytes, self.value_bytes_max).await
    }

    /// The same for a call whose reply is short.
    async fn room_to_send(&self, sent_bytes: usize) -> SemaphorePermit<'_> {
        self.moved_bytes.fetch_add(sent_bytes as u64, Relaxed);
        self.voice.flow.enter(sent_bytes, 0).await
    }

    /// Takes note of a reply.
    pub(super) fn fetched(&self, reply_bytes: usize) {
        self.moved_bytes.fetch_add(reply_bytes as u64, Relaxed);
        self.voice.flow.learn(reply_bytes);
    }

    /// Spends bytes of the write rate for a write of the plugin.
    pub(super) async fn pay(&self, plugin: &str, rate: WriteRate, bytes: u64) -> Result<(), Refusal> {
        self.stalls.wait(self.voice.credit.pay(plugin, rate, bytes)).await
    }

    pub(super) fn link(&self) -> Result<&Link, Refusal> {
        self.link.as_ref().ok_or(Refusal::NotRunning)
    }

    /// One command about `name`.
    async fn query<T: FromRedisValue>(&self, cmd: &Cmd, name: &str) -> Result<T, Refusal> {
        self.stalls.wait(self.link()?.query(cmd)).await.map_err(|fault| Refusal::of(fault, name))
    }

    /// Sends one read-only command about `name`.
    async fn ask<T: FromRedisValue>(&self, cmd: &Cmd, name: &str) -> Result<T, Refusal> {
        self.stalls.wait(self.link()?.ask(cmd)).await.map_err(|fault| Refusal::of(fault, name))
    }

    /// Sends read-only commands about `name`; concurrent callers that ask the same share one reply.
    async fn read(&self, read: Pipeline, name: &str) -> Result<Vec<Result<Value, Fault>>, Refusal> {
        self.stalls.wait(self.link()?.read(read)).await.map_err(|fault| Refusal::of(fault, name))
    }

    /// One script call about `name`.
    async fn run<T: FromRedisValue>(&self, script: &Script, call: &Cmd, name: &str) -> Result<T, Refusal> {
        let answer = self.stalls.wait(script.run(self.link()?, call)).await;
        answer.map_err(|fault| Refusal::of(fault, name))
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
