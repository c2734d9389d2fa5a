//! What the tour promises, beside what was counted. Pure.
//!
//! The plugin `orders` has atomic effects, so all counts are exact, whatever the killed host was doing.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::count::Counted;
use super::orders::Orders;
use super::swap::Swapped;
use crate::cli::table::{Column, Table};
use crate::cli::text;

/// A change of settings must reach a worker in this time.
const FOLLOW_MAX: Duration = Duration::from_secs(2);

/// What was seen on the way.
pub(super) struct Seen {
    /// From setting a key to the first receipt that shows it.
    pub(super) followed: Option<Duration>,
    /// The handler replaced, broken and brought back.
    pub(super) swapped: Swapped,
    /// Orders in the hands of the host when it was killed.
    pub(super) in_hands: u64,
    /// From the kill to the next booking.
    pub(super) back_after: Duration,
    /// Whether the last host left in order.
    pub(super) left_in_order: bool,
}

/// One promise.
pub(super) struct Promise {
    /// What was promised.
    pub(super) text: &'static str,
    /// What was counted.
    counted: String,
    /// Whether they agree.
    pub(super) held: bool,
}

impl Promise {
    /// As JSON.
    pub(super) fn document(&self) -> Value {
        json!({ "promise": self.text, "counted": self.counted, "held": self.held })
    }
}

/// Compares.
pub(super) fn judge(orders: &Orders, seen: &Seen, counted: &Counted) -> Vec<Promise> {
    let jobs = &counted.jobs;
    let stat = |name: &str| jobs.stats.get(name).copied().unwrap_or(0);
    let left = jobs.waiting + jobs.ready + jobs.inflight + jobs.delayed + jobs.parked;
    let settled = stat("completed") + stat("buried") + stat("discarded");
    let dead: u64 = counted.dead.values().sum();
    let reasons = counted.dead.keys().filter(|reason| !reason.is_empty()).count() as u64;
    let n = text::count;
    let promise = |text, counted, held| Promise { text, counted, held };
    let followed = seen.followed.map_or("never seen".to_owned(), |time| {
        format!("on a receipt after {}; {} receipts show it", text::elapsed(time), n(counted.greeted))
    });
    let mut promises = vec![
        promise(
            "every order pushed is settled, once",
            format!("{} pushed, {} settled, {} left", n(orders.pushed()), n(settled), n(left)),
            left == 0 && settled == orders.pushed(),
        ),
        promise(
            "no good order is lost",
            format!(
                "{} good, {} booked, {} with a receipt",
                n(orders.good),
                n(counted.booked),
                n(counted.receipted)
            ),
            counted.booked == orders.good && counted.receipted == orders.good,
        ),
        promise(
            "every good order is booked exactly once",
            format!("{} bookings, {} receipts", n(counted.bookings), n(counted.receipts)),
            counted.bookings == orders.good && counted.receipts == orders.good,
        ),
        totals(orders, counted),
        promise(
            "an order pushed twice is known the second time",
            format!("{} pushed twice, {} times known", n(orders.twice), n(counted.duplicates)),
            counted.duplicates == orders.twice,
        ),
        promise(
            "a bad order is dead, with its reason",
            format!("{} bad, {} dead, {} reasons", n(orders.bad), n(dead), n(reasons)),
            dead == orders.bad && reasons > 0 && !counted.dead.contains_key(""),
        ),
        promise(
            "a worker follows a changed setting",
            followed,
            seen.followed.is_some_and(|time| time <= FOLLOW_MAX) && counted.greeted > 0,
        ),
        promise(
            "kill -9 loses nothing",
            format!(
                "{} in its hands, {} taken back, at work after {}",
                n(seen.in_hands),
                n(stat("reaped")),
                text::elapsed(seen.back_after)
            ),
            stat("reaped") >= seen.in_hands,
        ),
        promise(
            "SIGTERM ends a host in order",
            if seen.left_in_order { "exit code 0, nothing in flight" } else { "it did not leave by itself" }
                .to_owned(),
            seen.left_in_order && jobs.inflight == 0,
        ),
    ];
    promises.extend(swaps(&seen.swapped));
    promises
}

/// The handler replaced, broken and brought back; that no order is lost by it shows in the counts.
fn swaps(swapped: &Swapped) -> [Promise; 3] {
    let Swapped { after, booked, versions, refusal, went_on, back } = swapped;
    let promise = |text, counted, held| Promise { text, counted, held };
    [
        promise(
            "a handler is replaced while orders come",
            format!(
                "{} after {}, {} booked meanwhile",
                versions[1],
                text::elapsed(*after),
                text::count(*booked)
            ),
            versions[0] != versions[1],
        ),
        promise(
            "a broken version never replaces a working one",
            format!("refused, and {went_on} went on"),
            !refusal.is_empty() && *went_on == versions[1],
        ),
        promise(
            "a rollback brings the former version back",
            format!("{back} is at work again"),
            *back == versions[0],
        ),
    ]
}

/// Money, to the cent.
fn totals(orders: &Orders, counted: &Counted) -> Promise {
    let (worth, booked) = (orders.worth_cents, counted.total_cents);
    let euros = |cents: u64| format!("{}.{:02}", text::count(cents / 100), cents % 100);
    Promise {
        text: "totals are exact, whatever was killed",
        counted: format!("worth {}, booked {}", euros(worth), euros(booked)),
        held: booked == worth,
    }
}

/// The table of promises and the dead by reason.
pub(super) fn report(promises: &[Promise], counted: &Counted) -> String {
    let mut table = Table::new(&[Column::Text("promised"), Column::Text("counted"), Column::Text("held")]);
    for promise in promises {
        let held = if promise.held { "yes" } else { "NO" };
        table.row([promise.text.to_owned(), promise.counted.clone(), held.to_owned()]);
    }
    let mut dead = Table::new(&[Column::Number("dead"), Column::Text("reason")]);
    for (reason, jobs) in &counted.dead {
        dead.row([text::count(*jobs), text::visible(reason.as_bytes(), 100)]);
    }
    let mut report = String::new();
    let _ = write!(report, "\n{}\n{}", table.render(), dead.render());
    report
}
