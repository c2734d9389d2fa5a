//! Batch workers in whole hosts: what a call is given, what becomes of each job, and of all when the call fails.

mod load;

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;

use crate::support::example;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::receipts::leftovers;
use crate::support::redis::TestRedis;

/// A manifest with these lines for the queue `jobs` and these at its end.
fn manifest(consume: &str, rest: &str) -> String {
    format!(
        "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nbackoff = {{ base = \"5ms\", max = \"5ms\" }}\n{consume}\n\
         [grants]\nqueue.push = [\"receipts\", \"calls\"]\nkv.write = [\"k*\"]\nkv.read = [\"k*\"]\n{rest}\n"
    )
}

fn plugins(consume: &str, rest: &str) -> Plugins {
    Plugins::new().with("batches", &example::component("batch-probe"), &manifest(consume, rest))
}

/// A host that finds these jobs waiting.
async fn with_jobs(jobs: &[&str], consume: &str, rest: &str) -> (TestRedis, Host, MultiplexedConnection) {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    if !jobs.is_empty() {
        let _: u64 = plain.rpush("jobs", jobs).await.unwrap();
    }
    let host = plugins(consume, rest).serve(&redis.url(), "h").await;
    (redis, host, plain)
}

async fn list(plain: &mut MultiplexedConnection, key: &str) -> Vec<String> {
    plain.lrange(key, 0, -1).await.unwrap()
}

/// Payloads of the dead, in order.
async fn dead(plain: &mut MultiplexedConnection) -> Vec<String> {
    let all: Vec<String> = plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
    let mut all: Vec<String> = all.iter().map(|job| job.split_once('\n').unwrap().1.to_owned()).collect();
    all.sort();
    all
}

/// Waits until every job is done, dropped or dead.
async fn until_settled(plain: &MultiplexedConnection) {
    until("every job is settled", async || {
        let left = leftovers(&mut plain.clone()).await;
        // Beside the dead there is what the last one to cancel a job has said.
        left.iter().all(|key| key == "{jobs}:sandhog:dead" || key.starts_with("{jobs}:sandhog:word:"))
    })
    .await;
}

#[tokio::test]
async fn every_job_of_a_call_is_answered_for_itself() {
    for mode in ["atomic", "immediate"] {
        let jobs = ["ok 1", "retry 2", "bury 3", "discard 4", "ok 5"];
        let effects = format!("[effects]\nmode = \"{mode}\"");
        let (_redis, host, mut plain) = with_jobs(
            &jobs,
            "batch = { size = 10, wait = \"1s\" }\nconcurrency = 1\nmax_attempts = 3",
            &effects,
        )
        .await;
        until_settled(&plain).await;
        assert_eq!(dead(&mut plain).await, ["bury 3", "retry 2"]);
        until("all ends are heard of", async || count(&host, "jobs", |c| &c.buried) == 2).await;
        let counted = [
            count(&host, "jobs", |c| &c.completed),
            count(&host, "jobs", |c| &c.retried),
            count(&host, "jobs", |c| &c.discarded),
        ];
        assert_eq!(counted, [2, 2, 1], "{mode}");
        // One call for all of them, in their order; what no other job completes with leaves nothing in the atomic mode.
        let calls = list(&mut plain, "calls").await;
        assert_eq!(calls[0], jobs.join(","), "{mode}");
        let receipts = list(&mut plain, "receipts").await;
        assert_eq!(receipts[..5], jobs, "{mode}");
        assert_eq!(receipts.len(), if mode == "atomic" { 5 } else { 7 }, "{mode}: {receipts:?}");
        stop(host).await;
    }
}

#[tokio::test]
async fn a_call_that_fails_costs_an_attempt_and_only_the_job_to_blame_dies() {
    for (guilty, reason) in [
        ("trap", "trapped"),
        ("spin", "timed%20out"),
        ("hoard", "out%20of%20memory"),
        ("short", "0%20answers%20for%201"),
        ("long", "2%20answers%20for%201"),
    ] {
        let jobs = ["ok 1", "ok 2", guilty, "ok 3"];
        // One runner: two could share the jobs.
        let consume =
            "batch = { size = 4, wait = \"20s\" }\nconcurrency = 1\nmax_attempts = 3\ntimeout = \"1s\"";
        let (_redis, host, mut plain) = with_jobs(&jobs, consume, "[limits]\nmemory = \"8MiB\"").await;
        until_settled(&plain).await;
        assert_eq!(dead(&mut plain).await, [guilty]);
        let all: Vec<String> = plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
        assert!(all[0].contains(reason) && all[0].contains(" 3 0 "), "{guilty}: {}", all[0]);
        // Four failed together, the one to blame twice more; on a busy machine a good one may time out.
        until("all completions are heard of", async || count(&host, "jobs", |c| &c.completed) == 3).await;
        until("all retries are heard of", async || count(&host, "jobs", |c| &c.retried) >= 5).await;
        let mut receipts = list(&mut plain, "receipts").await;
        receipts.sort();
        assert_eq!(receipts, ["ok 1", "ok 2", "ok 3"], "{guilty}: each once");
        let mut calls = list(&mut plain, "calls").await;
        calls.sort();
        assert_eq!(calls, ["ok 1", "ok 2", "ok 3"], "{guilty}: each by itself");
        stop(host).await;
    }
}

