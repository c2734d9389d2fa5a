//! Guests that do without end what they may do a few times. What they say is in `logs`.

use super::attack::Ends::{Dead, Done};
use super::attack::{Attack, attacker, attacks, told, when_attacking};
use crate::support::guest::wasi_worker;

const EXISTS: &str = r#"(import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))"#;
const SET: &str = r#"(import "sandhog:worker/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#;
const PUSH: &str = r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;
const PUSH_WITH: &str = r#"(import "sandhog:worker/queue@0.1.0" "push-with"
    (func $push_with (param i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i64 i32)))"#;
const LOG: &str =
    r#"(import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
const STDOUT: &str = r#"
    (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))"#;
const NAME: &str = r#"(data (i32.const 2048) "flood")"#;
const AFTER: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
    (func $after (param i64) (result i32)))"#;
const RANDOM: &str =
    r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#;

attacks! {
    flood_of_calls: "`limits.kv_calls`", Dead("kv_calls"), attacker(EXISTS, NAME, &until_refused(
        "(call $exists (i32.const 2048) (i32.const 5) (i32.const 1024))", 4));
    flood_of_pushes: "`limits.effects`", Dead("effects"),
        Attack::of(attacker(PUSH, NAME, &push())).after("LLEN flood", 1000);
    flood_of_pushes_in_the_atomic_mode: "`limits.effects`", Dead("effects"),
        Attack::of(attacker(PUSH, NAME, &push())).atomic().after("EXISTS flood", 0);
    flood_of_delayed_jobs: "`limits.effects`", Dead("effects"), Attack::of(attacker(PUSH_WITH, NAME, &until_refused(
        "(call $push_with (i32.const 2048) (i32.const 5) (i32.const 2048) (i32.const 5) (i32.const 0)
            (i32.const 1) (i64.const 60000) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)
            (i32.const 1024))", 8))).limits("effects = 50").after("ZCARD {flood}:sandhog:delayed", 50);
    flood_of_bytes_held_back: "4 MiB of effects", Dead("effect-bytes"), Attack::of(attacker(SET, NAME, &until_refused(
        "(call $set (i32.const 2048) (i32.const 5) (i32.const 65536) (i32.const 190000) (i32.const 1024))", 4)))
        .atomic().after("EXISTS flood", 0);
    flood_of_log_lines: "`limits.log_bytes`", Done, attacker(LOG, NAME, "(loop $l
        (call $log (i32.const 2) (i32.const 2048) (i32.const 5) (i32.const 2048) (i32.const 5))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 200000)))) i32.const 0");
    flood_on_stdout: "`limits.log_bytes`", Done, wasi_worker(STDOUT, "", &when_attacking(
        "(memory.fill (i32.const 4096) (i32.const 97) (i32.const 4096)) (local.set $j (call $stdout))
        (loop $l
            (call $write (local.get $j) (i32.const 4096) (i32.const 4096) (i32.const 1024))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 5000)))) i32.const 0"));
    one_write_of_megabytes_on_stdout: "copies of one call", Dead("handed over more than 3 MiB in one call"),
        Attack::of(wasi_worker(STDOUT, "", &when_attacking("(drop (memory.grow (i32.const 64)))
            (call $write (call $stdout) (i32.const 4096) (i32.const 4000000) (i32.const 1024)) i32.const 0")))
        .limits("value = \"1KiB\"");
    flood_of_resources: "1,000 handles", Dead("table"), wasi_worker(AFTER, "", &when_attacking(
        "(loop $l (drop (call $after (i64.const 1000000000000000))) (br $l)) unreachable"));
    endless_random_bytes: "64 KiB in one call", Dead("exceeds limit 65536"), wasi_worker(RANDOM, "", &when_attacking(
        "(call $random (i64.const 0x7fffffffffff) (i32.const 1024)) i32.const 0"));
}

/// Calls again and again, until it is refused for a bound.
fn until_refused(call: &str, at: usize) -> String {
    format!("(loop $l {call} (br_if $l (i32.eqz (i32.load8_u (i32.const 1024))))) {}", told(at, 2))
}

fn push() -> String {
    until_refused(
        "(call $push (i32.const 2048) (i32.const 5) (i32.const 2048) (i32.const 5) (i32.const 1024))",
        8,
    )
}
