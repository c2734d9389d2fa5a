//! `limits.write_rate`: the bytes that a plugin may write per time, on all hosts together, in both effects modes.

use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host as _, SetOptions};
use sandhog::capability::binding::sandhog::worker::queue::{End, Host as _, PushOptions, Uniqueness};
use sandhog::capability::limits::Limits;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::capability::view::View;
use sandhog::capability::write_rate::WriteRate;
use serde_json::json;

use crate::support::example;
use crate::support::guest::{all_grants, worker};
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::view::{refusal, scope};

/// The bucket of the plugin in these tests.
const BUCKET: &str = "sandhog:write-rate:test";
const DAY: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

fn atomic() -> Plan {
    let isolation = Isolation::ReadCommitted;
    Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None }))
}

/// A run on a separate host, whose plugin may write a thousand bytes in this time.
fn run(redis: &TestRedis, per: Duration, plan: &Plan) -> View {
    let write_rate = Some(WriteRate { bytes: 1000, per });
    let scope = scope(all_grants(), Limits { write_rate, ..Limits::default() });
    scope.voice.keep_write_rate(&redis.link());
    View::new(Arc::new(scope), Some(redis.link()), Arc::default(), None, plan)
}

fn name(text: &str) -> String {
    text.to_owned()
}

/// Writes this many bytes in one call: the name has one byte, and each key counts 64 more.
async fn write(view: &mut View, bytes: usize) -> Result<(), String> {
    let answer = view.set(name("k"), vec![b'x'; bytes - 65]).await;
    if answer.is_ok() { Ok(()) } else { Err(refusal(answer)) }
}

fn spent() -> Result<(), String> {
    Err("quota write-rate".to_owned())
}

#[tokio::test]
async fn every_call_that_writes_is_refused_when_the_rate_is_spent() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for plan in [Plan::Immediate, atomic()] {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
        let _: u64 = plain.rpush("q", "entry").await.unwrap();
        let _: () = plain.set("there", "1").await.unwrap();
        let mut view = run(&redis, DAY, &plan);
        write(&mut view, 980).await.unwrap();
        let options = || SetOptions { ttl_ms: Some(1000), condition: Condition::Always };
        let unique = || Some(Uniqueness { key: name("u"), ttl_ms: 1000 });
        let push = |unique| PushOptions { end: End::Back, delay_ms: None, unique };
        let refused = [
            refusal(view.set(name("a"), Vec::new()).await),
            refusal(view.set_with(name("a"), Vec::new(), options()).await),
            refusal(view.set_many(vec![(name("a"), Vec::new())]).await),
            refusal(view.add(name("a"), 1).await),
            refusal(view.increment(name("a"), 1).await),
            refusal(view.compare_and_swap(name("a"), None, Some(Vec::new())).await),
            refusal(view.expire(name("there"), Some(1000)).await),
            refusal(view.push(name("p"), Vec::new()).await),
            refusal(view.push_with(name("p"), Vec::new(), push(None)).await),
            refusal(view.push_with(name("p"), Vec::new(), push(unique())).await),
            refusal(view.push_many(name("p"), vec![Vec::new()]).await),
        ];
        assert!(refused.iter().all(|text| text == "quota write-rate"), "{plan:?}: {refused:?}");
        // Calls that read or free memory still work.
        assert!(view.get(name("there")).await.is_ok());
        assert_eq!(view.pop(name("q"), End::Front).await.unwrap(), Some(b"entry".to_vec()));
        assert!(view.delete(name("there")).await.unwrap());
        assert!(!plain.exists::<_, bool>(("a", "p")).await.unwrap(), "nothing was done");
    }
}

#[tokio::test]
async fn all_hosts_share_one_bucket() {
    let redis = TestRedis::start();
    let (mut one, mut other) = (run(&redis, DAY, &Plan::Immediate), run(&redis, DAY, &Plan::Immediate));
    write(&mut one, 600).await.unwrap();
    assert_eq!(write(&mut other, 500).await, spent());
    write(&mut other, 300).await.unwrap();
    assert_eq!(write(&mut one, 200).await, spent());
    let mut plain = redis.plain().await;
    assert!(plain.pttl::<_, i64>(BUCKET).await.unwrap() > 0, "the bucket expires when it is full");
}

#[tokio::test]
async fn the_rate_is_there_again_after_a_time() {
    let redis = TestRedis::start();
    let mut view = run(&redis, SECOND, &Plan::Immediate);
    write(&mut view, 1000).await.unwrap();
    until("the bucket is full again", async || write(&mut view, 1000).await.is_ok()).await;
}

