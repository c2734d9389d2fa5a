//! Jobs that are cancelled, through whole hosts: what runs is stopped, what was claimed does not start, and nothing of
//! it takes place. What happens in Redis is in `dead/change`.

use std::time::{Duration, Instant};

use redis::AsyncCommands as _;
use sandhog::job::filter::Filter;
use sandhog::job::inspect::{self, Place};
use sandhog::job::name::{JobId, QueueName};
use sandhog::job::walk::{self, Change};

use crate::support::guest::worker;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// Long enough that no test would wait for it.
const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
concurrency = 1
timeout = "10m"
[grants]
queue.push = ["receipts"]
queue.pop = ["stock"]
"#;

const PUSH: &str = r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;

/// Pushes its payload to `receipts`; a job whose payload begins with `L` then runs for ever.
fn component() -> Vec<u8> {
    worker(
        PUSH,
        r#"(data (i32.const 1024) "receipts")"#,
        r#"(call $push (i32.const 1024) (i32.const 8) (local.get $payload) (local.get $length) (i32.const 2048))
           (if (i32.eq (i32.load8_u (local.get $payload)) (i32.const 76)) (then (loop $l (br $l))))
           (i32.const 0)"#,
    )
}

fn queue() -> QueueName {
    QueueName::new("jobs").unwrap()
}

async fn receipts(plain: &mut redis::aio::MultiplexedConnection) -> Vec<String> {
    plain.lrange("receipts", 0, -1).await.unwrap()
}

/// The job that runs; waits for it.
async fn running(redis: &TestRedis, payload: &str) -> JobId {
    let link = redis.link();
    let mut found = None;
    until("the job runs", async || {
        let (rows, _) = inspect::list(&link, &queue(), Place::Inflight, None, 100).await.unwrap();
        let row = rows.into_iter().find(|row| row.preview == payload.as_bytes());
        found = row.and_then(|row| row.id);
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn all_running_jobs_are_cancelled_however_many_pages_they_take() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = "h.00000001.000000000001";
    let () = plain.zadd("sandhog:hosts", host, 4_000_000_000_000_u64).await.unwrap();
    let record = |n: u32| (format!("e{n}"), format!("1 j{n} 0 0 1700000000000\njob"));
    let records: Vec<(String, String)> = (1..=250).map(record).collect();
    let inflight = format!("{{jobs}}:sandhog:inflight:{host}");
    let () = plain.hset_multiple(&inflight, &records).await.unwrap();
    let (link, places, filter) = (redis.link(), [Place::Inflight], Filter::default());
    let cancelled = walk::change(&link, &queue(), &places, &filter, Change::Cancel, |_, _, _| ()).await;
    assert_eq!(cancelled.unwrap().jobs, 250);
    assert_eq!(plain.hlen::<_, u64>(&inflight).await.unwrap(), 0);
}

#[tokio::test]
async fn a_running_job_is_stopped_and_nothing_of_it_takes_place() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("worker", &component(), MANIFEST);
    let host = plugins.serve(&redis.url(), "web").await;
    program.output(&["push", "jobs", "Loop", "--unique", "k"]);
    let id = running(&redis, "Loop").await;
    let owner: String = plain.get("{jobs}:sandhog:unique:k").await.unwrap();
    assert!(owner.starts_with(&format!("{id} ")), "{owner}");
    let _: u64 = plain.rpush("jobs", "next").await.unwrap();

    let filter = Filter { ids: vec![id], ..Filter::default() };
    let begun = Instant::now();
    let link = redis.link();
    let places = [Place::Inflight];
    let cancelled = walk::change(&link, &queue(), &places, &filter, Change::Cancel, |_, _, _| ()).await;
    assert_eq!(cancelled.unwrap().jobs, 1);
    let told = begun.elapsed();
    // The runner is free for the next job, which would wait ten minutes otherwise.
    until("the next job has run", async || receipts(&mut plain).await == ["next"]).await;
    println!("word given after {told:?}, next job run and committed after {:?}", begun.elapsed());

    until("it is counted", async || count(&host, "jobs", |c| &c.completed) == 1).await;
    assert_eq!(count(&host, "jobs", |c| &c.cancelled), 1);
    assert_eq!(count(&host, "jobs", |c| &c.late), 0);
    assert_eq!(count(&host, "jobs", |c| &c.released), 0);
    assert!(!plain.exists::<_, bool>("{jobs}:sandhog:unique:k").await.unwrap(), "its unique key is let go");
    let counts = inspect::counts(&link, &queue()).await.unwrap();
    assert_eq!((counts.inflight, counts.ready, counts.delayed, counts.dead), (0, 0, 0, 0));
    assert_eq!(counts.stats["cancelled"], 1);
    stop(host).await;
    assert_eq!(receipts(&mut plain).await, ["next"]);
}

#[tokio::test]
async fn jobs_that_were_claimed_and_wait_for_their_turn_never_start() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let _: u64 = plain.rpush("jobs", vec!["warm"; 500]).await.unwrap();
    let plugins = Plugins::new().with("worker", &component(), MANIFEST);
    let host = plugins.serve(&redis.url(), "web").await;
    until("it is warm", async || receipts(&mut plain).await.len() == 500).await;
    let jobs: Vec<String> = (0..20).map(|n| format!("no {n}")).collect();
    let _: u64 = plain.rpush("jobs", [&["Loop".to_owned()][..], &jobs].concat()).await.unwrap();
    running(&redis, "Loop").await;
    // Some of them lie on the host's desk, the others in the list.
    until("some are claimed", async || plain.llen::<_, u64>("jobs").await.unwrap() < 20).await;
    let dry = program.json(&["jobs", "cancel", "jobs", "--text", "no ", "--dry-run"]);
    assert_eq!(dry["matched"], 20);
    let refused = program.output(&["jobs", "cancel", "jobs", "--text", "no "]);
    assert_eq!(refused.status.code(), Some(2), "it asks");
    let done = program.json(&["jobs", "cancel", "jobs", "--text", "no ", "--yes"]);
    assert_eq!(done["cancelled"], 20);
    let _: u64 = plain.rpush("jobs", "yes").await.unwrap();
    let done = program.json(&["jobs", "cancel", "jobs", "--text", "Loop", "--yes"]);
    assert_eq!(done["cancelled"], 1);
    until("the last job has run", async || receipts(&mut plain).await.len() == 501).await;
    assert_eq!(receipts(&mut plain).await[500], "yes");
    stop(host).await;
    assert_eq!(receipts(&mut plain).await.len(), 501, "and no other has");
}

