//! A job's whole way through a host in this process: from a plain push to its end, whatever the handler does.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;

use crate::support::example;
use crate::support::guest::worker;
use crate::support::host::{Plugins, count, lane, serve, stop, until};
use crate::support::process::HostProcess;
use crate::support::redis::TestRedis;

/// The probe, which does what a payload says, on a queue with short waits; what it does is seen at once.
const PROBE: &str = r#"
effects.mode = "immediate"
kind = "worker"
[[consume]]
queue = "jobs"
concurrency = 8
max_attempts = 3
timeout = "300ms"
backoff = { base = "5ms", factor = 1.0, max = "5ms", jitter = 0.0 }
[grants]
kv = { read = ["*"], write = ["*"] }
queue.push = ["*"]
"#;

/// A Redis and a host that serves `jobs` with the probe.
struct Stage {
    host: Host,
    plain: MultiplexedConnection,
    redis: TestRedis,
    _plugins: Plugins,
}

impl Stage {
    async fn new(manifest: &str) -> Self {
        Self::with_jobs(manifest, &[]).await
    }

    /// The jobs are there before the host is.
    async fn with_jobs(manifest: &str, jobs: &[&[u8]]) -> Self {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        for job in jobs {
            let _: u64 = plain.rpush("jobs", *job).await.unwrap();
        }
        let plugins = Plugins::new().with("probe", &example::component("probe"), manifest);
        let host = plugins.serve(&redis.url(), "h").await;
        Self { host, plain, redis, _plugins: plugins }
    }

    async fn push(&mut self, script: &str) {
        let _: u64 = self.plain.rpush("jobs", script).await.unwrap();
    }

    /// Waits until this many jobs are dead; their envelopes, as text.
    async fn dead(&mut self, number: usize) -> Vec<String> {
        let plain = &mut self.plain;
        until("jobs are dead", async || {
            plain.zcard::<_, usize>("{jobs}:sandhog:dead").await.unwrap() == number
        })
        .await;
        let dead: Vec<Vec<u8>> = self.plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
        dead.iter().map(|envelope| String::from_utf8_lossy(envelope).into_owned()).collect()
    }

    async fn completed(&self, number: u64) {
        until("jobs are completed", async || count(&self.host, "jobs", |c| &c.completed) == number).await;
    }

    /// Stops; nothing but the dead jobs, the counters and what guests wrote may be left.
    async fn end(mut self) {
        stop(self.host).await;
        let keys: Vec<String> = self.plain.keys("*jobs*").await.unwrap();
        let left: Vec<&String> =
            keys.iter().filter(|k| !k.ends_with(":stats") && !k.ends_with(":dead")).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(self.plain.zcard::<_, u64>("sandhog:hosts").await.unwrap(), 0);
        drop(self.redis);
    }
}

#[tokio::test]
async fn a_plain_push_is_run_and_completed() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\n";
    let plugins = Plugins::new().with("noop", &worker("", "", "(i32.const 0)"), manifest);
    let host = plugins.serve(&redis.url(), "h").await;
    for n in 0..1000 {
        let _: u64 = plain.rpush("jobs", format!("job {n}")).await.unwrap();
    }
    until("all jobs are completed", async || count(&host, "jobs", |c| &c.completed) == 1000).await;
    assert_eq!(plain.llen::<_, u64>("jobs").await.unwrap(), 0);
    stop(host).await;
    let keys: Vec<String> = plain.keys("*").await.unwrap();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["sandhog:queues", "{jobs}:sandhog:stats"]);
}

#[tokio::test]
async fn payloads_arrive_as_they_were_sent() {
    let mut stage = Stage::new(PROBE).await;
    let big = vec![b'x'; 1_000_000];
    for (n, payload) in
        [&b""[..], b"\x00\xff\r\n\x00", &big, b"1 id 0 0 0 k=v\nnot an envelope"].iter().enumerate()
    {
        let mut job = format!("report none\necho-to copy:{n}\nend\n").into_bytes();
        job.extend_from_slice(payload);
        let _: u64 = stage.plain.rpush("jobs", job).await.unwrap();
        stage.completed(n as u64 + 1).await;
        let copy: Vec<u8> = stage.plain.get(format!("copy:{n}")).await.unwrap();
        assert!(copy == *payload, "payload {n} has {} bytes, its copy {}", payload.len(), copy.len());
    }
    stage.push("").await;
    stage.completed(5).await;
    stage.end().await;
}

