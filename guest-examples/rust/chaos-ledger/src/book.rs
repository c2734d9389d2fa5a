//! What is written for each job.
//!
//! | key | of a job of `ledger` |
//! |---|---|
//! | `ledger:balance` | its amount added |
//! | `ledger:marker:<id>` | its id, set if absent, kept for a day |
//! | `ledger:todo:<id>` | deleted; whoever pushes the job sets it |
//! | `ledger:seq:<k>` `ledger:swap:<k>` | one more, if it asks for it |
//! | `ledger-tickets` | one entry less, if it asks for it |
//! | `ledger-receipts` | `<id> <what it was given>…`, one entry |
//! | `ledger-audit` | `<id> a`, `<id> b`, two entries side by side |
//! | `ledger-follow` | a job with its id, if it asks for it |
//!
//! A job of `ledger-follow` sets `ledger:followed:<id>` if absent and pushes its id to `ledger-follow-receipts`.

use crate::order::Order;
use crate::sandhog::worker::queue::{End, PushOptions, PushOutcome, Uniqueness};
use crate::sandhog::worker::types::Error;
use crate::sandhog::worker::{kv, queue};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Books a job of `ledger`.
pub(crate) fn post(order: &Order<'_>) -> Result<(), Error> {
    let id = order.id;
    kv::add("ledger:balance", order.amount)?;
    let marker = format!("ledger:marker:{id}");
    claim(&marker, id)?;
    demand(kv::get(&marker)?.as_deref() == Some(id.as_bytes()), "reads its own marker", id)?;
    demand(kv::delete(&format!("ledger:todo:{id}"))?, "finds its note", id)?;

    let mut receipt = id.to_owned();
    if let Some(sequence) = order.word("seq") {
        let number = kv::increment(&format!("ledger:seq:{sequence}"), 1)?;
        receipt += &format!(" seq:{sequence}={number}");
    }
    if let Some(sequence) = order.word("swap") {
        let number = swap(&format!("ledger:swap:{sequence}"))?;
        receipt += &format!(" swap:{sequence}={number}");
    }
    if let Some(end) = order.word("ticket") {
        let end = if end == "front" { End::Front } else { End::Back };
        if let Some(ticket) = queue::pop("ledger-tickets", end)? {
            receipt += &format!(" ticket={}", String::from_utf8_lossy(&ticket));
        }
    }
    queue::push("ledger-receipts", receipt.as_bytes())?;
    queue::push_many("ledger-audit", &[format!("{id} a").into_bytes(), format!("{id} b").into_bytes()])?;
    push_follower(order)
}

/// Books a job of `ledger-follow`.
pub(crate) fn follow(id: &str) -> Result<(), Error> {
    claim(&format!("ledger:followed:{id}"), id)?;
    queue::push("ledger-follow-receipts", id.as_bytes()).map(drop)
}

fn push_follower(order: &Order<'_>) -> Result<(), Error> {
    let (id, payload) = (order.id, order.id.as_bytes());
    let options = |delay_ms: u64, unique| PushOptions {
        end: End::Back,
        delay_ms: (delay_ms > 0).then_some(delay_ms),
        unique,
    };
    if let Some(delay_ms) = order.number("follow") {
        let outcome = queue::push_with("ledger-follow", payload, &options(delay_ms, None))?;
        demand(!matches!(outcome, PushOutcome::Duplicate), "pushes its follower", id)?;
    }
    if let Some(delay_ms) = order.number("once") {
        let unique = || Some(Uniqueness { key: id.to_owned(), ttl_ms: DAY_MS });
        let first = queue::push_with("ledger-follow", payload, &options(delay_ms, unique()))?;
        demand(!matches!(first, PushOutcome::Duplicate), "pushes its unique follower", id)?;
        let second = queue::push_with("ledger-follow", payload, &options(delay_ms, unique()))?;
        demand(matches!(second, PushOutcome::Duplicate), "has one follower only", id)?;
    }
    Ok(())
}

/// Sets a key that nobody can have set before.
fn claim(key: &str, id: &str) -> Result<(), Error> {
    let options = kv::SetOptions { ttl_ms: Some(DAY_MS), condition: kv::Condition::IfAbsent };
    let first = kv::set_with(key, id.as_bytes(), options)?;
    demand(first, &format!("is the first at {key}"), id)
}

/// The next number of a sequence.
fn swap(key: &str) -> Result<u64, Error> {
    loop {
        let found = kv::get(key)?;
        let text = found.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let next = text.parse().unwrap_or(0) + 1;
        // Another job was faster: look again, as often as calls are allowed.
        if kv::compare_and_swap(key, found.as_deref(), Some(format!("{next}").as_bytes()))? {
            return Ok(next);
        }
    }
}

fn demand(holds: bool, what: &str, id: &str) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    queue::push("ledger-violations", format!("job {id}: not so: {what}").as_bytes()).map(drop)
}
