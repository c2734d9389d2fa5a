//! Instances that are kept for the next job: how long, what is in them, and that nothing else is.

mod host;

use std::sync::Arc;
use std::time::Duration;

use sandhog::sandbox::{Instance, JobCall, Kind, Limits, Outcome, RunContext, RunReport, Terms, Version};

use crate::support::guest::{component, context, job, no_redis, sandbox, terms, wasi_worker, worker};
use crate::support::log::capture;

/// A worker that counts its runs in its memory. What the payload begins with is what it does: `d`iscard, `b`ury and
/// `r`etry with a reason as long as its count, `t`rap, `w`ait for ever, `g`row by six pages and discard.
fn counter() -> Vec<u8> {
    worker(
        "",
        r#"(global $n (mut i32) (i32.const 0)) (data (i32.const 1000) "xxxxxxxxxxxxxxxxxxxxxxxx")"#,
        r#"(local $what i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (local.set $what (i32.load8_u (local.get $payload)))
        (if (i32.eq (local.get $what) (i32.const 0x74)) (then unreachable))
        (if (i32.eq (local.get $what) (i32.const 0x77)) (then (loop $l (br $l))))
        (if (i32.eq (local.get $what) (i32.const 0x67)) (then (drop (memory.grow (i32.const 6)))))
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 64))
        (i32.store8 (i32.const 0) (i32.const 1))
        (i32.store8 (i32.const 8) (i32.const 2))
        (if (i32.eq (local.get $what) (i32.const 0x62)) (then (i32.store8 (i32.const 8) (i32.const 1))))
        (if (i32.eq (local.get $what) (i32.const 0x72)) (then (i32.store8 (i32.const 8) (i32.const 0))))
        (i32.store (i32.const 16) (i32.const 1000))
        (i32.store (i32.const 20) (global.get $n))
        i32.const 0"#,
    )
}

fn version(component: &[u8], reuse: u32) -> Version {
    // Sixteen pages; the counter starts with four.
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    sandbox().load(Terms { reuse, limits, ..terms() }, component).unwrap()
}

async fn run(version: &Version, kept: &mut Option<Instance>, payload: &str) -> RunReport {
    let context = RunContext { timeout: Duration::from_millis(500), ..context(no_redis()) };
    version.run_job_in(kept, job(payload.as_bytes()), &context).await
}

/// Which run of its instance each of these was; 0 for one that could not tell.
async fn counts(version: &Version, payloads: &str) -> Vec<usize> {
    let (mut kept, mut counts) = (None, Vec::new());
    for payload in payloads.chars() {
        counts.push(match run(version, &mut kept, &payload.to_string()).await.outcome {
            Outcome::Discarded(reason) | Outcome::Buried(reason) | Outcome::Retry { reason, .. } => {
                reason.len()
            }
            _ => 0,
        });
    }
    counts
}

#[tokio::test]
async fn an_instance_has_so_many_runs_and_no_more() {
    let guest = counter();
    assert_eq!(counts(&version(&guest, 1), "ddd").await, [1, 1, 1]);
    assert_eq!(counts(&version(&guest, 3), "ddddddd").await, [1, 2, 3, 1, 2, 3, 1]);
}

#[tokio::test]
async fn any_failure_ends_an_instance() {
    let version = version(&counter(), 100);
    assert_eq!(counts(&version, "ddtdbdrdwd").await, [1, 2, 0, 1, 2, 1, 2, 1, 0, 1]);
}

#[tokio::test]
async fn an_instance_whose_memory_has_grown_beyond_half_of_it_is_given_up() {
    // From four pages to ten of sixteen.
    assert_eq!(counts(&version(&counter(), 100), "dgdd").await, [1, 2, 1, 2]);
    // One that needs so much from its first run on is kept.
    assert_eq!(counts(&version(&counter(), 100), "gdd").await, [1, 2, 3]);
}

#[tokio::test]
async fn an_instance_serves_its_own_version_only() {
    let guest = counter();
    let (one, other) = (version(&guest, 100), version(&guest, 100));
    let mut kept = None;
    for (version, count) in [(&one, 1), (&one, 2), (&other, 1), (&one, 1)] {
        let report = run(version, &mut kept, "d").await;
        assert_eq!(report.outcome, Outcome::Discarded("x".repeat(count)));
    }
}