#[tokio::test]
async fn many_running_jobs_are_stopped_and_others_go_on() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let manifest = MANIFEST.replace("concurrency = 1", "concurrency = 8");
    let plugins = Plugins::new().with("worker", &component(), &manifest);
    let (one, other) = (plugins.serve(&redis.url(), "one").await, plugins.serve(&redis.url(), "other").await);
    let jobs: Vec<String> = (0..10).map(|n| format!("Loop {n}")).collect();
    let _: u64 = plain.rpush("jobs", &jobs).await.unwrap();
    for job in &jobs {
        running(&redis, job).await;
    }
    let keep = running(&redis, "Loop 3").await;
    for n in [0, 1, 2, 4, 5, 6, 7, 8, 9] {
        let id = running(&redis, &format!("Loop {n}")).await;
        assert_eq!(program.json(&["jobs", "cancel", "jobs", id.as_str()])["cancelled"], 1);
    }
    let cancelled = || count(&one, "jobs", |c| &c.cancelled) + count(&other, "jobs", |c| &c.cancelled);
    until("nine are stopped", async || cancelled() == 9).await;
    let (rows, _) = inspect::list(&redis.link(), &queue(), Place::Inflight, None, 100).await.unwrap();
    assert!(rows.len() == 1 && rows[0].id.as_ref() == Some(&keep), "{rows:?}");
    assert_eq!(program.json(&["jobs", "cancel", "jobs", keep.as_str()])["cancelled"], 1);
    stop(one).await;
    stop(other).await;
    assert!(receipts(&mut plain).await.is_empty());
}

#[tokio::test]
async fn a_word_that_is_lost_costs_only_that_the_run_ends_unheard() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // A loop that ends by itself, at its timeout.
    let manifest = MANIFEST.replace("\"10m\"", "\"400ms\"");
    let plugins = Plugins::new().with("worker", &component(), &manifest);
    let host = plugins.serve(&redis.url(), "web").await;
    let _: u64 = plain.rpush("jobs", "Loop").await.unwrap();
    running(&redis, "Loop").await;
    // What the script does, but for the word.
    let keys: Vec<String> = plain.keys("{jobs}:sandhog:inflight:*").await.unwrap();
    let _: u64 = plain.del(&keys[0]).await.unwrap();
    until("the run has ended", async || count(&host, "jobs", |c| &c.late) == 1).await;
    assert_eq!(count(&host, "jobs", |c| &c.cancelled), 0);
    let counts = inspect::counts(&redis.link(), &queue()).await.unwrap();
    assert_eq!(
        (counts.inflight, counts.ready, counts.delayed, counts.dead),
        (0, 0, 0, 0),
        "it is not retried"
    );
    stop(host).await;
    assert!(receipts(&mut plain).await.is_empty());
}

#[tokio::test]
async fn a_lost_connection_loses_no_word() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("worker", &component(), MANIFEST);
    let host = plugins.serve(&redis.url(), "web").await;
    let _: u64 = plain.rpush("jobs", "Loop").await.unwrap();
    let id = running(&redis, "Loop").await;
    // Told while nobody listens: the connection is gone in the same moment.
    let _: u64 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query_async(&mut plain)
        .await
        .unwrap();
    assert_eq!(program.json(&["jobs", "cancel", "jobs", id.as_str()])["cancelled"], 1);
    until("the run is stopped", async || count(&host, "jobs", |c| &c.cancelled) == 1).await;
    stop(host).await;
}

#[tokio::test]
async fn what_a_cancelled_run_has_popped_is_back() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let pops = worker(
        r#"(import "sandhog:worker/queue@0.1.0" "pop" (func $pop (param i32 i32 i32 i32)))"#,
        r#"(data (i32.const 1024) "stock")"#,
        "(call $pop (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 2048)) (loop $l (br $l)) (i32.const 0)",
    );
    let _: u64 = plain.rpush("stock", &["first", "second"]).await.unwrap();
    let plugins = Plugins::new().with("worker", &pops, MANIFEST);
    let host = plugins.serve(&redis.url(), "web").await;
    let _: u64 = plain.rpush("jobs", "job").await.unwrap();
    let id = running(&redis, "job").await;
    until("it has popped", async || plain.llen::<_, u64>("stock").await.unwrap() == 1).await;
    assert_eq!(program.json(&["jobs", "cancel", "jobs", id.as_str()])["cancelled"], 1);
    until("it is back", async || plain.llen::<_, u64>("stock").await.unwrap() == 2).await;
    assert_eq!(plain.lrange::<_, Vec<String>>("stock", 0, -1).await.unwrap(), ["first", "second"]);
    let begun = Instant::now();
    stop(host).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "nothing is left to wait for");
}
