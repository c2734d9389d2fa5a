//! Stopping a host: idle, in the middle of work, past its deadline, in a hurry, and with Redis gone.

use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sandhog::app::Host;

use crate::support::example;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::process::{HostProcess, SETTINGS};
use crate::support::redis::TestRedis;

/// The probe, patient, on a queue that runs two jobs at once.
const PROBE: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
concurrency = 2
timeout = "60s"
# So that a run can be seen while it runs.
[effects]
mode = "immediate"
[grants]
kv.read = ["*"]
kv.write = ["*"]
[limits]
kv_calls = 10000000
"#;
/// Waits for the key `gate`.
const GATED: &str = "report none\nkv.increment started 1\nwait gate";

fn plugins() -> Plugins {
    Plugins::new().with("probe", &example::component("probe"), PROBE)
}

async fn started(plain: &mut MultiplexedConnection, number: u64) {
    until("jobs run", async || plain.get::<_, Option<u64>>("started").await.unwrap().unwrap_or(0) == number)
        .await;
}

/// Two gated jobs run, two wait behind them.
async fn busy(redis: &TestRedis, plugins: &Plugins, drain: Duration) -> (Host, MultiplexedConnection) {
    let mut plain = redis.plain().await;
    for n in 0..4 {
        let _: u64 = plain.rpush("jobs", format!("{GATED}\n# {n}")).await.unwrap();
    }
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.host.drain = drain;
    let host = serve(settings).await;
    started(&mut plain, 2).await;
    (host, plain)
}

/// Every envelope that is ready, as text.
async fn ready(plain: &mut MultiplexedConnection) -> Vec<String> {
    plain.lrange("{jobs}:sandhog:ready", 0, -1).await.unwrap()
}

