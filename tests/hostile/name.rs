//! Names that were not granted, however they are written, and names that belong to the host.

use super::attack::Ends::{Dead, Done};
use super::attack::{Attack, attacker, attacks, told};

const SET: &str = r#"(import "sandhog:worker/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#;
const GET: &str = r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
const PUSH: &str = r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;
const POP: &str = r#"(import "sandhog:worker/queue@0.1.0" "pop" (func $pop (param i32 i32 i32 i32)))"#;
const LIST_KEYS: &str = r#"(import "sandhog:worker/kv@0.1.0" "list-keys"
    (func $list_keys (param i32 i32 i32 i32 i32 i32)))"#;

attacks! {
    key_with_a_nul: "`grants.kv`", Dead("victim\\u{0}own:"), own(set("victim\0own:")).after("EXISTS victim", 0);
    key_with_a_line_feed: "`grants.kv`", Dead("victim\\nown:"), own(set("victim\nown:x"));
    key_with_a_carriage_return_and_a_command: "`grants.kv`", Dead("k\\r\\nFLUSHALL"), own(set("k\r\nFLUSHALL\r\n"));
    key_with_braces: "`grants.kv`", Dead("{own:}victim"), own(set("{own:}victim"));
    key_with_glob_characters: "`grants.kv`", Dead("[o]wn:?*"), own(set("[o]wn:?*"));
    key_that_is_a_star: "`grants.kv`", Dead("*"), own(set("*"));
    granted_key_with_every_odd_character: "none: it is that very key", Done,
        own(set("own:\0\r\n{}[]*?\\\"'\u{202e}"))
        .after("EVAL return(#redis.call('KEYS','own:*')) 0", 1);
    key_of_dead_jobs: "never granted", Dead("{good}:sandhog:dead"), set("{good}:sandhog:dead");
    key_of_the_registry_of_hosts: "never granted", Dead("sandhog:hosts"), set("sandhog:hosts");
    key_of_settings_of_others: "never granted", Dead("x:sandhog:y"), set("x:sandhog:y");
    key_of_1_mib: "1,024 bytes", Dead("key"), attacker(SET, "", &format!(
        "(drop (memory.grow (i32.const 16))) (memory.fill (i32.const 262144) (i32.const 97) (i32.const 1048576))
        (call $set (i32.const 262144) (i32.const 1048576) (i32.const 2048) (i32.const 1) (i32.const 1024)) {}",
        told(4, 2)));
    key_that_is_empty: "1 byte", Dead("key"), attacker(SET, "", &format!(
        "(call $set (i32.const 2048) (i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 1024)) {}", told(4, 2)));
    key_that_is_not_utf8: "UTF-8", Dead("utf-8"), attacker(GET, r#"(data (i32.const 2048) "own:\ff")"#,
        "(call $get (i32.const 2048) (i32.const 5) (i32.const 1024)) i32.const 0");
    key_that_holds_jobs: "type of the key", Dead("waiting"),
        Attack::of(get("waiting")).before("RPUSH waiting 1").after("LLEN waiting", 1);
    prefix_with_glob_characters: "`grants.kv`", Dead("[o]wn:*"), own(list("[o]wn:", &told(4, 0)));
    prefix_of_everything: "`grants.kv`", Dead("*"), own(list("", &told(4, 0)));
    prefix_of_the_hosts_keys: "never granted", Dead("sandhog:*"), list("sandhog:", &told(4, 0));
    prefix_before_companion_keys: "never granted", Done, Attack::of(list("{good}",
        "(if (i32.load8_u (i32.const 1024)) (then unreachable))
        (if (i32.load (i32.const 1032)) (then unreachable)) i32.const 0"))
        .before("ZADD {good}:sandhog:dead 1 1");
    queue_named_like_companion_keys: "never granted", Dead("{good}:sandhog:ready"), push("{good}:sandhog:ready");
    queue_named_like_jobs_in_flight: "never granted", Dead("{good}:sandhog:inflight:h.0"),
        pop("{good}:sandhog:inflight:h.0", 0);
    queue_that_is_another_one_in_braces: "never granted", Dead("{good}"), push("{good}");
    queue_of_another_type: "type of the key", Dead("taken"), Attack::of(push("taken")).before("SET taken 1");
    queue_of_another_type_in_the_atomic_mode: "type of the key", Dead("taken"),
        Attack::of(push("taken")).before("SADD taken 1").atomic();
    queue_that_is_popped_and_of_another_type: "type of the key", Dead("taken"),
        Attack::of(pop("taken", 1)).before("HSET taken f v");
    queue_of_a_name_that_was_not_granted: "`grants.queue`", Dead("own\\nqueue"), own(push("own\nqueue"));
}

/// The attacker may touch what begins with `own:`.
fn own(component: Vec<u8>) -> Attack {
    Attack::of(component).grants(
        "kv = { read = [\"own:*\"], write = [\"own:*\"] }\nqueue = { push = [\"own:*\"], pop = [\"own:*\"] }",
    )
}

fn name(text: &str) -> (String, usize) {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    (format!("(data (i32.const 2048) \"{escaped}\")"), text.len())
}

fn set(key: &str) -> Vec<u8> {
    let (data, length) = name(key);
    let call = format!(
        "(call $set (i32.const 2048) (i32.const {length}) (i32.const 2048) (i32.const 1) (i32.const 1024)) {}",
        told(4, 0)
    );
    attacker(SET, &data, &call)
}

fn get(key: &str) -> Vec<u8> {
    let (data, length) = name(key);
    let call = format!("(call $get (i32.const 2048) (i32.const {length}) (i32.const 1024)) {}", told(4, 1));
    attacker(GET, &data, &call)
}

fn list(prefix: &str, then: &str) -> Vec<u8> {
    let (data, length) = name(prefix);
    let call = format!(
        "(call $list_keys (i32.const 2048) (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 1024)) {then}"
    );
    attacker(LIST_KEYS, &data, &call)
}

/// Is denied, or finds another type where the name has no `sandhog` in it.
fn push(queue: &str) -> Vec<u8> {
    let (data, length) = name(queue);
    let kind = usize::from(queue == "taken");
    let call = format!(
        "(call $push (i32.const 2048) (i32.const {length}) (i32.const 2048) (i32.const 1) (i32.const 1024)) {}",
        told(8, kind)
    );
    attacker(PUSH, &data, &call)
}

fn pop(queue: &str, kind: usize) -> Vec<u8> {
    let (data, length) = name(queue);
    let call = format!(
        "(call $pop (i32.const 2048) (i32.const {length}) (i32.const 0) (i32.const 1024)) {}",
        told(4, kind)
    );
    attacker(POP, &data, &call)
}
