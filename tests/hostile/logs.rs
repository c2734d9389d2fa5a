//! What hostile guests say: in the log of a whole host they can forge no line, no colour and no field, and no plugin
//! can fill it.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::escape::is_unsafe;

use crate::support::guest::worker;
use crate::support::host::{Plugins, until};
use crate::support::process::{HostProcess, SETTINGS};
use crate::support::redis::TestRedis;

const LOG: &str =
    r#"(import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
const GET: &str = r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
/// Ends lines, moves cursors, changes colours and directions, and pretends to be another plugin.
const FORGED: &str = "innocent\n2026-01-01T00:00:00Z ERROR sandhog: fake plugin=good\r\x1b[31m\u{9b}2J\u{2028}\u{202e}\u{61c}\u{200b}\u{e0041}\" \
    plugin=good version=000000000000 job=other {\"level\":\"ERROR\"} \\\" plugin=good";
/// Jobs that a queue is flooded with, far more than lines may be logged.
const FLOOD: usize = 20_000;
/// Lines that a plugin may log beyond its burst while the test waits: a minute of them.
const LINES_MAX: usize = 2000 + 60 * 500;

fn manifest() -> String {
    "kind = \"worker\"\n[[consume]]\nqueue = \"talk\"\nmax_attempts = 1\n[limits]\nkv_calls = 10\n".to_owned()
}

struct Talk {
    host: HostProcess,
    plain: MultiplexedConnection,
    _redis: TestRedis,
    _plugins: Plugins,
}

/// A host with a plugin that serves `talk`.
async fn talk(component: &[u8], settings: &str) -> Talk {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("talker", component, &manifest());
    let settings = format!("{SETTINGS}{settings}");
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    Talk { host, plain, _redis: redis, _plugins: plugins }
}

impl Talk {
    async fn run(&mut self, payloads: &[&str]) {
        for some in payloads.chunks(1000) {
            let _: u64 = self.plain.rpush("talk", some).await.unwrap();
        }
        let plain = &mut self.plain;
        until("every job has ended", async || {
            let ended: Vec<Option<usize>> =
                plain.hmget("{talk}:sandhog:stats", &["completed", "buried"]).await.unwrap();
            ended.into_iter().flatten().sum::<usize>() == payloads.len()
        })
        .await;
    }
}

/// Logs its payload as a warning, with the payload as its context, too.
fn parrot() -> Vec<u8> {
    worker(
        LOG,
        "",
        "(call $log (i32.const 3) (local.get $payload) (local.get $length) (local.get $payload) (local.get $length))
        i32.const 0",
    )
}

/// Buries its job for the reason that is its payload.
fn quitter() -> Vec<u8> {
    worker(
        "",
        "",
        "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 16) (local.get $payload)) (i32.store (i32.const 20) (local.get $length))
        i32.const 0",
    )
}

fn guest_lines(log: &str) -> usize {
    log.lines().filter(|line| line.contains("innocent")).count()
}

#[tokio::test]
async fn a_guest_forges_no_line_no_colour_and_no_field_in_a_log_of_text() {
    for component in [parrot(), quitter()] {
        let mut talk = talk(&component, "").await;
        talk.run(&[FORGED]).await;
        let host = &talk.host;
        until("it has been logged", async || host.log().contains("innocent")).await;
        let log = talk.host.log();
        assert_eq!(guest_lines(&log), 1, "{log}");
        assert!(!log.contains(|c| is_unsafe(c) && c != '\n'), "{log:?}");
        assert!(!log.lines().any(|line| line.starts_with("2026-01-01")), "{log}");
        let line = log.lines().find(|line| line.contains("innocent")).unwrap();
        let (ours, theirs) = line.split_once("innocent").unwrap();
        assert!(ours.contains("plugin=\"talker\"") || ours.contains("plugin=talker"), "{line}");
        assert!(!ours.contains("plugin=good") && !ours.contains("ERROR"), "{line}");
        // Every quote of theirs is escaped, so that what they say ends where the host says it does.
        let closing = theirs.replace("\\\\", "").replace("\\\"", "");
        assert!(closing.matches('"').count() <= 3, "{line}");
    }
}

#[tokio::test]
async fn a_guest_forges_no_line_and_no_field_in_a_log_of_json() {
    let mut talk = talk(&parrot(), "[log]\nformat = \"json\"\n").await;
    talk.run(&[FORGED]).await;
    let host = &talk.host;
    until("it has been logged", async || host.log().contains("innocent")).await;
    let log = talk.host.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["target"] == "guest").unwrap();
    assert_eq!((&line["plugin"], &line["level"]), (&"talker".into(), &"WARN".into()));
    assert!(line["text"].as_str().unwrap().starts_with("innocent\\n2026-01-01T00:00:00Z ERROR"), "{line}");
    assert_ne!(line["job"], "other");
    assert!(!log.contains(|c| is_unsafe(c) && c != '\n'), "{log:?}");
}

#[tokio::test]
async fn no_flood_of_runs_that_say_little_fills_the_log() {
    for (component, format) in [(parrot(), "text"), (quitter(), "json")] {
        let mut talk = talk(&component, &format!("[log]\nformat = \"{format}\"\n")).await;
        talk.run(&vec!["innocent"; FLOOD]).await;
        let log = talk.host.log();
        let said = guest_lines(&log);
        assert!((1..=LINES_MAX).contains(&said) && said < FLOOD * 3 / 4, "{said} lines of {FLOOD}");
        let told =
            log.lines().filter(|line| line.contains("a plugin may log 500 lines and 128 KiB a")).count();
        assert!((1..=60).contains(&told), "told {told} times");
    }
}

#[tokio::test]
async fn denied_calls_are_counted_and_complained_about_once_a_second() {
    let component = worker(
        GET,
        r#"(data (i32.const 2048) "secret\0aERROR")"#,
        "(local $i i32) (loop $l
            (call $get (i32.const 2048) (i32.const 12) (i32.const 1024))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 10)))) i32.const 0",
    );
    let mut talk = talk(&component, "").await;
    talk.run(&["x"; 1000]).await;
    let host = &talk.host;
    until("it has been logged", async || host.log().contains("denied a call")).await;
    let log = talk.host.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("denied a call")).collect();
    assert!(told.len() <= 60 && told[0].contains("`secret\\nERROR`: no grant covers it"), "{told:?}");
    // The fleet is told how often, every few seconds.
    let plain = &mut talk.plain;
    until("the fleet knows", async || {
        let id: Vec<String> = plain.zrange("sandhog:hosts", 0, -1).await.unwrap();
        let about: String =
            plain.hget(format!("sandhog:host:{}", id[0]), "plugins").await.unwrap_or_default();
        about.contains("\"denied\":10000")
    })
    .await;
}
