//! The memory that a host says guests can make it use at the most, held against a host under attack: guests that take
//! all they may, at full concurrency, as a process of its own.

use crate::support::guest::worker;
use crate::support::host::{Plugins, until};
use crate::support::process::HostProcess;
use crate::support::redis::TestRedis;

const SETTINGS: &str = r#"
[host]
lease = "5s"
threads = 2
[limits]
instances = 4
memory = "64MiB"
value = "16MiB"
component = "1MiB"
"#;
/// Every run has 40 MiB of memory, and 16 MiB each way.
const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "q"
concurrency = 2
max_attempts = 1
[limits]
memory = "40MiB"
value = "16MiB"
[grants]
kv = { read = ["*"], write = ["*"] }
"#;
/// Many jobs that cost nothing come first: a host claims the more, the faster they end. Claimed all at once, those with
/// large payloads would be 720 MiB.
const SMALL_JOBS: usize = 5000;
const LARGE_JOBS: usize = 45;
const VALUE_BYTES: usize = 16 << 20;

/// Writes to all the memory it can get, then fetches the largest value and sets as much as it may hold back.
fn glutton() -> Vec<u8> {
    worker(
        r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
        (import "sandhog:worker/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 2048) "big") (data (i32.const 2056) "0000")"#,
        "(local $i i32)
        (if (i32.eqz (local.get $length)) (then (return (i32.const 0))))
        (call $get (i32.const 2048) (i32.const 3) (i32.const 1024))
        (loop $l
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then
                (memory.fill (i32.shl (i32.sub (memory.size) (i32.const 1)) (i32.const 16))
                    (i32.const 7) (i32.const 65536)) (br $l))))
        (loop $m
            (i32.store (i32.const 2056) (local.get $i))
            (call $set (i32.const 2056) (i32.const 4) (i32.const 65536) (i32.const 1000000) (i32.const 1024))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $m (i32.lt_u (local.get $i) (i32.const 3))))
        (call $set (i32.const 2048) (i32.const 3) (i32.const 65536) (i32.const 33554432) (i32.const 1024))
        (i32.const 0)",
    )
}

fn mib(log: &str, field: &str) -> u64 {
    let line = log.lines().find(|line| line.contains("so much memory at the most")).unwrap();
    let (_, value) = line.split_once(&format!(" {field}=\"")).unwrap();
    value.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_host_under_attack_stays_below_the_memory_it_has_told() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // A patient connection: these are large.
    let link = redis.link();
    let _: () = link.query(redis::cmd("SET").arg("big").arg(vec![b'x'; VALUE_BYTES])).await.unwrap();
    let _: u64 = link.query(redis::cmd("RPUSH").arg("q").arg(vec![""; SMALL_JOBS])).await.unwrap();
    for _ in 0..LARGE_JOBS {
        let _: u64 = link.query(redis::cmd("RPUSH").arg("q").arg(vec![b'x'; VALUE_BYTES])).await.unwrap();
    }
    let plugins = Plugins::new().with("glutton", &glutton(), MANIFEST);
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, SETTINGS).await;
    until("every job is done", async || {
        let mut ask = redis::cmd("HGET");
        let done: Option<usize> = link.query(ask.arg("{q}:sandhog:stats").arg("completed")).await.unwrap();
        done == Some(SMALL_JOBS + LARGE_JOBS)
    })
    .await;
    let told = mib(&host.log(), "total");
    let peak = host.memory_peak_bytes() >> 20;
    assert!(peak < told, "{peak} MiB of {told} MiB");
    assert!(peak > 2 * 40, "{peak} MiB: the guests did not take what they may");
    assert!(told < 1024, "{told} MiB are no figure to hold a host to");
}

#[tokio::test]
async fn a_host_whose_guests_could_use_more_than_there_is_says_what_to_lower() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let manifest = MANIFEST.replace("40MiB", "4GiB").replace("concurrency = 2", "concurrency = 64");
    let settings = SETTINGS.replace("64MiB", "4GiB").replace("instances = 4", "instances = 64");
    let plugins = Plugins::new().with("p", &worker("", "", "i32.const 0"), &manifest);
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    until("it is told", async || host.log().contains("so much memory at the most")).await;
    until("it is a warning", async || host.log().contains("lower `concurrency`, `limits.memory` or")).await;
    assert!(mib(&host.log(), "total") > 64 << 12, "{}", host.log());
}

#[tokio::test]
async fn a_host_whose_plugins_ask_for_more_sandboxes_than_there_are_says_so() {
    const TOLD: &str = "all `concurrency` together is above `limits.instances`";
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let good = worker("", "", "i32.const 0");
    let plugins = Plugins::new().with("a", &good, MANIFEST);
    let other = |runs: u32| {
        MANIFEST.replace("\"q\"", "\"r\"").replace("concurrency = 2", &format!("concurrency = {runs}"))
    };
    plugins.put("b", &good, &other(2));
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, SETTINGS).await;
    until("the memory is told", async || host.log().contains("so much memory at the most")).await;
    assert!(!host.log().contains(TOLD), "all four can run at once: {}", host.log());
    plugins.put("b", &good, &other(3));
    host.signal(rustix::process::Signal::HUP);
    until("it is told", async || host.log().contains(TOLD)).await;
    let log = host.log();
    let line = log.lines().find(|line| line.contains(TOLD)).unwrap();
    assert!(line.contains("WARN") && line.contains("asked=5") && line.contains("places=4"), "{line}");
}
