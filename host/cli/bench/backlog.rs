//! The workload `noop`: jobs are pushed first, then a host works them off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sandhog::job::push::push_many;
use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::load::Load;
use super::stage::Stage;
use super::{Args, line, micros, percentiles, percentiles_text, round};
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
    let stage = Stage::set(context, &args.component, 1, args.concurrency).await?;
    let pushing = Instant::now();
    push_all(&stage, jobs, args.payload).await?;
    let push_s = pushing.elapsed().as_secs_f64();
    let meter = Arc::new(Meter {
        origin: Instant::now(),
        first_us: AtomicU64::new(u64::MAX),
        last_us: AtomicU64::new(0),
        settled: AtomicU64::new(0),
        claim_to_settled: Mutex::new(micros()),
    });
    let before = Load::look(&stage.link).await?;
    let host = stage.host(meter.clone()).await?;
    wait(&meter, jobs).await?;
    let load = Load::look(&stage.link).await?.since(before);
    let threads = stage.threads();
    stage.clear(host).await?;
    let first_us = meter.first_us.load(Ordering::Relaxed);
    let took_us = meter.last_us.load(Ordering::Relaxed).saturating_sub(first_us).max(1);
    let latency = percentiles(&meter.claim_to_settled.lock().unwrap_or_else(PoisonError::into_inner));
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let (jobs_f, took_s) = (jobs as f64, took_us as f64 / 1e6);
    let mut document = json!({
        "workload": "noop",
        "jobs": jobs,
        "payload_bytes": args.payload,
        "concurrency": args.concurrency,
        "threads": threads,
        "seconds": round(took_s),
        "jobs_per_s": (jobs_f / took_s).round(),
        "pushed_per_s": (jobs_f / push_s).round(),
        "latency_ms": latency,
    });
    load.add_to(&mut document, jobs);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
    let per_s = (jobs_f / took_s) as u64;
    let report =
        line("workload", &format!("noop, {} of {} bytes", text::counted(jobs, "job", "jobs"), args.payload))
            + &line(
                "host",
                &format!("{threads} threads, {} runs at once, a fresh sandbox per job", args.concurrency),
            )
            + &line("jobs/s", &text::count(per_s))
            + &line(
                "latency",
                &format!("{} from claim to settled", percentiles_text(&document["latency_ms"])),
            )
            + &load.text(jobs);
    Ok((document, report))
}

async fn push_all(stage: &Stage, jobs: u64, payload_bytes: u64) -> Outcome {
    let bar = progress::over_steps(jobs);
    bar.set_message("pushing");
    let payload = vec![b'x'; usize::try_from(payload_bytes).unwrap_or(0)];
    let mut pushed = 0;
    while pushed < jobs {
        let batch = vec![&payload; usize::try_from(BATCH.min(jobs - pushed)).unwrap_or(0)];
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
