//! `queue` against a real Redis: what each call does, what it refuses, and what it never sends.

use redis::AsyncCommands;
use sandhog::capability::binding::sandhog::worker::queue::{End, Host, PushOptions, PushOutcome, Uniqueness};
use sandhog::capability::grant::Grants;
use sandhog::capability::limits::Limits;

use crate::support::guest::no_redis;
use crate::support::redis::TestRedis;
use crate::support::view::{granted, limited, patterns, refusal, view};

fn q() -> String {
    "jobs".to_owned()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn plainly(end: End) -> PushOptions {
    PushOptions { end, delay_ms: None, unique: None }
}

fn unique(key: &str, ttl_ms: u64) -> PushOptions {
    PushOptions { unique: Some(Uniqueness { key: key.to_owned(), ttl_ms }), ..plainly(End::Back) }
}

#[tokio::test]
async fn what_is_pushed_is_popped_at_either_end_byte_for_byte() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    assert_eq!(view.pop(q(), End::Front).await.unwrap(), None);
    assert_eq!(view.push(q(), bytes("b")).await.unwrap(), 1);
    assert!(matches!(
        view.push_with(q(), bytes("a"), plainly(End::Front)).await.unwrap(),
        PushOutcome::Pushed(2)
    ));
    assert!(matches!(
        view.push_with(q(), vec![0, 255], plainly(End::Back)).await.unwrap(),
        PushOutcome::Pushed(3)
    ));
    assert_eq!(view.push_many(q(), vec![Vec::new(), bytes("e")]).await.unwrap(), 5);
    let seen: Vec<Vec<u8>> = plain.lrange("jobs", 0, -1).await.unwrap();
    assert_eq!(seen, [bytes("a"), bytes("b"), vec![0, 255], Vec::new(), bytes("e")]);
    assert_eq!(view.length(q()).await.unwrap(), 5);
    assert_eq!(view.peek(q(), 3).await.unwrap(), seen[..3]);
    assert_eq!(view.peek(q(), 1000).await.unwrap(), seen);
    assert_eq!(view.peek(q(), 0).await.unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(view.pop(q(), End::Back).await.unwrap(), Some(bytes("e")));
    assert_eq!(view.pop(q(), End::Back).await.unwrap(), Some(Vec::new()));
    assert_eq!(view.pop(q(), End::Front).await.unwrap(), Some(bytes("a")));
    assert_eq!(view.push_many(q(), Vec::new()).await.unwrap(), 2);
    assert_eq!(view.usage().effects, 9);
}

#[tokio::test]
async fn a_long_list_is_peeked_across_steps() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let all: Vec<Vec<u8>> = (0..100).map(|n| bytes(&n.to_string())).collect();
    view.push_many(q(), all.clone()).await.unwrap();
    for count in [1, 15, 16, 17, 32, 99, 100, 101] {
        assert_eq!(view.peek(q(), count).await.unwrap(), all[..all.len().min(count as usize)]);
    }
}

#[tokio::test]
async fn delayed_and_unique_pushes_become_jobs_of_their_own() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let later = PushOptions { delay_ms: Some(60_000), ..plainly(End::Back) };
    let PushOutcome::Delayed(id) = view.push_with(q(), bytes("later"), later).await.unwrap() else {
        panic!()
    };
    let waiting: Vec<Vec<u8>> = plain.zrange("{jobs}:sandhog:delayed", 0, -1).await.unwrap();
    assert!(waiting[0].starts_with(format!("1 {id} 0 0 ").as_bytes()) && waiting[0].ends_with(b"\nlater"));
    let first = view.push_with(q(), bytes("once"), unique("u", 60_000)).await.unwrap();
    assert!(matches!(first, PushOutcome::Pushed(_)), "{first:?}");
    let second = view.push_with(q(), bytes("once"), unique("u", 60_000)).await.unwrap();
    assert!(matches!(second, PushOutcome::Duplicate), "{second:?}");
    let other = view.push_with(q(), bytes("once"), unique("v", 60_000)).await.unwrap();
    assert!(matches!(other, PushOutcome::Pushed(_)), "{other:?}");
    assert_eq!(view.length(q()).await.unwrap(), 0, "none of them stands in the plain list");
}

#[tokio::test]
async fn an_entry_too_long_stays_where_it_is() {
    let redis = TestRedis::start();
    let mut small = limited(redis.link(), Limits { value_bytes: 100, ..Limits::default() });
    let mut plain = redis.plain().await;
    let _: () = plain.rpush("jobs", vec![b'x'; 101]).await.unwrap();
    for end in [End::Front, End::Back] {
        assert_eq!(refusal(small.pop(q(), end).await), "quota value");
    }
    assert_eq!(refusal(small.peek(q(), 1).await), "quota value");
    assert_eq!(small.length(q()).await.unwrap(), 1);
    let _: () = plain.lpush("jobs", vec![b'x'; 60]).await.unwrap();
    assert_eq!(small.peek(q(), 1).await.unwrap().len(), 1);
    let _: () = plain.lpush("jobs", vec![b'x'; 60]).await.unwrap();
    assert_eq!(refusal(small.peek(q(), 2).await), "quota value");
    assert_eq!(small.pop(q(), End::Front).await.unwrap().map(|entry| entry.len()), Some(60));
}