#[tokio::test]
async fn a_hundred_thousand_equal_jobs_are_each_run() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\n";
    let plugins = Plugins::new().with("noop", &worker("", "", "(i32.const 0)"), manifest);
    for _ in 0..100 {
        let _: u64 = plain.rpush("jobs", vec!["same"; 1000]).await.unwrap();
    }
    let host = plugins.serve(&redis.url(), "h").await;
    until("all jobs are completed", async || count(&host, "jobs", |c| &c.completed) == 100_000).await;
    assert_eq!(count(&host, "jobs", |c| &c.late), 0);
    stop(host).await;
}

#[tokio::test]
async fn a_retry_comes_again_with_the_same_id_and_the_next_attempt() {
    let mut stage = Stage::new(PROBE).await;
    stage.push("queue.push seen $id\nqueue.push seen $attempt\nreport none\nif-attempt 1 retry later 1\nif-attempt 2 retry later").await;
    stage.completed(1).await;
    let seen: Vec<String> = stage.plain.lrange("seen", 0, -1).await.unwrap();
    let (ids, attempts): (Vec<&String>, Vec<&String>) =
        (seen.iter().step_by(2).collect(), seen.iter().skip(1).step_by(2).collect());
    assert_eq!(attempts, ["1", "2", "3"]);
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    assert_eq!(count(&stage.host, "jobs", |c| &c.retried), 2);
    stage.end().await;
}

#[tokio::test]
async fn jobs_that_cannot_be_done_are_dead_with_reason_version_and_backtrace() {
    let mut stage = Stage::new(PROBE).await;
    for script in ["bury no-such-customer", "retry not-yet 0", "trap", "spin", "discard nobody-wants-it"] {
        stage.push(&format!("report none\n{script}")).await;
    }
    let dead = stage.dead(4).await;
    let find = |reason: &str| {
        let found = dead.iter().find(|envelope| envelope.contains(reason));
        found.unwrap_or_else(|| panic!("nothing died of `{reason}`: {dead:#?}")).clone()
    };
    assert!(find("!reason=no-such-customer").contains("!plugin=probe"));
    let digest = stage.host.plugins()[0].version.clone();
    assert!(find("!reason=not-yet").contains(&format!("!version={digest}")));
    assert!(find("!reason=timed%20out").ends_with("report none\nspin"));
    assert!(find("!reason=trapped").contains("!trace="));
    // Attempts: one word for who was buried at once, all three for who kept failing.
    assert_eq!(find("no-such-customer").split(' ').nth(2), Some("1"));
    assert_eq!(find("not-yet").split(' ').nth(2), Some("3"));
    until("the discarded job is counted", async || count(&stage.host, "jobs", |c| &c.discarded) == 1).await;
    stage.end().await;
}

#[tokio::test]
async fn runs_wait_for_a_sandbox_where_all_are_taken() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // Two queues of two runs each, on a host with two sandboxes.
    let manifest = PROBE.replace("concurrency = 8", "concurrency = 2").replace("300ms", "20s")
        + "[limits]\nkv_calls = 1000000\n";
    let more = manifest.replace("\"jobs\"", "\"more\"");
    let probe = example::component("probe");
    let plugins = Plugins::new().with("one", &probe, &manifest).with("two", &probe, &more);
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.ceilings.instances = 2;
    let host = serve(settings).await;
    for n in 0..8 {
        let queue = if n % 2 == 0 { "jobs" } else { "more" };
        let _: u64 = plain.rpush(queue, "report none\nkv.increment started 1\nwait gate").await.unwrap();
    }
    let started =
        async |plain: &mut MultiplexedConnection| plain.get::<_, Option<u64>>("started").await.unwrap();
    until("two jobs run", async || started(&mut plain).await == Some(2)).await;
    let claimed = |queue| count(&host, queue, |c| &c.claimed);
    until("others are claimed", async || claimed("jobs") + claimed("more") > 2).await;
    let before = calls(&mut plain, "exists").await;
    until("they have gone on for a while", async || calls(&mut plain, "exists").await > before + 100).await;
    assert_eq!(started(&mut plain).await, Some(2), "the others wait");
    let _: () = plain.set("gate", "open").await.unwrap();
    for queue in ["jobs", "more"] {
        until("all are completed", async || count(&host, queue, |c| &c.completed) == 4).await;
        assert_eq!(count(&host, queue, |c| &c.retried), 0, "nobody failed for want of a sandbox");
    }
    stop(host).await;
}

