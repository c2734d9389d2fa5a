//! The overlay itself: what it answers at the call, what it bounds, what it takes for granted.

use std::sync::Arc;

use redis::AsyncCommands;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host as _, SetOptions};
use sandhog::capability::binding::sandhog::worker::queue::Host as _;
use sandhog::capability::limits::Limits;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::capability::view::View;
use sandhog::job::change::Changes;
use sandhog::job::commit::{Verdict, apply};

use crate::support::guest::all_grants;
use crate::support::host::until;
use crate::support::redis::TestRedis;
use crate::support::view::{refusal, scope};

fn view_with(redis: &TestRedis, isolation: Isolation, limits: Limits) -> View {
    let plan = Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None }));
    let scope = Arc::new(scope(all_grants(), limits));
    View::new(scope, Some(redis.link()), Arc::default(), None, &plan)
}

fn view(redis: &TestRedis) -> View {
    view_with(redis, Isolation::ReadCommitted, Limits::default())
}

fn changes(view: &mut View) -> Changes {
    view.finish().unwrap().changes
}

fn name(text: &str) -> String {
    text.to_owned()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[tokio::test]
async fn a_run_writes_four_mebibytes_at_most() {
    let redis = TestRedis::start();
    let mut view = view(&redis);
    for n in 0..3 {
        view.set(format!("k{n}"), vec![0; 1 << 20]).await.unwrap();
    }
    view.push(name("q"), vec![0; (1 << 20) - 200]).await.unwrap();
    assert_eq!(refusal(view.set(name("more"), vec![0; 200]).await), "quota effect-bytes");
    assert_eq!(refusal(view.push(name("q"), vec![0; 200]).await), "quota effect-bytes");
    assert_eq!(view.length(name("q")).await.unwrap(), 1, "what was refused is not there");
    assert_eq!(apply(&redis.link(), &changes(&mut view)).await.unwrap(), Verdict::Done);
}

#[tokio::test]
async fn what_is_taken_for_granted_is_bounded_too() {
    let redis = TestRedis::start();
    let mut view =
        view_with(&redis, Isolation::Serializable, Limits { kv_calls: 100_000, ..Limits::default() });
    let long = "k".repeat(1000);
    let mut reads = 0;
    let refused = loop {
        match view.exists(format!("{long}{reads}")).await {
            Ok(_) => reads += 1,
            Err(error) => break refusal::<()>(Err(error)),
        }
    };
    assert_eq!(refused, "quota effect-bytes");
    assert!((3_000..5_000).contains(&reads), "{reads}");
}

#[tokio::test]
async fn a_run_has_a_thousand_effects_at_most() {
    let redis = TestRedis::start();
    let mut view = view(&redis);
    view.push_many(name("q"), vec![vec![0]; 999]).await.unwrap();
    view.add(name("n"), 1).await.unwrap();
    assert_eq!(refusal(view.add(name("n"), 1).await), "quota effects");
    let changes = changes(&mut view);
    assert_eq!(apply(&redis.link(), &changes).await.unwrap(), Verdict::Done);
    let mut plain = redis.plain().await;
    assert_eq!(plain.llen::<_, u64>("q").await.unwrap(), 999);
}

#[tokio::test]
async fn types_that_are_known_are_answered_at_the_call() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut view = view(&redis);
    view.set(name("text"), bytes("word")).await.unwrap();
    assert_eq!(refusal(view.push(name("text"), bytes("x")).await), "wrong-type text");
    assert_eq!(refusal(view.add(name("text"), 1).await), "wrong-type text");
    assert_eq!(refusal(view.increment(name("text"), 1).await), "wrong-type text");
    view.push(name("list"), bytes("x")).await.unwrap();
    assert_eq!(refusal(view.get(name("list")).await), "wrong-type list");
    assert_eq!(refusal(view.add(name("list"), 1).await), "wrong-type list");
    let _: () = plain.set("stored", "word").await.unwrap();
    assert_eq!(refusal(view.push(name("stored"), bytes("x")).await), "wrong-type stored");
    let swapped = view.compare_and_swap(name("stored"), Some(bytes("other")), None).await;
    assert!(!swapped.unwrap());
    assert_eq!(refusal(view.add(name("stored"), 1).await), "wrong-type stored", "seen before");
}

