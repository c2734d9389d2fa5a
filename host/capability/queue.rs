//! `sandhog:worker/queue` for guests: budget, bounds and grants, then the operation.

use std::time::Duration;

use super::binding::sandhog::worker::queue::{End as WitEnd, Host, PushOptions, PushOutcome, Uniqueness};
use super::refusal::Refusal;
use super::view::{BATCH_MAX, View, check_grant, check_name};
use crate::job::name::QueueName;
use crate::job::push::{self, Pushed};
use crate::job::take::End;

/// Longest delay of a push.
const DELAY_MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;
/// Longest life of a unique key.
const UNIQUE_TTL_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

impl Host for View {
    async fn push(&mut self, queue: String, payload: Vec<u8>) -> Result<u64, Refusal> {
        self.spend_call("queue.push")?;
        let queue = self.check_push(queue)?;
        self.check_value(payload.len())?;
        self.spend_writes(1, queue.as_str().len() + payload.len()).await?;
        self.effects.push(&queue, vec![payload], End::Back).await
    }

    async fn push_with(
        &mut self,
        queue: String,
        payload: Vec<u8>,
        options: PushOptions,
    ) -> Result<PushOutcome, Refusal> {
        self.spend_call("queue.push-with")?;
        let queue = self.check_push(queue)?;
        self.check_value(payload.len())?;
        if options.delay_ms.is_some_and(|delay| delay > DELAY_MS_MAX) {
            return Err(Refusal::Quota("delay-ms"));
        }
        options.unique.as_ref().map_or(Ok(()), check_unique)?;
        let unique = options.unique.as_ref().map_or(0, |unique| unique.key.len());
        self.spend_writes(1, queue.as_str().len() + payload.len() + unique).await?;
        if options.delay_ms.is_none() && options.unique.is_none() {
            let waiting = self.effects.push(&queue, vec![payload], end(options.end)).await?;
            return Ok(PushOutcome::Pushed(waiting));
        }
        let options = push::PushOptions {
            delay: options.delay_ms.map(Duration::from_millis),
            unique: options.unique.map(|u| (u.key, Duration::from_millis(u.ttl_ms))),
            ..push::PushOptions::default()
        };
        Ok(match self.effects.push_job(&queue, payload, &options).await? {
            Pushed::Waiting(count) => PushOutcome::Pushed(count),
            Pushed::Delayed(id) => PushOutcome::Delayed(id.as_str().to_owned()),
            Pushed::Duplicate => PushOutcome::Duplicate,
        })
    }

    async fn push_many(&mut self, queue: String, payloads: Vec<Vec<u8>>) -> Result<u64, Refusal> {
        self.spend_call("queue.push-many")?;
        let queue = self.check_push(queue)?;
        if payloads.len() > BATCH_MAX {
            return Err(Refusal::Quota("payloads"));
        }
        self.check_value(payloads.iter().map(Vec::len).sum())?;
        if payloads.is_empty() {
            return self.effects.length(&queue).await;
        }
        self.spend_writes(payloads.len(), payloads.iter().map(Vec::len).sum()).await?;
        self.effects.push(&queue, payloads, End::Back).await
    }

    async fn pop(&mut self, queue: String, at: WitEnd) -> Result<Option<Vec<u8>>, Refusal> {
        self.spend_call("queue.pop")?;
        check_name("queue", &queue)?;
        check_grant(&self.scope.grants.queue_pop, &queue)?;
        self.spend_effects(1)?;
        self.effects.pop(&queue_name(queue)?, end(at)).await
    }

    async fn length(&mut self, queue: String) -> Result<u64, Refusal> {
        self.spend_call("queue.length")?;
        let queue = self.check_look(queue)?;
        self.effects.length(&queue).await
    }

    async fn peek(&mut self, queue: String, count: u32) -> Result<Vec<Vec<u8>>, Refusal> {
        self.spend_call("queue.peek")?;
        let queue = self.check_look(queue)?;
        if count as usize > BATCH_MAX {
            return Err(Refusal::Quota("count"));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        self.effects.peek(&queue, count).await
    }
}

impl View {
    fn check_push(&self, queue: String) -> Result<QueueName, Refusal> {
        check_name("queue", &queue)?;
        check_grant(&self.scope.grants.queue_push, &queue)?;
        queue_name(queue)
    }

    /// A queue whose entries may be counted and looked at: either grant will do.
    fn check_look(&self, queue: String) -> Result<QueueName, Refusal> {
        check_name("queue", &queue)?;
        let grants = &self.scope.grants;
        check_grant(&grants.queue_push, &queue).or_else(|_| check_grant(&grants.queue_pop, &queue))?;
        queue_name(queue)
    }
}

fn queue_name(queue: String) -> Result<QueueName, Refusal> {
    // Length and owner were checked before; whatever else a queue name may not be is not granted.
    QueueName::new(queue.as_str()).map_err(|_| Refusal::Denied(queue))
}

fn check_unique(unique: &Uniqueness) -> Result<(), Refusal> {
    check_name("unique-key", &unique.key)?;
    if unique.ttl_ms == 0 || unique.ttl_ms > UNIQUE_TTL_MS_MAX {
        return Err(Refusal::Quota("unique-ttl-ms"));
    }
    Ok(())
}

fn end(end: WitEnd) -> End {
    match end {
        WitEnd::Front => End::Front,
        WitEnd::Back => End::Back,
    }
}
