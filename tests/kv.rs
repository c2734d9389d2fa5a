//! `kv` against a real Redis: what each call does, what it refuses, and what it never sends.

mod bounds;
mod wire;

use redis::AsyncCommands;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host, SetOptions};

use crate::support::redis::TestRedis;
use crate::support::view::{granted, patterns, refusal, view};

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn key(text: &str) -> String {
    text.to_owned()
}

fn options(ttl_ms: Option<u64>, condition: Condition) -> SetOptions {
    SetOptions { ttl_ms, condition }
}

#[tokio::test]
async fn what_is_set_is_got_byte_for_byte() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    assert_eq!(view.get(key("absent")).await.unwrap(), None);
    for (name, value) in [
        ("plain", bytes("value")),
        ("empty", Vec::new()),
        ("binary", (0..=255).collect()),
        ("with space\n\0{}[]*?", vec![0, 13, 10]),
        ("ключ", bytes("значение")),
        (&"k".repeat(1024), vec![7; 1 << 20]),
    ] {
        view.set(key(name), value.clone()).await.unwrap();
        assert_eq!(view.get(key(name)).await.unwrap().as_ref(), Some(&value), "{name}");
        let seen: Vec<u8> = plain.get(name).await.unwrap();
        assert_eq!(seen, value, "another client reads `{name}`");
    }
}

#[tokio::test]
async fn set_replaces_any_type_and_takes_the_expiry_off() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let _: () = plain.rpush("k", "entry").await.unwrap();
    view.set(key("k"), bytes("1")).await.unwrap();
    assert!(view.expire(key("k"), Some(60_000)).await.unwrap());
    assert!(view.ttl(key("k")).await.unwrap().is_some_and(|ttl| (50_000..=60_000).contains(&ttl)));
    view.set(key("k"), bytes("2")).await.unwrap();
    assert_eq!(view.ttl(key("k")).await.unwrap(), None);
}

#[tokio::test]
async fn set_with_heeds_condition_and_time_to_live() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    for (condition, present, expected) in [
        (Condition::IfPresent, false, false),
        (Condition::IfAbsent, false, true),
        (Condition::Always, false, true),
        (Condition::IfPresent, true, true),
        (Condition::IfAbsent, true, false),
        (Condition::Always, true, true),
    ] {
        view.delete(key("k")).await.unwrap();
        if present {
            view.set(key("k"), bytes("old")).await.unwrap();
        }
        let did = view.set_with(key("k"), bytes("new"), options(None, condition)).await.unwrap();
        assert_eq!(did, expected, "{condition:?} {present}");
        let now = view.get(key("k")).await.unwrap();
        assert_eq!(now == Some(bytes("new")), expected, "{condition:?} {present}");
    }
    view.set_with(key("t"), bytes("v"), options(Some(60_000), Condition::IfAbsent)).await.unwrap();
    assert!(view.ttl(key("t")).await.unwrap().is_some());
}

#[tokio::test]
async fn many_keys_travel_in_one_step_and_keep_their_order() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let entries = (0..1000).map(|n| (format!("k{n}"), bytes(&n.to_string()))).collect();
    view.set_many(entries).await.unwrap();
    let _: () = plain.rpush("list", "entry").await.unwrap();
    let mut keys: Vec<String> = (0..998).rev().map(|n| format!("k{n}")).collect();
    keys.extend([key("absent"), key("list")]);
    let values = view.get_many(keys).await.unwrap();
    assert_eq!(values.len(), 1000);
    assert_eq!(values[0], Some(bytes("997")));
    assert_eq!(values[997], Some(bytes("0")));
    // A key of another type counts as absent.
    assert_eq!(values[998..], [None, None]);
    assert_eq!(view.get_many(Vec::new()).await.unwrap(), Vec::<Option<Vec<u8>>>::new());
    view.set_many(Vec::new()).await.unwrap();
    assert_eq!(view.usage().calls, 4);
}

#[tokio::test]
async fn delete_and_exists_work_on_every_type() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let _: () = plain.hset("h", "field", "value").await.unwrap();
    assert!(view.exists(key("h")).await.unwrap());
    assert!(view.delete(key("h")).await.unwrap());
    assert!(!view.exists(key("h")).await.unwrap());
    assert!(!view.delete(key("h")).await.unwrap());
}

