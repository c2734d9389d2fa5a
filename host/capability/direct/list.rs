//! Lists: the operations behind `queue`.

use std::sync::LazyLock;

use redis::{Value, cmd};

use super::{Direct, unexpected, value_or_too_long, values_or_too_long};
use crate::capability::refusal::Refusal;
use crate::job::name::QueueName;
use crate::job::push::{PushOptions, Pushed, push};
use crate::job::store::StoreError;
use crate::job::take::End;
use crate::storage::fault::Fault;
use crate::storage::script::Script;

static POP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/pop.lua")));
static PEEK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/peek.lua")));

impl Direct {
    /// Pushes all `payloads`, of which there is at least one, in one step; tells how many entries wait then.
    pub(in crate::capability) async fn push(
        &self,
        queue: &QueueName,
        payloads: &[Vec<u8>],
        end: End,
    ) -> Result<u64, Refusal> {
        let mut push = cmd(if end == End::Front { "LPUSH" } else { "RPUSH" });
        push.arg(queue.as_str());
        for payload in payloads {
            push.arg(payload);
        }
        let _room = self.room_to_send(payloads.iter().map(Vec::len).sum()).await;
        self.query(&push, queue.as_str()).await
    }

    /// Pushes a job with a delay or a unique key.
    pub(in crate::capability) async fn push_job(
        &self,
        queue: &QueueName,
        payload: &[u8],
        options: &PushOptions,
    ) -> Result<Pushed, Refusal> {
        let _room = self.room_to_send(payload.len()).await;
        let pushed = self.stalls.wait(push(self.link()?, queue, payload, options)).await;
        pushed.map_err(|error| match error {
            StoreError::Fault(fault) => Refusal::of(fault, queue.as_str()),
            StoreError::WrongType(_) => Refusal::WrongType(queue.as_str().to_owned()),
            StoreError::HeaderTooLong(_) => Refusal::Quota("unique-key"),
            StoreError::NoLease => Refusal::Unavailable(Fault::Unexpected(error.to_string())),
        })
    }

    /// Takes one entry.
    pub(in crate::capability) async fn pop(
        &self,
        queue: &QueueName,
        end: End,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let mut call = POP.call(&[queue.as_str()]);
        call.arg(if end == End::Front { "front" } else { "back" }).arg(self.value_bytes_max);
        let _room = self.room(0).await;
        let entry = value_or_too_long(self.run(&POP, &call, queue.as_str()).await?)?;
        self.fetched(entry.as_ref().map_or(0, Vec::len));
        Ok(entry)
    }

    /// Number of entries.
    pub(in crate::capability) async fn length(&self, key: &str) -> Result<u64, Refusal> {
        let mut ask = redis::Pipeline::with_capacity(1);
        ask.cmd("LLEN").arg(key);
        let refused = |fault| Refusal::of(fault, key);
        let answer = self.read(ask, key).await?.pop().unwrap_or(Ok(Value::Nil));
        match answer.map_err(refused)? {
            Value::Int(length) => Ok(u64::try_from(length).unwrap_or(0)),
            other => Err(unexpected(&other)),
        }
    }

    /// Up to `count` entries from the one at `start` on. A negative `start` counts from the right, and is for
    /// a single entry.
    pub(in crate::capability) async fn range(
        &self,
        key: &str,
        start: i64,
        count: u64,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut call = PEEK.call(&[key]);
        call.arg(start).arg(count).arg(self.value_bytes_max);
        let _room = self.room(0).await;
        let entries = values_or_too_long(self.run(&PEEK, &call, key).await?)?;
        let bytes = |entry| match entry {
            Value::BulkString(bytes) => Ok(bytes),
            other => Err(unexpected(&other)),
        };
        let entries: Result<Vec<Vec<u8>>, Refusal> = entries.into_iter().map(bytes).collect();
        self.fetched(entries.iter().flatten().map(Vec::len).sum());
        entries
    }
}