#[tokio::test]
async fn a_trap_is_logged_with_its_reason_and_the_guests_functions() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // The text guest keeps the names of its functions.
    let trap =
        worker("", "(func $divide_by_nothing (unreachable))", "(call $divide_by_nothing) (i32.const 0)");
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nmax_attempts = 1\n";
    let plugins = Plugins::new().with("trap", &trap, manifest);
    let host = HostProcess::start(&plugins, &redis.url(), "h", &mut plain).await;
    let _: u64 = plain.rpush("jobs", "x").await.unwrap();
    until("the job is dead", async || plain.zcard::<_, usize>("{jobs}:sandhog:dead").await.unwrap() == 1)
        .await;
    until("the trap is logged", async || host.log().contains("guest trapped")).await;
    let log = host.log();
    let line = log.lines().find(|line| line.contains("guest trapped")).unwrap();
    for part in ["unreachable", "divide_by_nothing", "trap", "jobs"] {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
    let dead: Vec<String> = plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
    assert!(dead[0].contains("divide_by_nothing") && dead[0].contains("unreachable"), "{dead:?}");
}

#[tokio::test]
async fn the_newest_comes_first_where_the_manifest_says_so() {
    let manifest = PROBE.replace("concurrency = 8", "concurrency = 1\norder = \"lifo\"");
    let jobs = ["1", "2", "3"].map(|n| format!("report none\nqueue.push seen {n}").into_bytes());
    let jobs: Vec<&[u8]> = jobs.iter().map(Vec::as_slice).collect();
    let mut stage = Stage::with_jobs(&manifest, &jobs).await;
    stage.completed(3).await;
    assert_eq!(stage.plain.lrange::<_, Vec<String>>("seen", 0, -1).await.unwrap(), ["3", "2", "1"]);
    stage.end().await;
}

#[tokio::test]
async fn the_oldest_comes_first_otherwise() {
    let manifest = PROBE.replace("concurrency = 8", "concurrency = 1");
    let jobs: Vec<Vec<u8>> =
        (0..50).map(|n| format!("report none\nqueue.push seen {n}").into_bytes()).collect();
    let jobs: Vec<&[u8]> = jobs.iter().map(Vec::as_slice).collect();
    let mut stage = Stage::with_jobs(&manifest, &jobs).await;
    stage.completed(50).await;
    let seen: Vec<u32> = stage.plain.lrange("seen", 0, -1).await.unwrap();
    assert_eq!(seen, (0..50).collect::<Vec<u32>>());
    stage.end().await;
}

#[tokio::test]
async fn at_most_once_leaves_no_record_and_keeps_no_failure() {
    let manifest = PROBE.replace("concurrency = 8", "delivery = \"at-most-once\"");
    let lines =
        manifest.lines().filter(|line| !line.starts_with("max_attempts") && !line.starts_with("backoff"));
    let manifest = lines.collect::<Vec<_>>().join("\n");
    let mut stage = Stage::new(&manifest).await;
    stage.push("report none\nkv.set ran yes\nretry again").await;
    let plain = &mut stage.plain;
    until("the job has run", async || plain.exists::<_, bool>("ran").await.unwrap()).await;
    until("its failure is counted", async || count(&stage.host, "jobs", |c| &c.discarded) == 1).await;
    stage.end().await;
}

#[tokio::test]
async fn a_delayed_push_of_a_guest_comes_when_it_is_due() {
    let mut stage = Stage::new(PROBE).await;
    stage.push("report none\nqueue.push-with jobs hex:7265706f7274206e6f6e65 delay=50").await;
    stage.completed(2).await;
    stage.end().await;
}

#[tokio::test]
async fn a_key_of_another_type_holds_the_queue_and_loses_nothing() {
    let mut stage = Stage::new(PROBE).await;
    let _: () = stage.plain.set("{jobs}:sandhog:delayed", "in the way").await.unwrap();
    let before = calls(&mut stage.plain, "evalsha").await;
    stage.push("report none").await;
    stage.push("report none").await;
    let plain = &mut stage.plain;
    until("the host has tried to claim", async || calls(plain, "evalsha").await > before).await;
    assert_eq!(stage.plain.llen::<_, u64>("jobs").await.unwrap(), 2, "nothing was taken");
    assert_eq!(count(&stage.host, "jobs", |c| &c.claimed), 0);
    let _: () = stage.plain.del("{jobs}:sandhog:delayed").await.unwrap();
    stage.completed(2).await;
    stage.end().await;
}

