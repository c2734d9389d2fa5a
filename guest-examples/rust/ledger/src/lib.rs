//! A queue worker that books a number: the benchmark's guest for effects.
//!
//! A job is a decimal number, and all keys begin with the queue's name. Four calls per job:
//!
//! 1. `get` of `<queue>:rate`, 1 where there is none;
//! 2. `add` of number times rate to one of sixteen balances, `<queue>:balance:<number % 16>`;
//! 3. `push` of the number to `<queue>:receipts`;
//! 4. `set` of `<queue>:marker:<number>`, for an hour and only if it is absent.
//!
//! A number whose marker is there already is buried, after the other calls: with atomic effects nothing of that run
//! is seen, with immediate ones the balances and receipts tell of it.

// Links the allocator.
use guest as _;

use exports::sandhog::worker::handler::{Failure, Guest, Job, RetryOptions};
use sandhog::worker::types::Error;
use sandhog::worker::{kv, queue};

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(Ledger);

/// Balances among which the numbers are spread.
const BALANCES: i64 = 16;
/// How long a marker stays.
const MARKER_MS: u64 = 60 * 60 * 1000;

struct Ledger;

impl Guest for Ledger {
    fn handle(job: Job) -> Result<(), Failure> {
        let bury = |reason: &str| Failure::Bury(reason.to_owned());
        let number = decimal(&job.payload).ok_or_else(|| bury("the job is not a number"))?;
        let key = |name: &str| format!("{}:{name}", job.queue);
        let rate = match kv::get(&key("rate")).map_err(later)? {
            Some(rate) => decimal(&rate).ok_or_else(|| bury("the rate is not a number"))?,
            None => 1,
        };
        let amount = number.checked_mul(rate).ok_or_else(|| bury("the amount is too large"))?;
        kv::add(&key(&format!("balance:{}", number.rem_euclid(BALANCES))), amount).map_err(later)?;
        queue::push(&key("receipts"), number.to_string().as_bytes()).map_err(later)?;
        let options = kv::SetOptions { ttl_ms: Some(MARKER_MS), condition: kv::Condition::IfAbsent };
        match kv::set_with(&key(&format!("marker:{number}")), b"", options).map_err(later)? {
            true => Ok(()),
            false => Err(bury("the number is booked already")),
        }
    }
}

fn decimal(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Run the job again, after the back-off of the manifest.
fn later(error: Error) -> Failure {
    Failure::Retry(RetryOptions { reason: format!("{error:?}"), after_ms: None })
}
