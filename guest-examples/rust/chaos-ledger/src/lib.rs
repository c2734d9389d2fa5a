//! A worker for tests: books every job so that an effect that is lost, or done twice, can be seen afterwards.
//! Served under two queues, `ledger` and `ledger-follow`; what it writes for a job of each is in `book`.
//!
//! A job's payload is `<id> <amount> <word>…`; the words ask for more work (`order`). What must never be, seen
//! from inside, goes to the list `ledger-violations`; what is lost or doubled shows from outside.

// Links the allocator.
use sandhog_guest as _;

mod book;
mod order;

use exports::sandhog::worker::handler::{Failure, Guest, Job, RetryOptions};
use order::Order;
use sandhog::worker::types::Error;

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(ChaosLedger);

struct ChaosLedger;

impl Guest for ChaosLedger {
    fn handle(job: Job) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(&job.payload);
        if job.queue == "ledger-follow" {
            return book::follow(&text).map_err(failure);
        }
        let order = Order::parse(&text).ok_or_else(|| Failure::Bury(format!("no order: {text}")))?;
        book::post(&order).map_err(failure)?;
        // Everything is written: whoever makes writes visible before the end of the run shows it now.
        order.mishap(job.attempt)
    }
}

/// What a refused call means for the job: faults pass, what is not granted or too much never gets better.
fn failure(error: Error) -> Failure {
    match error {
        Error::Unavailable(_) | Error::WrongType(_) => later(format!("{error:?}")),
        Error::Denied(_) | Error::Quota(_) => Failure::Bury(format!("{error:?}")),
    }
}

fn later(reason: String) -> Failure {
    Failure::Retry(RetryOptions { reason, after_ms: None })
}
