//! Schedules: fired once by any number of hosts, whatever happens to them; kept in step with hosts' files.

mod ahead;
mod cli;
mod files;
mod fire;
mod zones;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::job::schedule::{Missed, Schedule, When};

use crate::support::host::Plugins;
use crate::support::receipts;

/// Where schedules of these tests push; nobody serves it.
const READY: &str = "{ticks}:sandhog:ready";

/// A schedule of the queue `ticks`.
fn schedule(when: When) -> Schedule {
    Schedule {
        queue: "ticks".to_owned(),
        when,
        jitter_ms: 0,
        payload: "tick".to_owned(),
        headers: vec![("team".to_owned(), "a b".to_owned())],
        missed: Missed::Skip,
    }
}

/// Every year or so, at no time that a test sees.
fn rare() -> Schedule {
    schedule(When::Every(366 * 24 * 3_600_000))
}

/// Once a day, twelve hours from now.
fn far(now_ms: u64) -> Schedule {
    let hour = (now_ms / 3_600_000 + 12) % 24;
    schedule(When::Cron { expression: format!("0 {hour} * * *"), timezone: "UTC".to_owned() })
}

/// A folder with one plugin that serves another queue: hosts want something to do.
fn plugins() -> Plugins {
    Plugins::new().with("receipts", &receipts::component(), receipts::MANIFEST)
}

async fn now_ms(plain: &mut MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(plain).await.unwrap();
    seconds * 1000 + micros / 1000
}

/// Makes these schedules due as if their slot had been at `slot`.
async fn age(plain: &mut MultiplexedConnection, names: &[String], slot: u64) {
    let mut all = redis::pipe();
    all.atomic();
    for name in names {
        all.hset(format!("sandhog:schedule:{name}"), "slot", slot);
        all.zadd("sandhog:schedules", name, slot);
    }
    let () = all.query_async(plain).await.unwrap();
}

/// The slot that a schedule waits for.
async fn slot(plain: &mut MultiplexedConnection, name: &str) -> u64 {
    plain.hget::<_, _, Option<u64>>(format!("sandhog:schedule:{name}"), "slot").await.unwrap().unwrap_or(0)
}

/// Ids of the jobs that were fired, in order.
async fn fired(plain: &mut MultiplexedConnection) -> Vec<String> {
    let envelopes: Vec<String> = plain.lrange(READY, 0, -1).await.unwrap();
    envelopes.iter().map(|envelope| envelope.split(' ').nth(1).unwrap().to_owned()).collect()
}
