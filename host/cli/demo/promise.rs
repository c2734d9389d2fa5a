//! What the tour promises, beside what was counted. Pure.
//!
//! Effects take place at once, so a job that a killed host was writing runs again and may write again: the promise
//! is *at least once*, and the example's own markers keep it to the orders that were cut off.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::count::Counted;
use super::orders::Orders;
use crate::cli::table::{Column, Table};
use crate::cli::text;

/// A change of settings must reach a worker in this time.
const FOLLOW_MAX: Duration = Duration::from_secs(2);

/// What was seen on the way.
pub(super) struct Seen {
    /// From setting a key to the first receipt that shows it.
    pub(super) followed: Option<Duration>,
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
    let left = jobs.waiting + jobs.ready + jobs.inflight + jobs.delayed;
    let settled = stat("completed") + stat("buried") + stat("discarded");
    let dead: u64 = counted.dead.values().sum();
    let reasons = counted.dead.keys().filter(|reason| !reason.is_empty()).count() as u64;
    let n = text::count;
    let promise = |text, counted, held| Promise { text, counted, held };
    let followed = seen.followed.map_or("never seen".to_owned(), |time| {
        format!("on a receipt after {}; {} receipts show it", text::elapsed(time), n(counted.greeted))
    });
    vec![
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
        bookings(orders, counted),
        totals(orders, counted),
        promise(
            "an order pushed twice is known the second time",
            format!("{} pushed twice, {} times known", n(orders.twice), n(counted.duplicates)),
            (orders.twice..=orders.twice + seen.in_hands).contains(&counted.duplicates),
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
    ]
}

/// Bookings are the good orders, and at the most once more each that a crash cut off.
fn bookings(orders: &Orders, counted: &Counted) -> Promise {
    let n = text::count;
    let most = orders.good + counted.repeated;
    let held = |count: u64| (orders.good..=most).contains(&count);
    Promise {
        text: "bookings are exact but for those a crash cut off",
        counted: format!(
            "{} bookings, {} receipts, {} begun again after the kill",
            n(counted.bookings),
            n(counted.receipts),
            n(counted.repeated)
        ),
        held: held(counted.bookings) && held(counted.receipts),
    }
}

/// The same for money.
fn totals(orders: &Orders, counted: &Counted) -> Promise {
    let least = orders.worth_cents;
    let most = least + counted.repeated * orders.largest_cents;
    let euros = |cents: u64| format!("{}.{:02}", text::count(cents / 100), cents % 100);
    let over = counted.total_cents.saturating_sub(least);
    let over = if over == 0 { "exact".to_owned() } else { format!("{} of it twice", euros(over)) };
    Promise {
        text: "totals are exact but for those a crash cut off",
        counted: format!("worth {}, booked {}: {over}", euros(least), euros(counted.total_cents)),
        held: (least..=most).contains(&counted.total_cents),
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