#[tokio::test]
async fn what_expires_within_the_run_is_gone_within_the_run() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let _: () = plain.set("old", "1").await.unwrap();
    let mut view = view(&redis);
    let soon = || SetOptions { ttl_ms: Some(20), condition: Condition::Always };
    view.set_with(name("new"), bytes("1"), soon()).await.unwrap();
    assert!(view.expire(name("old"), Some(20)).await.unwrap());
    assert_eq!(view.get(name("new")).await.unwrap(), Some(bytes("1")));
    until("both have expired", async || {
        !view.exists(name("new")).await.unwrap() && !view.exists(name("old")).await.unwrap()
    })
    .await;
    assert!(plain.exists::<_, bool>("old").await.unwrap(), "nothing is done before the commit");
    view.add(name("new"), 1).await.unwrap();
    assert_eq!(apply(&redis.link(), &changes(&mut view)).await.unwrap(), Verdict::Done);
    assert!(!plain.exists::<_, bool>("old").await.unwrap());
    assert_eq!(plain.get::<_, String>("new").await.unwrap(), "1");
    assert_eq!(plain.pttl::<_, i64>("new").await.unwrap(), -1, "a new key has no expiry");
}

#[tokio::test]
async fn serializable_runs_conflict_over_what_they_only_read() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    type Read = for<'a> fn(&'a mut View) -> futures_util::future::BoxFuture<'a, ()>;
    let reads: [(&str, Read); 7] = [
        ("get", |view| Box::pin(async { assert!(view.get(name("k")).await.is_ok()) })),
        ("get-many", |view| {
            Box::pin(async { assert!(view.get_many(vec![name("x"), name("k")]).await.is_ok()) })
        }),
        ("exists", |view| Box::pin(async { assert!(view.exists(name("new")).await.is_ok()) })),
        ("ttl", |view| Box::pin(async { assert!(view.ttl(name("k")).await.is_ok()) })),
        ("list-keys", |view| Box::pin(async { assert!(view.list_keys(name("n"), None).await.is_ok()) })),
        ("length", |view| Box::pin(async { assert!(view.length(name("q")).await.is_ok()) })),
        ("peek", |view| Box::pin(async { assert!(view.peek(name("q"), 5).await.is_ok()) })),
    ];
    for isolation in [Isolation::ReadCommitted, Isolation::Serializable] {
        for (call, read) in reads {
            let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
            let _: () = plain.set("k", "1").await.unwrap();
            let _: () = plain.rpush("q", "1").await.unwrap();
            let mut view = view_with(&redis, isolation, Limits::default());
            read(&mut view).await;
            view.set(name("result"), bytes("1")).await.unwrap();
            let changes = changes(&mut view);
            let mut others = redis::pipe();
            others.cmd("SET").arg("k").arg("2").arg("PX").arg(90_000).rpush("q", "2").set("new", "1");
            let _: () = others.query_async(&mut plain).await.unwrap();
            let verdict = apply(&redis.link(), &changes).await.unwrap();
            let conflicts = matches!(verdict, Verdict::Conflict(_));
            assert_eq!(conflicts, isolation == Isolation::Serializable, "{call} {isolation:?}: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn reads_that_can_travel_together_do() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut view = view(&redis);
    view.set(name("own"), bytes("1")).await.unwrap();
    view.add(name("sum"), 1).await.unwrap();
    let _: () = plain.mset(&[("a", "1"), ("b", "2"), ("sum", "3")]).await.unwrap();
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut plain).await.unwrap();
    let keys = ["a", "own", "b", "sum", "none", "a"].map(name).to_vec();
    let found = view.get_many(keys).await.unwrap();
    let expected = [Some("1"), Some("1"), Some("2"), Some("4"), None, Some("1")];
    assert_eq!(found, expected.map(|value| value.map(bytes)));
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut plain).await.unwrap();
    let calls = |name: &str| info.contains(&format!("cmdstat_{name}:calls=1,"));
    assert!(calls("mget") && !info.contains("cmdstat_get:") && !info.contains("cmdstat_getrange"), "{info}");
}
