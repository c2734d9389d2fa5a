//! The workload `load`: jobs that come at a rate of their own, whatever becomes of those before them, at several parts of
//! the highest throughput. A job's way begins when it was due, not when the bench got round to pushing it; so a host,
//! a Redis or a bench that cannot keep up shows as latency. The bench pushes from the same cores.

use std::ffi::OsStr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sandhog::job::push::push_many;
use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::server::Load;
use super::stage::Stage;
use super::{Args, backlog, growth, line, micros, per, percentiles, plot, processor_us};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::progress;
use crate::cli::table::{Column, Table};

/// Parts of the highest throughput that are offered.
const PARTS: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// How long each is when `--time` does not say it, and how long it goes on before anything counts.
const TIME: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
/// How often jobs are pushed, all that are due together.
const PUSH_EVERY: Duration = Duration::from_millis(1);
/// Most jobs pushed as one step.
const BATCH: u64 = 10_000;
/// How long the last jobs of a rate may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Notes how long jobs took from the moment they were due to the start of their run. Times count from its making.
struct Watcher {
    origin: Instant,
    /// When a job must be due to count.
    counts_us: OnceLock<Range<u64>>,
    due_to_start: Mutex<Histogram<u64>>,
    settled: AtomicU64,
}

impl Watcher {
    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn settled_jobs(&self) -> u64 {
        self.settled.load(Relaxed)
    }
}

impl Observe for Watcher {
    fn started(&self, payload: &[u8]) {
        let due_us = payload.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        if self.counts_us.get().is_some_and(|counts| counts.contains(&due_us)) {
            let took_us = self.now_us().saturating_sub(due_us);
            self.due_to_start.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took_us);
        }
    }

    fn settled(&self, _: Instant) {
        self.settled.fetch_add(1, Relaxed);
    }
}

/// Pushes jobs as they become due.
struct Producer<'a> {
    stage: &'a Stage,
    watcher: &'a Watcher,
    /// When the first job is due.
    begun_us: u64,
    per_us: f64,
    payload: Vec<u8>,
    pushed: u64,
}

impl Producer<'_> {
    /// Goes on until the jobs are pushed that are due within `time` from the beginning.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts and times of a bench are far below 2^52, and none is negative"
    )]
    async fn push(&mut self, time: Duration) -> Outcome {
        let until_us = self.begun_us + micros_of(time);
        let mut pace = tokio::time::interval(PUSH_EVERY);
        loop {
            pace.tick().await;
            let now_us = self.watcher.now_us();
            let due = ((now_us.min(until_us) - self.begun_us) as f64 * self.per_us) as u64;
            while self.pushed < due {
                let numbers = self.pushed..due.min(self.pushed + BATCH);
                self.pushed = numbers.end;
                let batch: Vec<Vec<u8>> = numbers.map(|n| self.job(n as f64 / self.per_us)).collect();
                push_many(&self.stage.link, &self.stage.queues[0], &batch).await?;
            }
            if now_us >= until_us {
                return Ok(());
            }
        }
    }

    /// The job that is due so many microseconds after the first.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time is not negative")]
    fn job(&self, after_us: f64) -> Vec<u8> {
        let mut payload = self.payload.clone();
        payload[..8].copy_from_slice(&(self.begun_us + after_us as u64).to_le_bytes());
        payload
    }
}