#[tokio::test]
async fn a_call_waits_for_more_jobs_and_no_longer_than_it_may() {
    let (_redis, host, mut plain) =
        with_jobs(&[], "batch = { size = 3, wait = \"60s\" }\nconcurrency = 2", "").await;
    let begun = Instant::now();
    for (nth, job) in ["ok 1", "ok 2", "ok 3"].into_iter().enumerate() {
        let _: u64 = plain.rpush("jobs", job).await.unwrap();
        until("it is claimed", async || count(&host, "jobs", |c| &c.claimed) == nth as u64 + 1).await;
    }
    until_settled(&plain).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "a full batch waits for nothing");
    assert_eq!(list(&mut plain, "calls").await, ["ok 1,ok 2,ok 3"]);
    // One that waits hinders no end.
    let _: u64 = plain.rpush("jobs", "ok 4").await.unwrap();
    until("it is claimed", async || count(&host, "jobs", |c| &c.claimed) == 4).await;
    stop(host).await;
    assert!(begun.elapsed() < Duration::from_secs(40), "nobody waits for jobs that will not come");
    // A job that was claimed and not begun is handed back.
    let ended = [list(&mut plain, "receipts").await, list(&mut plain, "jobs").await].concat();
    assert_eq!(ended, ["ok 1", "ok 2", "ok 3", "ok 4"]);
}

#[tokio::test]
async fn fewer_jobs_than_fit_run_when_the_wait_is_over() {
    // Long enough for the second job on a busy machine.
    const WAIT: Duration = Duration::from_secs(2);
    let (_redis, host, mut plain) = with_jobs(&[], "batch = { size = 100, wait = \"2s\" }", "").await;
    let begun = Instant::now();
    for (nth, job) in ["ok 1", "ok 2"].into_iter().enumerate() {
        let _: u64 = plain.rpush("jobs", job).await.unwrap();
        until("it is claimed", async || count(&host, "jobs", |c| &c.claimed) == nth as u64 + 1).await;
    }
    until_settled(&plain).await;
    assert!(begun.elapsed() >= WAIT, "{:?}", begun.elapsed());
    assert_eq!(list(&mut plain, "calls").await, ["ok 1,ok 2"]);
    stop(host).await;
}

#[tokio::test]
async fn a_call_is_given_no_more_bytes_than_one_job_may_have() {
    let payload = |n: usize| format!("ok {n} {}", "x".repeat(3000));
    let jobs: Vec<String> = (0..6).map(payload).collect();
    let jobs: Vec<&str> = jobs.iter().map(String::as_str).collect();
    let (_redis, host, mut plain) = with_jobs(
        &jobs,
        "batch = { size = 100, wait = \"1s\" }\nconcurrency = 1",
        "[limits]\nvalue = \"7KiB\"",
    )
    .await;
    until_settled(&plain).await;
    let calls = list(&mut plain, "calls").await;
    assert_eq!(calls.iter().map(|call| call.split(',').count()).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(calls.join(","), jobs.join(","));
    stop(host).await;
}

#[tokio::test]
async fn effects_of_a_call_in_which_no_job_is_done_are_dropped() {
    let jobs = ["bury 1", "discard 2", "set k 3 but", "bury 4"];
    // One runner: the last call's and a new one would share the next jobs.
    let consume = "batch = { size = 10, wait = \"1s\" }\nconcurrency = 1";
    let (_redis, host, mut plain) = with_jobs(&jobs[..2], consume, "").await;
    until_settled(&plain).await;
    assert_eq!((list(&mut plain, "calls").await.len(), list(&mut plain, "receipts").await.len()), (0, 0));
    // With one that is done they are there, whichever job they were made for.
    let _: u64 = plain.rpush("jobs", &jobs[2..]).await.unwrap();
    until_settled(&plain).await;
    let value: Option<String> = plain.get("k").await.unwrap();
    assert_eq!(
        (list(&mut plain, "receipts").await, value.as_deref()),
        (vec!["bury 4".to_owned()], Some("3"))
    );
    assert_eq!(dead(&mut plain).await, ["bury 1", "bury 4"]);
    stop(host).await;
}

#[tokio::test]
async fn what_redis_refuses_of_a_call_only_the_job_to_blame_dies_of() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // A list where a number is to be pushed to: the type shows at the commit only.
    let _: () = plain.set("receipts", "no list").await.unwrap();
    let _: u64 = plain.rpush("jobs", &["set k 1", "ok 2", "set k3 3"]).await.unwrap();
    let host =
        plugins("batch = { size = 10, wait = \"1s\" }\nmax_attempts = 2", "").serve(&redis.url(), "h").await;
    until_settled(&plain).await;
    assert_eq!(dead(&mut plain).await, ["ok 2"]);
    let values: Vec<Option<String>> = plain.mget(&["k", "k3"]).await.unwrap();
    assert_eq!(values, [Some("1".to_owned()), Some("3".to_owned())]);
    stop(host).await;
}

