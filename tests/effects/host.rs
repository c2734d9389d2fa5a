//! Effects of whole hosts: runs that fight about a key, runs that fail half-way, commits that Redis refuses.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;

use crate::support::dump::dump;
use crate::support::example;
use crate::support::host::{Plugins, lane, stop, until};
use crate::support::redis::TestRedis;

/// The probe on a queue where many run at once; a failed attempt is the last.
const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
concurrency = 64
max_attempts = 1
timeout = "10s"
[effects]
mode = "atomic"
[grants]
kv.read = ["*"]
kv.write = ["*"]
queue.push = ["*"]
queue.pop = ["*"]
"#;

struct Stage {
    redis: TestRedis,
    plain: MultiplexedConnection,
    plugins: Plugins,
}

impl Stage {
    async fn new(manifest: &str) -> Self {
        let redis = TestRedis::start();
        let plain = redis.plain().await;
        let plugins = Plugins::new().with("probe", &example::component("probe"), manifest);
        Self { redis, plain, plugins }
    }

    async fn host(&self, name: &str) -> Host {
        self.plugins.serve(&self.redis.url(), name).await
    }

    async fn push(&mut self, script: &str, times: usize) {
        let _: u64 = self.plain.rpush("jobs", vec![script; times]).await.unwrap();
    }

    /// Waits until nothing of the queue is waiting or running.
    async fn settled(&mut self) {
        until("all jobs are settled", async || {
            let keys: Vec<String> = self.plain.keys("*jobs*").await.unwrap();
            keys.iter().all(|key| key == "{jobs}:sandhog:stats" || key == "{jobs}:sandhog:dead")
        })
        .await;
    }

    async fn dead(&mut self) -> Vec<String> {
        self.plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap()
    }

    /// Everything but what belongs to Sandhog itself.
    async fn keys(&mut self) -> BTreeMap<String, String> {
        let mut all = dump(&mut self.plain).await;
        all.retain(|key, _| !key.contains("sandhog:"));
        all
    }

    /// The values that runs say they were given, in ascending order.
    async fn given(&mut self, call: &str) -> Vec<u64> {
        let lines: Vec<String> = self.plain.lrange("seen", 0, -1).await.unwrap();
        let given = lines
            .iter()
            .map(|line| line.strip_prefix(&format!("{call}: ok ")).unwrap_or_else(|| panic!("{line}")));
        let mut given: Vec<u64> = given.map(|value| value.parse().unwrap()).collect();
        given.sort_unstable();
        given
    }
}

