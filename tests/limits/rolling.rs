//! Limits that change while jobs are parked, one host after the other; and jobs deleted by hand that held a place.

use redis::AsyncCommands as _;

use super::{length, probe, push_of};
use crate::support::example;
use crate::support::host::{Plugins, stop, until};
use crate::support::redis::TestRedis;

/// The same queue with another manifest.
fn probe_with(rest: &str) -> Plugins {
    let manifest = format!(
        "kind = \"worker\"\neffects.mode = \"immediate\"\n[[consume]]\nqueue = \"jobs\"\nconcurrency = 16\n{rest}\n\
         [grants]\nkv = {{ read = [\"*\"], write = [\"*\"] }}\nqueue.push = [\"*\"]\n[limits]\nkv_calls = 1000000\n"
    );
    Plugins::new().with("probe", &example::component("probe"), &manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_jobs_run_after_their_limit_is_gone_from_the_manifest() {
    for rest in ["delivery = \"at-most-once\"", "key = \"header:t\"\nkey_rate = \"1000/s\"", ""] {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        let first = probe("key = \"header:t\"\nkey_concurrency = 1").serve(&redis.url(), "one").await;
        for nth in 0..10 {
            push_of(&redis, "acme", &format!("report none\nwait gate\nqueue.push seen {nth}")).await;
        }
        until("all but one are parked", async || {
            plain.hget("{jobs}:sandhog:parked", "acme").await.unwrap_or(None) == Some(9)
        })
        .await;
        // A rolling change: a host with the new manifest starts, the former one drains.
        let second = probe_with(rest).serve(&redis.url(), "two").await;
        first.drain();
        let _: () = plain.set("gate", "1").await.unwrap();
        first.stopped().await;
        until(&format!("every job has run, with `{rest}`"), async || length(&mut plain, "seen").await == 10)
            .await;
        let mut seen: Vec<u32> = plain.lrange("seen", 0, -1).await.unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert!(!plain.exists::<_, bool>("{jobs}:sandhog:parked").await.unwrap());
        stop(second).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_jobs_run_after_the_job_before_them_was_deleted_by_hand() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe("key = \"header:t\"\nkey_concurrency = 1");
    let host = plugins.serve(&redis.url(), "one").await;
    for nth in 0..4 {
        push_of(&redis, "acme", &format!("report none\nqueue.push begun {nth}\nwait gate-{nth}")).await;
    }
    until("all but one are parked", async || {
        plain.hget("{jobs}:sandhog:parked", "acme").await.unwrap_or(None) == Some(3)
    })
    .await;
    until("the first one runs", async || length(&mut plain, "begun").await == 1).await;
    let records: Vec<String> = plain.keys("{jobs}:sandhog:inflight:*").await.unwrap();
    let _: u64 = plain.del(records).await.unwrap();
    until("the next one runs", async || length(&mut plain, "begun").await == 2).await;
    for nth in 0..4 {
        let _: () = plain.set(format!("gate-{nth}"), "1").await.unwrap();
    }
    until("all have run", async || length(&mut plain, "begun").await == 4).await;
    assert_eq!(plain.lrange::<_, Vec<u32>>("begun", 0, -1).await.unwrap(), [0, 1, 2, 3]);
    stop(host).await;
}
