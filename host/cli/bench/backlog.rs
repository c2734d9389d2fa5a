//! The workloads `noop` and `ledger`: jobs are pushed first, then a host works them off. What is particular to
//! `ledger` is in `bench/ledger`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sandhog::job::push::push_many;
use sandhog::worker::counters::Counters;
use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::ledger::{Books, Ledger};
use super::load::Load;
use super::stage::Stage;
use super::{Args, Workload, line, micros, per, percentiles, percentiles_text, round};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{progress, text};

/// Jobs when the flag does not say it.
const JOBS: u64 = 100_000;
/// Jobs pushed as one step.
const BATCH: u64 = 1000;
/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Without a job settled for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// Notes what the host does. All times count from its making.
struct Meter {
    origin: Instant,
    /// Microseconds at the first start of a run; `u64::MAX` before it.
    first_us: AtomicU64,
    last_us: AtomicU64,
    settled: AtomicU64,
    claim_to_settled: Mutex<Histogram<u64>>,
}

impl Meter {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            first_us: AtomicU64::new(u64::MAX),
            last_us: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            claim_to_settled: Mutex::new(micros()),
        }
    }

    /// From the first start of a run to the last settlement.
    fn took_us(&self) -> u64 {
        let first_us = self.first_us.load(Ordering::Relaxed);
        self.last_us.load(Ordering::Relaxed).saturating_sub(first_us).max(1)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Observe for Meter {
    fn started(&self, _: &[u8]) {
        if self.first_us.load(Ordering::Relaxed) == u64::MAX {
            self.first_us.fetch_min(self.now_us(), Ordering::Relaxed);
        }
    }

    fn settled(&self, claimed_at: Instant) {
        let took = u64::try_from(claimed_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.claim_to_settled.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
        self.last_us.store(self.now_us(), Ordering::Relaxed);
        self.settled.fetch_add(1, Ordering::Release);
    }
}

/// Runs the workload.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let jobs = args.jobs.unwrap_or(JOBS);
    let stage = Stage::set(context, args.component(), args, 1, args.concurrency).await?;
    let ledger = (args.workload == Workload::Ledger).then(|| Ledger::new(&stage.queues[0], jobs));
    if let Some(ledger) = &ledger {
        ledger.open(&stage.link).await?;
    }
    let pushing = Instant::now();
    push_all(&stage, jobs, args.payload).await?;
    let push_s = pushing.elapsed().as_secs_f64();
    let meter = Arc::new(Meter::new());
    let before = Load::look(&stage.link).await?;
    let host = stage.host(meter.clone()).await?;
    wait(&meter, jobs).await?;
    let load = Load::look(&stage.link).await?.since(before);
    let threads = stage.threads();
    let counted = |of: fn(&Counters) -> &AtomicU64| -> u64 {
        host.lanes().iter().map(|lane| Counters::read(of(&lane.counters))).sum()
    };
    let (commits, conflicts, effects) =
        (counted(|of| &of.commits), counted(|of| &of.conflicts), counted(|of| &of.effects));
    let books = match &ledger {
        Some(ledger) => Some(ledger.close(&stage.link).await?),
        None => None,
    };
    stage.clear(host).await?;
    let balance = books.map(Books::check).transpose()?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let (jobs_f, took_s) = (jobs as f64, meter.took_us() as f64 / 1e6);
    let mut document = json!({
        "workload": if ledger.is_some() { "ledger" } else { "noop" },
        "effects": args.effects.word(),
        "jobs": jobs,
        "payload_bytes": args.payload,
        "concurrency": args.concurrency,
        "threads": threads,
        "seconds": round(took_s),
        "jobs_per_s": (jobs_f / took_s).round(),
        "pushed_per_s": (jobs_f / push_s).round(),
        "latency_ms": percentiles(&meter.claim_to_settled.lock().unwrap_or_else(PoisonError::into_inner)),
    });
    load.add_to(&mut document, jobs);
    let mut report = report(&document, jobs, load);
    if commits > 0 {
        document["commits"] = json!(commits);
        document["conflicts"] = json!(conflicts);
        document["effects_per_commit"] = json!(per(effects, commits));
        let (commits, conflicts) = (text::counted(commits, "commit", "commits"), text::count(conflicts));
        let each = &document["effects_per_commit"];
        report += &line("effects", &format!("{commits} of {each} effects, {conflicts} conflicts"));
    }
    if let Some(balance) = balance {
        document["balance"] = json!(balance);
        let balance = text::count(balance);
        report += &line("books", &format!("{balance} in the balances: every job was booked once"));
    }
    Ok((document, report))
}

/// The document in words.
fn report(document: &Value, jobs: u64, load: Load) -> String {
    let of = |name: &str| document[name].as_u64().unwrap_or(0);
    let word = |name: &str| document[name].as_str().unwrap_or("");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
    let per_s = document["jobs_per_s"].as_f64().unwrap_or(0.0) as u64;
    let (jobs_text, bytes) = (text::counted(jobs, "job", "jobs"), of("payload_bytes"));
    let workload = format!("{}, {jobs_text} of {bytes} bytes", word("workload"));
    let (threads, at_once) = (of("threads"), of("concurrency"));
    let host = format!(
        "{threads} threads, {at_once} runs at once, a fresh sandbox per job, {} effects",
        word("effects")
    );
    let latency = format!("{} from claim to settled", percentiles_text(&document["latency_ms"]));
    line("workload", &workload)
        + &line("host", &host)
        + &line("jobs/s", &text::count(per_s))
        + &line("latency", &latency)
        + &load.text(jobs)
}

/// Jobs are their numbers, with as many zeros before them as a payload has room for.
async fn push_all(stage: &Stage, jobs: u64, payload_bytes: u64) -> Outcome {
    let bar = progress::over_steps(jobs);
    bar.set_message("pushing");
    let width = usize::try_from(payload_bytes).unwrap_or(0);
    let mut pushed = 0;
    while pushed < jobs {
        let numbers = pushed..jobs.min(pushed + BATCH);
        let batch: Vec<String> = numbers.map(|number| format!("{number:0width$}")).collect();
        push_many(&stage.link, &stage.queues[0], &batch).await?;
        pushed += batch.len() as u64;
        bar.set_position(pushed);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Returns when all jobs are settled.
async fn wait(meter: &Meter, jobs: u64) -> Outcome {
    let bar = progress::over_steps(jobs);
    bar.set_message("running");
    let (mut seen, mut changed) = (0, Instant::now());
    while seen < jobs {
        tokio::time::sleep(LOOK_EVERY).await;
        let settled = meter.settled.load(Ordering::Acquire);
        if settled > seen {
            (seen, changed) = (settled, Instant::now());
            bar.set_position(settled);
        } else if changed.elapsed() > PATIENCE {
            return Err(Failure::failed(format!(
                "no job was settled for {} s; {seen} of {jobs} are",
                PATIENCE.as_secs()
            )));
        }
    }
    bar.finish_and_clear();
    Ok(())
}