#[tokio::test]
async fn jobs_of_at_most_once_queues_come_in_batches_too() {
    let jobs = ["ok 1", "bury 2", "ok 3"];
    // One runner: two could share the jobs.
    let consume = "batch = { size = 10, wait = \"1s\" }\nconcurrency = 1";
    let (_redis, host, mut plain) = with_jobs(&jobs, consume, "").await;
    until_settled(&plain).await;
    stop(host).await;
    let redis = TestRedis::start();
    let mut other = redis.plain().await;
    let _: u64 = other.rpush("jobs", &jobs).await.unwrap();
    let once = manifest(&format!("{consume}\ndelivery = \"at-most-once\""), "")
        .replace("backoff = { base = \"5ms\", max = \"5ms\" }\n", "");
    let plugins = Plugins::new().with("batches", &example::component("batch-probe"), &once);
    let host = plugins.serve(&redis.url(), "h").await;
    until("all have run", async || list(&mut other.clone(), "receipts").await.len() == 3).await;
    assert_eq!(list(&mut other, "calls").await, list(&mut plain, "calls").await);
    assert_eq!(leftovers(&mut other).await, [""; 0]);
    stop(host).await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_stops_its_call_and_the_others_run_again() {
    let (redis, host, mut plain) =
        with_jobs(&["ok 1", "spin", "ok 2"], "batch = { size = 10, wait = \"1s\" }\ntimeout = \"60s\"", "")
            .await;
    until("they run", async || count(&host, "jobs", |c| &c.claimed) == 3).await;
    let begun = Instant::now();
    let program = crate::support::program::Program::with(&redis);
    let cancelled = program.output(&["jobs", "cancel", "jobs", "--text", "spin", "--yes"]);
    let said = String::from_utf8_lossy(&[cancelled.stdout, cancelled.stderr].concat()).into_owned();
    assert!(cancelled.status.success(), "{said}");
    until_settled(&plain).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "the run was not stopped");
    assert_eq!(list(&mut plain, "receipts").await, ["ok 1", "ok 2"]);
    until("both completions are heard of", async || count(&host, "jobs", |c| &c.completed) == 2).await;
    assert_eq!(count(&host, "jobs", |c| &c.retried), 0, "no attempt was counted");
    stop(host).await;
}

#[tokio::test]
async fn who_waits_for_a_result_hears_that_its_job_is_done() {
    let (_redis, host, mut plain) = with_jobs(&[], "batch = { size = 3, wait = \"5s\" }", "").await;
    let ready = |id: &str, what: &str| format!("1 {id} 0 0 1700000000000 !result=60000\n{what}");
    let jobs = [ready("one", "ok 1"), ready("two", "bury 2"), ready("three", "ok 3")];
    let _: u64 = plain.rpush("{jobs}:sandhog:ready", &jobs).await.unwrap();
    for (id, expected) in [("one", "done\n"), ("two", "dead\nbury 2"), ("three", "done\n")] {
        let result = format!("{{jobs}}:sandhog:result:{id}");
        let (_, left): (String, String) = plain.blpop(&result, 10.0).await.unwrap();
        assert_eq!(left, expected, "{id}");
    }
    stop(host).await;
}
