//! `orders`: what it books, how often, and what it answers. Effects are held back, as its manifest wants them, and
//! committed by the test.

use std::sync::Arc;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use sandhog::capability::plan::{Atomic, Plan, Pops};
use sandhog::job::commit::{Verdict, Why, apply};
use sandhog::plugin::manifest::EffectsMode;
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

    /// A run whose effects wait.
    async fn run(&self, id: &str, payload: &str) -> RunReport {
        let settings =
            self.settings.iter().map(|(name, value)| (format!("site-settings.{name}"), (*value).to_owned()));
        let orders = example::plugin("orders");
        let EffectsMode::Atomic(isolation) = orders.manifest.effects else { panic!("orders relies on it") };
        let plan = Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None }));
        let context =
            RunContext { settings: Arc::new(settings.collect()), plan, ..context(self.redis.link()) };
        orders.version.run_job(JobCall { id, ..job(payload.as_bytes()) }, &context).await
    }

    /// Makes the effects of a run visible.
    async fn commit(&self, report: RunReport) -> Verdict {
        let pending = report.pending.expect("the run ended well");
        apply(&self.redis.link(), &pending.changes).await.unwrap()
    }

    /// The outcome of a run; if it is done, its effects are committed.
    async fn outcome(&self, id: &str, payload: &str) -> Outcome {
        let report = self.run(id, payload).await;
        let outcome = report.outcome.clone();
        if outcome == Outcome::Done {
            assert_eq!(self.commit(report).await, Verdict::Done);
        }
        outcome
    }

    /// `total:ada`, `total:all`, `orders:count`, `orders:duplicates`, number of receipts.
    async fn books(&self) -> [i64; 5] {
        let mut plain = self.redis.plain().await;
        let keys = ["total:ada", "total:all", "orders:count", "orders:duplicates"];
        let mut books = [0; 5];
        for (at, key) in keys.iter().enumerate() {
            books[at] = plain.get::<_, Option<i64>>(key).await.unwrap().unwrap_or(0);
        }
        books[4] = plain.llen("receipts").await.unwrap();
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
    assert_eq!((&report.outcome, report.memory_peak_bytes), (&Outcome::Done, INITIAL_MEMORY));
    assert_eq!(desk.commit(report).await, Verdict::Done);
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 1]);
    let mut plain = desk.redis.plain().await;
    assert_eq!(
        keys(&mut plain).await,
        ["order:seen:A-1", "orders:count", "receipts", "total:ada", "total:all"]
    );
    assert_eq!(plain.get::<_, String>("order:seen:A-1").await.unwrap(), "job-1");
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
async fn a_run_that_is_not_committed_leaves_nothing_and_the_next_one_books() {
    let desk = Desk::new();
    for _ in 0..2 {
        assert_eq!(desk.run("job-1", ORDER).await.outcome, Outcome::Done);
        assert_eq!(desk.books().await, [0; 5]);
    }
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Done);
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 1]);
}

#[tokio::test]
async fn the_same_order_in_another_job_is_a_duplicate() {
    let desk = Desk::new();
    for id in ["job-1", "job-2"] {
        assert_eq!(desk.outcome(id, ORDER).await, Outcome::Done);
    }
    assert_eq!(desk.books().await, [1250, 1250, 1, 1, 1]);
}

#[tokio::test]
async fn of_two_jobs_that_book_the_same_order_at_once_one_is_committed() {
    let desk = Desk::new();
    let (first, second) = (desk.run("job-1", ORDER).await, desk.run("job-2", ORDER).await);
    assert_eq!(desk.commit(second).await, Verdict::Done);
    assert_eq!(desk.commit(first).await, Verdict::Conflict("order:seen:A-1".to_owned()));
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 1]);
    // The job runs again.
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Done);
    assert_eq!(desk.books().await, [1250, 1250, 1, 1, 1]);
}

#[tokio::test]
async fn an_order_above_the_maximum_waits_until_the_maximum_is_raised() {
    let mut desk = Desk::new();
    desk.settings = vec![("max_amount_cents", "1249")];
    let reason = "amount 1250 is above the maximum of 1249 for now".to_owned();
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Retry { reason, after: None });
    assert_eq!(desk.books().await, [0; 5]);
    desk.settings = vec![("max_amount_cents", "1250")];
    assert_eq!(desk.outcome("job-1", ORDER).await, Outcome::Done);
    assert_eq!(desk.books().await, [1250, 1250, 1, 0, 1]);
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
async fn a_total_that_is_no_number_shows_at_the_commit_and_nothing_is_booked() {
    let desk = Desk::new();
    let _: () = desk.redis.plain().await.set("total:ada", "many").await.unwrap();
    let report = desk.run("job-1", ORDER).await;
    let refused = Verdict::Refused { key: "total:ada".to_owned(), why: Why::NotAnInteger };
    assert_eq!(desk.commit(report).await, refused);
    assert_eq!(keys(&mut desk.redis.plain().await).await, ["total:ada"]);
}
