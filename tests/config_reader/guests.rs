//! Two config readers written as text. The result of `read` lies at 0: an error flag, then address and length.

use crate::support::guest;

/// Answers `title` from `config:title`; an absent key is the error `no title`, an error of `kv` is its text.
pub(crate) fn title() -> Vec<u8> {
    let imports = r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
    let items = r#"
        (data (i32.const 1024) "config:title")
        (data (i32.const 1048) "no title")"#;
    // `get` answers at 64: error flag; 68: some, or which error; 72: address; 76: length.
    // The one setting lies at 128: name, value.
    let body = r#"
        (call $get (i32.const 1024) (i32.const 12) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then
            (i32.store (i32.const 0) (i32.const 1))
            (i32.store (i32.const 4) (i32.load (i32.const 72)))
            (i32.store (i32.const 8) (i32.load (i32.const 76)))
            (return (i32.const 0))))
        (if (i32.eqz (i32.load8_u (i32.const 68))) (then
            (i32.store (i32.const 0) (i32.const 1))
            (i32.store (i32.const 4) (i32.const 1048))
            (i32.store (i32.const 8) (i32.const 8))
            (return (i32.const 0))))
        (i32.store (i32.const 128) (i32.const 1031))
        (i32.store (i32.const 132) (i32.const 5))
        (i32.store (i32.const 136) (i32.load (i32.const 72)))
        (i32.store (i32.const 140) (i32.load (i32.const 76)))
        (i32.store (i32.const 4) (i32.const 128))
        (i32.store (i32.const 8) (i32.const 1))
        (i32.const 0)"#;
    guest::reader(imports, items, body)
}

/// Answers each key under `config:` as a setting whose value is its name. Lists all pages.
pub(crate) fn listing() -> Vec<u8> {
    let imports = r#"
        (import "sandhog:worker/kv@0.1.0" "list-keys" (func $list (param i32 i32 i32 i32 i32 i32)))"#;
    let items = r#"(data (i32.const 1024) "config:")"#;
    // `list-keys` answers at 64: error flag; 68: keys; 72: how many; 76: more; 80: cursor; 84: its length.
    // Settings are gathered from $out on, 16 bytes each.
    let body = r#"
        (local $out i32) (local $count i32) (local $key i32) (local $left i32) (local $at i32)
        (local.set $out (call $alloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 160000)))
        (loop $page
            (call $list (i32.const 1024) (i32.const 7)
                (i32.load8_u (i32.const 76)) (i32.load (i32.const 80)) (i32.load (i32.const 84)) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then unreachable))
            (local.set $key (i32.load (i32.const 68)))
            (local.set $left (i32.load (i32.const 72)))
            (block $done (loop $next
                (br_if $done (i32.eqz (local.get $left)))
                (local.set $at (i32.add (local.get $out) (i32.shl (local.get $count) (i32.const 4))))
                (i64.store align=4 (local.get $at) (i64.load align=4 (local.get $key)))
                (i64.store offset=8 align=4 (local.get $at) (i64.load align=4 (local.get $key)))
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (local.set $key (i32.add (local.get $key) (i32.const 8)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br $next)))
            (br_if $page (i32.load8_u (i32.const 76))))
        (i32.store (i32.const 4) (local.get $out))
        (i32.store (i32.const 8) (local.get $count))
        (i32.const 0)"#;
    guest::reader(imports, items, body)
}

/// A worker that pushes the setting `site.title` to the queue `seen`, and `none` when there is none.
pub(crate) fn teller() -> Vec<u8> {
    let imports = r#"
        (import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))
        (import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;
    let items = r#"
        (data (i32.const 1024) "site.title")
        (data (i32.const 1040) "seen")
        (data (i32.const 1048) "none")"#;
    // `get` answers at 64: error flag; 68: some; 72: address; 76: length. `push` answers at 96.
    let body = r#"
        (call $get (i32.const 1024) (i32.const 10) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then unreachable))
        (if (i32.eqz (i32.load8_u (i32.const 68))) (then
            (i32.store (i32.const 72) (i32.const 1048))
            (i32.store (i32.const 76) (i32.const 4))))
        (call $push (i32.const 1040) (i32.const 4) (i32.load (i32.const 72)) (i32.load (i32.const 76)) (i32.const 96))
        (if (i32.load8_u (i32.const 96)) (then unreachable))
        (i32.const 0)"#;
    guest::worker(imports, items, body)
}
