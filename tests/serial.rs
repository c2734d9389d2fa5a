//! `serial = true`: each run sees the changes of the previous one, on one host and on several.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::support::example;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::redis::TestRedis;

const JOBS: u64 = 200;

/// The queue `jobs` of the probe, in the atomic mode.
fn plugins() -> Plugins {
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nserial = true\nmax_attempts = 1000\n\
                    backoff = { base = \"5ms\", factor = 1.0, max = \"5ms\", jitter = 0.0 }\n\
                    [grants]\nkv = { read = [\"last\"], write = [\"last\", \"shared\", \"seen:*\"] }\n";
    Plugins::new().with("probe", &example::component("probe"), manifest)
}

/// Pushes jobs that read the value of the previous job and set a new one.
async fn push(plain: &mut MultiplexedConnection, begin: impl Fn(u64) -> &'static str) {
    let job = |n| format!("report key seen:{n}\n{}kv.get last\nkv.set last {n}", begin(n));
    let jobs: Vec<String> = (0..JOBS).map(job).collect();
    let _: u64 = plain.rpush("jobs", jobs).await.unwrap();
}

/// What each job has read.
async fn seen(plain: &mut MultiplexedConnection) -> Vec<Option<u64>> {
    let keys: Vec<String> = (0..JOBS).map(|n| format!("seen:{n}")).collect();
    let reports: Vec<String> = plain.mget(&keys).await.unwrap();
    let got = |report: &String| {
        let line = report.lines().find_map(|line| line.strip_prefix("kv.get: ok ")).unwrap();
        line.strip_prefix("some ").map(|value| value.trim_matches('"').parse().unwrap())
    };
    reports.iter().map(got).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_of_a_serial_queue_sees_the_changes_of_the_previous_one() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    push(&mut plain, |_| "").await;
    let host = plugins().serve(&redis.url(), "h").await;
    let completed = || count(&host, "jobs", |counters| &counters.completed);
    until("all have run", async || completed() == JOBS).await;
    let expected: Vec<Option<u64>> = (0..JOBS).map(|n| n.checked_sub(1)).collect();
    assert_eq!(seen(&mut plain).await, expected);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_queue_loses_no_update_to_retries_conflicts_or_other_hosts() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    push(&mut plain, |n| match n % 10 {
        3 => "if-attempt 1 retry again 3\n",
        7 => "kv.increment shared 1\nrepeat 50 kv.exists last\n",
        _ => "",
    })
    .await;
    // Another client that conflicts with the runs.
    let mut stranger = JoinSet::new();
    let mut strange = redis.plain().await;
    stranger.spawn(async move {
        loop {
            let _: i64 = strange.incr("shared", 1).await.unwrap();
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    });
    let plugins = plugins();
    let hosts = [plugins.serve(&redis.url(), "one").await, plugins.serve(&redis.url(), "two").await];
    let sum = |of: fn(&sandhog::worker::counters::Counters) -> &std::sync::atomic::AtomicU64| {
        hosts.iter().map(|host| count(host, "jobs", of)).sum::<u64>()
    };
    until("all have run", async || sum(|counters| &counters.completed) == JOBS).await;
    drop(stranger);
    let seen = seen(&mut plain).await;
    let distinct: BTreeSet<Option<u64>> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "two runs began with the same value: {seen:?}");
    assert!(sum(|counters| &counters.retried) >= JOBS / 10);
    assert!(sum(|counters| &counters.conflicts) > 0, "no run met a conflict");
    for host in hosts {
        stop(host).await;
    }
}
