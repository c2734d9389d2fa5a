//! Faults under load: hosts killed and stopped, connections cut, scripts forgotten, Redis killed and full. After
//! each, every job has been settled, has left one receipt, and nothing is left anywhere.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use rustix::process::Signal;

use crate::support::host::{Plugins, until};
use crate::support::process::{HostProcess, hosts};
use crate::support::receipts::{self, push, settled};
use crate::support::redis::TestRedis;

/// Jobs under each fault: enough that the fault falls into the work.
const JOBS: usize = 20_000;

fn plugins() -> Plugins {
    Plugins::new().with("receipts", &receipts::component(), receipts::MANIFEST)
}

async fn done(plain: &mut redis::aio::MultiplexedConnection, count: usize) {
    until("work is under way", async || plain.llen::<_, usize>("receipts").await.is_ok_and(|n| n >= count))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_hosts_jobs_are_run_by_another() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let jobs = push(&mut plain, JOBS).await;
    let first = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    let _second = HostProcess::start(&plugins, &redis.url(), "two", &mut plain).await;
    done(&mut plain, 500).await;
    first.signal(Signal::KILL);
    let killed = Instant::now();
    until("the dead host is forgotten", async || hosts(&mut plain, "one").await.is_empty()).await;
    // Its records were moved before it was forgotten. The bound of these settings: lease, reaping, margin.
    let bound = Duration::from_millis(2_000 + 200 + 5_000);
    assert!(killed.elapsed() <= bound, "took {:?}", killed.elapsed());
    let again = settled(&mut plain, &jobs).await;
    assert_eq!(again, 0, "receipts that are there twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_restarted_under_its_name_takes_its_jobs_back_at_once() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let jobs = push(&mut plain, JOBS).await;
    // A lease no test waits for: what comes back comes back because of the seat.
    let settings = "[host]\nlease = \"10m\"\nthreads = 2\ncrashes_max = 1000\n[limits]\ninstances = 64\n";
    for _ in 0..3 {
        let mut host = HostProcess::start_with(&plugins, &redis.url(), "one", &mut plain, settings).await;
        let so_far: usize = plain.llen("receipts").await.unwrap();
        done(&mut plain, (so_far + 500).min(JOBS)).await;
        host.signal(Signal::KILL);
        host.ended().await;
    }
    let _host = HostProcess::start_with(&plugins, &redis.url(), "one", &mut plain, settings).await;
    let again = settled(&mut plain, &jobs).await;
    assert_eq!(again, 0, "receipts that are there twice");
    assert_eq!(hosts(&mut plain, "one").await.len(), 1, "former lives are forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_sleeps_past_its_lease_wakes_up_harmless() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let jobs = push(&mut plain, JOBS).await;
    let first = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    let _second = HostProcess::start(&plugins, &redis.url(), "two", &mut plain).await;
    let former = hosts(&mut plain, "one").await;
    done(&mut plain, 500).await;
    first.signal(Signal::STOP);
    until("the sleeper is taken for dead", async || hosts(&mut plain, "one").await.is_empty()).await;
    first.signal(Signal::CONT);
    let again = settled(&mut plain, &jobs).await;
    assert_eq!(again, 0, "receipts that are there twice");
    until("the sleeper is back", async || hosts(&mut plain, "one").await.len() == 1).await;
    assert_ne!(hosts(&mut plain, "one").await, former, "under a new id");
    // It works again, and what it claims is its own.
    let _: () = plain.del("receipts").await.unwrap();
    let jobs = push(&mut plain, 100).await;
    assert_eq!(settled(&mut plain, &jobs).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_and_killed_connections_lose_nothing() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let jobs = push(&mut plain, JOBS).await;
    let host = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    let mut kills = 0;
    until("all jobs have run", async || {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        let killed: u64 = kill.query_async(&mut plain).await.unwrap();
        kills += killed;
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut plain).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        plain.llen::<_, usize>("receipts").await.unwrap() >= JOBS
    })
    .await;
    assert_eq!(settled(&mut plain, &jobs).await, 0, "receipts that are there twice");
    assert!(kills > 0);
    assert!(host.log().contains("lost the connection"), "said so\n{}", host.log());
    assert!(host.log().contains("Redis is back"), "and when it was over");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_and_restarted_with_its_append_only_file_loses_nothing() {
    let plugins = plugins();
    let mut redis = TestRedis::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut plain = redis.plain().await;
    let jobs = push(&mut plain, JOBS).await;
    let mut host = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    done(&mut plain, 500).await;
    redis.kill();
    redis.restart();
    let mut plain = redis.plain().await;
    let again = settled(&mut plain, &jobs).await;
    assert_eq!(again, 0, "receipts that are there twice");
    host.signal(Signal::TERM);
    assert!(host.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_stops_no_claim_and_no_end() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let jobs = push(&mut plain, JOBS).await;
    let _host = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    done(&mut plain, 500).await;
    // Below what is used already: every write of a guest is refused from now on.
    let limit = |bytes: &str| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).clone();
    let _: () = limit("1mb").query_async(&mut plain).await.unwrap();
    let retried = async |plain: &mut redis::aio::MultiplexedConnection| {
        plain.hget::<_, _, Option<u64>>("{jobs}:sandhog:stats", "retried").await.unwrap().unwrap_or(0)
    };
    until("guests are refused and their jobs retried", async || retried(&mut plain).await > 500).await;
    assert_eq!(hosts(&mut plain, "one").await.len(), 1, "the lease is renewed all the same");
    let _: () = limit("0").query_async(&mut plain).await.unwrap();
    let again = settled(&mut plain, &jobs).await;
    assert_eq!(again, 0, "a refused push left no receipt");
}
