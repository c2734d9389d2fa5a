//! From one `[[consume]]` table to how a queue is served: order, delivery, attempts, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DAY, MILLISECOND};
use crate::config::settings::Ceilings;
use crate::config::table::Table;
use crate::config::unit;
use crate::job::backoff::Backoff;
use crate::job::limit::{KeyLimits, KeySource, QueueLimits, Rate};
use crate::job::name::QueueName;
use crate::job::store::CLAIM_MAX;
use crate::job::store::{Delivery, Order};
use crate::plugin::manifest::{Batch, Consume, Kind};

const ORDERS: [(&str, Order); 2] = [("fifo", Order::Fifo), ("lifo", Order::Lifo)];
const DELIVERIES: [(&str, Delivery); 2] =
    [("at-least-once", Delivery::AtLeastOnce), ("at-most-once", Delivery::AtMostOnce)];

/// Most queues one plugin serves.
const CONSUME_MAX: usize = 256;
/// Longest wait between attempts, as long as a guest may ask for.
const BACKOFF_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most runs at once in a fleet, and most starts in the time of a rate: far above what one Redis serves.
const FLEET_MAX: u32 = 1_000_000;
/// Most of a priority and of a weight: more than anybody tells apart.
const PRIORITY_MAX: u32 = 1_000;
const WEIGHT_MAX: u32 = 1_000;
/// Longest wait for more jobs of a batch: a sandbox and the jobs it has are held meanwhile.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest JSON pointer or name of a header.
const SOURCE_BYTES_MAX: usize = 256;

pub(super) fn queues(root: &mut Table<'_>, kind: Option<Kind>, ceilings: &Ceilings) -> Vec<Consume> {
    for name in ["queue", "order", "delivery", "concurrency", "serial", "max_attempts", "backoff"] {
        root.misplaced(name, "belongs in a `[[consume]]` table");
    }
    if kind == Some(Kind::Worker) {
        root.missing(
            "consume",
            "a worker serves at least one queue: write `[[consume]]` and `queue = \"…\"`",
        );
    }
    let tables = root.tables("consume");
    if root.is_empty_list("consume") {
        root.refuse("consume", "is empty; a worker serves at least one queue");
    }
    if tables.len() > CONSUME_MAX {
        root.refuse(
            "consume",
            &format!("has {} queues; it can have {CONSUME_MAX} at the most", tables.len()),
        );
    }
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for mut table in tables {
        let consume = queue(&mut table, ceilings);
        if let Some(consume) = consume {
            let line = table.line_of("queue").unwrap_or(table.line());
            match seen.get(&consume.queue) {
                Some(first) => table.refuse(
                    "queue",
                    &format!(
                        "is \"{}\" again; line {first} has it already",
                        consume.queue.as_str().escape_debug()
                    ),
                ),
                None => {
                    seen.insert(consume.queue.clone(), line);
                }
            }
            all.push(consume);
        }
        table.finish();
    }
    if all.iter().any(|consume| consume.batch.is_some()) && all.iter().any(|consume| consume.batch.is_none())
    {
        root.refuse(
            "consume",
            "has `batch` for some queues only: a component is given many jobs a call, or one",
        );
    }
    all
}

