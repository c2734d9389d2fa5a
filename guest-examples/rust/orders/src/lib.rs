//! A queue worker: takes orders as JSON, keeps totals, pushes a receipt for each.
//!
//! What it answers:
//!
//! | order | answer |
//! |---|---|
//! | good | done: totals, receipt and marker are written |
//! | the same order id in another job | done: only `orders:duplicates` is counted |
//! | above `site-settings.max_amount_cents` | retry: an operator may raise the maximum meanwhile |
//! | not JSON, a field missing or empty, an amount of zero or less | bury: it will never be better |
//! | Redis did not answer | retry |

// Links the allocator.
use guest as _;

mod ledger;
mod order;
mod settings;

use exports::sandhog::worker::handler::{Failure, Guest, Job, RetryOptions};
use ledger::Booking;
use order::Order;
use settings::Settings;
use wasi::logging::logging::{Level, log};

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(Orders);

struct Orders;

impl Guest for Orders {
    fn handle(job: Job) -> Result<(), Failure> {
        let order = Order::parse(&job.payload).map_err(Failure::Bury)?;
        let settings = Settings::read().map_err(later)?;
        if order.amount_cents > settings.max_amount_cents {
            let (amount, max) = (order.amount_cents, settings.max_amount_cents);
            return Err(later(format!("amount {amount} is above the maximum of {max} for now")));
        }
        match ledger::book(&job.id, &order, &settings).map_err(later)? {
            Booking::First => {}
            Booking::Duplicate => {
                log(Level::Info, "orders", &format!("order `{}` was booked before", order.id));
            }
        }
        Ok(())
    }
}

/// Run the job again, after the back-off of the manifest.
fn later(reason: String) -> Failure {
    Failure::Retry(RetryOptions { reason, after_ms: None })
}
