//! The workload `idle`: a host serves queues that stay empty. What it asks of Redis meanwhile is the price of
//! waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandhog::worker::lane::Observe;
use serde_json::{Value, json};

use super::load::Load;
use super::stage::Stage;
use super::{Args, line, round};
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
    let host = stage.host(Arc::new(Nothing)).await?;
    tokio::time::sleep(SETTLE_IN).await;
    let before = Load::look(&stage.link).await?;
    let began = Instant::now();
    tokio::time::sleep(args.time.unwrap_or(TIME)).await;
    let mut load = Load::look(&stage.link).await?.since(before);
    let seconds = began.elapsed().as_secs_f64();
    // The first look itself.
    load.commands = load.commands.saturating_sub(1);
    stage.clear(host).await?;
    let queues = f64::from(args.queues);
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let [commands, scripts, cpu_us] =
        [load.commands, load.scripts, load.cpu_us].map(|count| round(count as f64 / seconds / queues));
    let document = json!({
        "workload": "idle",
        "queues": args.queues,
        "seconds": round(seconds),
        "commands_per_queue_per_s": commands,
        "script_calls_per_queue_per_s": scripts,
        "redis_cpu_us_per_queue_per_s": cpu_us,
    });
    let idle = text::elapsed(began.elapsed());
    let report = line("workload", &format!("idle, {} queues for {idle}", args.queues))
        + &line("commands", &format!("{commands} per queue and second, those inside scripts included"))
        + &line("scripts", &format!("{scripts} calls per queue and second"))
        + &line("redis", &format!("{cpu_us} µs of processor per queue and second"));
    Ok((document, report))
}
