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

use std::time::Duration;

use sandhog_guest::{Failure, Job, kv, queue};

sandhog_guest::worker!(handle);

/// Balances among which the numbers are spread.
const BALANCES: i64 = 16;
/// How long a marker stays.
const MARKER: Duration = Duration::from_secs(60 * 60);

fn handle(job: Job) -> Result<(), Failure> {
    let number = decimal(&job.payload).ok_or_else(|| Failure::bury("the job is not a number"))?;
    let key = |name: &str| format!("{}:{name}", job.queue);
    let rate = kv::get(&key("rate"))?.unwrap_or(1_i64);
    let amount = number.checked_mul(rate).ok_or_else(|| Failure::bury("the amount is too large"))?;
    kv::add(&key(&format!("balance:{}", number.rem_euclid(BALANCES))), amount)?;
    queue::push(&key("receipts"), number)?;
    if !kv::set_if_absent(&key(&format!("marker:{number}")), "", Some(MARKER))? {
        return Err(Failure::bury("the number is booked already"));
    }
    Ok(())
}

fn decimal(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
