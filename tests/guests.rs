//! The example guests, each run as a plugin with its own manifest against a real Redis.

mod languages;
mod ledger;
mod orders;
mod probes;
mod site_settings;

use redis::AsyncCommands as _;
use sandhog::sandbox::{Limits, Terms};

use crate::support::example;
use crate::support::guest::{all_grants, context, job, no_redis, sandbox, terms};
use crate::support::redis::TestRedis;

/// What the guests start with, see guest-examples/.cargo/config.toml.
const INITIAL_MEMORY: u64 = 4 * 65_536;

#[tokio::test]
async fn noop_is_done_within_its_initial_memory() {
    let report = example::plugin("noop").version.run_job(job(&[b'x'; 100]), &context(no_redis())).await;
    assert_eq!((report.outcome.kind(), report.memory_peak_bytes), ("done", INITIAL_MEMORY));
}

#[tokio::test]
async fn greeter_does_what_the_readme_says() {
    let redis = TestRedis::start();
    let greeter = example::plugin("greeter").version;
    for _ in 0..2 {
        assert_eq!(greeter.run_job(job(b"ada"), &context(redis.link())).await.outcome.kind(), "done");
    }
    let said: Vec<String> = redis.plain().await.lrange("greetings", 0, -1).await.unwrap();
    assert_eq!(said, ["hello, ada (1)", "hello, ada (2)"]);
    let outcome = greeter.run_job(job(b"\xff"), &context(redis.link())).await.outcome;
    assert_eq!(outcome.reason(), "not a name");
}

#[tokio::test]
async fn a_question_mark_retries_what_passes_and_buries_what_does_not() {
    let redis = TestRedis::start();
    let _: u64 = redis.plain().await.rpush("greeted:list", "x").await.unwrap();
    let component = example::component("greeter");
    let version = |terms| sandbox().load(terms, &component).unwrap();
    let granted = || Terms { grants: all_grants(), ..terms() };
    let frugal = Terms { limits: Limits { kv_calls: 1, ..Limits::default() }, ..granted() };
    for (terms, link, payload, kind, said) in [
        (granted(), no_redis(), "ada", "retry", "redis cannot be reached"),
        (terms(), redis.link(), "ada", "buried", "the grants do not cover `greeted:ada`"),
        (granted(), redis.link(), "list", "buried", "`greeted:list` holds something else"),
        (frugal, redis.link(), "ada", "buried", "the bound `kv_calls` was passed"),
    ] {
        let outcome = version(terms).run_job(job(payload.as_bytes()), &context(link)).await.outcome;
        assert_eq!((outcome.kind(), &*outcome.reason()), (kind, said));
    }
}
