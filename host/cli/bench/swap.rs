//! The workload `swap`: a queue that never runs dry, whose handler is replaced again and again as an operator does it,
//! by a file moved into the plugin folder. Measures the gaps between the starts of runs, first without swaps and then
//! with them, how long a swap takes from the move to the first moment at which new runs take the version, and what
//! memory the process has after a tenth of the swaps and after all of them. With several components each has its row.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use sandhog::app::Host;
use sandhog::plugin::release::Digest;
use sandhog::sandbox::load::COMPONENT_BYTES_MAX;
use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::stage::{Stage, variant};
use super::{Args, fill, line, made_with, micros, percentiles, resident_kib};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::table::{Column, Table};
use crate::cli::{componentize, progress, text};

/// Swaps in a row when the flag `--jobs` does not say it.
const SWAPS: u64 = 50;
/// Swaps whose time without any is measured for comparison, at the most.
const CALM_MAX: u64 = 100;
/// From the end of a swap to the next.
const REST: Duration = Duration::from_millis(100);
/// Entries that wait in the queue at the least and at the most.
const BACKLOG: std::ops::Range<u64> = 50_000..100_000;
/// How often the queue is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long one swap may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Notes the time from each start of a run to the next one, whichever thread has it.
struct Gaps {
    origin: Instant,
    last_us: AtomicU64,
    seen: Mutex<Histogram<u64>>,
}

impl Gaps {
    fn new() -> Self {
        Self { origin: Instant::now(), last_us: AtomicU64::new(u64::MAX), seen: Mutex::new(micros()) }
    }

    /// What was seen since the last time.
    fn take(&self) -> Histogram<u64> {
        std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), micros())
    }
}

impl Observe for Gaps {
    fn started(&self, _: &[u8]) {
        let now_us = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let gap = now_us.saturating_sub(self.last_us.swap(now_us, Ordering::Relaxed));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(gap);
    }

    fn settled(&self, _: Instant) {}
}

/// Runs the workload with each component in turn.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let swaps = args.jobs.unwrap_or(SWAPS);
    let mut told = Vec::new();
    for component in args.components() {
        told.push(with(component, args, context).await?);
    }
    Ok(tell(swaps, &told))
}

/// One component, from an empty stage to an empty stage.
async fn with(component: &Path, args: &Args, context: &Context) -> Outcome<Measured> {
    let stage = Stage::set(context, component, args, 1, args.concurrency).await?;
    let payload = args.one_payload();
    fill::top_up(&stage.link, &stage.queues[0], &payload, &BACKLOG).await?;
    let gaps = Arc::new(Gaps::new());
    let host = stage.host(gaps.clone()).await?;
    let measured = tokio::select! {
        measured = measure(component, args, &stage, &host, &gaps) => measured,
        broken = fill::keep_up(&stage.link, &stage.queues[0], &payload, &BACKLOG, LOOK_EVERY) => Err(broken.into()),
    }?;
    stage.clear(host).await?;
    Ok(measured)
}

/// The figures as a document, with those of the first component at its head, and as a table.
fn tell(swaps: u64, told: &[Measured]) -> (Value, String) {
    let columns = [
        Column::Text("component"),
        Column::Text("made with"),
        Column::Number("size"),
        Column::Number("swap p50 ms"),
        Column::Number("p99 ms"),
        Column::Number("gap p50 ms"),
        Column::Number("p99 ms"),
        Column::Number("max ms"),
        Column::Number("max without"),
        Column::Number("memory"),
    ];
    let mut table = Table::new(&columns);
    let documents: Vec<Value> = told.iter().map(Measured::document).collect();
    for document in &documents {
        let ms = |field: &str, part: &str| format!("{:.2}", document[field][part].as_f64().unwrap_or(0.0));
        let bytes = |field: &Value| text::size(field.as_u64().unwrap_or(0));
        table.row([
            document["component"].as_str().unwrap_or_default().to_owned(),
            document["made_with"].as_str().unwrap_or_default().to_owned(),
            bytes(&document["component_bytes"]),
            ms("swap_ms", "p50"),
            ms("swap_ms", "p99"),
            ms("gap_ms", "p50"),
            ms("gap_ms", "p99"),
            ms("gap_ms", "max"),
            ms("gap_without_swaps_ms", "max"),
            bytes(&json!(document["memory_kib"]["at_the_end"].as_u64().unwrap_or(0) * 1024)),
        ]);
    }
    let heading =
        line("workload", &format!("swap, {swaps} of each component, from a file moved to new runs"))
            + &line("gap", "between two starts of a run on the queue");
    let mut document = json!({ "workload": "swap", "swaps": swaps, "components": documents });
    if let (Some(all), Some(first)) = (document.as_object_mut(), documents.first().and_then(Value::as_object))
    {
        all.extend(first.clone());
    }
    (document, heading + &table.render())
}

impl Measured {
    fn document(&self) -> Value {
        json!({
            "component": self.name,
            "made_with": self.made_with,
            "component_bytes": self.bytes,
            "starts": self.busy.len(),
            "gap_ms": percentiles(&self.busy),
            "gap_ms_max": percentiles(&self.busy)["max"],
            "gap_without_swaps_ms": percentiles(&self.calm),
            "swap_ms": percentiles(&self.took),
            "memory_kib": { "after_a_tenth": self.memory_kib[0], "at_the_end": self.memory_kib[1] },
        })
    }
}

/// What was measured with one component.
struct Measured {
    name: String,
    /// Languages or tools, by the component's own word.
    made_with: String,
    calm: Histogram<u64>,
    busy: Histogram<u64>,
    took: Histogram<u64>,
    bytes: u64,
    memory_kib: [u64; 2],
}

/// As long as nothing is swapped, and then while something is.
async fn measure(path: &Path, args: &Args, stage: &Stage, host: &Host, gaps: &Gaps) -> Outcome<Measured> {
    let component = componentize::read(path, COMPONENT_BYTES_MAX)?;
    let swaps = args.jobs.unwrap_or(SWAPS);
    let rest = REST * u32::try_from(swaps.min(CALM_MAX)).unwrap_or(u32::MAX);
    // Caches, connections and the first claims.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gaps.take();
    tokio::time::sleep(rest).await;
    let calm = gaps.take();
    let mut took = micros();
    let bar = progress::over_steps(swaps);
    let mut early_kib = resident_kib();
    for n in 0..swaps {
        took.saturating_record(swap(stage.folder(), &variant(&component, n), host).await?);
        tokio::time::sleep(REST).await;
        if n == swaps / 10 {
            early_kib = resident_kib();
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Measured {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        made_with: made_with(&component),
        calm,
        busy: gaps.take(),
        took,
        bytes: component.len() as u64,
        memory_kib: [early_kib, resident_kib()],
    })
}

/// Puts the version in place and waits until new runs take it: microseconds.
async fn swap(folder: &Path, component: &[u8], host: &Host) -> Outcome<u64> {
    let wanted = Digest::of(component).as_str().to_owned();
    let (new, place) = (folder.join(".bench.new"), folder.join("bench.wasm"));
    std::fs::write(&new, component).context("cannot write the component").refuse()?;
    let begun = Instant::now();
    std::fs::rename(&new, &place).context("cannot move the component").refuse()?;
    while host.plugins().first().is_none_or(|plugin| plugin.version != wanted) {
        if let Some(refusal) = host.plugins().into_iter().find_map(|plugin| plugin.refusal) {
            return Err(Failure::failed(format!("a swap was refused: {refusal}")));
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("a swap took more than {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX))
}
