//! When a host counts as dead, and what happens to runs whose job was taken away. Instead of waiting, tests change times
//! in Redis.

mod registration;
mod seat;
mod stuck;

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sandhog::app::Host;
use sandhog::job::inspect;
use sandhog::job::lease::{Death, Leases};
use sandhog::job::name::{HostId, QueueName};
use sandhog::job::store::{DeadLimits, JobStore};

use crate::support::guest::worker;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::process::{HostProcess, hosts};
use crate::support::redis::TestRedis;

/// So long that no test waits for it.
const MANIFEST: &str = r#"
kind = "worker"
effects.mode = "immediate"
[[consume]]
queue = "jobs"
concurrency = 2
timeout = "10m"
[grants]
queue.push = ["starts"]
"#;

const PUSH: &str = r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;

/// Pushes its payload to `starts` immediately; a job whose payload begins with `L` then runs forever.
fn plugins(concurrency: usize) -> Plugins {
    let component = worker(
        PUSH,
        r#"(data (i32.const 1024) "starts")"#,
        r#"(call $push (i32.const 1024) (i32.const 6) (local.get $payload) (local.get $length) (i32.const 2048))
           (if (i32.eq (i32.load8_u (local.get $payload)) (i32.const 76)) (then (loop $l (br $l))))
           (i32.const 0)"#,
    );
    let manifest = MANIFEST.replace("concurrency = 2", &format!("concurrency = {concurrency}"));
    Plugins::new().with("worker", &component, &manifest)
}

/// A host in this process with this lease.
async fn host(plugins: &Plugins, redis: &TestRedis, name: &str, lease: Duration) -> Host {
    let mut settings = plugins.settings(&redis.url(), name);
    settings.host.lease = lease;
    settings.host.reap_every = Duration::from_millis(100);
    serve(settings).await
}

/// Settings of a host process with this lease.
fn with_lease(lease: &str) -> String {
    format!("[host]\nlease = \"{lease}\"\nreap_every = \"100ms\"\nthreads = 2\n[limits]\ninstances = 16\n")
}

fn queue() -> QueueName {
    QueueName::new("jobs").unwrap()
}

fn store(redis: &TestRedis) -> JobStore {
    JobStore::new(redis.link(), queue(), DeadLimits { count: 9, age_ms: 3_600_000, bytes: 1 << 20 })
}

async fn push(plain: &mut MultiplexedConnection, jobs: &[&str]) {
    let _: u64 = plain.rpush("jobs", jobs.to_vec()).await.unwrap();
}

/// Waits until this many runs have started.
async fn started(plain: &mut MultiplexedConnection, runs: usize) {
    until("runs have begun", async || plain.llen::<_, usize>("starts").await.unwrap() >= runs).await;
}

async fn reaped(plain: &mut MultiplexedConnection) -> u64 {
    plain.hget::<_, _, Option<u64>>("{jobs}:sandhog:stats", "reaped").await.unwrap().unwrap_or(0)
}

async fn id_of(plain: &mut MultiplexedConnection, name: &str) -> HostId {
    let ids = hosts(plain, name).await;
    assert_eq!(ids.len(), 1, "{ids:?}");
    HostId::parse(&ids[0]).unwrap()
}

async fn now_ms(plain: &mut MultiplexedConnection) -> i64 {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(plain).await.unwrap();
    seconds * 1000 + micros / 1000
}

/// Closes every connection at the server.
async fn cut(plain: &mut MultiplexedConnection) {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    let _: u64 = kill.query_async(plain).await.unwrap();
}

/// In one step: sets the last contact and the leases of these hosts to this many milliseconds from now.
async fn age(plain: &mut MultiplexedConnection, contact_ms: i64, leases: &[(&HostId, i64)]) {
    let now = now_ms(plain).await;
    let mut steps = redis::pipe();
    steps.atomic().set("sandhog:contact", now + contact_ms).ignore();
    for (host, ends_ms) in leases {
        steps.zadd("sandhog:hosts", host.as_str(), now + ends_ms).ignore();
    }
    let () = steps.query_async(plain).await.unwrap();
}

