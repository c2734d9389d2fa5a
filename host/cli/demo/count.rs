//! What Redis holds when the tour is over, read as any client would read it, and the jobs as the engine counts
//! them.

use std::collections::{BTreeMap, BTreeSet};

use redis::cmd;
use sandhog::job::inspect::{self, Place, QueueCounts};
use sandhog::job::name::QueueName;
use sandhog::storage::fault::Fault;
use sandhog::storage::link::Link;
use serde_json::Value;

use super::orders::Orders;
use crate::cli::error::Outcome;

/// Entries and keys read in one step.
const PAGE: usize = 1000;

/// What was counted.
pub(super) struct Counted {
    /// Jobs of the queue, by place, and what happened to them.
    pub(super) jobs: QueueCounts,
    /// Orders that have a marker.
    pub(super) booked: u64,
    /// `orders:count`: bookings.
    pub(super) bookings: u64,
    /// `orders:duplicates`: orders that were known already.
    pub(super) duplicates: u64,
    /// `total:all`: what was booked, in cents.
    pub(super) total_cents: u64,
    /// Receipts in their list.
    pub(super) receipts: u64,
    /// Orders that have a receipt.
    pub(super) receipted: u64,
    /// Receipts with the new greeting.
    pub(super) greeted: u64,
    /// Dead jobs by reason.
    pub(super) dead: BTreeMap<String, u64>,
}

/// The queue of the tour.
pub(super) fn queue() -> QueueName {
    QueueName::new("orders").expect("the name is legal")
}

/// Counts everything.
pub(super) async fn look(link: &Link, orders: &Orders) -> Outcome<Counted> {
    let (receipts, receipted, greeted) = receipts(link).await?;
    Ok(Counted {
        jobs: inspect::counts(link, &queue()).await?,
        booked: booked(link, orders).await?,
        bookings: number(link, "orders:count").await?,
        duplicates: number(link, "orders:duplicates").await?,
        total_cents: number(link, "total:all").await?,
        receipts,
        receipted,
        greeted,
        dead: dead(link).await?,
    })
}

/// A counter; absent counts as 0.
pub(super) async fn number(link: &Link, key: &str) -> Result<u64, Fault> {
    Ok(link.query::<Option<u64>>(cmd("GET").arg(key)).await?.unwrap_or(0))
}

async fn booked(link: &Link, orders: &Orders) -> Result<u64, Fault> {
    let mut booked = 0;
    let ids: Vec<u64> = (0..orders.good).collect();
    for page in ids.chunks(PAGE) {
        let mut exist = cmd("EXISTS");
        page.iter().for_each(|number| {
            exist.arg(format!("order:seen:A-{number:06}"));
        });
        booked += link.query::<u64>(&exist).await?;
    }
    Ok(booked)
}

/// All receipts, the orders they are for, and those with the new greeting.
async fn receipts(link: &Link) -> Result<(u64, u64, u64), Fault> {
    let (mut all, mut greeted) = (0, 0);
    let mut of = BTreeSet::new();
    loop {
        let from = all;
        let page: Vec<Vec<u8>> =
            link.query(cmd("LRANGE").arg("receipts").arg(from).arg(from + PAGE - 1)).await?;
        if page.is_empty() {
            return Ok((all as u64, of.len() as u64, greeted));
        }
        all += page.len();
        for receipt in page {
            let receipt: Value = serde_json::from_slice(&receipt).unwrap_or_default();
            greeted += u64::from(receipt["greeting"].as_str().is_some_and(|g| g.starts_with("ahoy")));
            of.insert(receipt["order"].as_str().unwrap_or_default().to_owned());
        }
    }
}

async fn dead(link: &Link) -> Outcome<BTreeMap<String, u64>> {
    let mut dead = BTreeMap::new();
    let mut cursor = None;
    loop {
        let (rows, next) = inspect::list(link, &queue(), Place::Dead, cursor, inspect::PAGE_MAX).await?;
        for row in rows {
            *dead.entry(row.reason.unwrap_or_default()).or_insert(0) += 1;
        }
        if next.is_none() {
            return Ok(dead);
        }
        cursor = next;
    }
}
