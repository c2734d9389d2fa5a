//! What a run reads and changes in Redis, as typed operations: at once (`direct`) or held back (`overlay`). Knows
//! nothing of grants, budgets or WIT types.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::direct::{Direct, SetCondition};
use super::foresight::Foresight;
use super::overlay::{Overlay, Pending};
use super::plan::Plan;
use super::refusal::Refusal;
use super::voice::Voice;
use super::write_rate::WriteRate;
use crate::job::change::Page;
use crate::job::name::QueueName;
use crate::job::push::{PushOptions, Pushed};
use crate::job::take::End;
use crate::storage::link::Link;

/// The effects of one run.
#[derive(Debug)]
pub(super) enum Effects {
    /// Each takes place at once.
    Immediate(Direct),
    /// All wait for the end.
    Atomic(Box<Overlay>),
}

/// One operation, in whichever way the run's effects take place.
macro_rules! either {
    ($self:ident, $way:ident => $immediate:expr, $atomic:expr) => {
        match $self {
            Effects::Immediate($way) => $immediate.await,
            Effects::Atomic($way) => $atomic.await,
        }
    };
}

impl Effects {
    /// Effects on the Redis behind `link`; without one every operation is refused.
    pub(super) fn new(link: Option<Link>, value_bytes_max: u64, voice: Arc<Voice>, plan: &Plan) -> Self {
        let direct = Direct::new(link, value_bytes_max, voice);
        match plan {
            Plan::Immediate => Self::Immediate(direct),
            Plan::Atomic(atomic) => Self::Atomic(Box::new(Overlay::new(direct, atomic.clone()))),
        }
    }

    /// Bytes of values that were sent and fetched so far.
    pub(super) fn moved_bytes(&self) -> u64 {
        match self {
            Self::Immediate(direct) => direct.moved_bytes(),
            Self::Atomic(overlay) => overlay.moved_bytes(),
        }
    }

    /// Spends bytes of the write rate for a write of the run.
    pub(super) async fn pay(&self, plugin: &str, rate: WriteRate, bytes: u64) -> Result<(), Refusal> {
        match self {
            Self::Immediate(direct) => direct.pay(plugin, rate, bytes).await,
            Self::Atomic(overlay) => overlay.pay(plugin, rate, bytes).await,
        }
    }

    /// How long the run has waited for slow replies of Redis.
    pub(super) fn stalled(&self) -> Duration {
        match self {
            Self::Immediate(direct) => direct.stalls.total(),
            Self::Atomic(overlay) => overlay.stalled(),
        }
    }

    /// From now on the run may be given what was asked for after `since`. Where effects take place at once, nothing is.
    pub(super) fn foresee(&mut self, foresight: Arc<Foresight>, since: Instant) {
        if let Self::Atomic(overlay) = self {
            overlay.foresee(foresight, since);
        }
    }

    /// Whether the run was told what only its commit can show to be right.
    pub(super) fn has_presumed(&self) -> bool {
        matches!(self, Self::Atomic(overlay) if overlay.has_presumed())
    }

    /// What is to be committed; none where everything took place at once.
    pub(super) fn finish(&mut self) -> Option<Pending> {
        match self {
            Self::Immediate(_) => None,
            Self::Atomic(overlay) => Some(overlay.finish()),
        }
    }

    pub(super) async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        either!(self, e => e.get(key), e.get(key))
    }

    pub(super) async fn get_many(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        either!(self, e => e.get_many(keys), e.get_many(keys))
    }

    pub(super) async fn set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        condition: SetCondition,
    ) -> Result<bool, Refusal> {
        either!(self, e => e.set(key, &value, ttl_ms, condition), e.set(key, value, ttl_ms, condition))
    }

    pub(super) async fn set_many(&mut self, entries: Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
        match self {
            Self::Immediate(direct) => direct.set_many(&entries).await,
            Self::Atomic(overlay) => overlay.set_many(entries),
        }
    }

    pub(super) async fn delete(&mut self, key: &str) -> Result<bool, Refusal> {
        either!(self, e => e.delete(key), e.delete(key))
    }

    pub(super) async fn exists(&mut self, key: &str) -> Result<bool, Refusal> {
        either!(self, e => e.exists(key), e.exists(key))
    }

    pub(super) async fn add(&mut self, key: &str, delta: i64) -> Result<(), Refusal> {
        either!(self, e => e.add(key, delta), e.add(key, delta))
    }

    pub(super) async fn increment(&mut self, key: &str, delta: i64) -> Result<i64, Refusal> {
        either!(self, e => e.increment(key, delta), e.increment(key, delta))
    }

    pub(super) async fn compare_and_swap(
        &mut self,
        key: &str,
        expected: Option<Vec<u8>>,
        replacement: Option<Vec<u8>>,
    ) -> Result<bool, Refusal> {
        let old = expected.as_deref();
        either!(self, e => e.compare_and_swap(key, old, replacement.as_deref()), e.compare_and_swap(key, old, replacement))
    }

    pub(super) async fn expire(&mut self, key: &str, ttl_ms: Option<u64>) -> Result<bool, Refusal> {
        either!(self, e => e.expire(key, ttl_ms), e.expire(key, ttl_ms))
    }

    pub(super) async fn ttl(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        either!(self, e => e.ttl(key), e.ttl(key))
    }

    pub(super) async fn list_keys(
        &mut self,
        prefix: &str,
        cursor: u64,
        key_bytes_max: usize,
    ) -> Result<Page, Refusal> {
        either!(self, e => e.list_keys(prefix, cursor, key_bytes_max), e.list_keys(prefix, cursor, key_bytes_max))
    }

    pub(super) async fn push(
        &mut self,
        queue: &QueueName,
        payloads: Vec<Vec<u8>>,
        end: End,
    ) -> Result<u64, Refusal> {
        either!(self, e => e.push(queue, &payloads, end), e.push(queue, payloads, end))
    }

    pub(super) async fn push_job(
        &mut self,
        queue: &QueueName,
        payload: Vec<u8>,
        options: &PushOptions,
    ) -> Result<Pushed, Refusal> {
        either!(self, e => e.push_job(queue, &payload, options), e.push_job(queue, payload, options))
    }

    pub(super) async fn pop(&mut self, queue: &QueueName, end: End) -> Result<Option<Vec<u8>>, Refusal> {
        either!(self, e => e.pop(queue, end), e.pop(queue, end))
    }

    pub(super) async fn length(&mut self, queue: &QueueName) -> Result<u64, Refusal> {
        either!(self, e => e.length(queue.as_str()), e.length(queue))
    }

    pub(super) async fn peek(&mut self, queue: &QueueName, count: u32) -> Result<Vec<Vec<u8>>, Refusal> {
        either!(self, e => e.range(queue.as_str(), 0, count.into()), e.peek(queue, count))
    }
}