/// Runs the workload: without a pause between jobs first, then at each rate.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    if let Some(file) = &args.plot {
        plot::check(file)?;
    }
    let most = backlog::once(args, context).await?["jobs_per_s"].as_f64().unwrap_or(0.0);
    let bar = progress::over_steps(PARTS.len() as u64);
    let mut rates = Vec::new();
    for part in PARTS {
        bar.set_message(format!("{:.0} %", part * 100.0));
        rates.push(at_rate(part, most * part, args, context).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let document = json!({
        "workload": "load",
        "component": args.component().file_stem().and_then(OsStr::to_str),
        "effects": args.effects.word(),
        "reuse": args.reuse,
        "payload_bytes": args.payload_bytes(),
        "most_jobs_per_s": most,
        "rates": rates,
    });
    if let Some(file) = &args.plot {
        plot::draw(file, &document)?;
    }
    let told = report(&document);
    Ok((document, told))
}

/// One rate, from an empty stage to an empty stage.
async fn at_rate(part: f64, per_s: f64, args: &Args, context: &Context) -> Outcome<Value> {
    let time = args.time.unwrap_or(TIME);
    let stage = Stage::set(context, args.component(), args, 1, args.concurrency).await?;
    let watcher = Arc::new(Watcher {
        origin: Instant::now(),
        counts_us: OnceLock::new(),
        due_to_start: Mutex::new(micros()),
        settled: AtomicU64::new(0),
    });
    let host = stage.host(watcher.clone()).await?;
    let begun_us = watcher.now_us();
    let counts_us = begun_us + micros_of(WARM_UP)..begun_us + micros_of(WARM_UP + time);
    watcher.counts_us.get_or_init(|| counts_us);
    let (payload, per_us) = (args.one_payload(), per_s / 1e6);
    let mut producer = Producer { stage: &stage, watcher: &watcher, begun_us, per_us, payload, pushed: 0 };
    producer.push(WARM_UP).await?;
    let (before, cpu_us, done) = (Load::look(&stage.link).await?, processor_us(), watcher.settled_jobs());
    let since = Instant::now();
    producer.push(WARM_UP + time).await?;
    let (done, cpu_us, took) = (watcher.settled_jobs() - done, processor_us() - cpu_us, since.elapsed());
    let load = Load::look(&stage.link).await?.since(before);
    let pushed = producer.pushed;
    drain(&watcher, pushed).await?;
    stage.clear(host).await?;
    let latency = watcher.due_to_start.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut document = json!({
        "part": part,
        "offered_per_s": per_s.round(),
        "reached_per_s": growth::rate(done, took),
        "jobs": latency.len(),
        "latency_ms": percentiles(&latency),
        "host_cpu_us_per_job": per(cpu_us, done),
    });
    load.add_to(&mut document, done);
    Ok(document)
}

/// Waits until all jobs are settled: those that came too late to be worked off in time count as well.
async fn drain(watcher: &Watcher, pushed: u64) -> Outcome {
    let begun = Instant::now();
    while watcher.settled_jobs() < pushed {
        if begun.elapsed() > PATIENCE {
            let (left, waited) = (pushed - watcher.settled_jobs(), PATIENCE.as_secs());
            return Err(Failure::failed(format!("{left} jobs were not settled in {waited} s")));
        }
        tokio::time::sleep(PUSH_EVERY).await;
    }
    Ok(())
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The document in words.
fn report(document: &Value) -> String {
    let mut table = Table::new(&[
        Column::Number("of the most"),
        Column::Number("offered/s"),
        Column::Number("reached/s"),
        Column::Number("p50 ms"),
        Column::Number("p95 ms"),
        Column::Number("p99 ms"),
        Column::Number("p99.9 ms"),
        Column::Number("Redis µs/job"),
        Column::Number("host µs/job"),
    ]);
    for rate in document["rates"].as_array().into_iter().flatten() {
        let of = |name: &str| rate[name].as_f64().unwrap_or(0.0);
        let mut row = vec![format!("{:.0} %", of("part") * 100.0)];
        row.extend(["offered_per_s", "reached_per_s"].map(|name| format!("{:.0}", of(name))));
        row.extend(["p50", "p95", "p99", "p999"].map(|quantile| rate["latency_ms"][quantile].to_string()));
        row.extend(["redis_cpu_us_per_job", "host_cpu_us_per_job"].map(|name| of(name).to_string()));
        table.row(row);
    }
    let most = document["most_jobs_per_s"].as_f64().unwrap_or(0.0);
    line("workload", "load: jobs at a rate, from the moment each was due to the start of its run")
        + &line("the most", &format!("{most:.0} jobs/s, without a pause between jobs"))
        + "\n"
        + &table.render()
}