/// Waits until hosts have reached Redis for this long, by Redis' clock.
async fn wait_for_contact(plain: &mut MultiplexedConnection, long: Duration) {
    let wanted = now_ms(plain).await + i64::try_from(long.as_millis()).unwrap();
    until("hosts have reached Redis for long enough", async || {
        plain.get::<_, Option<i64>>("sandhog:contact").await.unwrap().is_some_and(|at| at >= wanted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_survive_an_outage_of_redis_keep_their_jobs() {
    let mut redis = TestRedis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let plugins = plugins(2);
    let lease = Duration::from_secs(1);
    let mut plain = redis.plain().await;
    let one = host(&plugins, &redis, "one", lease).await;
    let other = host(&plugins, &redis, "other", lease).await;
    push(&mut plain, &["L1", "L2", "L3", "L4"]).await;
    started(&mut plain, 4).await;
    let before = [id_of(&mut plain, "one").await, id_of(&mut plain, "other").await];
    for _ in 0..2 {
        redis.kill();
        let gone = Instant::now();
        until("every lease is over", async || gone.elapsed() > lease * 3 / 2).await;
        redis.restart();
        plain = redis.plain().await;
        wait_for_contact(&mut plain, lease * 2).await;
    }
    assert_eq!(reaped(&mut plain).await, 0, "no host died");
    assert_eq!(plain.llen::<_, u64>("starts").await.unwrap(), 4, "no run began twice");
    assert_eq!([id_of(&mut plain, "one").await, id_of(&mut plain, "other").await], before);
    assert_eq!(inspect::counts(&redis.link(), &queue()).await.unwrap().inflight, 4);
    drop((one, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_forward_expires_no_host() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    // The leases are not renewed during the test: the first command to reach Redis is the reaper's.
    let lease = Duration::from_secs(300);
    let one = host(&plugins, &redis, "one", lease).await;
    let other = host(&plugins, &redis, "other", lease).await;
    push(&mut plain, &["L1", "L2", "L3", "L4"]).await;
    started(&mut plain, 4).await;
    let ids = [id_of(&mut plain, "one").await, id_of(&mut plain, "other").await];
    // As seen by a clock that was set forward by an hour.
    age(&mut plain, -3_600_000, &[(&ids[0], -3_300_000), (&ids[1], -3_300_000)]).await;
    wait_for_contact(&mut plain, Duration::from_millis(500)).await;
    assert_eq!(reaped(&mut plain).await, 0);
    let rows = Leases::new(redis.link()).list().await.unwrap();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.expires_in_ms > 0), "{rows:?}");
    drop((one, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_host_that_died_before_the_clock_was_set_back_return_within_a_lease() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    let settings = with_lease("1s");
    let died = HostProcess::start_with(&plugins, &redis.url(), "died", &mut plain, &settings).await;
    push(&mut plain, &["Long"]).await;
    started(&mut plain, 1).await;
    let id = id_of(&mut plain, "died").await;
    died.signal(Signal::KILL);
    // Redis' clock was an hour ahead when the host died.
    age(&mut plain, 3_600_000, &[(&id, 3_601_000)]).await;
    let other = host(&plugins, &redis, "other", Duration::from_secs(1)).await;
    started(&mut plain, 2).await;
    until("the dead host is forgotten", async || hosts(&mut plain, "died").await.is_empty()).await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_host_whose_lease_has_ended_keeps_its_id() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    let host = host(&plugins, &redis, "h", Duration::from_secs(300)).await;
    let id = id_of(&mut plain, "h").await;
    // The claim comes before the next renewal, and finds that the lease has ended.
    let mut steps = redis::pipe();
    steps.atomic().zadd("sandhog:hosts", id.as_str(), 1).ignore().rpush("jobs", "short").ignore();
    let () = steps.query_async(&mut plain).await.unwrap();
    until("the job has run", async || count(&host, "jobs", |c| &c.completed) == 1).await;
    assert_eq!(id_of(&mut plain, "h").await, id);
    stop(host).await;
    assert_eq!(plain.zcard::<_, u64>("sandhog:hosts").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_job_was_taken_is_stopped_after_a_reconnect() {
    let (redis, plugins) = (TestRedis::start(), plugins(1));
    let mut plain = redis.plain().await;
    let host = host(&plugins, &redis, "h", Duration::from_secs(300)).await;
    push(&mut plain, &["L"]).await;
    started(&mut plain, 1).await;
    let id = id_of(&mut plain, "h").await;
    let taken = store(&redis).reap(&id, Death::Certain, 99).await.unwrap();
    assert_eq!(taken.moved, 1);
    cut(&mut plain).await;
    // The only runner becomes free for the reclaimed job, which would otherwise wait ten minutes.
    started(&mut plain, 2).await;
    assert_eq!(count(&host, "jobs", |c| &c.taken), 1);
    assert_eq!(count(&host, "jobs", |c| &c.cancelled), 0);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_host_that_was_declared_dead_are_stopped_when_it_notices() {
    let (redis, plugins) = (TestRedis::start(), plugins(1));
    let mut plain = redis.plain().await;
    let host = host(&plugins, &redis, "h", Duration::from_millis(500)).await;
    push(&mut plain, &["L"]).await;
    started(&mut plain, 1).await;
    let id = id_of(&mut plain, "h").await;
    // What another host does to a host that has not renewed its lease.
    assert_eq!(store(&redis).reap(&id, Death::Certain, 99).await.unwrap().moved, 1);
    assert_eq!(Leases::new(redis.link()).forget(&id, true, &[queue()]).await, Ok(true));
    started(&mut plain, 2).await;
    until("it has only its new id", async || {
        let ids = hosts(&mut plain, "h").await;
        ids.len() == 1 && ids[0] != id.as_str()
    })
    .await;
    drop(host);
}

/// Deletes the registry and the descriptions of hosts; in-flight records stay.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_in_flight_under_a_former_id_are_counted_stopped_and_reclaimed() {
    let (redis, plugins) = (TestRedis::start(), plugins(1));
    let mut plain = redis.plain().await;
    let host = host(&plugins, &redis, "h", Duration::from_millis(500)).await;
    push(&mut plain, &["L"]).await;
    started(&mut plain, 1).await;
    let former = id_of(&mut plain, "h").await;
    let () = plain.del(vec!["sandhog:hosts".to_owned(), format!("sandhog:host:{former}")]).await.unwrap();
    until("both ids are registered", async || hosts(&mut plain, "h").await.len() == 2).await;
    let link = redis.link();
    let leases = Leases::new(link.clone());
    let rows = leases.list_all().await.unwrap();
    let row = rows.iter().find(|row| row.id == former).unwrap();
    assert!(row.successor.is_some() && row.expires_in_ms > 0, "{row:?}");
    assert_eq!(inspect::counts(&link, &queue()).await.unwrap().inflight, 1);
    assert_eq!(plain.llen::<_, u64>("starts").await.unwrap(), 1, "the run continues");

    // An operator cancels it, and the cancellation notice is lost.
    let record = format!("{{jobs}}:sandhog:inflight:{former}");
    let () = plain.del(record).await.unwrap();
    cut(&mut plain).await;
    push(&mut plain, &["next"]).await;
    started(&mut plain, 2).await;
    until("the former id is gone", async || hosts(&mut plain, "h").await.len() == 1).await;
    assert_ne!(id_of(&mut plain, "h").await, former);
    stop(host).await;
    assert_eq!(plain.zcard::<_, u64>("sandhog:hosts").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_the_registry_and_then_its_host() {
    let (redis, plugins) = (TestRedis::start(), plugins(1));
    let mut plain = redis.plain().await;
    let settings = with_lease("1s");
    let first = HostProcess::start_with(&plugins, &redis.url(), "first", &mut plain, &settings).await;
    push(&mut plain, &["L"]).await;
    started(&mut plain, 1).await;
    let former = id_of(&mut plain, "first").await;
    let () = plain.del(vec!["sandhog:hosts".to_owned(), format!("sandhog:host:{former}")]).await.unwrap();
    until("both ids are registered", async || hosts(&mut plain, "first").await.len() == 2).await;
    first.signal(Signal::KILL);
    let second = host(&plugins, &redis, "second", Duration::from_secs(1)).await;
    started(&mut plain, 2).await;
    until("both ids are forgotten", async || hosts(&mut plain, "first").await.is_empty()).await;
    assert_eq!(reaped(&mut plain).await, 1);
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_an_unregistered_id_runs_again() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    let lost = "gone.00000007.018bcfe56800";
    let () = plain.hset(format!("{{jobs}}:sandhog:inflight:{lost}"), "7", "lost").await.unwrap();
    let host = host(&plugins, &redis, "h", Duration::from_millis(500)).await;
    started(&mut plain, 1).await;
    until("it is done", async || count(&host, "jobs", |c| &c.completed) == 1).await;
    until("the id is forgotten", async || hosts(&mut plain, "gone").await.is_empty()).await;
    stop(host).await;
}
