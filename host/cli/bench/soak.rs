//! The workload `soak`: a host under full load for a long time, and what memory it has and how fast it is in each tenth of
//! it. Nothing here may grow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::growth::rate;
use super::meter::Meter;
use super::stage::Stage;
use super::{Args, fill, line, resident_kib, round};
use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::text;

/// How long when `--time` does not say it.
const TIME: Duration = Duration::from_secs(3600);
/// Parts of the time that are told.
const PARTS: u32 = 10;
/// Jobs that wait at the least and at the most.
const BACKLOG: std::ops::Range<u64> = 50_000..100_000;
/// How often the queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs the workload.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let stage = Stage::set(context, args.component(), args, 1, args.concurrency).await?;
    let (queue, payload) = (stage.queues[0].clone(), args.one_payload());
    fill::top_up(&stage.link, &queue, &payload, &BACKLOG).await?;
    let meter = Arc::new(Meter::new(args.stand_in()));
    let host = stage.host(meter.clone()).await?;
    let part = args.time.unwrap_or(TIME) / PARTS;
    let parts = tokio::select! {
        parts = parts(part, &meter, context) => parts,
        broken = fill::keep_up(&stage.link, &queue, &payload, &BACKLOG, LOOK_EVERY) => return Err(broken.into()),
    };
    stage.clear(host).await?;
    let of = |part: Option<&Value>, name: &str| part.and_then(|part| part[name].as_f64()).unwrap_or(0.0);
    let (first, last) = (parts.first(), parts.last());
    let grown = round(of(last, "memory_kib") / of(first, "memory_kib"));
    let kept = round(of(last, "jobs_per_s") / of(first, "jobs_per_s"));
    let jobs = meter.settled_jobs();
    let document = json!({
        "workload": "soak",
        "seconds": round((part * PARTS).as_secs_f64()),
        "jobs": jobs,
        "memory_kib": { "first": first.map(|part| &part["memory_kib"]), "last": last.map(|part| &part["memory_kib"]) },
        "memory_last_of_first": grown,
        "jobs_per_s_last_of_first": kept,
        "parts": parts,
    });
    let report = line(
        "workload",
        &format!("soak, {} in {}", text::counted(jobs, "job", "jobs"), text::elapsed(part * PARTS)),
    ) + &line("memory", &format!("{grown} times that of the first tenth in the last"))
        + &line("jobs/s", &format!("{kept} times those of the first tenth in the last"));
    Ok((document, report))
}

/// Each tenth of the time; told to a person as it ends.
async fn parts(part: Duration, meter: &Meter, context: &Context) -> Vec<Value> {
    let mut parts = Vec::new();
    for nth in 1..=PARTS {
        let (begun, done) = (Instant::now(), meter.settled_jobs());
        tokio::time::sleep(part).await;
        let (per_s, memory_kib) = (rate(meter.settled_jobs() - done, begun.elapsed()), resident_kib());
        let memory = text::size(memory_kib << 10);
        context.note(&format!("{nth} of {PARTS}: {per_s:.0} jobs/s, {memory} of memory"));
        parts.push(json!({ "jobs_per_s": per_s, "memory_kib": memory_kib }));
    }
    parts
}