#[tokio::test]
async fn limits_count_for_each_run() {
    let import = r#"(import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))"#;
    // Two calls to a Redis that is not there: the first is `unavailable` (3), the second beyond the quota (2).
    let call = "(call $exists (i32.const 1000) (i32.const 1) (i32.const 2000))";
    let unless = |code: u32| {
        format!("{call} (if (i32.ne (i32.load8_u (i32.const 2004)) (i32.const {code})) (then unreachable))")
    };
    let guest =
        worker(import, r#"(data (i32.const 1000) "k")"#, &format!("{} {} i32.const 0", unless(3), unless(2)));
    let limits = Limits { kv_calls: 1, ..Limits::default() };
    let grants = crate::support::guest::all_grants();
    let version = sandbox().load(Terms { reuse: 9, limits, grants, ..terms() }, &guest).unwrap();
    let mut kept = None;
    for _ in 0..3 {
        let report = run(&version, &mut kept, "").await;
        assert_eq!((report.outcome, report.usage.calls), (Outcome::Done, 1));
        assert!(kept.is_some());
    }
}

#[tokio::test]
async fn what_a_run_says_is_said_of_its_own_job() {
    let captured = capture();
    let guest = wasi_worker(
        r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))"#,
        r#"(global $out (mut i32) (i32.const -1)) (data (i32.const 1000) "whole\nhalf")"#,
        "(if (i32.eq (global.get $out) (i32.const -1)) (then (global.set $out (call $stdout))))
        (call $write (global.get $out) (i32.const 1000) (i32.const 10) (i32.const 100)) i32.const 0",
    );
    let version = version(&guest, 9);
    let (mut kept, context) = (None, context(no_redis()));
    for id in ["first", "second"] {
        let report = version.run_job_in(&mut kept, JobCall { id, ..job(b"") }, &context).await;
        assert_eq!(report.outcome, Outcome::Done);
    }
    let said = captured.guest_lines().into_iter().map(|line| {
        let part = |name: &str| line.split_once(name).unwrap().1.split([' ', '"']).next().unwrap().to_owned();
        (part("job="), part(" text=\""))
    });
    let said: Vec<(String, String)> = said.collect();
    let expected = [("first", "whole"), ("first", "half"), ("second", "whole"), ("second", "half")];
    assert_eq!(said, expected.map(|(job, text)| (job.to_owned(), text.to_owned())));
}

#[tokio::test]
async fn settings_are_those_of_the_run() {
    let captured = capture();
    let guest = worker(
        r#"(import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))
        (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 1000) "name")"#,
        "(call $get (i32.const 1000) (i32.const 4) (i32.const 2000))
        (call $log (i32.const 2) (i32.const 1000) (i32.const 4) (i32.load (i32.const 2008)) (i32.load (i32.const 2012)))
        i32.const 0",
    );
    let version = version(&guest, 9);
    let mut kept = None;
    for value in ["old", "new"] {
        let settings = Arc::new([("name".to_owned(), value.to_owned())].into());
        let context = RunContext { settings, ..context(no_redis()) };
        assert_eq!(version.run_job_in(&mut kept, job(b""), &context).await.outcome, Outcome::Done);
    }
    let said = captured.guest_lines();
    assert!(said[0].contains("text=\"old\"") && said[1].contains("text=\"new\""), "{said:?}");
}

#[tokio::test]
async fn a_batch_worker_is_kept_by_calls() {
    // Answers one `ok` for each call; with more than one job that is a wrong number, and a failure.
    let text = r#"(module $guest (memory (export "memory") 4)
        (global $n (mut i32) (i32.const 0))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "sandhog:worker/batch-handler@0.1.0#handle-batch") (param i32 i32) (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (memory.fill (i32.const 0) (i32.const 0) (i32.const 128))
            (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1))
            (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 24) (i32.const 2))
            (i32.store (i32.const 32) (i32.const 1000)) (i32.store (i32.const 36) (global.get $n))
            i32.const 0)
        (data (i32.const 1000) "xxxxxxxx"))"#;
    let terms = Terms { kind: Kind::BatchWorker, reuse: 3, ..terms() };
    let version = sandbox().load(terms, &component("batch-worker", text)).unwrap();
    let (mut kept, context) = (None, context(no_redis()));
    let mut counts = Vec::new();
    for jobs in [1, 1, 2, 1, 1, 1, 1] {
        let report = version.run_batch_in(&mut kept, &vec![job(b""); jobs], &context).await;
        counts.push(report.answers.first().map_or(0, |answer| answer.reason().len()));
    }
    assert_eq!(counts, [1, 2, 0, 1, 2, 3, 1]);
}
