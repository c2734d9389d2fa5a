//! WASI 0.2: there when it is imported, and with nothing granted.

use sandhog::sandbox::{Limits, Outcome, Terms};

use crate::support::guest::{load, run, sandbox, terms, wasi_worker};
use crate::support::log::capture;

const STDOUT: &str = r#"
    (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))"#;

#[tokio::test]
async fn environment_arguments_and_files_are_empty() {
    let version = load(&wasi_worker(
        r#"(import "wasi:cli/environment@0.2.0" "get-environment" (func $env (param i32)))
        (import "wasi:cli/environment@0.2.0" "get-arguments" (func $args (param i32)))
        (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $dirs (param i32)))"#,
        "",
        "(i32.store (i32.const 104) (i32.const 9)) (call $env (i32.const 100))
        (i32.store (i32.const 124) (i32.const 9)) (call $args (i32.const 120))
        (i32.store (i32.const 144) (i32.const 9)) (call $dirs (i32.const 140))
        (if (i32.or (i32.load (i32.const 104)) (i32.or (i32.load (i32.const 124)) (i32.load (i32.const 144))))
            (then unreachable))
        i32.const 0",
    ));
    assert_eq!(run(&version).await.outcome, Outcome::Done);
}

#[tokio::test]
async fn clocks_and_random_numbers_work() {
    let version = load(&wasi_worker(
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
        (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))"#,
        "",
        "(if (i64.eq (call $random) (call $random)) (then unreachable))
        (drop (call $now)) i32.const 0",
    ));
    assert_eq!(run(&version).await.outcome, Outcome::Done);
}

#[tokio::test]
async fn standard_streams_become_escaped_log_lines() {
    let captured = capture();
    let version = load(&wasi_worker(
        &format!(r#"{STDOUT} (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))"#),
        r#"(data (i32.const 1000) "one\nt\1b[2Jwo\nunfinished") (data (i32.const 2000) "oh no\n")"#,
        "(call $write (call $stdout) (i32.const 1000) (i32.const 10) (i32.const 100))
        (call $write (call $stdout) (i32.const 1010) (i32.const 12) (i32.const 100))
        (call $write (call $stderr) (i32.const 2000) (i32.const 6) (i32.const 100)) i32.const 0",
    ));
    assert_eq!(run(&version).await.outcome, Outcome::Done);
    let short = version.short_digest();
    let line = |level: &str, context: &str, text: &str| {
        format!(r#"{level} guest: plugin=test version={short} job=job-1 context="{context}" text="{text}""#)
    };
    assert_eq!(
        captured.guest_lines(),
        [
            line("INFO", "stdout", "one"),
            line("INFO", "stdout", r"t\\u{1b}[2Jwo"),
            line("WARN", "stderr", "oh no"),
            line("INFO", "stdout", "unfinished"),
        ]
    );
}

#[tokio::test]
async fn a_flood_on_stdout_is_cut_and_counted() {
    let captured = capture();
    let component = wasi_worker(
        STDOUT,
        "",
        "(local $i i32) (memory.fill (i32.const 1000) (i32.const 97) (i32.const 4000))
        (loop $l (call $write (call $stdout) (i32.const 1000) (i32.const 4000) (i32.const 100))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 500)))) i32.const 0",
    );
    let limits = Limits { log_bytes: 10_000, ..Limits::default() };
    let version = sandbox().load(Terms { limits, ..terms() }, &component).unwrap();
    let report = run(&version).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert!(report.log_dropped_bytes > 1_900_000, "{}", report.log_dropped_bytes);
    let lines = captured.guest_lines();
    assert!(lines.iter().map(String::len).sum::<usize>() < 11_000);
    let last = lines.last().unwrap();
    let expected =
        format!("dropped {} bytes of log beyond `limits.log_bytes` (10000)", report.log_dropped_bytes);
    assert!(last.contains(&expected), "{last}");
}
