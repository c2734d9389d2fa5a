//! The workload `idle`: a host serves queues that stay empty. What it asks of Redis meanwhile, and what it takes of
//! processor and memory, is the price of waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::server::Load;
use super::stage::Stage;
use super::{Args, line, processor_us, resident_kib, round};
use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::text;

/// How long a host that has just started is let alone before the measurement.
const SETTLE_IN: Duration = Duration::from_secs(2);

/// How long queues idle when `--time` does not say it.
const TIME: Duration = Duration::from_secs(10);

/// There is nothing to see.
struct Nothing;

impl Observe for Nothing {
    fn started(&self, _: &[u8]) {}
    fn settled(&self, _: Instant) {}
}

/// Runs the workload.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let stage = Stage::set(context, args.component(), args, args.queues, args.concurrency.min(8)).await?;
    let bare_kib = resident_kib();
    let starting = Instant::now();
    let host = stage.host(Arc::new(Nothing)).await?;
    let start_s = round(starting.elapsed().as_secs_f64());
    tokio::time::sleep(SETTLE_IN).await;
    let before = Load::look(&stage.link).await?;
    let (began, cpu_before_us) = (Instant::now(), processor_us());
    tokio::time::sleep(args.time.unwrap_or(TIME)).await;
    let host_us = processor_us() - cpu_before_us;
    let mut load = Load::look(&stage.link).await?.since(before);
    let seconds = began.elapsed().as_secs_f64();
    // The first look itself.
    load.commands = load.commands.saturating_sub(1);
    let memory_kib = resident_kib();
    stage.clear(host).await?;
    let per_s = |count: u64| {
        #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
        let count = count as f64;
        count / seconds
    };
    let each = |count: u64| round(per_s(count) / f64::from(args.queues));
    let percent = |us: u64| round(per_s(us) / 1e4);
    let document = json!({
        "workload": "idle",
        "queues": args.queues,
        "plugins": args.plugins(),
        "seconds": round(seconds),
        "start_s": start_s,
        "commands_per_queue_per_s": each(load.commands),
        "script_calls_per_queue_per_s": each(load.scripts),
        "redis_cpu_us_per_queue_per_s": each(load.cpu_us),
        "redis_cpu_percent": percent(load.cpu_us),
        "host_cpu_percent": percent(host_us),
        "memory_kib": memory_kib,
        "memory_kib_before_start": bare_kib,
    });
    let report = report(&document);
    Ok((document, report))
}

/// The document in words.
fn report(document: &Value) -> String {
    let of = |name: &str| &document[name];
    let size = |name: &str| text::size(of(name).as_u64().unwrap_or(0) << 10);
    let (queues, plugins, seconds) = (of("queues"), of("plugins"), of("seconds"));
    let (memory, bare) = (size("memory_kib"), size("memory_kib_before_start"));
    let (commands, scripts) = (of("commands_per_queue_per_s"), of("script_calls_per_queue_per_s"));
    line("workload", &format!("idle, {queues} queues of {plugins} plugins for {seconds} s"))
        + &line(
            "host",
            &format!("{} % of a core, {memory} of memory, {bare} before it started", of("host_cpu_percent")),
        )
        + &line("start", &format!("{} s, with what had to be compiled", of("start_s")))
        + &line("commands", &format!("{commands} per queue and second, those inside scripts included"))
        + &line("scripts", &format!("{scripts} calls per queue and second"))
        + &line(
            "redis",
            &format!(
                "{} % of a core, {} µs per queue and second",
                of("redis_cpu_percent"),
                of("redis_cpu_us_per_queue_per_s")
            ),
        )
}
