//! Guests that lie about what they hand over: lengths, places, text, and every value of the canonical ABI that can be
//! odd. The contract has no characters, flags or floats to spoil.

use super::attack::Ends::Dead;
use super::attack::{Attack, attacker, attacks, when_attacking};
use crate::support::guest::{component, wasi_worker};

const GET: &str = r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
const GET_MANY: &str =
    r#"(import "sandhog:worker/kv@0.1.0" "get-many" (func $get_many (param i32 i32 i32)))"#;
const SET: &str = r#"(import "sandhog:worker/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#;
const SET_WITH: &str = r#"(import "sandhog:worker/kv@0.1.0" "set-with"
    (func $set_with (param i32 i32 i32 i32 i32 i64 i32 i32)))"#;
const POP: &str = r#"(import "sandhog:worker/queue@0.1.0" "pop" (func $pop (param i32 i32 i32 i32)))"#;
const BLOCK: &str = r#"(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#;
const KEY: &str = r#"(data (i32.const 2048) "key")"#;

attacks! {
    string_with_a_lying_length: "bounds of memory", Dead("out of bounds"),
        get("(i32.const 2048) (i32.const 0x7fffffff) (i32.const 1024)");
    string_beyond_the_memory: "bounds of memory", Dead("out of bounds"),
        get("(i32.const 0xfffffff0) (i32.const 8) (i32.const 1024)");
    string_around_the_end_of_addresses: "bounds of memory", Dead("out of bounds"),
        get("(i32.const 0xfffffff0) (i32.const 64) (i32.const 1024)");
    answer_wanted_beyond_the_memory: "bounds of memory", Dead("out of bounds"),
        get("(i32.const 2048) (i32.const 3) (i32.const 0xfffffff0)");
    answer_wanted_at_an_odd_place: "alignment", Dead("not aligned"),
        get("(i32.const 2048) (i32.const 3) (i32.const 1025)");
    string_that_is_not_utf8: "UTF-8", Dead("utf-8"), attacker(GET, r#"(data (i32.const 2048) "\ff\fe\80")"#,
        "(call $get (i32.const 2048) (i32.const 3) (i32.const 1024)) i32.const 0");
    list_with_a_lying_length: "bounds of memory", Dead("out of bounds"), attacker(SET, KEY,
        "(call $set (i32.const 2048) (i32.const 3) (i32.const 0) (i32.const -1) (i32.const 1024)) i32.const 0");
    list_whose_size_overflows: "bounds of memory", Dead("out of bounds"),
        get_many("(i32.const 2048) (i32.const 0x20000001) (i32.const 1024)");
    list_at_an_odd_place: "alignment", Dead("not aligned"),
        get_many("(i32.const 2049) (i32.const 1) (i32.const 1024)");
    list_of_2_gib: "copies of one call", Dead("handed over more than 4 MiB in one call"),
        Attack::of(attacker(SET, KEY, "(if (i32.eq (memory.grow (i32.const 32800)) (i32.const -1)) (then unreachable))
            (call $set (i32.const 2048) (i32.const 3) (i32.const 0) (i32.const 0x80000000) (i32.const 1024))
            i32.const 0"))
        .limits("memory = \"3GiB\"").ceilings(|settings| settings.ceilings.memory_bytes = 3 << 30);
    list_whose_elements_overlap: "copies of one call", Dead("handed over more than 4 MiB in one call"),
        attacker(GET_MANY, "", OVERLAPPING);
    enum_without_a_name: "canonical ABI", Dead("discriminant"),
        set_with("(i32.const 0) (i64.const 0) (i32.const 9) (i32.const 1024)");
    enum_of_another_interface_without_a_name: "canonical ABI", Dead("discriminant"), attacker(POP, KEY,
        "(call $pop (i32.const 2048) (i32.const 3) (i32.const 77) (i32.const 1024)) i32.const 0");
    option_that_is_neither: "canonical ABI", Dead("discriminant"),
        set_with("(i32.const 7) (i64.const 0) (i32.const 0) (i32.const 1024)");
    result_that_is_neither: "canonical ABI", Dead("discriminant"),
        attacker("", "", "(i32.store8 (i32.const 0) (i32.const 7)) i32.const 0");
    variant_without_a_name: "canonical ABI", Dead("discriminant"), attacker("", "",
        "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 200)) i32.const 0");
    answer_beyond_the_memory: "bounds of memory", Dead("out of bounds"), attacker("", "", "i32.const -8");
    answer_at_an_odd_place: "alignment", Dead("not aligned"), attacker("", "", "i32.const 3");
    answer_with_a_lying_length: "bounds of memory", Dead("out of bounds"), buries("16", "0x7fffffff");
    answer_that_is_not_utf8: "UTF-8", Dead("utf-8"), attacker("", r#"(data (i32.const 100) "\ff\fe")"#,
        "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 16) (i32.const 100)) (i32.store (i32.const 20) (i32.const 2)) i32.const 0");
    answer_of_megabytes: "reason of 1 KiB", Dead("aaaa"), buries("65536", "(i32.const 65536)");
    realloc_that_answers_nowhere: "bounds of memory", Dead("beyond end of memory"),
        Attack::of(realloc("(i32.const 0xfffffff0)")).always();
    realloc_that_answers_an_odd_place: "alignment", Dead("aligned"),
        Attack::of(realloc("(i32.const 4097)")).always();
    realloc_that_traps: "trap", Dead("unreachable"), Attack::of(realloc("unreachable")).always();
    realloc_that_calls_the_host: "canonical ABI", Dead("cannot leave component instance"),
        Attack::of(reentrant("cabi_realloc", "(param i32 i32 i32 i32) (result i32)")).always();
    post_return_that_calls_the_host: "canonical ABI", Dead("cannot leave component instance"),
        Attack::of(reentrant("cabi_post_sandhog:worker/handler@0.1.0#handle", "(param i32)")).always();
    handle_that_was_never_given: "canonical ABI", Dead("unknown handle index"),
        wasi_worker(BLOCK, "", &when_attacking("(call $block (i32.const 4711)) i32.const 0"));
    handle_used_twice: "canonical ABI", Dead("unknown handle index"), wasi_worker(
        &format!(r#"{BLOCK} (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
            (func $after (param i64) (result i32)))
            (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))"#),
        "", &when_attacking("(local.set $i (call $after (i64.const 0))) (call $drop (local.get $i))
            (call $drop (local.get $i)) i32.const 0"));
}

/// 4,000 keys, each of them the same 60 KB: 240 MB for the host out of 256 KiB of the guest.
const OVERLAPPING: &str = "
    (memory.fill (i32.const 131072) (i32.const 97) (i32.const 60000))
    (loop $l
        (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 131072))
        (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 8))) (i32.const 60000))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 4000))))
    (call $get_many (i32.const 65536) (i32.const 4000) (i32.const 1024))
    i32.const 0";

