//! Queues that are kept from running dry, for workloads that measure for a time and not for a number of jobs.

use std::ops::Range;
use std::time::Duration;

use redis::cmd;
use sandhog::job::name::QueueName;
use sandhog::job::push::push_many;
use sandhog::job::store::StoreError;
use sandhog::storage::link::Link;

/// Entries pushed as one step.
const BATCH: usize = 2_000;

/// As soon as fewer jobs wait than the range begins with, pushes until as many wait as it ends with.
pub(super) async fn top_up(
    link: &Link,
    queue: &QueueName,
    payload: &[u8],
    backlog: &Range<u64>,
) -> Result<(), StoreError> {
    let mut waiting: u64 = link.query(cmd("LLEN").arg(queue.as_str())).await?;
    if waiting < backlog.start {
        let batch = vec![payload; BATCH];
        while waiting < backlog.end {
            waiting = push_many(link, queue, &batch).await?;
        }
    }
    Ok(())
}

/// Looks again and again; ends only when Redis does.
pub(super) async fn keep_up(
    link: &Link,
    queue: &QueueName,
    payload: &[u8],
    backlog: &Range<u64>,
    look_every: Duration,
) -> StoreError {
    loop {
        if let Err(error) = top_up(link, queue, payload, backlog).await {
            return error;
        }
        tokio::time::sleep(look_every).await;
    }
}