#[tokio::test]
async fn keys_of_another_type_are_named_and_untouched() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    let _: () = plain.set("jobs", "a string").await.unwrap();
    let wrong = "wrong-type jobs";
    assert_eq!(refusal(view.push(q(), bytes("x")).await), wrong);
    assert_eq!(refusal(view.push_many(q(), vec![bytes("x")]).await), wrong);
    assert_eq!(refusal(view.push_with(q(), bytes("x"), plainly(End::Front)).await), wrong);
    assert_eq!(refusal(view.pop(q(), End::Front).await), wrong);
    assert_eq!(refusal(view.length(q()).await), wrong);
    assert_eq!(refusal(view.peek(q(), 5).await), wrong);
    assert_eq!(plain.get::<_, String>("jobs").await.unwrap(), "a string");
}

#[tokio::test]
async fn grants_part_pushing_from_popping_and_reach_no_queue_of_ours() {
    let redis = TestRedis::start();
    let grants = Grants { queue_push: patterns("in *"), queue_pop: patterns("out"), ..Grants::default() };
    let mut narrow = granted(redis.link(), Grants { queue_push: patterns("in"), ..grants.clone() });
    let (to, from) = (|| "in".to_owned(), || "out".to_owned());
    narrow.push(to(), bytes("x")).await.unwrap();
    assert_eq!(refusal(narrow.pop(to(), End::Front).await), "denied in");
    assert_eq!(narrow.pop(from(), End::Front).await.unwrap(), None);
    assert_eq!(refusal(narrow.push(from(), bytes("x")).await), "denied out");
    assert_eq!(refusal(narrow.push_many(from(), vec![bytes("x")]).await), "denied out");
    assert_eq!(refusal(narrow.push_with(from(), bytes("x"), plainly(End::Back)).await), "denied out");
    for queue in [to(), from()] {
        narrow.length(queue.clone()).await.unwrap();
        narrow.peek(queue, 1).await.unwrap();
    }
    assert_eq!(refusal(narrow.length("else".to_owned()).await), "denied else");
    assert_eq!(refusal(narrow.peek("else".to_owned(), 1).await), "denied else");
    let mut wide = granted(redis.link(), grants);
    for ours in
        ["{orders}:sandhog:ready", "{orders}:sandhog:inflight:web.00000001.000000000001", "sandhog:hosts"]
    {
        assert_eq!(refusal(wide.push(ours.to_owned(), bytes("x")).await), format!("denied {ours}"));
        assert_eq!(refusal(wide.length(ours.to_owned()).await), format!("denied {ours}"));
    }
}

#[tokio::test]
async fn what_is_refused_never_reaches_redis() {
    // There is no Redis here: an answer other than `unavailable` was given without asking it.
    let mut lonely = limited(no_redis(), Limits { value_bytes: 10, ..Limits::default() });
    let long = || vec![b'x'; 11];
    assert_eq!(refusal(lonely.push(String::new(), bytes("x")).await), "quota queue");
    assert_eq!(refusal(lonely.push("q".repeat(1025), bytes("x")).await), "quota queue");
    assert_eq!(refusal(lonely.push(q(), long()).await), "quota value");
    assert_eq!(refusal(lonely.push_with(q(), long(), plainly(End::Back)).await), "quota value");
    assert_eq!(refusal(lonely.push_many(q(), vec![vec![0; 6], vec![0; 5]]).await), "quota value");
    assert_eq!(refusal(lonely.push_many(q(), vec![Vec::new(); 1001]).await), "quota payloads");
    assert_eq!(refusal(lonely.peek(q(), 1001).await), "quota count");
    let year_ms = 365 * 24 * 60 * 60 * 1000;
    let delayed = |delay_ms| PushOptions { delay_ms: Some(delay_ms), ..plainly(End::Back) };
    assert_eq!(refusal(lonely.push_with(q(), bytes("x"), delayed(year_ms + 1)).await), "quota delay-ms");
    let month_ms = 30 * 24 * 60 * 60 * 1000;
    for (options, bound) in [
        (unique("", 1), "unique-key"),
        (unique(&"u".repeat(1025), 1), "unique-key"),
        (unique("u", 0), "unique-ttl-ms"),
        (unique("u", month_ms + 1), "unique-ttl-ms"),
    ] {
        assert_eq!(refusal(lonely.push_with(q(), bytes("x"), options).await), format!("quota {bound}"));
    }
    let unreachable = "unavailable redis cannot be reached";
    assert_eq!(refusal(lonely.push(q(), bytes("x")).await), unreachable);
    assert_eq!(refusal(lonely.push_with(q(), bytes("x"), delayed(year_ms)).await), unreachable);
    assert_eq!(refusal(lonely.push_with(q(), bytes("x"), unique("u", month_ms)).await), unreachable);
}

#[tokio::test]
async fn at_redis_memory_limit_pushes_are_refused_and_pops_go_on() {
    let redis = TestRedis::start();
    let mut view = view(redis.link());
    let mut plain = redis.plain().await;
    view.push(q(), bytes("x")).await.unwrap();
    let _: () =
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").query_async(&mut plain).await.unwrap();
    let full = "unavailable redis refused the write: memory limit reached";
    assert_eq!(refusal(view.push(q(), bytes("y")).await), full);
    assert_eq!(refusal(view.push_many(q(), vec![bytes("y")]).await), full);
    assert_eq!(refusal(view.push_with(q(), bytes("y"), unique("u", 1_000)).await), full);
    assert_eq!(view.peek(q(), 1).await.unwrap(), [bytes("x")]);
    assert_eq!(view.pop(q(), End::Front).await.unwrap(), Some(bytes("x")));
}