#[tokio::test]
async fn numbers_add_up_and_never_wrap() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    view.add(key("n"), 5).await.unwrap();
    assert_eq!(view.increment(key("n"), -7).await.unwrap(), -2);
    assert_eq!(view.get(key("n")).await.unwrap(), Some(bytes("-2")));
    for (start, delta) in [("9223372036854775807", 1), ("-9223372036854775808", -1), ("-1", i64::MIN)] {
        view.set(key("n"), bytes(start)).await.unwrap();
        assert_eq!(refusal(view.add(key("n"), delta).await), "wrong-type n");
        assert_eq!(refusal(view.increment(key("n"), delta).await), "wrong-type n");
        assert_eq!(view.get(key("n")).await.unwrap(), Some(bytes(start)));
    }
    view.set(key("n"), bytes("0")).await.unwrap();
    assert_eq!(view.increment(key("n"), i64::MIN).await.unwrap(), i64::MIN);
    for text in ["", "1.5", "one", " 1", "9223372036854775808"] {
        view.set(key("n"), bytes(text)).await.unwrap();
        assert_eq!(refusal(view.increment(key("n"), 1).await), "wrong-type n", "{text}");
    }
}

#[tokio::test]
async fn compare_and_swap_changes_only_what_is_expected() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    for (held, expected, replacement, did) in [
        (None, None, Some("new"), true),
        (None, Some("old"), Some("new"), false),
        (None, Some(""), Some("new"), false),
        (Some(""), None, Some("new"), false),
        (Some(""), Some(""), Some("new"), true),
        (Some("old"), None, Some("new"), false),
        (Some("old"), Some("old"), Some("new"), true),
        (Some("old"), Some("olD"), Some("new"), false),
        (Some("old"), Some("older"), Some("new"), false),
        (Some("old"), Some("old"), None, true),
        (Some("old"), Some("else"), None, false),
        (None, None, None, true),
    ] {
        view.delete(key("k")).await.unwrap();
        if let Some(held) = held {
            view.set_with(key("k"), bytes(held), options(Some(60_000), Condition::Always)).await.unwrap();
        }
        let swapped =
            view.compare_and_swap(key("k"), expected.map(bytes), replacement.map(bytes)).await.unwrap();
        let case = format!("{held:?} {expected:?} {replacement:?}");
        assert_eq!(swapped, did, "{case}");
        let now = if did { replacement } else { held };
        assert_eq!(view.get(key("k")).await.unwrap(), now.map(bytes), "{case}");
        if did {
            assert_eq!(view.ttl(key("k")).await.unwrap(), None, "a replacement has no expiry: {case}");
        }
    }
    view.set(key("k"), vec![0, 255, 10]).await.unwrap();
    assert!(view.compare_and_swap(key("k"), Some(vec![0, 255, 10]), Some(vec![0])).await.unwrap());
}

#[tokio::test]
async fn keys_expire_last_and_are_forgotten() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    for ttl in [Some(5), None, Some(0)] {
        assert!(!view.expire(key("absent"), ttl).await.unwrap(), "{ttl:?}");
    }
    assert_eq!(view.ttl(key("absent")).await.unwrap(), None);
    let _: () = plain.rpush("list", "entry").await.unwrap();
    assert!(view.expire(key("list"), Some(60_000)).await.unwrap());
    assert!(view.ttl(key("list")).await.unwrap().is_some());
    assert!(view.expire(key("list"), None).await.unwrap());
    assert_eq!(view.ttl(key("list")).await.unwrap(), None);
    assert!(view.expire(key("list"), None).await.unwrap(), "it is there, though it had no expiry");
    assert!(view.expire(key("list"), Some(0)).await.unwrap());
    assert!(!view.exists(key("list")).await.unwrap());
}

#[tokio::test]
async fn keys_of_another_type_are_named() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let _: () = plain.rpush("list", "entry").await.unwrap();
    let wrong = "wrong-type list";
    assert_eq!(refusal(view.get(key("list")).await), wrong);
    assert_eq!(refusal(view.add(key("list"), 1).await), wrong);
    assert_eq!(refusal(view.increment(key("list"), 1).await), wrong);
    assert_eq!(refusal(view.compare_and_swap(key("list"), Some(bytes("x")), None).await), wrong);
    assert!(!view.compare_and_swap(key("list"), None, Some(bytes("x"))).await.unwrap());
    let still: Vec<String> = plain.lrange("list", 0, -1).await.unwrap();
    assert_eq!(still, ["entry"]);
}

