//! A worker that leaves a receipt for every run, and what must hold of a queue once the dust has settled.

use std::collections::{BTreeMap, BTreeSet};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::guest::worker;
use super::host::until;

/// Serves `jobs`, patiently: faults of a test must not use up a job's attempts.
pub const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
concurrency = 16
max_attempts = 1000
timeout = "20s"
backoff = { base = "10ms", factor = 1.0, max = "10ms", jitter = 0.5 }
[grants]
queue.push = ["receipts"]
"#;

/// Pushes its payload to `receipts`; wants to run again when that fails.
pub fn component() -> Vec<u8> {
    worker(
        r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 1024) "receipts") (data (i32.const 1040) "push")
           (data (i32.const 4096) "\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\10\04\00\00\04\00\00\00")"#,
        r#"(call $push (i32.const 1024) (i32.const 8) (local.get $payload) (local.get $length) (i32.const 2048))
           (select (i32.const 4096) (i32.const 0) (i32.load8_u (i32.const 2048)))"#,
    )
}

/// Pushes `count` jobs as any client would; answers their payloads.
pub async fn push(plain: &mut MultiplexedConnection, count: usize) -> BTreeSet<String> {
    let jobs: Vec<String> = (0..count).map(|n| format!("job {n}")).collect();
    for some in jobs.chunks(1000) {
        let _: u64 = plain.rpush("jobs", some).await.unwrap();
    }
    jobs.into_iter().collect()
}

/// Receipts so far, each with the number of runs that left it.
pub async fn receipts(plain: &mut MultiplexedConnection) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for receipt in plain.lrange::<_, Vec<String>>("receipts", 0, -1).await.unwrap_or_default() {
        *counted.entry(receipt).or_default() += 1;
    }
    counted
}

/// Waits until every job has left a receipt and nothing of `jobs` is anywhere: not waiting, ready, delayed, in
/// flight or dead. Answers the number of receipts beyond one for each job: runs whose effects were there though another
/// run had them too.
pub async fn settled(plain: &mut MultiplexedConnection, jobs: &BTreeSet<String>) -> usize {
    until("every job is settled", async || {
        plain.llen::<_, usize>("receipts").await.is_ok_and(|count| count >= jobs.len())
            && leftovers(plain).await.is_empty()
    })
    .await;
    let receipts = receipts(plain).await;
    let seen: BTreeSet<String> = receipts.keys().cloned().collect();
    assert_eq!(&seen, jobs, "every job was run, and nothing else");
    receipts.values().sum::<usize>() - jobs.len()
}

/// The keys that hold jobs of `jobs`; none of them is there when nothing waits or runs.
pub async fn leftovers(plain: &mut MultiplexedConnection) -> Vec<String> {
    let keys: Vec<String> = match plain.keys("*jobs*").await {
        Ok(keys) => keys,
        Err(error) => return vec![format!("unknown: {error}")],
    };
    keys.into_iter().filter(|key| key != "{jobs}:sandhog:stats").collect()
}
