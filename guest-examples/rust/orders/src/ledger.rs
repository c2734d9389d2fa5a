//! What an order changes in Redis.
//!
//! The manifest asks for atomic effects: everything below becomes visible together with the job's completion, or not
//! at all. So nothing here is prepared for a run that was cut off, and a job that runs twice books once.
//!
//! That leaves the producer, who may push the same order as two jobs. Each order has a marker, `order:seen:<order id>`,
//! set only if there is none: of two jobs that try it at the same time one is committed; the other runs again, and
//! finds the marker.

use std::time::Duration;

use sandhog_guest::{Result, kv, queue};
use serde_json::json;

use crate::order::Order;
use crate::settings::Settings;

/// How long an order is remembered.
const SEEN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What became of an order.
pub(crate) enum Booking {
    /// Booked.
    First,
    /// Another job had booked it: only that is counted.
    Duplicate,
}

/// Books `order` unless it was booked before.
pub(crate) fn book(job: &str, order: &Order, settings: &Settings) -> Result<Booking> {
    if kv::set_if_absent(&format!("order:seen:{}", order.id), job, Some(SEEN))? {
        write(order, settings)?;
        Ok(Booking::First)
    } else {
        kv::add("orders:duplicates", 1)?;
        Ok(Booking::Duplicate)
    }
}

fn write(order: &Order, settings: &Settings) -> Result<()> {
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
    queue::push("receipts", receipt.to_string())?;
    Ok(())
}