#[tokio::test]
async fn a_key_of_another_type_keeps_no_other_queue_from_being_reaped() {
    let mut stage = Stage::new(PROBE).await;
    let dead = "gone.00000001.000000000001";
    let mut seed = redis::pipe();
    seed.hset(format!("sandhog:host:{dead}"), "queues", r#"["first","second"]"#);
    for queue in ["first", "second"] {
        seed.hset(format!("{{{queue}}}:sandhog:inflight:{dead}"), "7", "payload");
    }
    seed.set("{first}:sandhog:ready", "in the way").zadd("sandhog:hosts", dead, 1);
    let _: () = seed.query_async(&mut stage.plain).await.unwrap();
    let plain = &mut stage.plain;
    until("the other queue's job is ready again", async || {
        plain.llen::<_, u64>("{second}:sandhog:ready").await.unwrap() == 1
    })
    .await;
    assert!(
        plain.zscore::<_, _, Option<f64>>("sandhog:hosts", dead).await.unwrap().is_some(),
        "not forgotten"
    );
    let _: () = plain.del("{first}:sandhog:ready").await.unwrap();
    until("the first is ready too", async || {
        plain.llen::<_, u64>("{first}:sandhog:ready").await.unwrap() == 1
    })
    .await;
    until("the host is forgotten", async || {
        plain.zscore::<_, _, Option<f64>>("sandhog:hosts", dead).await.unwrap().is_none()
    })
    .await;
    stage.end().await;
}

#[tokio::test]
async fn a_reload_swaps_what_changed_adds_what_is_new_and_keeps_what_is_broken() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let push_to = |list: &str| {
        let items = format!("(data (i32.const 1024) \"{list}\")");
        let import =
            r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;
        let body = format!(
            "(call $push (i32.const 1024) (i32.const {}) (local.get $payload) (local.get $length) (i32.const 2048))\n(i32.const 0)",
            list.len()
        );
        worker(import, &items, &body)
    };
    let manifest = |queue: &str| {
        format!("kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\n[grants]\nqueue.push = [\"*\"]\n")
    };
    let plugins = Plugins::new().with("one", &push_to("first"), &manifest("jobs"));
    let host = plugins.serve(&redis.url(), "h").await;
    let arrived = async |plain: &mut MultiplexedConnection, list: &str, number: usize| {
        until("the job is done", async || plain.llen::<_, usize>(list).await.unwrap() == number).await;
    };
    let _: u64 = plain.rpush("jobs", "a").await.unwrap();
    arrived(&mut plain, "first", 1).await;
    let before = host.plugins()[0].version.clone();

    plugins.put("one", &push_to("second"), &manifest("jobs"));
    plugins.put("two", &push_to("third"), &manifest("more"));
    host.reload().await.unwrap();
    assert_ne!(host.plugins()[0].version, before);
    let _: u64 = plain.rpush("jobs", "b").await.unwrap();
    let _: u64 = plain.rpush("more", "c").await.unwrap();
    arrived(&mut plain, "second", 1).await;
    arrived(&mut plain, "third", 1).await;

    plugins.put("one", b"this is not a component", &manifest("jobs"));
    plugins.remove("two");
    let refused = host.reload().await.unwrap_err().to_string();
    assert!(refused.contains("one.wasm"), "{refused}");
    assert!(host.plugins()[0].refusal.is_some());
    let _: u64 = plain.rpush("jobs", "d").await.unwrap();
    let _: u64 = plain.rpush("more", "e").await.unwrap();
    arrived(&mut plain, "second", 2).await;
    assert_eq!(host.lanes().len(), 1);
    stop(host).await;
    assert_eq!(plain.llen::<_, usize>("more").await.unwrap(), 1, "jobs of a removed plugin wait");
}

#[tokio::test]
async fn a_job_one_crash_short_of_the_limit_runs_alone() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // Two crashes on record; the third would bury it.
    let suspect = "1 suspect 0 2 1700000000000\nreport none\nkv.set ran:suspect yes\nwait gate";
    let _: u64 = plain.rpush("{jobs}:sandhog:ready", suspect).await.unwrap();
    let _: u64 = plain.rpush("jobs", "report none\nkv.set ran:good yes").await.unwrap();
    let manifest = PROBE.replace("300ms", "20s") + "[limits]\nkv_calls = 1000000\n";
    let plugins = Plugins::new().with("probe", &example::component("probe"), &manifest);
    let host = plugins.serve(&redis.url(), "h").await;
    assert_eq!(lane(&host, "jobs").current().policy.crashes_max, 3);
    until("the suspect runs", async || plain.exists::<_, bool>("ran:suspect").await.unwrap()).await;
    until("both are claimed", async || count(&host, "jobs", |c| &c.claimed) == 2).await;
    let before = calls(&mut plain, "exists").await;
    until("the suspect has gone on for a while", async || calls(&mut plain, "exists").await > before + 100)
        .await;
    assert!(!plain.exists::<_, bool>("ran:good").await.unwrap(), "nothing runs beside a suspect");
    let _: () = plain.set("gate", "open").await.unwrap();
    until("both are completed", async || count(&host, "jobs", |c| &c.completed) == 2).await;
    stop(host).await;
}

/// How often this command was called so far, by anyone.
async fn calls(plain: &mut MultiplexedConnection, command: &str) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(plain).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}
