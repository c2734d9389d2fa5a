//! The example guests, each run as a plugin with its own manifest against a real Redis.

mod languages;
mod ledger;
mod orders;
mod probes;
mod site_settings;

use redis::AsyncCommands as _;

use crate::support::example;
use crate::support::guest::{context, job, no_redis};
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
