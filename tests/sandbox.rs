//! Hostile guests, one test per attack, and what every kind of run is reported as.

mod config;
mod wasi;

use std::sync::Arc;
use std::time::{Duration, Instant};

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
async fn an_endless_loop_is_cut_by_time() {
    let version = load(&plain("", "(loop $l (br $l)) unreachable"));
    let started = Instant::now();
    let report = run_within(&version, Duration::from_millis(100)).await;
    assert_eq!(report.outcome, Outcome::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_endless_loop_of_host_calls_is_cut_by_time() {
    let version = load(&worker(
        r#"(import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))"#,
        "",
        "(loop $l (call $exists (i32.const 0) (i32.const 1) (i32.const 64)) (br $l)) unreachable",
    ));
    let report = run_within(&version, Duration::from_millis(100)).await;
    assert_eq!(report.outcome, Outcome::TimedOut);
    assert_eq!(report.usage.calls, Limits::default().kv_calls);
}

#[tokio::test]
async fn an_endless_loop_in_realloc_is_cut_by_time() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (loop $l (br $l)) unreachable)
        (func (export "sandhog:worker/handler@0.1.0#handle")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32) i32.const 0))"#;
    let version = load(&crate::support::guest::component("queue-worker", text));
    assert_eq!(run_within(&version, Duration::from_millis(100)).await.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn an_endless_loop_after_the_answer_is_cut_by_time() {
    let version = load(&plain(
        r#"(func (export "cabi_post_sandhog:worker/handler@0.1.0#handle") (param i32) (loop $l (br $l)))"#,
        "i32.const 0",
    ));
    assert_eq!(run_within(&version, Duration::from_millis(100)).await.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn bulk_fills_in_a_loop_are_cut_by_time() {
    let version = load(&plain(
        "",
        "(drop (memory.grow (i32.const 900)))
        (loop $l (memory.fill (i32.const 65536) (i32.const 7) (i32.const 58000000)) (br $l)) unreachable",
    ));
    assert_eq!(run_within(&version, Duration::from_millis(200)).await.outcome, Outcome::TimedOut);
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
async fn memory_growth_beyond_the_limit_is_out_of_memory() {
    let grow =
        "(loop $l (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (br $l))";
    let component = plain("", &format!("{grow} unreachable"));
    assert_eq!(run_with_memory(&component, 1 << 20).await, Outcome::OutOfMemory);
    assert_eq!(run_with_memory(&component, 64 << 20).await, Outcome::OutOfMemory);
}

#[tokio::test]
async fn a_guest_that_lives_with_refused_memory_is_done() {
    let component = plain("", "(drop (memory.grow (i32.const 60000))) i32.const 0");
    assert_eq!(run_with_memory(&component, 1 << 20).await, Outcome::Done);
}

#[tokio::test]
async fn many_tables_and_large_ones_are_out_of_memory() {
    let grow = "(loop $l (if (i32.eq (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))
        (then unreachable)) (br $l))";
    let component = plain("(table $t 1 funcref)", &format!("{grow} unreachable"));
    assert_eq!(run_with_memory(&component, 64 << 20).await, Outcome::OutOfMemory);
}

#[tokio::test]
async fn unbounded_recursion_is_a_trap() {
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
async fn an_answer_with_a_lying_length_is_a_trap() {
    for (address, length) in [(16_i64, u32::MAX), (0xffff_fff0, 64), (100, 0x7fff_ffff)] {
        let version = load(&plain(
            "",
            &format!(
                "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
                (i32.store (i32.const 16) (i32.const {address})) (i32.store (i32.const 20) (i32.const {length}))
                i32.const 0"
            ),
        ));
        let (reason, _) = trap(run(&version).await.outcome);
        assert!(reason.contains("out of bounds"), "{reason}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_text_or_nowhere_is_a_trap() {
    let invalid = plain(
        r#"(data (i32.const 100) "\ff\fe")"#,
        "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 16) (i32.const 100)) (i32.store (i32.const 20) (i32.const 2)) i32.const 0",
    );
    for component in [invalid, plain("", "i32.const -8"), plain("", "i32.const 3")] {
        trap(run(&load(&component)).await.outcome);
    }
}

#[tokio::test]
async fn lists_that_overlap_cannot_make_the_host_copy_without_bound() {
    // 4,000 keys, each of them the same 60 KB: 240 MB for the host out of 256 KiB of the guest.
    let component = worker(
        r#"(import "sandhog:worker/kv@0.1.0" "get-many" (func $get_many (param i32 i32 i32)))"#,
        "",
        "(local $i i32)
        (memory.fill (i32.const 131072) (i32.const 97) (i32.const 60000))
        (loop $l
            (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 131072))
            (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 8))) (i32.const 60000))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 4000))))
        (call $get_many (i32.const 65536) (i32.const 4000) (i32.const 64))
        i32.const 0",
    );
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let version = sandbox().load(Terms { limits, ..terms() }, &component).unwrap();
    let (reason, _) = trap(run(&version).await.outcome);
    assert!(reason.contains("fuel"), "{reason}");
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
