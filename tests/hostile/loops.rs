//! Guests that do not end: cut by the wall clock of a run, wherever they loop, sleep or recurse.

use super::attack::Ends::{Dead, Refused};
use super::attack::{Attack, attacker, attacks, by_hand, when_attacking};
use crate::support::guest::{component, wasi_worker, worker};

const ENDLESS: &str = "(loop $l (br $l)) unreachable";
const EXISTS: &str = r#"(import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))"#;
const INCREMENT: &str =
    r#"(import "sandhog:worker/kv@0.1.0" "increment" (func $increment (param i32 i32 i64 i32)))"#;

attacks! {
    endless_loop: "`timeout`", Dead("timed out"), Attack::of(attacker("", "", ENDLESS)).hurried();
    endless_loop_of_host_calls: "`timeout`", Dead("timed out"), Attack::of(attacker(EXISTS, "",
        "(loop $l (call $exists (i32.const 0) (i32.const 1) (i32.const 1024)) (br $l)) unreachable")).hurried();
    endless_loop_in_the_start_function: "5 s to start", Refused("does not start within 5 s"),
        worker("", "(func $start (loop $l (br $l))) (start $start)", "i32.const 0");
    endless_loop_in_the_start_function_of_runs_only: "`timeout`", Dead("timed out"),
        Attack::of(by_hand(
            // Refused while the component is tried, answered in a run.
            "(call $exists (i32.const 0) (i32.const 1) (i32.const 64))
            (if (i32.eqz (i32.load8_u (i32.const 64))) (then (loop $l (br $l))))", "")).hurried().always();
    endless_loop_in_realloc: "`timeout`", Dead("timed out"), Attack::of(endless_realloc()).hurried().always();
    endless_loop_in_post_return: "`timeout`", Dead("timed out"), Attack::of(attacker("",
        r#"(global $armed (mut i32) (i32.const 0))
        (func (export "cabi_post_sandhog:worker/handler@0.1.0#handle") (param i32)
            (if (global.get $armed) (then (loop $l (br $l)))))"#,
        "(global.set $armed (i32.const 1)) i32.const 0")).hurried();
    endless_bulk_fills: "`timeout`", Dead("timed out"), Attack::of(attacker("", "",
        "(drop (memory.grow (i32.const 900)))
        (loop $l (memory.fill (i32.const 65536) (i32.const 7) (i32.const 58000000)) (br $l)) unreachable"))
        .hurried();
    endless_sleep: "`timeout`", Dead("timed out"), Attack::of(wasi_worker(
        r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#, "",
        &when_attacking("(call $block (call $after (i64.const 1000000000000000))) i32.const 0"))).hurried();
    unbounded_recursion: "stack of 256 KiB", Dead("stack overflow"),
        attacker("", "(func $f (result i32) (call $f))", "call $f");
    good_in_every_try_and_bad_under_load: "`timeout`", Dead("timed out"), Attack::of(good_at_first())
        .before("SET runs 3").hurried();
}

/// A component whose allocator never answers: the host calls it to hand over the job.
fn endless_realloc() -> Vec<u8> {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (loop $l (br $l)) unreachable)
        (func (export "sandhog:worker/handler@0.1.0#handle")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32) i32.const 0))"#;
    component("queue-worker", text)
}

/// A component that works until it has been called three times: a counter in Redis tells it.
fn good_at_first() -> Vec<u8> {
    attacker(
        INCREMENT,
        r#"(data (i32.const 2048) "runs")"#,
        &format!(
            "(call $increment (i32.const 2048) (i32.const 4) (i64.const 1) (i32.const 1024))
            (if (i64.lt_s (i64.load (i32.const 1032)) (i64.const 4)) (then (return (i32.const 0)))) {ENDLESS}"
        ),
    )
}