#[tokio::test]
async fn a_call_that_is_larger_than_the_bucket_needs_a_full_one() {
    let redis = TestRedis::start();
    let mut view = run(&redis, SECOND, &Plan::Immediate);
    write(&mut view, 50_000).await.unwrap();
    until("the bucket is full again", async || write(&mut view, 50_000).await.is_ok()).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_stop_writes_for_ever() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // Full again a century from now.
    let _: () = plain.set(BUCKET, "5000000000000000").await.unwrap();
    let mut day = run(&redis, DAY, &Plan::Immediate);
    assert_eq!(write(&mut day, 500).await, spent());
    let _: () = plain.set(BUCKET, "5000000000000000").await.unwrap();
    let mut view = run(&redis, SECOND, &Plan::Immediate);
    until("the bucket has filled", async || write(&mut view, 1000).await.is_ok()).await;
}

#[tokio::test]
async fn a_run_whose_commit_can_wait_does_not_fail_at_the_memory_limit() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut view = run(&redis, DAY, &atomic());
    assert_eq!(write(&mut view, 100).await, Ok(()));
    let mut set = redis::cmd("CONFIG");
    let _: () = set.arg("SET").arg("maxmemory").arg(1).query_async(&mut plain).await.unwrap();
    assert_eq!(write(&mut view, 500).await, Ok(()));
    assert_eq!(write(&mut view, 500).await, spent());
}

#[tokio::test]
async fn a_bucket_that_holds_something_else_is_replaced() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for spoil in [
        &["SET", BUCKET, "nan"][..],
        &["SET", BUCKET, "text"],
        &["SET", BUCKET, "-inf"],
        &["RPUSH", BUCKET, "x"],
        &["HSET", BUCKET, "f", "v"],
    ] {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
        let mut command = redis::cmd(spoil[0]);
        let _: redis::Value = command.arg(&spoil[1..]).query_async(&mut plain).await.unwrap();
        let mut view = run(&redis, DAY, &Plan::Immediate);
        write(&mut view, 900).await.unwrap_or_else(|refused| panic!("{spoil:?}: {refused}"));
        assert_eq!(write(&mut view, 900).await, spent(), "{spoil:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_with_a_write_rate_is_told_by_its_host_in_both_modes() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    // A plugin's own user may not touch the bucket: the host does.
    let ways = [
        ("immediate", "one", false),
        ("atomic", "two", false),
        ("immediate", "three", true),
        ("atomic", "four", true),
    ];
    for (mode, queue, own_user) in ways {
        let manifest = format!(
            "kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\nconcurrency = 1\nmax_attempts = 1\n[effects]\nmode = \"{mode}\"\n\
             [limits]\nwrite_rate = \"1KiB/1d\"\n[grants]\nkv.write = [\"*\"]\n"
        );
        let name = format!("probe-{queue}");
        let plugins = Plugins::new().with(&name, &example::component("probe"), &manifest);
        let mut settings = plugins.settings(&redis.url(), queue);
        settings.redis.per_plugin_users = own_user;
        let host = serve(settings).await;
        // The second one finds the bucket empty.
        for end in ["done", "bury $results"] {
            let script = format!("report none\nkv.set k rep:2000:61\n{end}");
            let _: u64 = plain.rpush(queue, script).await.unwrap();
        }
        let dead = format!("{{{queue}}}:sandhog:dead");
        until("a job is dead", async || plain.zcard::<_, u64>(&dead).await.unwrap() == 1).await;
        let records: Vec<String> = plain.zrange(&dead, 0, -1).await.unwrap();
        assert!(records[0].contains("write-rate"), "{mode} {own_user}: {}", records[0]);
        assert!(plain.exists::<_, bool>(format!("sandhog:write-rate:{name}")).await.unwrap());
        stop(host).await;
    }
}

#[test]
fn the_rate_is_shown_with_the_plugins() {
    let program = Program::alone();
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\n";
    for (name, more) in [("bounded", "[limits]\nwrite_rate = \"10MiB/2m\"\n"), ("free", "")] {
        program.file(&format!("plugins/{name}.wasm"), worker("", "", "i32.const 0"));
        program.file(
            &format!("plugins/{name}.toml"),
            format!("{}{more}", manifest.replace("\"q\"", &format!("\"{name}\""))),
        );
    }
    let show = ["plugins", "--plugins", "plugins", "--redis", "redis://127.0.0.1:1"];
    let document = program.json(&show);
    assert_eq!(document["plugins"][0]["write_rate"], json!({ "bytes": 10 << 20, "per_ms": 120_000 }));
    assert_eq!(document["plugins"][1]["write_rate"], json!(null));
    let text = program.transcript(&show);
    assert!(text.contains("\nbounded: writes at most 10MiB per 2m, on all hosts together\n"), "{text}");
    assert!(!text.contains("free: may write"), "{text}");
}
