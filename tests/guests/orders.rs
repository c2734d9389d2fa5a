//! `orders`: what it books, how often, and what it answers.

use std::sync::Arc;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use sandhog::sandbox::{JobCall, Outcome, RunContext, RunReport};

use super::INITIAL_MEMORY;
use crate::support::example;
use crate::support::guest::{context, job};
use crate::support::redis::TestRedis;

/// A Redis of its own, and a way to run `orders` on it.
struct Desk {
    redis: TestRedis,
    settings: Vec<(&'static str, &'static str)>,
}

impl Desk {
    fn new() -> Self {
        Self { redis: TestRedis::start(), settings: Vec::new() }
    }

    async fn run(&self, id: &str, payload: &str) -> RunReport {
        let settings =
            self.settings.iter().map(|(name, value)| (format!("site-settings.{name}"), (*value).to_owned()));
        let context = RunContext { settings: Arc::new(settings.collect()), ..context(self.redis.link()) };
        example::plugin("orders").version.run_job(JobCall { id, ..job(payload.as_bytes()) }, &context).await
    }

    async fn outcome(&self, id: &str, payload: &str) -> Outcome {
        self.run(id, payload).await.outcome
    }

    /// `total:ada`, `total:all`, `orders:count`, `orders:repeated`, `orders:duplicates`, number of receipts.
    async fn books(&self) -> [i64; 6] {
        let mut plain = self.redis.plain().await;
        let keys = ["total:ada", "total:all", "orders:count", "orders:repeated", "orders:duplicates"];
        let mut books = [0; 6];
        for (at, key) in keys.iter().enumerate() {
            books[at] = plain.get::<_, Option<i64>>(key).await.unwrap().unwrap_or(0);
        }
        books[5] = plain.llen("receipts").await.unwrap();
        books
    }
}

async fn keys(plain: &mut MultiplexedConnection) -> Vec<String> {
    let mut keys: Vec<String> = plain.keys("*").await.unwrap();
    keys.sort();
    keys
}

const ORDER: &str = r#"{"id": "A-1", "customer": "ada", "amount_cents": 1250}"#;

#[tokio::test]
async fn a_good_order_is_booked_with_a_receipt() {
    let mut desk = Desk::new();
    desk.settings = vec![("greeting", "dear, bob"), ("currency", "CHF"), ("max_amount_cents", "1250")];
    let report = desk.run("job-1", ORDER).await;
    assert_eq!((report.outcome, report.memory_peak_bytes), (Outcome::Done, INITIAL_MEMORY));
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 0, 1]);
    let mut plain = desk.redis.plain().await;
    assert_eq!(
        keys(&mut plain).await,
        ["order:seen:A-1", "orders:count", "receipts", "total:ada", "total:all"]
    );
    assert_eq!(plain.get::<_, String>("order:seen:A-1").await.unwrap(), "done job-1");
    let days = plain.ttl::<_, i64>("order:seen:A-1").await.unwrap() / 86_400;
    assert!((6..=7).contains(&days), "the marker expires in a week, not in {days} days");
    let receipt: String = plain.lpop("receipts", None).await.unwrap();
    let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
    let expected = serde_json::json!({
        "order": "A-1", "customer": "ada", "amount_cents": 1250, "currency": "CHF", "greeting": "dear, bob",
    });
    assert_eq!(receipt, expected);
}

#[tokio::test]
async fn a_second_run_of_a_booked_job_adds_nothing() {
    let desk = Desk::new();
    for _ in 0..2 {
        assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Done);
    }
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 0, 1]);
}

#[tokio::test]
async fn the_same_order_in_another_job_is_a_duplicate() {
    let desk = Desk::new();
    for id in ["job-1", "job-2"] {
        assert_eq!(desk.outcome(id, ORDER).await, Outcome::Done);
    }
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 1, 1]);
}

#[tokio::test]
async fn a_job_cut_off_while_it_booked_books_again_and_says_so() {
    let desk = Desk::new();
    let mut plain = desk.redis.plain().await;
    let _: () = plain.set("order:seen:A-1", "begun job-1").await.unwrap();
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Done);
    assert_eq!(desk.books().await, [1250, 1250, 1, 1, 0, 1]);
    assert_eq!(plain.get::<_, String>("order:seen:A-1").await.unwrap(), "done job-1");
}

#[tokio::test]
async fn an_order_above_the_maximum_waits_until_the_maximum_is_raised() {
    let mut desk = Desk::new();
    desk.settings = vec![("max_amount_cents", "1249")];
    let reason = "amount 1250 is above the maximum of 1249 for now".to_owned();
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Retry { reason, after: None });
    assert_eq!(desk.books().await, [0; 6]);
    desk.settings = vec![("max_amount_cents", "1250")];
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Done);
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 0, 1]);
}

#[tokio::test]
async fn a_bad_order_is_buried_with_its_reason_and_leaves_nothing() {
    let desk = Desk::new();
    for (payload, reason) in [
        ("{\"id\"", "malformed order: EOF while parsing an object at line 1 column 5"),
        (r#"{"id": "A", "customer": "ada", "amount_cents": -5}"#, "`amount_cents` is -5, not above zero"),
        (r#"{"id": "", "customer": "ada", "amount_cents": 5}"#, "`id` has 0 bytes, not 1 to 200"),
    ] {
        assert_eq!(desk.outcome("job-1", payload).await, Outcome::Buried(reason.to_owned()));
    }
    let mut plain = desk.redis.plain().await;
    assert_eq!(keys(&mut plain).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_total_that_is_no_number_makes_the_job_retry() {
    let desk = Desk::new();
    let _: () = desk.redis.plain().await.set("total:ada", "many").await.unwrap();
    let reason = "`total:ada` holds something else".to_owned();
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Retry { reason, after: None });
}
