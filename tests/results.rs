//! What a job leaves for whoever pushed it, and how far it says it is: through whole hosts.

use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sandhog::job::name::{JobId, QueueName};
use sandhog::job::push::{PushOptions, push};
use sandhog::job::status::{self, Ending, Progress};
use sandhog::storage::link::{Link, Tracking};

use crate::support::example;
use crate::support::host::{PATIENCE, Plugins, stop, until};
use crate::support::process::HostProcess;
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const ATOMIC: &str = "mode = \"atomic\"";
const IMMEDIATE: &str = "mode = \"immediate\"";

fn probe(mode: &str) -> Plugins {
    let manifest = format!(
        "kind = \"worker\"\n[effects]\n{mode}\n[[consume]]\nqueue = \"jobs\"\nconcurrency = 8\nmax_attempts = 2\n\
         timeout = \"30s\"\nbackoff = {{ base = \"5ms\", factor = 1.0, max = \"5ms\", jitter = 0.0 }}\n\
         [grants]\nkv = {{ read = [\"*\"], write = [\"*\"] }}\nqueue.push = [\"*\"]\n\
         [limits]\nkv_calls = 10000000\nvalue = \"128KiB\"\n"
    );
    Plugins::new().with("probe", &example::component("probe"), &manifest)
}

fn jobs() -> QueueName {
    QueueName::new("jobs").unwrap()
}

/// A connection that may wait.
fn patient(redis: &TestRedis) -> Link {
    Link::new(&redis.address(), "test", PATIENCE * 2, Tracking::Off).unwrap()
}

/// Pushes a script whose result is wanted; answers the job's id.
async fn ask(redis: &TestRedis, plain: &mut MultiplexedConnection, script: &str) -> JobId {
    let options = PushOptions { result_kept: Some(Duration::from_secs(600)), ..PushOptions::default() };
    push(&redis.link(), &jobs(), script.as_bytes(), &options).await.unwrap();
    let envelope: String = plain.lindex("{jobs}:sandhog:ready", -1).await.unwrap();
    JobId::new(envelope.split(' ').nth(1).unwrap()).unwrap()
}

/// The result of a job, if it comes.
async fn result(redis: &TestRedis, id: &JobId) -> Option<Ending> {
    status::await_result(&patient(redis), &jobs(), id, PATIENCE).await.unwrap()
}

fn done(value: &[u8]) -> Ending {
    Ending::Done(value.to_vec())
}

