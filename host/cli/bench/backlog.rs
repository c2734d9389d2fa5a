//! The workloads whose jobs are pushed first and then worked off by a host: `noop`, `ledger`, `cpu`, `echo-1m`, `mixed`.
//! What is particular to `ledger` is in `bench/ledger`.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use sandhog::app::Host;
use sandhog::job::push::push_many;
use sandhog::worker::counters::Counters;
use serde_json::{Value, json};

use super::ledger::{Books, Ledger};
use super::meter::Meter;
use super::server::Load;
use super::stage::Stage;
use super::{
    Args, Baseline, Workload, line, per, percentiles, percentiles_text, processor_us, resident_kib, round,
    scripts, sitting,
};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{progress, text};

/// Jobs pushed as one step, and their bytes.
const BATCH: u64 = 1000;
const BATCH_BYTES: u64 = 8 << 20;
/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Without a job settled for so long, none will be.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the workload as often as was asked for.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let mut documents = Vec::new();
    for _ in 0..args.runs {
        documents.push(once(args, context).await?);
    }
    let mut document = sitting::median(&documents);
    let (least, most) = sitting::spread(&documents, "jobs_per_s");
    document["runs"] = json!(args.runs);
    document["jobs_per_s_spread"] = json!([least, most]);
    let told = report(&document, args);
    Ok((document, told))
}

pub(super) async fn once(args: &Args, context: &Context) -> Outcome<Value> {
    let jobs = args.job_count();
    let stage = Stage::set(context, args.component(), args, args.backlog_queues(), args.concurrency).await?;
    let ledger = (args.workload == Workload::Ledger).then(|| Ledger::new(&stage.queues[0], jobs));
    if let Some(ledger) = &ledger {
        ledger.open(&stage.link).await?;
    }
    let pushing = Instant::now();
    push_all(&stage, jobs, args).await?;
    let push_s = pushing.elapsed().as_secs_f64();
    if args.baseline == Some(Baseline::Scripts) {
        return scripts::once(args, stage, jobs, push_s).await;
    }
    let meter = Arc::new(Meter::new(args.stand_in()));
    let before = Load::look(&stage.link).await?;
    let host = stage.host(meter.clone()).await?;
    let cpu_before_us = processor_us();
    wait(&meter, jobs).await?;
    let cpu_us = processor_us() - cpu_before_us;
    let load = Load::look(&stage.link).await?.since(before);
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let (jobs_f, took_s) = (jobs as f64, meter.took_us() as f64 / 1e6);
    let mut document = json!({
        "workload": args.workload.word(),
        "baseline": args.baseline.map(Baseline::word),
        "effects": args.effects.word(),
        "reuse": args.reuse,
        "jobs": jobs,
        "payload_bytes": args.payload_bytes(),
        "queues": stage.queues.len(),
        "concurrency": args.concurrency,
        "threads": stage.threads(),
        "seconds": round(took_s),
        "jobs_per_s": (jobs_f / took_s).round(),
        "pushed_per_s": (jobs_f / push_s).round(),
        "latency_ms": percentiles(&meter.latency()),
        "host_cpu_us_per_job": per(cpu_us, jobs),
        "memory_kib": resident_kib(),
    });
    load.add_to(&mut document, jobs);
    count(&host, &mut document);
    all_completed(&host, jobs)?;
    let books = match &ledger {
        Some(ledger) => Some(ledger.close(&stage.link).await?),
        None => None,
    };
    stage.clear(host).await?;
    if let Some(balance) = books.map(Books::check).transpose()? {
        document["balance"] = json!(balance);
    }
    Ok(document)
}

/// What the lanes of a host have counted together.
fn counted(host: &Host, of: fn(&Counters) -> &AtomicU64) -> u64 {
    host.lanes().iter().map(|lane| Counters::read(of(&lane.counters))).sum()
}

/// Fails if runs ended in any other way than well: what was measured then is not what was asked for.
fn all_completed(host: &Host, jobs: u64) -> Outcome {
    let completed = counted(host, |of| &of.completed);
    if completed < jobs {
        return Err(Failure::failed(format!("{completed} of {jobs} runs completed their job")).with_hint(
            "give it jobs that it completes: `--job BYTES`; `sandhog invoke` tells what one comes to",
        ));
    }
    Ok(())
}

/// Adds what the host has counted of commits.
fn count(host: &Host, document: &mut Value) {
    let counted = |of| counted(host, of);
    let commits = counted(|of| &of.commits);
    if commits > 0 {
        document["commits"] = json!(commits);
        document["conflicts"] = json!(counted(|of| &of.conflicts));
        document["effects_per_commit"] = json!(per(counted(|of| &of.effects), commits));
    }
}

