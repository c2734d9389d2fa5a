//! Components that are costly to read, to compile or to instantiate: refused at load, by the engine's bounds or by the
//! compiler's in its own process. The host goes on meanwhile.

use std::time::Duration;

use super::attack::Ends::Refused;
use super::attack::{Attack, attacks, by_hand};
use crate::support::guest::worker;

/// What compiling may take: enough for every honest guest of these tests.
const COMPILE_MEMORY_BYTES: u64 = 256 << 20;
const COMPILE_TIME: Duration = Duration::from_secs(2);

attacks! {
    hundreds_of_core_instances: "64 instances", Refused("exceeds the configured maximum of 64"),
        by_hand("", &instances(900));
    thousands_of_core_instances: "1,000 instances", Refused("exceeds limit of 1000"), by_hand("", &instances(5000));
    thousands_of_nested_components: "nothing in reach", Refused("exports none of"), nested_components(5000);
    components_that_double_at_every_level: "64 instances", Refused("exceeds the configured maximum of 64"),
        by_hand("", &doubling(18));
    one_huge_function: "`compile` of the host", Refused("needs more than"), bomb("", &format!("{} i32.const 0",
        "(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))\n".repeat(200_000)));
    deep_nesting: "`compile` of the host", Refused("needs more than"), bomb(&loops(1000), "(call $bomb) i32.const 0");
    deep_blocks: "`compile` of the host", Refused("needs more than"),
        bomb(&format!("(func $deep {} {})", "block ".repeat(200_000), "br 0 end ".repeat(200_000)), "i32.const 0");
    many_functions: "`compile` of the host", Refused("needs more than"), bomb(
        &"(func (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))\n".repeat(150_000), "i32.const 0");
    too_many_functions: "1,000,000 functions", Refused("functions"),
        by_hand("", &format!("(core module {})", "(func)".repeat(1_000_001)));
    huge_branch_tables: "`compile` of the host", Refused("needs more than"), bomb(&branch_tables(300, 60_000), "i32.const 0");
    too_many_locals: "50,000 locals", Refused("locals"),

        by_hand("", &format!("(core module (func (local {})))", "i64 ".repeat(60_000)));
    many_locals: "`compile` of the host", Refused("needs more than"), bomb(&busy_locals(), "i32.const 0");
    too_many_types: "1,000,000 types", Refused("types"), by_hand("", &format!("(core module {})",
        "(type (func))".repeat(1_000_001)));
    types_that_double_at_every_level: "size of a type", Refused("type size"), by_hand("", &doubling_types(60));
    deeply_nested_types: "depth of nesting", Refused("nesting"), by_hand("", &nested_types(5_000));
}

fn bomb(items: &str, body: &str) -> Attack {
    Attack::of(worker("", items, body)).ceilings(|settings| {
        settings.compile.memory_bytes = COMPILE_MEMORY_BYTES;
        settings.compile.time = COMPILE_TIME;
    })
}

/// Loops within each other, and as many variables that each of them may change: 20 KB that take a gigabyte to compile.
fn loops(count: usize) -> String {
    let body: String = (0..count)
        .map(|n| format!("local.get {n} local.get {} i32.add local.tee {n} br_if 0 end ", n * 3 % count))
        .collect();
    format!("(func $bomb (local {}) {} {body})", "i32 ".repeat(count), "loop ".repeat(count))
}

fn instances(count: usize) -> String {
    "(core module $m)\n".to_owned() + &"(core instance (instantiate $m))\n".repeat(count)
}

/// Components within each other, in bytes: the text format does not go so deep.
fn nested_components(levels: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut component = HEAD.to_vec();
    for _ in 0..levels {
        let mut length = Vec::new();
        let mut left = component.len();
        while left > 0x7f {
            length.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
        }
        length.push(u8::try_from(left).unwrap());
        // Section 4 of a component is a component.
        component = [HEAD, &[4], &length, &component].concat();
    }
    component
}

fn branch_tables(functions: usize, targets: usize) -> String {
    let targets = "0 1 ".repeat(targets / 2);
    format!("(func (param i32) (block (block (br_table {targets} 0 (local.get 0)))))\n").repeat(functions)
}

/// Functions in which every one of many variables lives through every branch.
fn busy_locals() -> String {
    let count = 20_000;
    let sets: String =
        (0..count).map(|n| format!("local.get {n} i32.const 1 i32.add local.set {n} ")).collect();
    format!("(func (local {}) (loop {sets} local.get 0 br_if 0))", "i32 ".repeat(count)).repeat(20)
}

/// Each component has two of the one before it.
fn doubling(levels: usize) -> String {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))\n".to_owned();
    for level in 1..=levels {
        let before = level - 1;
        text.push_str(&format!(
            "(component $c{level} (alias outer 1 $c{before} (component $c)) (instance (instantiate $c))
                (instance (instantiate $c)))\n"
        ));
    }
    text + &format!("(instance (instantiate $c{levels}))\n")
}

/// Each type has two of the one before it.
fn doubling_types(levels: usize) -> String {
    let mut text = "(type $t0 (tuple u8 u8))\n".to_owned();
    for level in 1..=levels {
        let before = level - 1;
        text.push_str(&format!("(type $t{level} (tuple $t{before} $t{before}))\n"));
    }
    text
}

/// Lists of lists of lists.
fn nested_types(levels: usize) -> String {
    let mut text = "(type $t0 (list u8))\n".to_owned();
    for level in 1..=levels {
        text.push_str(&format!("(type $t{level} (list $t{}))\n", level - 1));
    }
    text
}
