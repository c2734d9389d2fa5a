//! Jobs that must not starve: those that become due on an idle queue, and those that a host has prefetched and cannot
//! start.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::job::name::QueueName;
use sandhog::job::push::{PushOptions, push};

use crate::support::example;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::redis::TestRedis;

/// A queue served by the probe.
fn probe(fields: &str) -> Plugins {
    let manifest = format!(
        "kind = \"worker\"\neffects.mode = \"immediate\"\n[[consume]]\nqueue = \"jobs\"\ntimeout = \"60s\"\n\
         backoff = {{ base = \"300ms\", factor = 1.0, max = \"300ms\", jitter = 0.0 }}\n{fields}\n\
         [grants]\nkv = {{ read = [\"*\"], write = [\"*\"] }}\nqueue.push = [\"*\"]\n[limits]\nkv_calls = 1000000\n"
    );
    Plugins::new().with("probe", &example::component("probe"), &manifest)
}

async fn length(plain: &mut MultiplexedConnection, list: &str) -> usize {
    plain.llen(list).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn due_jobs_of_an_idle_queue_run_without_key_tracking() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut refuse = redis::cmd("ACL");
    refuse.arg("SETUSER").arg("default").arg("-client|tracking");
    let () = refuse.query_async(&mut plain).await.unwrap();
    let host = probe("").serve(&redis.url(), "h").await;
    let _: u64 =
        plain.rpush("jobs", "report none\nif-attempt 1 retry again\nqueue.push seen retried").await.unwrap();
    until("the retry has run", async || length(&mut plain, "seen").await == 1).await;
    let delay = Some(Duration::from_millis(300));
    let options = PushOptions { delay, ..PushOptions::default() };
    let queue = QueueName::new("jobs").unwrap();
    push(&redis.link(), &queue, b"report none\nqueue.push seen delayed", &options).await.unwrap();
    until("the delayed job has run", async || length(&mut plain, "seen").await == 2).await;
    stop(host).await;
}

/// Pushes short jobs, then eight that get stuck, then `more` that another host could do.
async fn push_stuck(plain: &mut MultiplexedConnection, more: usize) {
    let mut jobs = vec!["report none"; 4_000];
    jobs.extend(["report none\nqueue.push begun 1\nwait go"; 8]);
    jobs.extend(vec!["report none\nqueue.push seen 1"; more]);
    for some in jobs.chunks(1_000) {
        let _: u64 = plain.rpush("jobs", some).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_prefetched_behind_stuck_runs_are_done_by_an_idle_host() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe("concurrency = 8");
    let one = plugins.serve(&redis.url(), "one").await;
    push_stuck(&mut plain, 200).await;
    until("all runs of the first host are stuck", async || length(&mut plain, "begun").await == 8).await;
    let two = plugins.serve(&redis.url(), "two").await;
    until("the second host has done the others", async || length(&mut plain, "seen").await == 200).await;
    let _: () = plain.set("go", "1").await.unwrap();
    stop(one).await;
    stop(two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_host_does_not_claim_and_return_jobs_continuously() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = probe("concurrency = 64").serve(&redis.url(), "h").await;
    // It runs alone, because its host died twice: no other job starts although `concurrency` allows it.
    let suspect = "1 suspect 0 2 5\nreport none\nqueue.push begun 1\nwait go";
    let _: u64 = plain.rpush("{jobs}:sandhog:ready", suspect).await.unwrap();
    until("it runs", async || length(&mut plain, "begun").await == 1).await;
    let _: u64 = plain.rpush("jobs", vec!["report none\nqueue.push seen 1"; 100]).await.unwrap();
    let released = || count(&host, "jobs", |counters| &counters.released);
    until("jobs that cannot start go back", async || released() > 0).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_500) {
        // A new job wakes the host.
        let _: u64 = plain.rpush("jobs", "report none\nqueue.push seen 1").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // At most 64 at first, again after one second, and again after two more.
    assert!(released() <= 3 * 64, "{} given back in 2.5 s", released());
    host.leave();
    host.stopped().await;
}
