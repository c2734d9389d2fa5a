//! Small requests for giant replies: nothing is fetched that a run may not have. Redis tells how much it has sent.

use super::attack::Ends::{Dead, Done};
use super::attack::{Attack, attacker, attacks, told};

const GET: &str = r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
const GET_MANY: &str =
    r#"(import "sandhog:worker/kv@0.1.0" "get-many" (func $get_many (param i32 i32 i32)))"#;
const LIST_KEYS: &str = r#"(import "sandhog:worker/kv@0.1.0" "list-keys"
    (func $list_keys (param i32 i32 i32 i32 i32 i32)))"#;
const PEEK: &str = r#"(import "sandhog:worker/queue@0.1.0" "peek" (func $peek (param i32 i32 i32 i32)))"#;
const POP: &str = r#"(import "sandhog:worker/queue@0.1.0" "pop" (func $pop (param i32 i32 i32 i32)))"#;
const INCREMENT: &str =
    r#"(import "sandhog:worker/kv@0.1.0" "increment" (func $increment (param i32 i32 i64 i32)))"#;
const BIG: &str = r#"(data (i32.const 2048) "big")"#;

/// Bytes of a giant value.
const GIANT_BYTES: usize = 4 << 20;
/// What the host and the test itself are sent beside it: claims, leases, statistics.
const ELSE_BYTES: u64 = 64 << 10;
/// `limits.value` of these plugins, and one byte by which a longer value is known.
const VALUE_BYTES: u64 = (64 << 10) + 1;

attacks! {
    giant_value_by_get: "`limits.value`", Dead("value"), giant_value(get()).sends_at_most(VALUE_BYTES + ELSE_BYTES);
    giant_value_by_get_in_the_atomic_mode: "`limits.value`", Dead("value"),
        giant_value(get()).atomic().sends_at_most(VALUE_BYTES + ELSE_BYTES);
    giant_value_by_increment_in_the_atomic_mode: "`limits.value`", Dead("big"),
        giant_value(attacker(INCREMENT, BIG, &format!(
            "(call $increment (i32.const 2048) (i32.const 3) (i64.const 1) (i32.const 1024)) {}", told(8, 1))))
        .atomic().sends_at_most(VALUE_BYTES + ELSE_BYTES);
    thousand_values_by_get_many: "`limits.value`", Dead("value"),
        giant_value(get_many()).sends_at_most(ELSE_BYTES);
    thousand_values_by_get_many_in_the_atomic_mode: "`limits.value`", Dead("value"),
        giant_value(get_many()).atomic().sends_at_most(ELSE_BYTES);
    thousands_of_long_keys_by_list_keys: "a page of keys", Done, Attack::of(attacker(LIST_KEYS, BIG,
            "(call $list_keys (i32.const 2048) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 1024))
            (if (i32.load8_u (i32.const 1024)) (then unreachable)) i32.const 0"))
        .before_script("for i = 1, 4000 do redis.call('SET', 'big' .. i .. string.rep('x', 900), '') end")
        .sends_at_most(256 << 10);
    giant_entries_by_peek: "`limits.value`", Dead("value"), giant_entries(peek()).sends_at_most(ELSE_BYTES);
    giant_entries_by_peek_in_the_atomic_mode: "`limits.value`", Dead("value"),
        giant_entries(peek()).atomic().sends_at_most(ELSE_BYTES);
    giant_entry_by_pop: "`limits.value`", Dead("value"),
        giant_entries(pop()).after("LLEN big", 2).sends_at_most(ELSE_BYTES);
    giant_entry_by_pop_in_the_atomic_mode: "`limits.value`", Dead("value"),
        giant_entries(pop()).atomic().after("LLEN big", 2).sends_at_most(ELSE_BYTES);
}

fn giant_value(component: Vec<u8>) -> Attack {
    Attack::of(component).limits("value = \"64KiB\"").before_with("SET big", vec![b'x'; GIANT_BYTES])
}

fn giant_entries(component: Vec<u8>) -> Attack {
    let attack = Attack::of(component).limits("value = \"64KiB\"");
    attack.before_with("RPUSH big", vec![b'x'; GIANT_BYTES]).before_with("RPUSH big", vec![b'x'; GIANT_BYTES])
}

fn get() -> Vec<u8> {
    attacker(GET, BIG, &format!("(call $get (i32.const 2048) (i32.const 3) (i32.const 1024)) {}", told(4, 2)))
}

/// Asks for the same value a thousand times.
fn get_many() -> Vec<u8> {
    let body = format!(
        "(loop $l
            (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 2048))
            (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 8))) (i32.const 3))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
        (call $get_many (i32.const 65536) (i32.const 1000) (i32.const 1024)) {}",
        told(4, 2)
    );
    attacker(GET_MANY, BIG, &body)
}

fn peek() -> Vec<u8> {
    let body = format!(
        "(call $peek (i32.const 2048) (i32.const 3) (i32.const 1000) (i32.const 1024)) {}",
        told(4, 2)
    );
    attacker(PEEK, BIG, &body)
}

fn pop() -> Vec<u8> {
    let body =
        format!("(call $pop (i32.const 2048) (i32.const 3) (i32.const 0) (i32.const 1024)) {}", told(4, 2));
    attacker(POP, BIG, &body)
}
