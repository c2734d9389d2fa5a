//! Bounds, and what happens when Redis cannot or will not.

use redis::AsyncCommands;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host};
use sandhog::capability::limits::Limits;

use super::{bytes, key, options};
use crate::support::guest::no_redis;
use crate::support::redis::TestRedis;
use crate::support::view::{limited, refusal, view};

#[tokio::test]
async fn what_is_refused_never_reaches_redis() {
    // There is no Redis here: an answer other than `unavailable` was given without asking it.
    let mut lonely = limited(no_redis(), Limits { value_bytes: 10, ..Limits::default() });
    let long = || vec![b'x'; 11];
    let too_many = || (0..1001).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(refusal(lonely.get(String::new()).await), "quota key");
    assert_eq!(refusal(lonely.get("k".repeat(1025)).await), "quota key");
    assert_eq!(refusal(lonely.get("k".repeat(1 << 20)).await), "quota key");
    assert_eq!(refusal(lonely.get_many(too_many()).await), "quota keys");
    assert_eq!(refusal(lonely.get_many(vec![key("a"), String::new()]).await), "quota key");
    assert_eq!(refusal(lonely.set(key("k"), long()).await), "quota value");
    assert_eq!(
        refusal(lonely.set_with(key("k"), long(), options(None, Condition::Always)).await),
        "quota value"
    );
    assert_eq!(
        refusal(lonely.set_many(vec![(key("a"), vec![0; 6]), (key("b"), vec![0; 5])]).await),
        "quota value"
    );
    let entries = too_many().into_iter().map(|k| (k, Vec::new())).collect();
    assert_eq!(refusal(lonely.set_many(entries).await), "quota keys");
    assert_eq!(refusal(lonely.compare_and_swap(key("k"), Some(long()), None).await), "quota value");
    assert_eq!(refusal(lonely.compare_and_swap(key("k"), None, Some(long())).await), "quota value");
    for ttl in [0, u64::MAX] {
        let with_ttl = options(Some(ttl), Condition::Always);
        assert_eq!(refusal(lonely.set_with(key("k"), bytes("v"), with_ttl).await), "quota ttl-ms");
    }
    assert_eq!(refusal(lonely.expire(key("k"), Some(u64::MAX)).await), "quota ttl-ms");
    assert_eq!(refusal(lonely.list_keys("p".repeat(1025), None).await), "quota key");
    for cursor in ["", "-1", "x", "18446744073709551616"] {
        assert_eq!(refusal(lonely.list_keys(key("p"), Some(key(cursor))).await), "quota cursor");
    }
    assert_eq!(refusal(lonely.set(key("sandhog:hosts"), bytes("v")).await), "denied sandhog:hosts");
    assert_eq!(refusal(lonely.get(key("k")).await), "unavailable redis cannot be reached");
}

#[tokio::test]
async fn a_value_too_long_stays_in_redis() {
    let redis = TestRedis::start();
    let mut small = limited(redis.link(), Limits { value_bytes: 100, ..Limits::default() });
    let mut plain = redis.plain().await;
    let _: () = plain.set("exact", vec![b'x'; 100]).await.unwrap();
    let _: () = plain.set("long", vec![b'x'; 101]).await.unwrap();
    let _: () = plain.set("half", vec![b'x'; 51]).await.unwrap();
    assert_eq!(small.get(key("exact")).await.unwrap().unwrap().len(), 100);
    assert_eq!(refusal(small.get(key("long")).await), "quota value");
    assert_eq!(refusal(small.get_many(vec![key("half"), key("half")]).await), "quota value");
    assert_eq!(small.get_many(vec![key("half"), key("absent")]).await.unwrap()[1], None);
    // It can still be compared, replaced and deleted.
    assert!(!small.compare_and_swap(key("long"), Some(bytes("x")), None).await.unwrap());
    assert!(small.delete(key("long")).await.unwrap());
}

#[tokio::test]
async fn a_small_request_does_not_fetch_a_giant_reply() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let _: () = plain.set("big", vec![b'x'; 1 << 20]).await.unwrap();
    let sent_before = bytes_sent(&mut plain).await;
    assert_eq!(refusal(view.get_many(vec![key("big"); 1000]).await), "quota value");
    let sent = bytes_sent(&mut plain).await - sent_before;
    assert!(sent < 100_000, "{sent} bytes were sent");
}

async fn bytes_sent(plain: &mut redis::aio::MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(plain).await.unwrap();
    let line = info.lines().find_map(|l| l.strip_prefix("total_net_output_bytes:")).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn calls_and_effects_are_counted_against_their_bounds() {
    let redis = TestRedis::start();
    let mut few = limited(redis.link(), Limits { kv_calls: 3, ..Limits::default() });
    few.get(key("k")).await.unwrap();
    assert_eq!(refusal(few.get(key("sandhog:x")).await), "denied sandhog:x");
    few.get(key("k")).await.unwrap();
    assert_eq!(refusal(few.get(key("k")).await), "quota kv_calls");
    assert_eq!(few.usage().calls, 3);
    let mut few = limited(redis.link(), Limits { effects: 3, ..Limits::default() });
    few.set(key("k"), bytes("v")).await.unwrap();
    few.set_many(vec![(key("a"), bytes("1")), (key("b"), bytes("2"))]).await.unwrap();
    assert_eq!(refusal(few.set(key("k"), bytes("w")).await), "quota effects");
    assert_eq!(few.get(key("k")).await.unwrap(), Some(bytes("v")));
}

#[tokio::test]
async fn at_redis_memory_limit_writes_are_refused_and_reads_go_on() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    view.set(key("k"), bytes("5")).await.unwrap();
    view.expire(key("k"), Some(60_000)).await.unwrap();
    let limit = |bytes: &str| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).to_owned();
    let _: () = limit("1").query_async(&mut plain).await.unwrap();
    let full = "unavailable redis refused the write: memory limit reached";
    assert_eq!(refusal(view.set(key("n"), bytes("v")).await), full);
    assert_eq!(refusal(view.set_many(vec![(key("n"), bytes("v"))]).await), full);
    assert_eq!(refusal(view.add(key("k"), 1).await), full);
    assert_eq!(refusal(view.compare_and_swap(key("n"), None, Some(bytes("v"))).await), full);
    assert_eq!(view.get(key("k")).await.unwrap(), Some(bytes("5")));
    assert_eq!(view.get_many(vec![key("k")]).await.unwrap(), [Some(bytes("5"))]);
    assert_eq!(view.list_keys(key("k"), None).await.unwrap().keys, ["k"]);
    assert!(view.expire(key("k"), None).await.unwrap());
    assert!(view.delete(key("k")).await.unwrap());
    let _: () = limit("0").query_async(&mut plain).await.unwrap();
    view.set(key("n"), bytes("v")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_again() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    view.set(key("k"), bytes("v")).await.unwrap();
    for _ in 0..2 {
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut plain).await.unwrap();
        assert_eq!(view.get(key("k")).await.unwrap(), Some(bytes("v")));
    }
}