async fn nothing_in_flight(plain: &mut MultiplexedConnection) {
    let records: Vec<String> = plain.keys("*inflight*").await.unwrap();
    assert!(records.is_empty(), "{records:?}");
    assert_eq!(plain.zcard::<_, u64>("sandhog:hosts").await.unwrap(), 0, "the host said goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_stops_at_once() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let host = plugins.serve(&redis.url(), "h").await;
    stop(host).await;
    nothing_in_flight(&mut redis.plain().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_jobs_finish_and_waiting_ones_stay() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let (host, mut plain) = busy(&redis, &plugins, Duration::from_secs(60)).await;
    let lane = host.lanes()[0].clone();
    host.drain();
    let _: () = plain.set("gate", "open").await.unwrap();
    host.stopped().await;
    let done = sandhog::worker::counters::Counters::read(&lane.counters.completed);
    let waiting: usize = plain.llen("jobs").await.unwrap();
    assert_eq!((done, waiting), (2, 2), "what ran is done, what waited is where it was");
    assert!(ready(&mut plain).await.is_empty());
    nothing_in_flight(&mut plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_jobs_go_back_with_their_attempt_not_counted() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let (host, mut plain) = busy(&redis, &plugins, Duration::from_millis(100)).await;
    stop(host).await;
    let back = ready(&mut plain).await;
    assert_eq!((back.len(), plain.llen::<_, usize>("jobs").await.unwrap()), (2, 2));
    for envelope in back {
        let words: Vec<&str> = envelope.split(' ').collect();
        assert_eq!(words[2..4], ["0", "0"], "neither an attempt nor a crash: {envelope}");
    }
    nothing_in_flight(&mut plain).await;

    // The next host runs all four.
    let _: () = plain.set("gate", "open").await.unwrap();
    let host = plugins.serve(&redis.url(), "h").await;
    until("all are completed", async || count(&host, "jobs", |c| &c.completed) == 4).await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_leaves_at_once() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    for _ in 0..2 {
        let _: u64 = plain.rpush("jobs", GATED).await.unwrap();
    }
    let mut host = HostProcess::start(&plugins, &redis.url(), "h", &mut plain).await;
    started(&mut plain, 2).await;
    host.signal(Signal::TERM);
    until("it drains", async || host.log().contains("draining")).await;
    host.signal(Signal::TERM);
    assert!(host.ended().await.success(), "{}", host.log());
    assert_eq!(ready(&mut plain).await.len(), 2, "what ran went back");
    nothing_in_flight(&mut plain).await;
}

/// At-most-once jobs exist nowhere else once they are claimed. Here most of them wait for a sandbox: another plugin
/// has all but two of the twelve.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_loses_no_at_most_once_job_that_has_not_begun() {
    let redis = TestRedis::start();
    let wide = |queue| PROBE.replace("\"jobs\"", queue).replace("concurrency = 2", "concurrency = 12");
    let once = wide("\"once\"\ndelivery = \"at-most-once\"").replace("[effects]\nmode = \"immediate\"\n", "");
    let probe = example::component("probe");
    let plugins = Plugins::new().with("holder", &probe, &wide("\"jobs\"")).with("once", &probe, &once);
    let mut plain = redis.plain().await;
    let settings = SETTINGS.replace("instances = 64", "instances = 12");
    let mut host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    for n in 0..10 {
        let _: u64 = plain.rpush("jobs", format!("{GATED}\n# {n}")).await.unwrap();
    }
    started(&mut plain, 10).await;
    let payloads: Vec<String> =
        (0..40).map(|n| format!("report none\nkv.increment begun 1\nspin\n# {n}")).collect();
    let _: u64 = plain.rpush("once", &payloads).await.unwrap();
    until("twelve are claimed and one begins", async || {
        let begun = plain.get::<_, Option<u64>>("begun").await.unwrap();
        plain.llen::<_, u64>("once").await.unwrap() == 28 && begun.is_some()
    })
    .await;
    host.signal(Signal::TERM);
    until("it drains", async || host.log().contains("draining")).await;
    host.signal(Signal::TERM);
    assert!(host.ended().await.success(), "{}", host.log());
    let begun: u64 = plain.get("begun").await.unwrap();
    let back: Vec<String> = plain.lrange("once", 0, -1).await.unwrap();
    // Two could begin. One that was just about to write is in neither count.
    assert!(
        begun <= 2 && (38..=39).contains(&back.len()),
        "{begun} begun, {} back\n{}",
        back.len(),
        host.log()
    );
    assert_eq!(back, payloads[40 - back.len()..], "all behind those that were begun, in their order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stops_though_redis_is_gone() {
    let plugins = plugins();
    let mut redis = TestRedis::start();
    let (host, _) = busy(&redis, &plugins, Duration::from_millis(100)).await;
    redis.kill();
    let begun = std::time::Instant::now();
    stop(host).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_does_not_wait_for_a_redis_that_is_gone() {
    let plugins = plugins();
    let mut redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let settings = SETTINGS.replace("drain = \"10s\"", "drain = \"10m\"");
    let mut host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    redis.kill();
    until("it has noticed", async || host.log().contains("cannot reach Redis")).await;
    host.signal(Signal::TERM);
    let begun = std::time::Instant::now();
    assert!(host.ended().await.success(), "{}", host.log());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// A run that ends while Redis is away is reported when Redis is back, also by a host that drains.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_drains_waits_for_redis_while_it_has_ends_to_report() {
    let plugins = plugins();
    let mut redis = TestRedis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut plain = redis.plain().await;
    // The lease does not end while Redis is away.
    let settings = SETTINGS.replace("drain = \"10s\"", "drain = \"10m\"").replace("\"2s\"", "\"10m\"");
    let mut host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    let _: u64 = plain.rpush("jobs", GATED).await.unwrap();
    started(&mut plain, 1).await;
    redis.kill();
    host.signal(Signal::TERM);
    // Its call fails, so the run ends.
    until("it has noticed", async || host.log().contains("cannot reach Redis")).await;
    redis.restart();
    assert!(host.ended().await.success(), "{}", host.log());
    let mut plain = redis.plain().await;
    nothing_in_flight(&mut plain).await;
}

/// A record as a failover brings it back: the run that had popped the entry was done long ago.
async fn bring_back(plain: &mut MultiplexedConnection, n: u32) {
    let id: String = plain.zrange::<_, Vec<String>>("sandhog:hosts", 0, -1).await.unwrap().remove(0);
    let _: u64 = plain.hset(format!("sandhog:host:{id}"), "pop:tickets", "").await.unwrap();
    let record = format!("{{tickets}}:sandhog:inflight:{id}");
    let _: u64 = plain.hset(record, format!("f{n}"), n).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popped_entry_that_nobody_holds_goes_back_after_a_reconnect_and_at_the_end() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let host = plugins.serve(&redis.url(), "h").await;
    let mut plain = redis.plain().await;
    bring_back(&mut plain, 4_000_000_001).await;
    let mut kill = redis::cmd("CLIENT");
    let _: u64 = kill.arg("KILL").arg("TYPE").arg("normal").query_async(&mut plain).await.unwrap();
    let tickets = async |plain: &mut MultiplexedConnection| -> Vec<u32> {
        plain.lrange("tickets", 0, -1).await.unwrap()
    };
    until("it is back", async || tickets(&mut plain).await == [4_000_000_001]).await;
    bring_back(&mut plain, 4_000_000_002).await;
    stop(host).await;
    assert_eq!(tickets(&mut plain).await, [4_000_000_002, 4_000_000_001]);
    nothing_in_flight(&mut plain).await;
}
