//! Batch workers under load: hosts killed, versions replaced, fights about a key; effects of each job exactly once.

use std::time::Duration;

use redis::AsyncCommands;
use rustix::process::Signal;

use super::{manifest, plugins, until_settled};
use crate::support::example;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::process::HostProcess;
use crate::support::receipts::{self, push, settled};
use crate::support::redis::TestRedis;

const BATCHES: &str =
    "batch = { size = 32, wait = \"5ms\" }\nconcurrency = 4\nmax_attempts = 1000\ntimeout = \"20s\"";

/// How many receipts there are.
async fn receipts(plain: &redis::aio::MultiplexedConnection) -> usize {
    plain.clone().llen("receipts").await.unwrap()
}

#[tokio::test]
async fn every_job_takes_effect_once_though_hosts_are_killed() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = plugins(BATCHES, "");
    let mut host = HostProcess::start(&plugins, &redis.url(), "a", &mut plain).await;
    let _other = HostProcess::start(&plugins, &redis.url(), "b", &mut plain).await;
    let jobs = push(&mut plain, 20_000).await;
    for part in 1..4 {
        until("some have run", async || receipts(&plain).await >= part * 4_000).await;
        host.signal(Signal::KILL);
        host.ended().await;
        host = HostProcess::start(&plugins, &redis.url(), "a", &mut plain).await;
    }
    assert_eq!(settled(&mut plain, &jobs).await, 0, "receipts of jobs that ran twice");
    let calls: usize = plain.llen("calls").await.unwrap();
    assert!(calls < jobs.len() / 4, "{calls} calls: jobs came together");
}

#[tokio::test]
async fn every_job_takes_effect_once_through_cut_connections() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = plugins(BATCHES, "").serve(&redis.url(), "h").await;
    let jobs = push(&mut plain, 20_000).await;
    for part in 1..8 {
        until("some have run", async || receipts(&plain).await >= part * 2_000).await;
        let mut kill = redis::cmd("CLIENT");
        let _: () = kill.arg("KILL").arg("TYPE").arg("normal").query_async(&mut plain).await.unwrap();
    }
    assert_eq!(settled(&mut plain, &jobs).await, 0, "receipts of jobs that ran twice");
    stop(host).await;
}

#[tokio::test]
async fn versions_are_exchanged_under_load() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = plugins(BATCHES, "");
    let host = plugins.serve(&redis.url(), "h").await;
    let jobs = push(&mut plain, 20_000).await;
    let batches = example::component("batch-probe");
    for (part, batch) in [(1, true), (2, false), (3, true), (4, false), (5, true)] {
        until("some have run", async || receipts(&plain).await >= part * 2_000).await;
        let text = manifest(BATCHES, &format!("[config]\nnth = \"{part}\""));
        if batch {
            plugins.put("batches", &batches, &text);
        } else {
            let single = text.replace("batch = { size = 32, wait = \"5ms\" }\n", "");
            plugins.put("batches", &receipts::component(), &single);
        }
        host.reload().await.unwrap();
    }
    assert_eq!(settled(&mut plain, &jobs).await, 0);
    let failed = count(&host, "jobs", |c| &c.retried) + count(&host, "jobs", |c| &c.buried);
    assert_eq!(failed, 0);
    stop(host).await;
}

#[tokio::test]
async fn calls_that_fight_about_a_key_come_to_an_end() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // Each key is wanted by many calls; one job gets it, the others are buried.
    let jobs: Vec<String> = (0..400).map(|n| format!("swap k{} {n}", n % 20)).collect();
    let _: u64 = plain.rpush("jobs", &jobs).await.unwrap();
    let plugins = plugins("batch = { size = 16 }\nconcurrency = 8\nmax_attempts = 50", "");
    let hosts = [
        plugins.serve(&redis.url(), "a").await,
        Plugins::new()
            .with(
                "batches",
                &example::component("batch-probe"),
                &manifest("batch = { size = 16 }\nmax_attempts = 50", ""),
            )
            .serve(&redis.url(), "b")
            .await,
    ];
    until_settled(&plain).await;
    let lost: usize = plain.zcard("{jobs}:sandhog:dead").await.unwrap();
    let won: usize = plain.hget("{jobs}:sandhog:stats", "completed").await.unwrap();
    assert_eq!((won, lost), (20, 380));
    let keys: Vec<String> = plain.keys("k*").await.unwrap();
    assert_eq!(keys.len(), 20);
    for host in hosts {
        stop(host).await;
    }
}

#[tokio::test]
async fn a_host_that_leaves_while_a_call_is_gathered_hands_its_jobs_back() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = plugins("batch = { size = 100, wait = \"60s\" }", "").serve(&redis.url(), "h").await;
    let _: u64 = plain.rpush("jobs", &["ok 1", "ok 2"]).await.unwrap();
    until("they are claimed", async || count(&host, "jobs", |c| &c.claimed) == 2).await;
    host.leave();
    let left = tokio::time::timeout(Duration::from_secs(20), host.stopped()).await;
    assert!(left.is_ok(), "it waits for jobs that will not come");
    let (ready, waiting): (usize, usize) =
        (plain.llen("{jobs}:sandhog:ready").await.unwrap(), plain.llen("jobs").await.unwrap());
    assert_eq!(ready + waiting + receipts(&plain).await, 2, "{ready} ready, {waiting} waiting");
}
