//! The workload `growth`: whether a queue costs more when there is more of it. A host works on a queue that is kept at a
//! depth, from a thousand jobs waiting up to `--jobs`, and then with many dead jobs and many delayed ones beside it.
//!
//! Each row is compared with the first one, which is measured again before it. A row is an empty Redis, a queue filled to
//! its depth, and a host that works for a while before it is measured; what was worked off is pushed again meanwhile, at
//! every depth alike, so pushing is part of each figure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::cmd;
use sandhog::job::envelope::Header;
use sandhog::job::key::QueueKeys;
use sandhog::job::push::new_id;
use serde_json::{Value, json};

use super::meter::Meter;
use super::server::Load;
use super::stage::Stage;
use super::{Args, fill, line, per, processor_us, resident_kib, round, sitting};
use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::table::{Column, Table};
use crate::cli::{progress, text};

/// Jobs that wait.
const DEPTHS: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];
/// The deepest when `--jobs` does not say it.
const DEEPEST: u64 = 1_000_000;
/// Dead jobs, and delayed ones, in their rows; never more than the deepest.
const ASIDE: u64 = 100_000;
/// Entries put aside in one command.
const ASIDE_BATCH: u64 = 1_000;
/// When delayed jobs are due: never, here.
const DUE_IN_MS: u64 = 86_400_000;
/// By how much a queue may be above its depth.
const ABOVE: u64 = 4_000;
/// How often the depth is looked at: a fast host takes a hundred jobs meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Before a measurement: connections, caches, and a feeder that knows how fast its jobs are.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long each row is measured when `--time` does not say it.
const MEASURE: Duration = Duration::from_secs(3);

/// What there is of a queue.
#[derive(Debug, Clone, Copy)]
struct Size {
    waiting: u64,
    dead: u64,
    delayed: u64,
}

/// Runs the workload as often as was asked for.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let (first, others) = sizes(args.jobs.unwrap_or(DEEPEST));
    let bar = progress::over_steps(2 * others.len() as u64 * u64::from(args.runs));
    let mut documents = Vec::new();
    for _ in 0..args.runs {
        let mut rows: Vec<Value> = Vec::new();
        for size in &others {
            bar.set_message(format!("{} waiting", text::count(size.waiting)));
            // In turn with each other: machines are shared, and their moods change.
            let before = of_size(first, args, context).await?;
            bar.inc(1);
            let row = compared(of_size(*size, args, context).await?, &before);
            bar.inc(1);
            if rows.is_empty() {
                rows.push(compared(before.clone(), &before));
            }
            rows.push(row);
        }
        documents.push(json!({ "workload": "growth", "payload_bytes": args.payload_bytes(), "rows": rows }));
    }
    bar.finish_and_clear();
    let mut document = sitting::median(&documents);
    document["runs"] = json!(args.runs);
    let told = report(&document);
    Ok((document, told))
}

/// The first depth; deeper ones, and the first with many jobs that do not wait.
fn sizes(deepest: u64) -> (Size, Vec<Size>) {
    let aside = ASIDE.min(deepest);
    let waiting = |waiting| Size { waiting, dead: 0, delayed: 0 };
    let first = waiting(DEPTHS[0].min(deepest));
    let mut others: Vec<Size> = DEPTHS
        .into_iter()
        .filter(|depth| (first.waiting + 1..=deepest).contains(depth))
        .map(waiting)
        .collect();
    others.extend([Size { dead: aside, ..first }, Size { delayed: aside, ..first }]);
    (first, others)
}

/// A row with what it is of another.
fn compared(mut row: Value, other: &Value) -> Value {
    for (part, of) in [("jobs_per_s", "of_first"), ("redis_cpu_us_per_job", "redis_cpu_of_first")] {
        let figure = |row: &Value| row[part].as_f64().unwrap_or(0.0);
        row[of] = json!(round(figure(&row) / figure(other)));
    }
    row
}

/// One row, from an empty stage to an empty stage.
async fn of_size(size: Size, args: &Args, context: &Context) -> Outcome<Value> {
    let mut stage = Stage::set(context, args.component(), args, 1, args.concurrency).await?;
    stage.keep_dead(size.dead);
    put_aside(&stage, size).await?;
    let queue = stage.queues[0].clone();
    let payload = args.one_payload();
    let backlog = size.waiting..size.waiting + ABOVE;
    fill::top_up(&stage.link, &queue, &payload, &backlog).await?;
    let meter = Arc::new(Meter::new(None));
    let host = stage.host(meter.clone()).await?;
    let row = tokio::select! {
        row = measure(size, &stage, &meter, args.time.unwrap_or(MEASURE)) => row,
        broken = fill::keep_up(&stage.link, &queue, &payload, &backlog, LOOK_EVERY) => Err(broken.into()),
    }?;
    stage.clear(host).await?;
    Ok(row)
}

