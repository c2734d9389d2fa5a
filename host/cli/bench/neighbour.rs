//! The workload `neighbour`: a good plugin beside a hostile one, which attacks without a pause, one attack after the
//! other; the last neighbour is only slow. Measures what is left to the good one: jobs per second with a backlog, and the time from the push to the start
//! of a run at a moderate rate; both against what it does alone.

mod attack;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use redis::cmd;
use sandhog::app::Host;
use sandhog::job::key::HOSTS;
use sandhog::job::store::StoreError;
use sandhog::worker::counters::Counters;
use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::stage::Stage;
use super::{Args, fill, line, micros, micros_to_ms, round, sitting};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::table::{Column, Table};
use crate::cli::{progress, text};
use attack::Attack;

/// Runs at once of each plugin: what a manifest has that does not say it.
const CONCURRENCY: u32 = 64;
/// Before a measurement: connections, caches, and an attack at full strength.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long each rate is measured when `--time` does not say it.
const MEASURE: Duration = Duration::from_secs(3);
/// Between two jobs while latency is measured.
const PACE: Duration = Duration::from_millis(5);
/// Entries that wait at the least and at the most.
const BACKLOG: std::ops::Range<u64> = 50_000..100_000;
/// The same for an attack's.
const ATTACKS: std::ops::Range<u64> = 2_000..10_000;
/// How often queues are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a queue may take to run dry.
const PATIENCE: Duration = Duration::from_secs(60);
/// What begins the payload of a job whose way is timed; microseconds follow.
const TIMED: u8 = b't';

/// Notes how long timed jobs took to the start of their run.
struct Watcher {
    origin: Instant,
    to_start: Mutex<Histogram<u64>>,
}

impl Watcher {
    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn take(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.to_start.lock().unwrap_or_else(PoisonError::into_inner), micros())
    }
}

impl Observe for Watcher {
    fn started(&self, payload: &[u8]) {
        let Some((&TIMED, rest)) = payload.split_first() else { return };
        let Some(pushed) = rest.first_chunk() else { return };
        let took = self.now_us().saturating_sub(u64::from_le_bytes(*pushed));
        self.to_start.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
    }

    fn settled(&self, _: Instant) {}
}

/// What one attack left to the good plugin.
struct Row {
    name: &'static str,
    jobs_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Runs of the attack that ended, well or not.
    attacks: u64,
    lease_kept: bool,
    /// Most memory the process has had so far.
    peak_kib: u64,
}

/// Runs the workload as often as was asked for.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let attacks = attack::all(args.attack.as_deref())?;
    let bar = progress::over_steps((attacks.len() as u64 + 2) * u64::from(args.runs));
    let mut documents = Vec::new();
    for _ in 0..args.runs {
        let mut rows = Vec::new();
        // Alone before and after, for the machine's mood changes.
        let order = [&Attack::NONE].into_iter().chain(attacks.iter().copied()).chain([&Attack::NONE]);
        for attack in order {
            bar.set_message(attack.name);
            rows.push(beside(attack, args, context).await?);
            bar.inc(1);
        }
        let (last, first) = (rows.pop(), rows.remove(0));
        let quiet = last.map_or((first.jobs_per_s, first.p99_ms), |last| {
            (f64::midpoint(first.jobs_per_s, last.jobs_per_s), f64::midpoint(first.p99_ms, last.p99_ms))
        });
        documents.push(document(quiet, &rows));
    }
    bar.finish_and_clear();
    let mut document = sitting::median(&documents);
    document["runs"] = json!(args.runs);
    let told = report(&document);
    Ok((document, told))
}

/// One attack, from an empty stage to an empty stage.
async fn beside(attack: &Attack, args: &Args, context: &Context) -> Outcome<Row> {
    let stage = Stage::set(context, args.component(), args, 1, CONCURRENCY).await?;
    let hostile = attack.prepare(&stage, &args.probes).await?;
    let watcher = Arc::new(Watcher { origin: Instant::now(), to_start: Mutex::new(micros()) });
    let host = stage.host(watcher.clone()).await?;
    let is_wanted = AtomicBool::new(true);
    let measured = tokio::select! {
        measured = measure(&stage, &host, &watcher, &is_wanted, args.time.unwrap_or(MEASURE)) => measured,
        broken = feed(&stage, &is_wanted, attack) => Err(broken.into()),
    };
    let (jobs_per_s, latency, lease_kept) = measured?;
    let attacks = host.lanes().iter().find(|lane| lane.queue == hostile).map_or(0, |lane| {
        let counters = &lane.counters;
        [&counters.completed, &counters.buried, &counters.discarded].map(Counters::read).iter().sum()
    });
    attack.clear(&stage).await?;
    stage.clear(host).await?;
    let ms = |quantile| round(micros_to_ms(latency.value_at_quantile(quantile)));
    let (p50_ms, p99_ms, peak_kib) = (ms(0.5), ms(0.99), peak_kib());
    Ok(Row { name: attack.name, jobs_per_s, p50_ms, p99_ms, attacks, lease_kept, peak_kib })
}

