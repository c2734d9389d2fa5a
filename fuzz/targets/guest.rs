//! A guest in component text format that takes its payload for calls. See `calls`.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Longest input the guest takes.
pub const INPUT_BYTES_MAX: usize = 60_000;
/// Where it lies.
const INPUT_AT: usize = 4096;
/// Bytes of one call: its number, and words for its arguments.
const RECORD_BYTES: usize = 104;
/// Where the answer goes if the call's own place is far outside.
const CALLS_MAX: usize = 64;

/// Interface, function, and its arguments as the canonical ABI flattens them: `i` of 32 bits, `l` of 64. The last one is
/// the place for the answer.
const FUNCTIONS: [(&str, &str, &str); 19] = [
    ("kv", "get", "iii"),
    ("kv", "get-many", "iii"),
    ("kv", "set", "iiiii"),
    ("kv", "set-with", "iiiiilii"),
    ("kv", "set-many", "iii"),
    ("kv", "delete", "iii"),
    ("kv", "exists", "iii"),
    ("kv", "add", "iili"),
    ("kv", "increment", "iili"),
    ("kv", "compare-and-swap", "iiiiiiiii"),
    ("kv", "expire", "iiili"),
    ("kv", "ttl", "iii"),
    ("kv", "list-keys", "iiiiii"),
    ("queue", "push", "iiiii"),
    ("queue", "push-with", "iiiiiiliiili"),
    ("queue", "push-many", "iiiii"),
    ("queue", "pop", "iiii"),
    ("queue", "length", "iii"),
    ("queue", "peek", "iiii"),
];

/// The component.
pub fn component() -> Vec<u8> {
    let (mut imports, mut cases) = (String::new(), String::new());
    for (number, (interface, name, arguments)) in FUNCTIONS.iter().enumerate() {
        let types: String = arguments.chars().map(|kind| if kind == 'l' { " i64" } else { " i32" }).collect();
        let _ = writeln!(
            imports,
            "(import \"sandhog:worker/{interface}@0.1.0\" \"{name}\" (func $f{number} (param{types})))"
        );
        let mut loads = String::new();
        for (at, kind) in arguments.chars().enumerate() {
            let load = if kind == 'l' { "i64.load" } else { "i32.load" };
            let _ = write!(loads, " ({load} offset={} (local.get $at))", 8 + 8 * at);
        }
        let _ = writeln!(
            cases,
            "(if (i32.eq (local.get $which) (i32.const {number})) (then (call $f{number}{loads})))"
        );
    }
    let text = format!(
        r#"(module {imports}
        (memory (export "memory") 8)
        (global $heap (mut i32) (i32.const 131072))
        (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (loop $more (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (then
                (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                (br $more))))
            (local.get $at))
        (func (export "sandhog:worker/handler@0.1.0#handle")
            (param i32 i32 i32 i32) (param $payload i32) (param $length i32) (param i32 i32 i64 i32 i32) (result i32)
            (local $at i32) (local $which i32) (local $end i32) (local $left i32)
            (memory.copy (i32.const {INPUT_AT}) (local.get $payload) (local.get $length))
            (local.set $at (i32.const {INPUT_AT}))
            (local.set $end (i32.add (i32.const {INPUT_AT}) (local.get $length)))
            (local.set $left (i32.const {CALLS_MAX}))
            (block $done (loop $next
                (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const {RECORD_BYTES})) (local.get $end)))
                (br_if $done (i32.eqz (local.get $left)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (local.set $which (i32.rem_u (i32.load8_u (local.get $at)) (i32.const {count})))
                {cases}
                (local.set $at (i32.add (local.get $at) (i32.const {RECORD_BYTES})))
                (br $next)))
            ;; Zeros read as a handler's `ok`.
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 64))
            (i32.const 1024)))"#,
        count = FUNCTIONS.len(),
    );
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(wit).expect("the contract is there");
    let world = resolve.select_world(&[package], Some("queue-worker")).expect("the world is in it");
    let mut module = wat::parse_str(text).expect("the text is right");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("it fits the world");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module");
    encoder.encode().expect("it is a component")
}