/// One `[[consume]]`; none if it has no usable queue name.
fn queue(table: &mut Table<'_>, ceilings: &Ceilings) -> Option<Consume> {
    for name in ["kind", "publish"] {
        table.misplaced(name, "belongs at the top of the file, before the first `[table]`");
    }
    table.missing("queue", "name the Redis list that producers push to: `queue = \"orders\"`");
    let queue = table.string("queue", "orders").and_then(|name| match QueueName::new(name.clone()) {
        Ok(queue) => Some(queue),
        Err(error) => {
            let shown: String = name.chars().take(60).collect();
            table.refuse("queue", &format!("is \"{}\": {error}", shown.escape_debug()));
            None
        }
    });
    let order = table.choice("order", &ORDERS).unwrap_or(Order::Fifo);
    let delivery = table.choice("delivery", &DELIVERIES).unwrap_or(Delivery::AtLeastOnce);
    let concurrency = concurrency(table, ceilings);
    let mut max_attempts = table.integer("max_attempts", 1..=1000, 5).unwrap_or(5);
    let timeout = table.duration("timeout", MILLISECOND..=DAY, "30s").unwrap_or(Duration::from_secs(30));
    let backoff = backoff(table.table("backoff"));
    let batch = batch(table);
    if batch.is_some() && max_attempts == 1 && delivery == Delivery::AtLeastOnce {
        table.refuse(
            "max_attempts",
            "is 1; with `batch` there must be 2 at least: a call that fails costs each of its jobs an attempt",
        );
    }
    let mut limits = limits(table, delivery, order);
    let is_serial = table.truth("serial").unwrap_or(false);
    if is_serial {
        refuse_beside_serial(table, delivery, concurrency, limits.fleet_concurrency);
        // Jobs in flight are counted, and a job is in flight until its commit, so no other is claimed before.
        limits.fleet_concurrency = Some(1);
    }
    let priority = table.integer("priority", 0..=PRIORITY_MAX, 10).unwrap_or(0);
    let weight = table.integer("weight", 1..=WEIGHT_MAX, 3).unwrap_or(1);
    if delivery == Delivery::AtMostOnce {
        for name in ["max_attempts", "backoff"] {
            if table.has(name) {
                table.refuse(
                    name,
                    "means nothing with `delivery = \"at-most-once\"`: there is one attempt; leave it out",
                );
            }
        }
        max_attempts = 1;
    }
    Some(Consume {
        queue: queue?,
        order,
        delivery,
        concurrency: if is_serial { 1 } else { concurrency },
        batch,
        max_attempts,
        timeout,
        backoff,
        limits,
        priority,
        weight,
    })
}

fn concurrency(table: &mut Table<'_>, ceilings: &Ceilings) -> u32 {
    let concurrency = table.integer("concurrency", 1..=u32::MAX, 64).unwrap_or(64.min(ceilings.instances));
    if concurrency > ceilings.instances {
        let most = ceilings.instances;
        let text =
            format!("is {concurrency}; this host runs at most {most} jobs at once (its `limits.instances`)");
        table.refuse("concurrency", &text);
    }
    concurrency
}

/// Refuses what contradicts `serial`: on all hosts together, a run begins only after the effects of the last one are
/// visible.
fn refuse_beside_serial(table: &mut Table<'_>, delivery: Delivery, concurrency: u32, fleet: Option<u32>) {
    let more = [("concurrency", concurrency), ("fleet_concurrency", fleet.unwrap_or(1))];
    for (name, most) in more {
        if table.has(name) && most != 1 {
            let text =
                format!("is {most}; with `serial = true` the fleet runs one job at a time: leave it out");
            table.refuse(name, &text);
        }
    }
    if table.has("batch") {
        let text =
            "cannot be combined with `batch`: a call has many jobs, and a serial queue runs one at a time";
        table.refuse("serial", text);
    }
    if delivery == Delivery::AtMostOnce {
        let text = "needs a record of each job that runs, which `delivery = \"at-most-once\"` does not keep";
        table.refuse("serial", text);
    }
}

fn batch(table: &mut Table<'_>) -> Option<Batch> {
    if !table.has("batch") {
        return None;
    }
    let mut batch = table.table("batch");
    let size = batch.integer("size", 1..=CLAIM_MAX, 100).unwrap_or(100);
    let wait = batch.duration("wait", Duration::ZERO..=BATCH_WAIT_MAX, "10ms");
    batch.finish();
    Some(Batch { size, wait: wait.unwrap_or(Duration::from_millis(10)) })
}

fn backoff(mut table: Table<'_>) -> Backoff {
    let base = table.duration("base", MILLISECOND..=DAY, "1s");
    let factor = table.number("factor", 1.0..=100.0, 2.0);
    let max = table.duration("max", MILLISECOND..=BACKOFF_MAX, "10m");
    let jitter = table.number("jitter", 0.0..=1.0, 0.2);
    let base = base.unwrap_or(Duration::from_secs(1));
    let longest = max.unwrap_or_else(|| base.max(Duration::from_secs(600)));
    if longest < base {
        table.refuse("max", "is shorter than `base`, the first wait");
    }
    table.finish();
    Backoff { base, factor: factor.unwrap_or(2.0), max: longest, jitter: jitter.unwrap_or(0.2) }
}

