//! Limits of queues through whole hosts: what the fleet runs at once, also when hosts are killed; the order of jobs
//! that share a key; who waits for whom, and what waiting costs.

mod rolling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sandhog::job::inspect;
use sandhog::job::name::QueueName;
use sandhog::job::push::{PushOptions, push};

use crate::support::example;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::process::HostProcess;
use crate::support::program::Program;
use crate::support::receipts;
use crate::support::redis::TestRedis;

const FLEET: usize = 5;
const PER_KEY: usize = 2;

/// The jobs in flight anywhere, and how many of them have each key.
const RUNNING: &str = r"
local running = {}
for _, host in ipairs(redis.call('ZRANGE', 'sandhog:hosts', 0, -1)) do
  local records = redis.call('HGETALL', '{jobs}:sandhog:inflight:' .. host)
  for i = 1, #records, 2 do
    running[#running + 1] = string.match(records[i + 1], ' !key=([^ \n]*)') or '-'
  end
end
return running";

/// A queue served by the probe.
fn probe(limits: &str) -> Plugins {
    let manifest = format!(
        "kind = \"worker\"\neffects.mode = \"immediate\"\n[[consume]]\nqueue = \"jobs\"\nconcurrency = 16\n\
         timeout = \"30s\"\nbackoff = {{ base = \"5ms\", factor = 1.0, max = \"5ms\", jitter = 0.0 }}\n{limits}\n\
         [grants]\nkv = {{ read = [\"*\"], write = [\"*\"] }}\nqueue.push = [\"*\"]\n[limits]\nkv_calls = 1000000\n"
    );
    Plugins::new().with("probe", &example::component("probe"), &manifest)
}

/// Pushes a script of the probe with the header `t`.
async fn push_of(redis: &TestRedis, key: &str, script: &str) {
    let options = PushOptions { headers: vec![("t".to_owned(), key.to_owned())], ..PushOptions::default() };
    push(&redis.link(), &QueueName::new("jobs").unwrap(), script.as_bytes(), &options).await.unwrap();
}

async fn length(plain: &mut MultiplexedConnection, list: &str) -> usize {
    plain.llen(list).await.unwrap()
}

/// Looks again and again what runs, until told to stop: the most that ever ran, of all and of one key.
async fn watch(
    mut plain: MultiplexedConnection,
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU32>,
) -> (usize, usize) {
    let script = redis::Script::new(RUNNING);
    let (mut most, mut most_of_key) = (0, 0);
    while !stop.load(Relaxed) {
        let running: Vec<String> = script.invoke_async(&mut plain).await.unwrap();
        let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
        for key in &running {
            *keys.entry(key).or_default() += 1;
        }
        most = most.max(running.len());
        most_of_key = most_of_key.max(keys.values().copied().max().unwrap_or(0));
        looks.fetch_add(1, Relaxed);
    }
    (most, most_of_key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_never_runs_more_than_it_may_whoever_is_killed() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let limits = format!(
        "queue = \"jobs\"\nfleet_concurrency = {FLEET}\nkey = \"/tenant\"\nkey_concurrency = {PER_KEY}"
    );
    let manifest = receipts::MANIFEST.replace("queue = \"jobs\"", &limits);
    let plugins = Plugins::new().with("receipts", &receipts::component(), &manifest);
    let jobs: Vec<String> = (0..3_000).map(|n| format!(r#"{{"tenant":"t{}","n":{n}}}"#, n % 4)).collect();
    for some in jobs.chunks(1_000) {
        let _: u64 = plain.rpush("jobs", some).await.unwrap();
    }
    let (over, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut watcher = tokio::task::JoinSet::new();
    watcher.spawn(watch(redis.plain().await, over.clone(), looks.clone()));
    let url = redis.url();
    let mut hosts = Vec::new();
    for name in ["one", "two", "three"] {
        hosts.push(HostProcess::start(&plugins, &url, name, &mut plain).await);
    }
    for (nth, name) in ["one", "two", "three"].iter().enumerate() {
        let so_far = length(&mut plain, "receipts").await;
        let far = (so_far + 300).min(jobs.len());
        until("work goes on", async || length(&mut plain, "receipts").await >= far).await;
        hosts[nth].signal(Signal::KILL);
        hosts[nth] = HostProcess::start(&plugins, &url, name, &mut plain).await;
    }
    until("every job has left its receipt", async || length(&mut plain, "receipts").await >= jobs.len())
        .await;
    let gone = ["parked", "ready", "delayed", "dead"].map(|what| format!("{{jobs}}:sandhog:{what}"));
    until("nothing is left", async || {
        plain.exists::<_, usize>(&gone[..]).await.unwrap() == 0
            && redis::Script::new(RUNNING)
                .invoke_async::<_, Vec<String>>(&mut plain)
                .await
                .unwrap()
                .is_empty()
    })
    .await;
    over.store(true, Relaxed);
    let (most, most_of_key) = watcher.join_next().await.unwrap().unwrap();
    assert!(looks.load(Relaxed) > 100, "only {looks:?} looks");
    assert_eq!((most, most_of_key), (FLEET, PER_KEY), "the limits were reached and never passed");
    let receipts = receipts::receipts(&mut plain).await;
    assert!(receipts.len() == jobs.len() && receipts.values().all(|runs| *runs == 1), "once each");
    let places: BTreeMap<String, u32> = plain.hgetall("{jobs}:sandhog:places").await.unwrap();
    assert_eq!(places.into_keys().collect::<Vec<_>>(), [" "], "no place is taken any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_key_run_in_their_order_retries_included() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for nth in 0..30 {
        for key in ["a", "b", "c"] {
            let again = if nth % 3 == 0 { "if-attempt 1 retry again 3\n" } else { "" };
            push_of(&redis, key, &format!("report none\n{again}queue.push seen-{key} {nth}")).await;
        }
    }
    let plugins = probe("key = \"header:t\"\nkey_order = true");
    let hosts = [plugins.serve(&redis.url(), "one").await, plugins.serve(&redis.url(), "two").await];
    let expected: Vec<u32> = (0..30).collect();
    for key in ["a", "b", "c"] {
        let seen = format!("seen-{key}");
        until("all of a key have run", async || length(&mut plain, &seen).await == 30).await;
        assert_eq!(plain.lrange::<_, Vec<u32>>(&seen, 0, -1).await.unwrap(), expected, "{key}");
    }
    for host in hosts {
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_key_holds_up_no_other_one() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe("key = \"header:t\"\nkey_concurrency = 1");
    let host = plugins.serve(&redis.url(), "h").await;
    for _ in 0..100 {
        push_of(&redis, "slow", "report none\nwait go\nqueue.push seen slow").await;
    }
    for _ in 0..20 {
        push_of(&redis, "fast", "report none\nqueue.push seen fast").await;
    }
    until("the fast ones are done", async || count(&host, "jobs", |counters| &counters.completed) == 20)
        .await;
    assert_eq!(length(&mut plain, "seen").await, 20);
    let parked: usize = plain.hget("{jobs}:sandhog:parked", "slow").await.unwrap();
    assert_eq!(parked, 99, "one of the slow ones runs");
    let counts = inspect::counts(&redis.link(), &QueueName::new("jobs").unwrap()).await.unwrap();
    assert_eq!((counts.parked, counts.inflight), (99, 1));
    // Parked jobs are seen, found and cancelled as others are.
    let program = Program::with(&redis);
    let listed = program.json(&["jobs", "list", "jobs", "--place", "parked", "--limit", "30"]);
    assert_eq!((listed["jobs"].as_array().unwrap().len(), &listed["next"]["parked"]), (30, &"30".into()));
    let id = listed["jobs"][7]["id"].as_str().unwrap();
    assert_eq!(program.json(&["jobs", "show", "jobs", id])["place"], "parked");
    assert_eq!(program.json(&["jobs", "cancel", "jobs", id])["cancelled"], 1);
    let cancelled = program.json(&["jobs", "cancel", "jobs", "--place", "parked", "--text", "slow", "--yes"]);
    assert_eq!(cancelled["cancelled"], 98);
    let counts = inspect::counts(&redis.link(), &QueueName::new("jobs").unwrap()).await.unwrap();
    assert_eq!((counts.parked, counts.inflight), (0, 1));
    push_of(&redis, "slow", "report none\nqueue.push seen slow").await;
    until("the next one is parked", async || plain.hexists("{jobs}:sandhog:parked", "slow").await.unwrap())
        .await;
    let _: () = plain.set("go", "1").await.unwrap();
    until("the slow ones are done", async || length(&mut plain, "seen").await == 22).await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_room_in_the_fleet_asks_nothing_and_is_told() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe("fleet_concurrency = 1");
    let first = plugins.serve(&redis.url(), "one").await;
    let _: u64 =
        plain.rpush("jobs", "report none\nqueue.push begun 1\nwait go\nqueue.push seen 1").await.unwrap();
    until("the first job runs", async || length(&mut plain, "begun").await == 1).await;
    let _: u64 = plain.rpush("jobs", "report none\nqueue.push seen 2").await.unwrap();
    let second = plugins.serve(&redis.url(), "two").await;
    let turns_of = |host| count(host, "jobs", |counters| &counters.turns);
    until("the second host has looked", async || turns_of(&second) > 0).await;
    let turns = || turns_of(&first) + turns_of(&second);
    let (begun, before) = (Instant::now(), turns());
    until("two seconds have passed", async || begun.elapsed() > Duration::from_secs(2)).await;
    assert!(turns() - before <= 1, "{} turns while it waited", turns() - before);
    assert_eq!(length(&mut plain, "jobs").await, 1);
    // The first one ends its job and takes no other: the second is told.
    first.drain();
    let _: () = plain.set("go", "1").await.unwrap();
    until("the first job is done", async || length(&mut plain, "seen").await >= 1).await;
    let ended = Instant::now();
    until("the second one is, too", async || length(&mut plain, "seen").await == 2).await;
    assert!(ended.elapsed() < Duration::from_millis(1_500), "told at once, not found after 5 s");
    first.stopped().await;
    stop(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_keep_their_distance_on_all_hosts_together() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe("rate = \"20/s\"");
    let jobs = vec!["report none\nqueue.push seen 1"; 40];
    let _: u64 = plain.rpush("jobs", jobs).await.unwrap();
    let begun = Instant::now();
    let hosts = [plugins.serve(&redis.url(), "one").await, plugins.serve(&redis.url(), "two").await];
    until("all have run", async || length(&mut plain, "seen").await == 40).await;
    // Twenty at once, the others 50 ms apart.
    assert!(begun.elapsed() >= Duration::from_millis(950), "took {:?}", begun.elapsed());
    for host in hosts {
        stop(host).await;
    }
}