fn get(arguments: &str) -> Vec<u8> {
    attacker(GET, KEY, &format!("(call $get {arguments}) i32.const 0"))
}

fn get_many(arguments: &str) -> Vec<u8> {
    attacker(GET_MANY, KEY, &format!("(call $get_many {arguments}) i32.const 0"))
}

/// `set-with` with these options, condition and place of the answer.
fn set_with(arguments: &str) -> Vec<u8> {
    let body = format!(
        "(call $set_with (i32.const 2048) (i32.const 3) (i32.const 2048) (i32.const 3) {arguments}) i32.const 0"
    );
    attacker(SET_WITH, KEY, &body)
}

/// Buries its job with so many bytes of what is at this address as the reason.
fn buries(at: &str, length: &str) -> Vec<u8> {
    let length = if length.starts_with('(') { length.to_owned() } else { format!("(i32.const {length})") };
    attacker(
        "",
        "",
        &format!(
            "(memory.fill (i32.const 65536) (i32.const 97) (i32.const 65536))
            (i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
            (i32.store (i32.const 16) (i32.const {at})) (i32.store (i32.const 20) {length}) i32.const 0"
        ),
    )
}

/// A worker with this allocator.
fn realloc(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {body})
        (func (export "sandhog:worker/handler@0.1.0#handle")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32) i32.const 0))"#
    );
    component("queue-worker", &text)
}

/// A worker that calls the host from where it may not.
fn reentrant(function: &str, signature: &str) -> Vec<u8> {
    let (call, answer) = ("(call $get (i32.const 0) (i32.const 1) (i32.const 1024))", "(i32.const 8192)");
    let is_realloc = function == "cabi_realloc";
    let (at_fault, allocates) =
        if is_realloc { (format!("{call} {answer}"), "") } else { (call.to_owned(), answer) };
    let allocator = if is_realloc {
        String::new()
    } else {
        format!(r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {allocates})"#)
    };
    let text = format!(
        r#"(module {GET} (memory (export "memory") 1) {allocator}
        (func (export "{function}") {signature} {at_fault})
        (func (export "sandhog:worker/handler@0.1.0#handle")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32) i32.const 0))"#
    );
    component("queue-worker", &text)
}