/// What the whole fleet may run of a queue.
fn limits(table: &mut Table<'_>, delivery: Delivery, order: Order) -> QueueLimits {
    let fleet_concurrency = table.integer("fleet_concurrency", 1..=FLEET_MAX, 10);
    let rate = rate(table, "rate");
    let source = source(table);
    let concurrency = table.integer("key_concurrency", 1..=FLEET_MAX, 1);
    let key_rate = self::rate(table, "key_rate");
    let in_order = table.truth("key_order").unwrap_or(false);
    for name in ["key_concurrency", "key_rate", "key_order"] {
        if table.has(name) && !table.has("key") {
            table
                .refuse(name, "needs `key`, which says where the key of a job is: write `key = \"/tenant\"`");
        }
    }
    if table.has("key") && concurrency.is_none() && key_rate.is_none() && !in_order {
        table.refuse("key", "limits nothing by itself; add `key_concurrency`, `key_rate` or `key_order`");
    }
    if in_order && concurrency.is_some_and(|most| most > 1) {
        table.refuse(
            "key_concurrency",
            "is above 1; with `key_order` jobs of one key run one after the other",
        );
    }
    if in_order && order == Order::Lifo {
        table.refuse(
            "key_order",
            "is for queues with `order = \"fifo\"`: the last one in has no place in a line",
        );
    }
    if delivery == Delivery::AtMostOnce {
        for name in ["fleet_concurrency", "key_concurrency", "key_order"] {
            if table.has(name) {
                let why =
                    "needs a record of each job that runs, which `delivery = \"at-most-once\"` does not keep";
                table.refuse(name, why);
            }
        }
    }
    let concurrency = if in_order { Some(1) } else { concurrency };
    let key = source.map(|source| KeyLimits { source, concurrency, rate: key_rate, in_order });
    QueueLimits { fleet_concurrency, rate, key }
}

fn source(table: &mut Table<'_>) -> Option<KeySource> {
    let text = table.string("key", "/tenant")?;
    let source = match text.strip_prefix("header:") {
        Some("") => None,
        Some(name) => Some(KeySource::Header(name.to_owned())),
        None if text.starts_with('/') => Some(KeySource::Payload(text.clone())),
        None => None,
    };
    let short = text.len() <= SOURCE_BYTES_MAX;
    if source.is_none() || !short {
        let shown: String = text.chars().take(60).collect();
        let form = format!(
            "is \"{}\"; write a JSON pointer into the payload (\"/tenant\") or a header (\"header:tenant\"), \
             {SOURCE_BYTES_MAX} bytes at the most",
            shown.escape_debug()
        );
        table.refuse("key", &form);
    }
    source.filter(|_| short)
}

/// `100/s`, `5/2m`.
fn rate(table: &mut Table<'_>, name: &'static str) -> Option<Rate> {
    let text = table.string(name, "100/s")?;
    let rate = read_rate(&text);
    if rate.is_none() {
        let shown: String = text.chars().take(60).collect();
        let form = format!(
            "is \"{}\"; write a number up to {FLEET_MAX}, a slash and a time up to a day: \"100/s\", \"5/2m\"",
            shown.escape_debug()
        );
        table.refuse(name, &form);
    }
    rate
}

fn read_rate(text: &str) -> Option<Rate> {
    let (count, time) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok().filter(|count| (1..=FLEET_MAX).contains(count))?;
    Some(Rate { count, per: per(time)? })
}

/// The time of a rate: `s`, `2m`; up to a day.
pub(super) fn per(time: &str) -> Option<Duration> {
    let time = time.trim();
    let per = if time.starts_with(|c: char| c.is_ascii_digit()) {
        unit::duration(time)
    } else {
        unit::duration(&format!("1{time}"))
    };
    per.ok().filter(|per| (MILLISECOND..=DAY).contains(per))
}