async fn all_keys(view: &mut sandhog::capability::view::View, prefix: &str) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = view.list_keys(key(prefix), cursor).await.unwrap();
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

#[tokio::test]
async fn listings_take_the_prefix_literally_and_end() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let mut pipe = redis::pipe();
    for n in 0..5_000 {
        pipe.set(format!("other:{n}"), "x").ignore();
    }
    for name in ["a*b:1", "a*b:2", "axb:3", "[x]:1", "x:1", "q?:1", "qq:1", "back\\s:1"] {
        pipe.set(name, "x").ignore();
    }
    let _: () = pipe.query_async(&mut plain).await.unwrap();
    assert_eq!(all_keys(&mut view, "a*b:").await, ["a*b:1", "a*b:2"]);
    assert_eq!(all_keys(&mut view, "[x]").await, ["[x]:1"]);
    assert_eq!(all_keys(&mut view, "q?").await, ["q?:1"]);
    assert_eq!(all_keys(&mut view, "back\\").await, ["back\\s:1"]);
    assert_eq!(all_keys(&mut view, "none").await, Vec::<String>::new());
    assert_eq!(all_keys(&mut view, "other:").await.len(), 5_000);
    assert_eq!(all_keys(&mut view, "").await.len(), 5_008);
}

#[tokio::test]
async fn listings_leave_out_what_is_not_text_too_long_or_ours() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let _: () = plain.set(b"p:\xff\xfe", "x").await.unwrap();
    let _: () = plain.set(format!("p:{}", "x".repeat(2_000)), "x").await.unwrap();
    let _: () = plain.set("p:sandhog:secret", "x").await.unwrap();
    let _: () = plain.set("p:good", "x").await.unwrap();
    assert_eq!(all_keys(&mut view, "p:").await, ["p:good"]);
    assert_eq!(refusal(view.list_keys(key("sandhog:"), None).await), "denied sandhog:*");
}

#[tokio::test]
async fn grants_part_reading_from_writing_and_reach_no_key_of_ours() {
    let redis = TestRedis::start();
    let grants = sandhog::capability::grant::Grants {
        kv_read: patterns("read:* both"),
        kv_write: patterns("write:* both *"),
        ..Default::default()
    };
    let reader_only =
        sandhog::capability::grant::Grants { kv_write: patterns("write:* both"), ..grants.clone() };
    let mut view = granted(redis.link(), reader_only);
    view.set(key("both"), bytes("1")).await.unwrap();
    assert_eq!(view.get(key("both")).await.unwrap(), Some(bytes("1")));
    view.set(key("write:a"), bytes("1")).await.unwrap();
    assert_eq!(refusal(view.get(key("write:a")).await), "denied write:a");
    assert_eq!(refusal(view.get_many(vec![key("both"), key("write:a")]).await), "denied write:a");
    assert_eq!(refusal(view.exists(key("write:a")).await), "denied write:a");
    assert_eq!(refusal(view.ttl(key("write:a")).await), "denied write:a");
    assert_eq!(refusal(view.set(key("read:a"), bytes("1")).await), "denied read:a");
    assert_eq!(refusal(view.set_many(vec![(key("read:a"), bytes("1"))]).await), "denied read:a");
    assert_eq!(refusal(view.delete(key("read:a")).await), "denied read:a");
    assert_eq!(refusal(view.expire(key("read:a"), None).await), "denied read:a");
    assert_eq!(refusal(view.add(key("read:a"), 1).await), "denied read:a");
    assert_eq!(refusal(view.compare_and_swap(key("read:a"), None, None).await), "denied read:a");
    assert_eq!(refusal(view.list_keys(key("rea"), None).await), "denied rea*");
    assert!(view.list_keys(key("read:x"), None).await.is_ok());
    let mut wide = granted(redis.link(), grants);
    for ours in ["{orders}:sandhog:dead", "sandhog:hosts", "a:sandhog:b"] {
        assert_eq!(refusal(wide.set(key(ours), bytes("1")).await), format!("denied {ours}"));
        assert_eq!(refusal(wide.delete(key(ours)).await), format!("denied {ours}"));
    }
    assert_eq!(wide.usage().effects, 0);
}