async fn measure(size: Size, stage: &Stage, meter: &Meter, time: Duration) -> Outcome<Value> {
    tokio::time::sleep(WARM_UP).await;
    let before = Load::look(&stage.link).await?;
    let (begun, done, cpu_us) = (Instant::now(), meter.settled_jobs(), processor_us());
    tokio::time::sleep(time).await;
    let (took, jobs) = (begun.elapsed(), meter.settled_jobs() - done);
    let cpu_us = processor_us() - cpu_us;
    let load = Load::look(&stage.link).await?.since(before);
    let keys = QueueKeys::new(&stage.queues[0]);
    let dead: u64 = stage.link.query(cmd("ZCARD").arg(&keys.dead)).await?;
    let delayed: u64 = stage.link.query(cmd("ZCARD").arg(&keys.delayed)).await?;
    let mut row = json!({
        "waiting": size.waiting,
        "dead": size.dead,
        "delayed": size.delayed,
        "dead_at_the_end": dead,
        "delayed_at_the_end": delayed,
        "jobs": jobs,
        "jobs_per_s": rate(jobs, took),
        "host_cpu_us_per_job": per(cpu_us, jobs),
        "memory_kib": resident_kib(),
    });
    load.add_to(&mut row, jobs);
    Ok(row)
}

/// Jobs per second, whole ones.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
pub(super) fn rate(jobs: u64, took: Duration) -> f64 {
    (jobs as f64 / took.as_secs_f64()).round()
}

/// Dead jobs and delayed ones, as the host's scripts leave them.
async fn put_aside(stage: &Stage, size: Size) -> Outcome {
    let keys = QueueKeys::new(&stage.queues[0]);
    let (seconds, _): (u64, u64) = stage.link.query(&cmd("TIME")).await?;
    let now_ms = seconds * 1000;
    for (key, count, at_ms) in
        [(&keys.dead, size.dead, now_ms), (&keys.delayed, size.delayed, now_ms + DUE_IN_MS)]
    {
        let mut put = 0;
        while put < count {
            let mut add = cmd("ZADD");
            add.arg(key);
            for _ in 0..ASIDE_BATCH.min(count - put) {
                let header = Header {
                    id: new_id(),
                    attempts: 1,
                    crashes: 0,
                    first_seen_ms: now_ms,
                    notes: Vec::new(),
                };
                add.arg(at_ms).arg(header.encode() + "payload");
                put += 1;
            }
            stage.link.query::<u64>(&add).await?;
        }
    }
    Ok(())
}

/// The document as a table.
fn report(document: &Value) -> String {
    let columns = [
        Column::Number("waiting"),
        Column::Number("dead"),
        Column::Number("delayed"),
        Column::Number("jobs/s"),
        Column::Number("of the first"),
        Column::Number("Redis µs/job"),
        Column::Number("host µs/job"),
        Column::Number("memory"),
    ];
    let mut table = Table::new(&columns);
    for row in document["rows"].as_array().into_iter().flatten() {
        let of = |name: &str| row[name].as_f64().unwrap_or(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "nothing is negative here"
        )]
        let count = |name: &str| of(name) as u64;
        table.row([
            text::count(count("waiting")),
            text::count(count("dead")),
            text::count(count("delayed")),
            text::count(count("jobs_per_s")),
            format!("{:.0} %", of("of_first") * 100.0),
            format!("{:.2}", of("redis_cpu_us_per_job")),
            format!("{:.2}", of("host_cpu_us_per_job")),
            text::size(count("memory_kib") << 10),
        ]);
    }
    line("workload", "growth: a queue that is kept at a depth, and one with much beside it") + &table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_as_deep_as_was_asked_for() {
        let depths = |deepest| {
            let (first, others) = sizes(deepest);
            let others: Vec<_> = others.iter().map(|size| (size.waiting, size.dead, size.delayed)).collect();
            (first.waiting, others)
        };
        assert_eq!(depths(150_000), (1_000, vec![(100_000, 0, 0), (1_000, ASIDE, 0), (1_000, 0, ASIDE)]));
        assert_eq!(depths(1_000), (1_000, vec![(1_000, 1_000, 0), (1_000, 0, 1_000)]));
        assert_eq!(depths(50), (50, vec![(50, 50, 0), (50, 0, 50)]));
    }
}