/// Jobs per second, time to start, and whether the host was the same all the time.
async fn measure(
    stage: &Stage,
    host: &Host,
    watcher: &Watcher,
    is_wanted: &AtomicBool,
    time: Duration,
) -> Outcome<(f64, Histogram<u64>, bool)> {
    let queue = &stage.queues[0];
    let lane = host.lanes().into_iter().find(|lane| lane.queue == *queue);
    let lane = lane.context("the host does not serve the queue of the good plugin")?;
    let before = hosts(stage).await?;
    tokio::time::sleep(WARM_UP).await;
    let (begun, done) = (Instant::now(), Counters::read(&lane.counters.completed));
    tokio::time::sleep(time).await;
    let done = Counters::read(&lane.counters.completed) - done;
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let jobs_per_s = (done as f64 / begun.elapsed().as_secs_f64()).round();

    is_wanted.store(false, Relaxed);
    stage.link.query::<u64>(cmd("DEL").arg(queue.as_str())).await?;
    let begun = Instant::now();
    while Counters::read(&lane.counters.claimed) > Counters::read(&lane.counters.completed) {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("the queue did not run dry in {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    watcher.take();
    let mut pace = tokio::time::interval(PACE);
    let begun = Instant::now();
    while begun.elapsed() < time {
        pace.tick().await;
        let mut payload = vec![TIMED];
        payload.extend(watcher.now_us().to_le_bytes());
        stage.link.query::<u64>(cmd("RPUSH").arg(queue.as_str()).arg(payload)).await?;
    }
    // Whatever has not begun by now counts with the next look: a latency of at least this long.
    tokio::time::sleep(WARM_UP).await;
    Ok((jobs_per_s, watcher.take(), before == hosts(stage).await?))
}

/// Hosts that joined: one that lost its lease comes back under another name.
async fn hosts(stage: &Stage) -> Outcome<Vec<String>> {
    Ok(stage.link.query(cmd("ZRANGE").arg(HOSTS).arg(0).arg(-1)).await?)
}

/// Keeps the queues from running dry; ends only when Redis does.
async fn feed(stage: &Stage, is_wanted: &AtomicBool, attack: &Attack) -> StoreError {
    loop {
        if let Err(error) = fill(stage, is_wanted, attack).await {
            return error;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn fill(stage: &Stage, is_wanted: &AtomicBool, attack: &Attack) -> Result<(), StoreError> {
    let queue = &stage.queues[0];
    if let Some(script) = attack.payload(stage) {
        fill::top_up(&stage.link, &attack.queue(stage), script.as_bytes(), &ATTACKS).await?;
    }
    if is_wanted.load(Relaxed) {
        fill::top_up(&stage.link, queue, &[b'x'; 100], &BACKLOG).await?;
    }
    Ok(())
}

/// Most memory this process has had, which is the host's.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The figures of one run.
fn document((quiet_per_s, quiet_p99_ms): (f64, f64), rows: &[Row]) -> Value {
    let attacks = rows.iter().map(|row| {
        let kept = row.jobs_per_s / quiet_per_s;
        json!({
            "attack": row.name, "jobs_per_s": row.jobs_per_s, "kept": round(kept),
            // Two plugins that want all there is: half for each.
            "of_fair_share": round(2.0 * kept), "p50_ms": row.p50_ms, "p99_ms": row.p99_ms,
            "p99_times_quiet": round(row.p99_ms / quiet_p99_ms), "attacks": row.attacks,
            "lease_kept": row.lease_kept, "peak_kib": row.peak_kib,
        })
    });
    json!({
        "workload": "neighbour", "concurrency": CONCURRENCY, "quiet_jobs_per_s": quiet_per_s,
        "quiet_p99_ms": quiet_p99_ms, "attacks": attacks.collect::<Vec<_>>(),
    })
}

/// The document as a table.
fn report(document: &Value) -> String {
    let columns = [
        Column::Text("attack"),
        Column::Number("jobs/s"),
        Column::Number("kept"),
        Column::Number("of fair share"),
        Column::Number("p50 ms"),
        Column::Number("p99 ms"),
        Column::Number("times quiet"),
        Column::Number("attacks"),
        Column::Text("lease"),
        Column::Number("peak memory"),
    ];
    let mut table = Table::new(&columns);
    for row in document["attacks"].as_array().into_iter().flatten() {
        let of = |name: &str| row[name].as_f64().unwrap_or(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "nothing is negative here"
        )]
        let count = |name: &str| of(name) as u64;
        let percent = |name: &str| format!("{:.0} %", of(name) * 100.0);
        table.row([
            row["attack"].as_str().unwrap_or_default().to_owned(),
            text::count(count("jobs_per_s")),
            percent("kept"),
            percent("of_fair_share"),
            format!("{:.2}", of("p50_ms")),
            format!("{:.2}", of("p99_ms")),
            format!("{:.1}", of("p99_times_quiet")),
            text::count(count("attacks")),
            if row["lease_kept"] == true { "kept" } else { "LOST" }.to_owned(),
            text::size(count("peak_kib") * 1024),
        ]);
    }
    let of = |name: &str| document[name].as_f64().unwrap_or(0.0);
    let (per_s, p99_ms) = (of("quiet_jobs_per_s"), of("quiet_p99_ms"));
    line("workload", "neighbour: a good plugin beside a hostile or a slow one")
        + &line("alone", &format!("{per_s:.0} jobs/s, p99 {p99_ms:.2} ms from push to start"))
        + &table.render()
}
