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
//! | a key that is no counter, a grant that is missing | bury: see `sandhog_guest::Error` |

mod ledger;
mod order;
mod settings;

use ledger::Booking;
use order::Order;
use sandhog_guest::{Failure, Job, log};
use settings::Settings;

sandhog_guest::worker!(handle);

fn handle(job: Job) -> Result<(), Failure> {
    let order = Order::parse(&job.payload).map_err(Failure::bury)?;
    let settings = Settings::read()?;
    if order.amount_cents > settings.max_amount_cents {
        let (amount, max) = (order.amount_cents, settings.max_amount_cents);
        return Err(Failure::retry(format!("amount {amount} is above the maximum of {max} for now")));
    }
    match ledger::book(&job.id, &order, &settings)? {
        Booking::First => {}
        Booking::Duplicate => log::info!("order `{}` was booked before", order.id),
    }
    Ok(())
}