fn failed(word: &str, why: &str) -> Ending {
    Ending::Failed(word.to_owned(), why.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_job_is_told_to_who_asked() {
    for mode in [ATOMIC, IMMEDIATE] {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        let mut asked = Vec::new();
        for (script, expected) in [
            ("report none\nset-result first\nset-result last", done(b"last")),
            ("report none\nset-result hex:00ff", done(b"\x00\xff")),
            ("report none", done(b"")),
            ("report none\nset-result x\nbury no%20card", failed("dead", "no%20card")),
            ("report none\nset-result x\nretry busy", failed("dead", "busy")),
            ("report none\nif-attempt 1 set-result x\nif-attempt 1 retry busy", done(b"")),
            ("report none\ndiscard gone", failed("discarded", "")),
        ] {
            asked.push((ask(&redis, &mut plain, script).await, script, expected));
        }
        let plugins = probe(mode);
        let host = plugins.serve(&redis.url(), "h").await;
        for (id, script, expected) in asked {
            assert_eq!(result(&redis, &id).await, Some(expected), "{mode}: {script}");
            let key = format!("{{jobs}}:sandhog:result:{id}");
            let kept_ms: i64 = plain.pttl(&key).await.unwrap();
            assert!((500_000..=600_000).contains(&kept_ms), "kept for {kept_ms} ms");
        }
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_hears_of_a_job_that_was_cancelled() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let waits = ask(&redis, &mut plain, "report none\nnot yet").await;
    let program = Program::with(&redis);
    let cancel = |id: &JobId| program.output(&["jobs", "cancel", "jobs", id.as_str()]);
    assert!(cancel(&waits).status.success());
    assert_eq!(result(&redis, &waits).await, Some(failed("cancelled", "")));
    let runs = ask(&redis, &mut plain, "report none\nset-result x\nkv.set begun 1\nwait never").await;
    let plugins = probe(IMMEDIATE);
    let host = plugins.serve(&redis.url(), "h").await;
    until("it runs", async || plain.exists("begun").await.unwrap()).await;
    assert!(cancel(&runs).status.success());
    assert_eq!(result(&redis, &runs).await, Some(failed("cancelled", "")));
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn push_waits_prints_the_result_and_tells_failures_apart() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let plugins = probe(ATOMIC);
    let host = plugins.serve(&redis.url(), "h").await;
    let wait = |script: &str, more: &[&str]| {
        program.output(&[&["push", "jobs", script, "--wait", "--timeout", "20s"], more].concat())
    };
    let done = wait("report none\nset-result hex:00ff0a", &[]);
    assert_eq!((done.status.code(), done.stdout.as_slice()), (Some(0), &b"\x00\xff\n"[..]));
    let failed = wait("report none\nbury no", &[]);
    assert_eq!(failed.status.code(), Some(4));
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("of `jobs` is dead: no"), "{said}");
    let late = program.output(&["push", "jobs", "report none\nwait never", "--wait", "--timeout", "100ms"]);
    assert_eq!(late.status.code(), Some(3));
    let json = wait("report none\nset-result text", &["--json", "--id", "mine"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["outcome"], &json["id"], &json["result"]),
        (&"done".into(), &"mine".into(), &"text".into())
    );
    // The same name again: the former result is not this job's.
    let again = wait("report none\nset-result other", &["--id", "mine"]);
    assert_eq!(again.stdout, b"other");
    // It was said nothing about waiting: the result is there for whoever asks by the name.
    let later = program.json(&["push", "jobs", "report none\nset-result kept", "--result-ttl", "10m"]);
    let id = JobId::new(later["id"].as_str().unwrap()).unwrap();
    assert_eq!(result(&redis, &id).await, Some(Ending::Done(b"kept".to_vec())));
    host.leave();
    host.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_bounded_and_nobody_gets_one_who_did_not_ask() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let large = "x".repeat(65_537);
    let script = format!("report key seen\nset-result {large}\nset-result fits");
    let id = ask(&redis, &mut plain, &script).await;
    let plugins = probe(ATOMIC);
    let host = plugins.serve(&redis.url(), "h").await;
    assert_eq!(result(&redis, &id).await, Some(done(b"fits")));
    let seen: String = plain.get("seen").await.unwrap();
    assert!(seen.contains("set-result: err quota \"result\"\nset-result: ok"), "{seen}");
    let _: u64 = plain.rpush("jobs", "report key plain\nset-result x").await.unwrap();
    until("the plain job is done", async || plain.exists("plain").await.unwrap()).await;
    let results: Vec<String> = plain.keys("*:result:*").await.unwrap();
    assert_eq!(results.len(), 1);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_comes_with_the_completion_whatever_is_killed() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe(ATOMIC);
    let id = ask(&redis, &mut plain, "report none\nset-result of-the-first\nkv.add count 1\nwait go").await;
    let first = HostProcess::start(&plugins, &redis.url(), "one", &mut plain).await;
    let running = async |plain: &mut MultiplexedConnection| {
        plain.keys::<_, Vec<String>>("*:inflight:*").await.unwrap().len()
    };
    until("it runs", async || running(&mut plain).await == 1).await;
    first.signal(Signal::KILL);
    assert!(!plain.exists::<_, bool>(format!("{{jobs}}:sandhog:result:{id}")).await.unwrap());
    let _: () = plain.set("go", 1).await.unwrap();
    let second = HostProcess::start(&plugins, &redis.url(), "two", &mut plain).await;
    assert_eq!(result(&redis, &id).await, Some(done(b"of-the-first")));
    assert_eq!(plain.get::<_, u32>("count").await.unwrap(), 1, "the effects came with it");
    // A host that is killed over and over is told as well: the job dies with its third crash.
    drop(second);
    let id = ask(&redis, &mut plain, "report none\nwait never").await;
    let settings = crate::support::process::SETTINGS.replace("crashes_max = 1000", "crashes_max = 1");
    let third = HostProcess::start_with(&plugins, &redis.url(), "three", &mut plain, &settings).await;
    until("the third one runs it", async || running(&mut plain).await == 1).await;
    drop(third);
    let _fourth = HostProcess::start_with(&plugins, &redis.url(), "four", &mut plain, &settings).await;
    assert!(matches!(result(&redis, &id).await, Some(Ending::Failed(word, _)) if word == "dead"));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_seen_while_the_job_runs_in_both_modes() {
    for mode in [ATOMIC, IMMEDIATE] {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        let id = ask(&redis, &mut plain, "report none\nprogress 1 2 dropped\nprogress-until go").await;
        let plugins = probe(mode);
        let host = plugins.serve(&redis.url(), "h").await;
        let mut seen = Vec::new();
        until("it has told twice", async || {
            let told =
                status::progress(&redis.link(), &jobs(), std::slice::from_ref(&id)).await.unwrap().remove(0);
            if let Some(Progress { done, total, note }) = told {
                assert_eq!((total, note.as_str()), (0, "looking"));
                if seen.last() != Some(&done) {
                    seen.push(done);
                }
            }
            seen.len() >= 2
        })
        .await;
        // Thousands of calls, one word a second.
        assert!(seen[1] > seen[0] + 50, "{seen:?}");
        let shown = Program::with(&redis).json(&["jobs", "list", "jobs"]);
        assert_eq!(shown["jobs"][0]["progress"]["note"], "looking");
        let kept_ms: i64 = plain.pttl(format!("{{jobs}}:sandhog:progress:{id}")).await.unwrap();
        assert!((60_000..=90_000).contains(&kept_ms), "it goes by itself, after {kept_ms} ms");
        let _: () = plain.set("go", 1).await.unwrap();
        assert_eq!(result(&redis, &id).await, Some(done(b"")));
        stop(host).await;
    }
}
