//! What every kind of run is reported as. Hostile ones, each in a whole host, are in `hostile`.

mod baseline;
mod config;
pub(crate) mod profile;
mod snapshot;
mod wasi;

use std::sync::Arc;
use std::time::Duration;

use sandhog::sandbox::{Limits, Outcome, RunContext, Terms};

use crate::support::guest::{
    compiling, context, job, load, no_redis, run, run_within, sandbox, terms, worker,
};

/// A worker without imports.
fn plain(items: &str, body: &str) -> Vec<u8> {
    worker("", items, body)
}

/// Runs a worker that has `memory_bytes` of memory.
async fn run_with_memory(component: &[u8], memory_bytes: u64) -> Outcome {
    let limits = Limits { memory_bytes, ..Limits::default() };
    let version = sandbox().load(Terms { limits, ..terms() }, component).unwrap();
    run(&version).await.outcome
}

fn trap(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::Trapped { reason, backtrace } => (reason, backtrace),
        other => panic!("expected a trap, not {other:?}"),
    }
}

#[tokio::test]
async fn a_handler_that_answers_ok_is_done() {
    let version = load(&plain("", "i32.const 0"));
    let report = run(&version).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!((report.usage.calls, report.log_dropped_bytes), (0, 0));
    assert_eq!(report.memory_peak_bytes, 4 * 65536);
}

#[tokio::test]
async fn the_guest_sees_the_whole_job() {
    // Buries the job with its payload as the reason if attempt, bound, time and headers are as expected.
    let version = load(&plain(
        "",
        r#"
        (if (i32.or (i32.or (i32.ne (local.get $attempt) (i32.const 3)) (i32.ne (local.get $max) (i32.const 7)))
                    (i32.or (i64.ne (local.get $seen) (i64.const 1234567890123))
                            (i32.ne (local.get $headers_count) (i32.const 1)))) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.load (local.get $headers))) (i32.const 107)) (then unreachable))
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 16) (local.get $payload)) (i32.store (i32.const 20) (local.get $length))
        i32.const 0"#,
    ));
    let mut call = job(b"the payload");
    let headers = [("key", "value")];
    (call.attempt, call.max_attempts, call.first_seen_ms, call.headers) = (3, 7, 1_234_567_890_123, &headers);
    let report = version.run_job(call, &context(no_redis())).await;
    assert_eq!(report.outcome, Outcome::Buried("the payload".to_owned()));
}

#[tokio::test]
async fn failures_keep_their_reason_and_their_wait() {
    let answer = |kind: u32, after: &str| {
        plain(
            r#"(data (i32.const 100) "why")"#,
            &format!(
                "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const {kind}))
                (i32.store (i32.const 16) (i32.const 100)) (i32.store (i32.const 20) (i32.const 3))
                {after} i32.const 0"
            ),
        )
    };
    let after = "(i32.store8 (i32.const 24) (i32.const 1)) (i64.store (i32.const 32) (i64.const 1500))";
    let why = || "why".to_owned();
    for (component, expected) in [
        (answer(0, ""), Outcome::Retry { reason: why(), after: None }),
        (answer(0, after), Outcome::Retry { reason: why(), after: Some(Duration::from_millis(1500)) }),
        (answer(1, ""), Outcome::Buried(why())),
        (answer(2, ""), Outcome::Discarded(why())),
    ] {
        assert_eq!(run(&load(&component)).await.outcome, expected);
    }
}

#[tokio::test]
async fn nothing_of_one_run_is_left_for_the_next() {
    // Traps unless its memory and its global are as they were made; then writes to both.
    let version = load(&plain(
        "(global $mark (mut i32) (i32.const 0))",
        "(if (i32.or (global.get $mark) (i32.load (i32.const 9000))) (then unreachable))
        (global.set $mark (i32.const 1)) (i32.store (i32.const 9000) (i32.const 1)) i32.const 0",
    ));
    for _ in 0..300 {
        assert_eq!(run(&version).await.outcome, Outcome::Done);
    }
}

