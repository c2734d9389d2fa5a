//! Snapshots: what they begin with, and what none can be made of.

use sandhog::sandbox::snapshot::WarmUp;
use sandhog::sandbox::{Outcome, SnapshotError, Version};

use crate::support::guest::{context, job, load, no_redis, sandbox, terms, wasi_worker, worker};

/// Counts its starts in a global and its jobs in memory, and traps unless both together are at least what the job says.
fn counter() -> Vec<u8> {
    worker(
        "",
        "(global $starts (mut i32) (i32.const 0))
        (func $begin (global.set $starts (i32.add (global.get $starts) (i32.const 1))))
        (start $begin)",
        "(if (i32.lt_u (i32.add (global.get $starts) (i32.load (i32.const 1000))) (i32.load8_u (local.get $payload)))
            (then unreachable))
        (i32.store (i32.const 1000) (i32.add (i32.load (i32.const 1000)) (i32.const 1)))
        i32.const 0",
    )
}

async fn snapshot(component: &[u8], payloads: &[&[u8]]) -> Result<Vec<u8>, SnapshotError> {
    let jobs: Vec<_> = payloads.iter().map(|payload| job(payload)).collect();
    let context = context(no_redis());
    sandbox().snapshot(terms(), component, Some(WarmUp { jobs: &jobs, context: &context })).await
}

/// Whether starts and jobs together are at least so many in a fresh run, and no more.
async fn assert_counts(version: &Version, count: u8) {
    for _ in 0..2 {
        let run = async |least| version.run_job(job(&[least]), &context(no_redis())).await.outcome;
        assert_eq!(run(count).await, Outcome::Done, "{count}");
        assert_eq!(run(count + 1).await.kind(), "trapped", "{count}");
    }
}

#[tokio::test]
async fn runs_begin_where_start_and_jobs_have_left_off() {
    assert_counts(&load(&counter()), 1).await;
    assert_counts(&load(&snapshot(&counter(), &[]).await.unwrap()), 1).await;
    let warm = snapshot(&counter(), &[&[1], &[2]]).await.unwrap();
    assert_counts(&load(&warm), 3).await;
    let warmer = snapshot(&warm, &[&[3]]).await.unwrap();
    assert_counts(&load(&warmer), 4).await;
}

#[tokio::test]
async fn a_job_that_fails_makes_none() {
    let refused = snapshot(&counter(), &[&[1], &[9]]).await.unwrap_err().to_string();
    assert!(refused.starts_with("does not complete job 2: trapped: "), "{refused}");
}

#[tokio::test]
async fn one_that_works_only_once_makes_none() {
    let once = worker(
        "",
        "",
        "(if (i32.load (i32.const 1000)) (then unreachable)) (i32.store (i32.const 1000) (i32.const 1)) i32.const 0",
    );
    assert!(snapshot(&once, &[]).await.is_ok());
    let refused = snapshot(&once, &[b""]).await.unwrap_err().to_string();
    assert!(refused.starts_with("does not work any more once it is a snapshot: it does not complete job 1"));
}

#[tokio::test]
async fn a_handle_of_standard_output_is_nothing_to_begin_with() {
    let import = r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))"#;
    let said = wasi_worker(import, "", "(drop (call $stdout)) i32.const 0");
    assert!(snapshot(&said, &[]).await.is_ok());
    assert!(matches!(snapshot(&said, &[b""]).await, Err(SnapshotError::Resources)));
}

#[tokio::test]
async fn tables_that_change_and_what_is_no_component_are_told() {
    let grows =
        worker("", "(table 1 funcref)", "(drop (table.grow (ref.null func) (i32.const 1))) i32.const 0");
    for (component, said) in [
        (grows.as_slice(), "cannot be looked into: unsupported `table.grow` instruction"),
        (b"some text", "is a text file, not a WebAssembly component"),
        (b"\0asm\x01\0\0\0", "is a core module, not a component"),
    ] {
        assert_eq!(snapshot(component, &[]).await.unwrap_err().to_string(), said);
    }
}

#[tokio::test]
async fn memory_that_has_grown_is_there_from_the_beginning() {
    let grows = worker(
        "",
        "",
        "(if (i32.lt_u (memory.size) (i32.const 10)) (then (drop (memory.grow (i32.const 6)))))
        (i32.store (i32.const 600000) (i32.const 7)) i32.const 0",
    );
    let warm = load(&snapshot(&grows, &[b""]).await.unwrap());
    let report = warm.run_job(job(b""), &context(no_redis())).await;
    assert_eq!((report.outcome, report.memory_peak_bytes), (Outcome::Done, 10 << 16));
}