fn conflicts(host: &Host) -> u64 {
    lane(host, "jobs").counters.conflicts.load(Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_is_given_out_once() {
    let mut stage = Stage::new(MANIFEST).await;
    stage.push("report queue seen\nkv.increment n 1", 1000).await;
    let host = stage.host("h").await;
    stage.settled().await;
    assert_eq!(stage.given("kv.increment").await, (1..=1000).collect::<Vec<_>>());
    assert_eq!(stage.plain.get::<_, u64>("n").await.unwrap(), 1000);
    assert_eq!(stage.dead().await, Vec::<String>::new(), "a conflict is no failed attempt");
    assert!(conflicts(&host) > 0, "they did meet");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_meet_no_conflict() {
    let mut stage = Stage::new(MANIFEST).await;
    stage.push("report none\nkv.add n 3", 1000).await;
    let host = stage.host("h").await;
    stage.settled().await;
    assert_eq!(stage.plain.get::<_, u64>("n").await.unwrap(), 3000);
    assert_eq!(conflicts(&host), 0);
    let lane = lane(&host, "jobs");
    until("the host has heard of each", async || lane.counters.commits.load(Relaxed) == 1000).await;
    assert_eq!(lane.counters.effects.load(Relaxed), 1000);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_of_compare_and_swap_on_two_hosts_lose_no_step() {
    let patient =
        "max_attempts = 100\nbackoff = { base = \"5ms\", factor = 1.0, max = \"5ms\", jitter = 0.5 }";
    let mut stage = Stage::new(&MANIFEST.replace("max_attempts = 1", patient)).await;
    stage.push("report queue seen\nkv.count-up n", 500).await;
    let (one, two) = (stage.host("one").await, stage.host("two").await);
    stage.settled().await;
    assert_eq!(stage.given("kv.count-up").await, (1..=500).collect::<Vec<_>>());
    assert_eq!(stage.dead().await, Vec::<String>::new());
    stop(one).await;
    stop(two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_run_that_fails_half_way_nothing_is_seen() {
    for (end, reason) in [
        ("retry enough", "enough"),
        ("bury enough", "enough"),
        ("trap", "trapped"),
        ("spin", "timed%20out"),
        ("grow 512\ntrap", "out%20of%20memory"),
    ] {
        let manifest =
            MANIFEST.replace("10s", "300ms").replace("[grants]", "[limits]\nmemory = \"16 MiB\"\n[grants]");
        let mut stage = Stage::new(&manifest).await;
        let _: () = stage.plain.set("old", "1").await.unwrap();
        let _: () = stage.plain.rpush("tickets", &["a", "b", "c"]).await.unwrap();
        let before = stage.keys().await;
        let writes = "report none\nkv.set new 1\nkv.delete old\nkv.add sum 2\nqueue.push out x\n\
                      queue.push-with later x delay=1 unique=u\nqueue.pop tickets front\nqueue.pop tickets back";
        stage.push(&format!("{writes}\n{end}"), 1).await;
        let host = stage.host("h").await;
        stage.settled().await;
        let dead = stage.dead().await;
        assert!(dead.len() == 1 && dead[0].contains(reason), "{end}: {dead:?}");
        until("what was popped is back", async || stage.plain.llen::<_, u64>("tickets").await.unwrap() == 3)
            .await;
        assert_eq!(stage.keys().await, before, "{end}");
        stop(host).await;
        let left: Vec<String> = stage.plain.keys("*sandhog*").await.unwrap();
        let extra: Vec<&String> =
            left.iter().filter(|key| key.contains("later") || key.contains("tickets")).collect();
        assert!(extra.is_empty(), "{end}: {extra:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_redis_cannot_apply_is_a_failed_attempt_and_writes_nothing() {
    for (last, reason) in [
        ("kv.add list 1", "its%20effects%20were%20refused:%20key%20`list`"),
        ("kv.add text 1", "`text`"),
        ("kv.add big 1", "`big`"),
    ] {
        let mut stage = Stage::new(MANIFEST).await;
        let _: () = stage.plain.rpush("list", "entry").await.unwrap();
        let _: () = stage.plain.set("text", "word").await.unwrap();
        let _: () = stage.plain.set("big", i64::MAX).await.unwrap();
        let before = stage.keys().await;
        stage.push(&format!("report none\nkv.set a 1\nqueue.push z x\n{last}"), 1).await;
        let host = stage.host("h").await;
        stage.settled().await;
        let dead = stage.dead().await;
        assert!(dead.len() == 1 && dead[0].contains(reason), "{last}: {dead:?}");
        assert_eq!(stage.keys().await, before, "{last}");
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_no_memory_for_is_tried_again_and_costs_no_attempt() {
    let mut stage = Stage::new(MANIFEST).await;
    let limit = |bytes: &str| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).clone();
    let _: () = stage.plain.set("old", "1").await.unwrap();
    let _: () = limit("1mb").query_async(&mut stage.plain).await.unwrap();
    stage.redis_full_push("report none\nkv.set new 1").await;
    stage.redis_full_push("report none\nkv.delete old").await;
    let host = stage.host("h").await;
    until("what only frees memory is done", async || !stage.plain.exists::<_, bool>("old").await.unwrap())
        .await;
    until("the other is put off", async || {
        stage.plain.hget::<_, _, Option<u64>>("{jobs}:sandhog:stats", "retried").await.unwrap() >= Some(1)
    })
    .await;
    assert_eq!(stage.plain.get::<_, Option<String>>("new").await.unwrap(), None);
    let _: () = limit("0").query_async(&mut stage.plain).await.unwrap();
    stage.settled().await;
    assert_eq!(stage.plain.get::<_, Option<String>>("new").await.unwrap().as_deref(), Some("1"));
    assert_eq!(stage.dead().await, Vec::<String>::new(), "one attempt was all it had");
    stop(host).await;
}

impl Stage {
    /// A push at the memory limit needs a moment without one.
    async fn redis_full_push(&mut self, script: &str) {
        let limit = |bytes: &str| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).clone();
        let mut pipe = redis::pipe();
        pipe.add_command(limit("0")).ignore();
        pipe.rpush("jobs", script).ignore();
        pipe.add_command(limit("1mb")).ignore();
        let _: () = pipe.query_async(&mut self.plain).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_jobs_are_taken_for_ever_effects_take_place_at_once() {
    let manifest = MANIFEST.replace("max_attempts = 1\n", "delivery = \"at-most-once\"\n");
    let mut stage = Stage::new(&manifest).await;
    stage.push("report none\nkv.set a 1\ntrap", 1).await;
    let host = stage.host("h").await;
    // Nothing tells of a job that was taken for ever but its effects.
    until("the effect is there, though the run failed", async || {
        stage.plain.get::<_, Option<String>>("a").await.unwrap().as_deref() == Some("1")
    })
    .await;
    stop(host).await;
    assert_eq!(stage.plain.get::<_, Option<String>>("a").await.unwrap().as_deref(), Some("1"));
}
