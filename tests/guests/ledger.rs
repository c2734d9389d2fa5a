//! `ledger`: what it books, and what it answers. Runs here have immediate effects.

use redis::AsyncCommands as _;
use sandhog::sandbox::{JobCall, Outcome};

use super::INITIAL_MEMORY;
use crate::support::example;
use crate::support::guest::{context, job};
use crate::support::redis::TestRedis;

async fn book(redis: &TestRedis, number: &str) -> Outcome {
    let version = example::plugin("ledger").version;
    let call = JobCall { queue: "ledger", ..job(number.as_bytes()) };
    let report = version.run_job(call, &context(redis.link())).await;
    assert_eq!((report.usage.calls, report.usage.denied), (4, 0), "{}", report.outcome.reason());
    assert_eq!(report.memory_peak_bytes, INITIAL_MEMORY);
    report.outcome
}

#[tokio::test]
async fn a_number_is_booked_in_four_calls() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    assert_eq!(book(&redis, "0000000017").await, Outcome::Done);
    let () = plain.set("ledger:rate", 3).await.unwrap();
    assert_eq!(book(&redis, "33").await, Outcome::Done);
    assert_eq!(plain.get::<_, i64>("ledger:balance:1").await.unwrap(), 17 + 3 * 33);
    assert_eq!(plain.lrange::<_, Vec<String>>("ledger:receipts", 0, -1).await.unwrap(), ["17", "33"]);
    let minutes = plain.ttl::<_, i64>("ledger:marker:33").await.unwrap() / 60;
    assert!((59..=60).contains(&minutes), "the marker expires in an hour, not in {minutes} minutes");
}

#[tokio::test]
async fn a_number_that_is_booked_already_is_buried() {
    let redis = TestRedis::start();
    assert_eq!(book(&redis, "5").await, Outcome::Done);
    assert_eq!(book(&redis, "5").await, Outcome::Buried("the number is booked already".to_owned()));
}

#[tokio::test]
async fn what_is_no_number_is_buried_before_anything_is_written() {
    let redis = TestRedis::start();
    let version = example::plugin("ledger").version;
    for payload in ["", "x", "1.5", "99999999999999999999"] {
        let outcome = version.run_job(job(payload.as_bytes()), &context(redis.link())).await.outcome;
        assert_eq!(outcome, Outcome::Buried("the job is not a number".to_owned()));
    }
    let keys: Vec<String> = redis.plain().await.keys("*").await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
}
