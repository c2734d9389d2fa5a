//! What an order changes in Redis, and how often.
//!
//! In the immediate effects mode every call below is visible at once, and a host can die between any two of
//! them; then the job runs again. So an order has a marker, `order:seen:<order id>`, which holds the id of the
//! job that booked it and how far it came:
//!
//! 1. `begun <job>` is set only if there is no marker;
//! 2. the totals are added to and the receipt is pushed;
//! 3. `done <job>` replaces it.
//!
//! A second run of the same job that finds `done` writes nothing: nothing is added twice when only the
//! acknowledgement was lost. If it finds `begun`, the first run was cut off somewhere in step 2 and nobody knows
//! where: it books again, so that nothing is missing, and says so in `orders:repeated`. Therefore always
//!
//! `orders booked <= orders:count <= orders booked + orders:repeated`.
//!
//! Only the atomic mode can close that gap.

use serde_json::json;

use crate::order::Order;
use crate::sandhog::worker::types::Error;
use crate::sandhog::worker::{kv, queue};
use crate::settings::Settings;

/// How long an order is remembered.
const SEEN_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What became of an order.
pub(crate) enum Booking {
    /// Booked.
    First,
    /// Booked, after an earlier run of this job was cut off while it did.
    Again,
    /// Booked before: nothing was written.
    Known,
}

/// Books `order` unless it was booked before.
pub(crate) fn book(job: &str, order: &Order, settings: &Settings) -> Result<Booking, String> {
    let marker = format!("order:seen:{}", order.id);
    let booking = begin(job, &marker).map_err(said)?;
    if !matches!(booking, Booking::Known) {
        write(order, settings).map_err(said)?;
        mark(&marker, &format!("done {job}"), kv::Condition::Always).map_err(said)?;
    }
    Ok(booking)
}

fn begin(job: &str, marker: &str) -> Result<Booking, Error> {
    let begun = format!("begun {job}");
    if mark(marker, &begun, kv::Condition::IfAbsent)? {
        return Ok(Booking::First);
    }
    let found = kv::get(marker)?.unwrap_or_default();
    if found == begun.as_bytes() {
        kv::add("orders:repeated", 1)?;
        return Ok(Booking::Again);
    }
    if found != format!("done {job}").as_bytes() {
        kv::add("orders:duplicates", 1)?;
    }
    Ok(Booking::Known)
}

fn mark(marker: &str, value: &str, condition: kv::Condition) -> Result<bool, Error> {
    kv::set_with(marker, value.as_bytes(), kv::SetOptions { ttl_ms: Some(SEEN_MS), condition })
}

fn write(order: &Order, settings: &Settings) -> Result<(), Error> {
    kv::add(&format!("total:{}", order.customer), order.amount_cents)?;
    kv::add("total:all", order.amount_cents)?;
    kv::add("orders:count", 1)?;
    let receipt = json!({
        "order": order.id,
        "customer": order.customer,
        "amount_cents": order.amount_cents,
        "currency": settings.currency,
        "greeting": settings.greeting,
    });
    queue::push("receipts", receipt.to_string().as_bytes())?;
    Ok(())
}

fn said(error: Error) -> String {
    match error {
        Error::Denied(name) => format!("the grants do not cover `{name}`"),
        Error::WrongType(key) => format!("`{key}` holds something else"),
        Error::Quota(bound) => format!("the bound `{bound}` was passed"),
        Error::Unavailable(reason) => reason,
    }
}
