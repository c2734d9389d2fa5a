//! Components like those that linkers of shared libraries write, but small: what they answer before and after, and what is
//! left alone.

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use super::fuse;

/// The program, which has memory and table, and calls through the table.
const MAIN: &str = r#"
    (core module $main
        (memory (export "memory") 1)
        (table (export "table") 4 funcref)
        (global (export "base") i32 (i32.const 1))
        (global (export "count") (mut i32) (i32.const 5))
        (type $call (func (param i32) (result i32)))
        (func (export "call") (param i32 i32) (result i32)
            (call_indirect (type $call) (local.get 1) (local.get 0))))
    (core instance $main (instantiate $main))
    (alias core export $main "memory" (core memory $memory))
    (alias core export $main "table" (core table $table))
    (alias core export $main "base" (core global $base))
    (alias core export $main "count" (core global $count))"#;

/// A function of the host that comes only after the program.
const HOST: &str = r#"
    (core func $host (canon lower (func $ask)))
    (core instance $env
        (export "memory" (memory $memory)) (export "table" (table $table)) (export "base" (global $base))
        (export "count" (global $count)) (export "ask" (func $host)))"#;

/// A library: its functions are in the table of the program, from `base` on.
const LIBRARY: &str = r#"
    (core module $library
        (type $pair (func (param i32 i32) (result i32)))
        (type $one (func (param i32) (result i32)))
        (import "env" "memory" (memory 1))
        (import "env" "ask" (func $ask (type $one)))
        (import "env" "count" (global $count (mut i32)))
        (import "env" "base" (global $base i32))
        (import "env" "table" (table 4 funcref))
        (elem (global.get $base) func $add $asked)
        (data (i32.const 100) "\07")
        (global $own (mut i32) (i32.const 1))
        (func $add (export "add") (type $one)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (global.set $own (i32.add (global.get $own) (i32.const 10)))
            (i32.add (local.get 0) (i32.add (global.get $count) (i32.add (global.get $own) (i32.load8_u (i32.const 100))))))
        (func $asked (export "asked") (type $one) (call $ask (i32.add (local.get 0) (i32.const 1)))))
    (core instance $library (instantiate $library (with "env" (instance $env))))"#;

/// What the component exports: a call of the function in a place of the table.
const EXPORTS: &str = r#"
    (alias core export $main "call" (core func $call))
    (alias core export $library "add" (core func $add))
    (func (export "call") (param "place" u32) (param "value" u32) (result u32) (canon lift (core func $call)))
    (func (export "add") (param "value" u32) (result u32) (canon lift (core func $add)))"#;

fn component(parts: &[&str]) -> Vec<u8> {
    let text = format!(
        "(component (import \"ask\" (func $ask (param \"value\" u32) (result u32))) {})",
        parts.join("\n")
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn linked() -> Vec<u8> {
    component(&[MAIN, HOST, LIBRARY, EXPORTS])
}

/// What it answers to calls one after the other.
fn answers(component: &[u8]) -> Vec<u32> {
    let engine = Engine::default();
    let component = Component::from_binary(&engine, component).unwrap();
    let mut linker = Linker::new(&engine);
    linker.root().func_wrap("ask", |_, (value,): (u32,)| Ok((value * 100,))).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let call = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, "call").unwrap();
    let add = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "add").unwrap();
    let mut answers: Vec<u32> =
        [(1, 1000), (2, 4), (1, 2000)].map(|given| call.call(&mut store, given).unwrap().0).to_vec();
    answers.push(add.call(&mut store, (3000,)).unwrap().0);
    // Nothing is in the first place.
    assert!(call.call(&mut store, (0, 1)).is_err());
    answers
}

/// Core modules with something in them.
fn modules_with_code(component: &[u8]) -> usize {
    let payloads = wasmparser::Parser::new(0).parse_all(component);
    payloads.filter(|payload| matches!(payload, Ok(wasmparser::Payload::CodeSectionStart { .. }))).count()
}

#[test]
fn a_library_and_its_program_become_one_and_do_the_same() {
    let linked = linked();
    let fused = fuse(&linked).unwrap();
    assert_eq!(answers(&linked), [1024, 500, 2035, 3046]);
    assert_eq!(answers(&fused), answers(&linked));
    assert_eq!((modules_with_code(&linked), modules_with_code(&fused)), (2, 1));
}

#[test]
fn a_component_within_one_is_looked_into() {
    let inner = format!(
        "(import \"ask\" (func $ask (param \"value\" u32) (result u32))) {MAIN} {HOST} {LIBRARY} {EXPORTS}"
    );
    let outer = component(&[&format!(
        r#"(component $inner {inner})
        (instance $made (instantiate $inner (with "ask" (func $ask))))
        (export "call" (func $made "call")) (export "add" (func $made "add"))"#
    )]);
    assert_eq!(answers(&fuse(&outer).unwrap()), answers(&outer));
}

#[test]
fn names_are_kept_for_backtraces() {
    let engine = Engine::default();
    let trapping = LIBRARY.replace("(call $ask (i32.add", "unreachable (call $ask (i32.add");
    let fused = fuse(&component(&[MAIN, HOST, &trapping, EXPORTS])).unwrap();
    let component = Component::from_binary(&engine, &fused).unwrap();
    let mut linker = Linker::new(&engine);
    linker.root().func_wrap("ask", |_, (value,): (u32,)| Ok((value,))).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let call = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, "call").unwrap();
    let trap = format!("{:?}", call.call(&mut store, (2, 4)).unwrap_err());
    assert!(trap.contains("asked"), "{trap}");
}

#[test]
fn what_runs_or_writes_meanwhile_is_left_where_it_is() {
    let between = |items: &str, given: &str| {
        let module = format!("(core module $between {items}) (core instance (instantiate $between {given}))");
        component(&[MAIN, HOST, &module, LIBRARY, EXPORTS])
    };
    let env = "(with \"env\" (instance $env))";
    let runs = "(import \"env\" \"ask\" (func $ask (param i32) (result i32)))
        (func $run (drop (call $ask (i32.const 1)))) (start $run)";
    let writes = "(import \"env\" \"memory\" (memory 1)) (data (i32.const 100) \"\\09\")";
    for (items, given) in [(runs, env), (writes, env)] {
        let component = between(items, given);
        assert!(fuse(&component).is_none(), "{items}");
    }
    let harmless = between("(import \"env\" \"ask\" (func (param i32) (result i32)))", env);
    assert_eq!(answers(&fuse(&harmless).unwrap()), answers(&harmless));
    // A library that runs something as it starts is no library to us.
    let starts = LIBRARY.replace("(data ", "(func $run) (start $run) (data ");
    assert!(fuse(&component(&[MAIN, HOST, &starts, EXPORTS])).is_none());
}

#[test]
fn what_others_need_whole_or_twice_is_left_alone() {
    let twice = "(core instance (instantiate $library (with \"env\" (instance $env))))";
    let whole = "(core module $other (import \"library\" \"add\" (func (param i32) (result i32))))
        (core instance (instantiate $other (with \"library\" (instance $library))))";
    for more in [twice, whole] {
        assert!(fuse(&component(&[MAIN, HOST, LIBRARY, more, EXPORTS])).is_none(), "{more}");
    }
    assert!(
        fuse(&component(&[MAIN, "(core instance $library (export \"add\" (memory $memory)))"])).is_none()
    );
    assert!(fuse(b"no component").is_none());
    let broken = linked();
    assert!(fuse(&broken[..broken.len() - 1]).is_none());
}
