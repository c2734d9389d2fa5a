//! What an order changes in Redis.
//!
//! The manifest asks for atomic effects: everything below becomes visible together with the job's completion, or not
//! at all. So nothing here is prepared for a run that was cut off, and a job that runs twice books once.
//!
//! That leaves the producer, who may push the same order as two jobs. Each order has a marker, `order:seen:<order id>`,
//! set only if there is none: of two jobs that try it at the same time one is committed; the other runs again, and
//! finds the marker.

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
    /// Another job had booked it: only that is counted.
    Duplicate,
}

/// Books `order` unless it was booked before.
pub(crate) fn book(job: &str, order: &Order, settings: &Settings) -> Result<Booking, String> {
    if mark(job, order).map_err(said)? {
        write(order, settings).map_err(said)?;
        Ok(Booking::First)
    } else {
        kv::add("orders:duplicates", 1).map_err(said)?;
        Ok(Booking::Duplicate)
    }
}

/// Whether this job is the first one with this order.
fn mark(job: &str, order: &Order) -> Result<bool, Error> {
    let options = kv::SetOptions { ttl_ms: Some(SEEN_MS), condition: kv::Condition::IfAbsent };
    kv::set_with(&format!("order:seen:{}", order.id), job.as_bytes(), options)
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
