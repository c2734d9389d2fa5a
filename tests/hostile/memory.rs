//! Guests that take more than they may: memories, tables, instances.

use sandhog::sandbox::{Outcome, PoolSettings, Sandbox};

use super::attack::Ends::{Dead, Refused};
use super::attack::{Attack, attacker, attacks, by_hand};
use crate::support::guest::{compiling, run, terms, worker};

const GROW: &str =
    "(loop $l (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (br $l))
    unreachable";
const GROW_ALL: &str = "(loop $l
    (if (i32.eq (memory.grow $a (i32.const 1)) (i32.const -1)) (then unreachable))
    (if (i32.eq (memory.grow $b (i32.const 1)) (i32.const -1)) (then unreachable))
    (br $l)) unreachable";
const GROW_TABLE: &str =
    "(loop $l (if (i32.eq (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))
    (then unreachable)) (br $l)) unreachable";
const WRITE_ALL: &str = "(loop $l
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (memory.fill (i32.shl (i32.sub (memory.size) (i32.const 16)) (i32.const 16))
            (i32.const 7) (i32.const 1048576)) (br $l)) unreachable";

attacks! {
    memory_growth: "`limits.memory`", Dead("out of memory"),
        Attack::of(attacker("", "", GROW)).limits("memory = \"1MiB\"");
    memory_growth_with_every_page_written: "`limits.memory`", Dead("out of memory"), attacker("", "", WRITE_ALL);
    many_memories: "8 memories", Refused("exceeds the configured maximum of 8"), by_hand("", &memories(9));
    many_memories_that_grow: "`limits.memory`", Dead("out of memory"),
        Attack::of(attacker("", "(memory $a 1) (memory $b 1)", GROW_ALL)).limits("memory = \"2MiB\"");
    memory_larger_than_allowed_from_the_start: "`limits.memory`", Refused("needs more memory to start"),
        worker("", "(memory $large 2000)", "i32.const 0");
    table_growth: "100,000 elements", Dead("out of memory"),
        attacker("", "(table $t 1 funcref)", GROW_TABLE);
    table_larger_than_allowed_from_the_start: "100,000 elements", Refused("table"),
        worker("", "(table $t 200000 funcref)", "i32.const 0");
    many_tables: "100 tables", Refused("exceeds the configured maximum of 100"), by_hand("", &tables(101));
}

/// Core instances with a memory each.
fn memories(count: usize) -> String {
    let module = "(core module $m (memory 1))\n".to_owned();
    module + &"(core instance (instantiate $m))\n".repeat(count)
}

/// Core instances with ten tables each.
fn tables(count: usize) -> String {
    let tables = "(table 1 funcref)".repeat(10);
    format!("(core module $m {tables})\n") + &"(core instance (instantiate $m))\n".repeat(count.div_ceil(10))
}

/// Interpreters have dozens; what a component may have, every run of a full pool may.
#[tokio::test]
async fn as_many_core_instances_as_a_component_may_have_fit_into_the_last_place() {
    let pool = PoolSettings { instances: 1, memory_bytes_max: 64 << 20 };
    let items = "(core module $m)\n".to_owned() + &"(core instance (instantiate $m))\n".repeat(60);
    let version = Sandbox::new(&pool, compiling()).unwrap().load(terms(), &by_hand("", &items)).unwrap();
    assert_eq!(run(&version).await.outcome, Outcome::Done);
}