/// The document in words.
fn report(document: &Value, args: &Args) -> String {
    let of = |name: &str| document[name].as_u64().unwrap_or(0);
    let word = |name: &str| document[name].as_str().unwrap_or("");
    let (jobs, bytes) = (text::counted(of("jobs"), "job", "jobs"), text::count(of("payload_bytes")));
    let queues = text::counted(of("queues"), "queue", "queues");
    let (threads, at_once) = (of("threads"), of("concurrency"));
    let sandbox = match (args.baseline, args.reuse) {
        (Some(_), _) => "no sandbox: a Rust function".to_owned(),
        (None, 1) => "a fresh sandbox per job".to_owned(),
        (None, runs) => format!("a sandbox per {runs} jobs"),
    };
    let host = match args.baseline {
        Some(Baseline::Scripts) => "none: scripts alone".to_owned(),
        _ => format!("{threads} threads, {at_once} runs at once, {sandbox}, {} effects", word("effects")),
    };
    let (cpu, memory) = (&document["host_cpu_us_per_job"], text::size(of("memory_kib") << 10));
    let mut told = line("workload", &format!("{}, {jobs} of {bytes} bytes, {queues}", word("workload")))
        + &line("host", &host)
        + &line("jobs/s", &rate(document));
    if let Some(latency) = document.get("latency_ms") {
        told += &line("latency", &format!("{} from claim to settled", percentiles_text(latency)));
    }
    told += &line("processor", &format!("{cpu} µs per job of the host, {memory} of memory"));
    told += &Load::text(document);
    if let Some(commits) = document["commits"].as_u64() {
        let (commits, conflicts) =
            (text::counted(commits, "commit", "commits"), text::count(of("conflicts")));
        let each = &document["effects_per_commit"];
        told += &line("effects", &format!("{commits} of {each} effects, {conflicts} conflicts"));
    }
    if let Some(balance) = document["balance"].as_u64() {
        let balance = text::count(balance);
        told += &line("books", &format!("{balance} in the balances: every job was booked once"));
    }
    told
}

/// Throughput, with what it was between where there were several runs.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
fn rate(document: &Value) -> String {
    let count = |value: &Value| text::count(value.as_f64().unwrap_or(0.0) as u64);
    let (median, spread) = (count(&document["jobs_per_s"]), &document["jobs_per_s_spread"]);
    match document["runs"].as_u64() {
        None | Some(1) => median,
        Some(runs) => {
            format!("{median}, the median of {runs} runs from {} to {}", count(&spread[0]), count(&spread[1]))
        }
    }
}

/// Jobs are their numbers, with as many zeros before them as a payload has room for, unless `--job` says what they are;
/// queues take turns.
async fn push_all(stage: &Stage, jobs: u64, args: &Args) -> Outcome {
    let payload_bytes = args.payload_bytes();
    let bar = progress::over_steps(jobs);
    bar.set_message("pushing");
    let width = usize::try_from(payload_bytes).unwrap_or(0);
    let most = (BATCH_BYTES / payload_bytes.max(1)).clamp(1, BATCH);
    let mut pushed = 0;
    for queue in stage.queues.iter().cycle() {
        if pushed == jobs {
            break;
        }
        let numbers = pushed..jobs.min(pushed + most);
        let batch: Vec<Cow<'_, str>> = match &args.job {
            Some(job) => numbers.map(|_| Cow::Borrowed(job.as_str())).collect(),
            None => numbers.map(|number| Cow::Owned(payload(number, width))).collect(),
        };
        let batch: Vec<&str> = batch.iter().map(AsRef::as_ref).collect();
        push_many(&stage.link, queue, &batch).await?;
        pushed += batch.len() as u64;
        bar.set_position(pushed);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A number with zeros before it. (A format's width ends at 65,535.)
fn payload(number: u64, width: usize) -> String {
    let number = number.to_string();
    "0".repeat(width.saturating_sub(number.len())) + &number
}

/// Returns when all jobs are settled.
async fn wait(meter: &Meter, jobs: u64) -> Outcome {
    let bar = progress::over_steps(jobs);
    bar.set_message("running");
    let (mut seen, mut changed) = (0, Instant::now());
    while seen < jobs {
        tokio::time::sleep(LOOK_EVERY).await;
        let settled = meter.settled_jobs();
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