#[tokio::test]
async fn busy_guests_share_one_thread_with_others() {
    let busy = Arc::new(load(&plain("", "(loop $l (br $l)) unreachable")));
    let quick = load(&plain("", "i32.const 0"));
    let mut hogs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let busy = busy.clone();
        hogs.spawn(async move { run_within(&busy, Duration::from_secs(60)).await.outcome });
    }
    // This test has one thread: without yielding none of these would run before a hog ends.
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert_eq!(run(&quick).await.outcome, Outcome::Done);
    }
    assert!(hogs.try_join_next().is_none(), "all hogs are still busy");
}

#[tokio::test]
async fn a_guest_that_lives_with_refused_memory_is_done() {
    let component = plain("", "(drop (memory.grow (i32.const 60000))) i32.const 0");
    assert_eq!(run_with_memory(&component, 1 << 20).await, Outcome::Done);
}

#[tokio::test]
async fn a_trap_deep_down_has_a_short_backtrace() {
    let version = load(&plain("(func $f (result i32) (call $f))", "call $f"));
    let (reason, backtrace) = trap(run(&version).await.outcome);
    assert_eq!(reason, "stack overflow");
    assert!(backtrace.starts_with("guest!f\nguest!f\n"), "{backtrace}");
    assert!(backtrace.len() <= 4096);
}

#[tokio::test]
async fn a_trap_tells_its_reason_and_the_guests_functions() {
    let version =
        load(&plain("(func $inner unreachable) (func $outer (call $inner))", "(call $outer) i32.const 0"));
    let (reason, backtrace) = trap(run(&version).await.outcome);
    assert_eq!(reason, "wasm `unreachable` instruction executed");
    assert_eq!(backtrace, "guest!inner\nguest!outer\nguest!handle");
}

#[tokio::test]
async fn names_in_a_backtrace_cannot_drive_a_terminal() {
    let text = r#"(func $"\1b[2J\0afake line" unreachable)"#;
    let version = load(&plain(text, r#"(call $"\1b[2J\0afake line") i32.const 0"#));
    let (_, backtrace) = trap(run(&version).await.outcome);
    assert_eq!(backtrace, "guest!\\u{1b}[2J\\nfake line\nguest!handle");
}

#[tokio::test]
async fn a_full_pool_is_the_hosts_fault() {
    let pool = sandhog::sandbox::PoolSettings { instances: 1, memory_bytes_max: 64 << 20 };
    let small = sandhog::sandbox::Sandbox::new(&pool, compiling()).unwrap();
    let version = Arc::new(small.load(terms(), &plain("", "(loop $l (br $l)) unreachable")).unwrap());
    let hog = version.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { run_within(&hog, Duration::from_millis(300)).await.outcome });
    tokio::task::yield_now().await;
    let second = run_within(&version, Duration::from_millis(300)).await.outcome;
    assert!(matches!(&second, Outcome::HostFault(cause) if cause.contains("limits.instances")), "{second:?}");
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), Outcome::TimedOut);
}

#[tokio::test]
async fn a_version_outlives_the_sandbox_it_was_made_in() {
    let pool = sandhog::sandbox::PoolSettings { instances: 2, memory_bytes_max: 64 << 20 };
    let other = sandhog::sandbox::Sandbox::new(&pool, compiling()).unwrap();
    let version = other.load(terms(), &plain("", "(loop $l (br $l)) unreachable")).unwrap();
    drop(other);
    assert_eq!(run_within(&version, Duration::from_millis(50)).await.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn a_run_that_is_dropped_stops() {
    let version = load(&plain("", "(loop $l (br $l)) unreachable"));
    for _ in 0..100 {
        let endless = RunContext { timeout: Duration::from_secs(600), ..context(no_redis()) };
        let cut = tokio::time::timeout(Duration::from_millis(5), version.run_job(job(b""), &endless)).await;
        assert!(cut.is_err());
    }
    // More runs than the pool has places: every one gave its place back.
    assert_eq!(run(&load(&plain("", "i32.const 0"))).await.outcome, Outcome::Done);
}
