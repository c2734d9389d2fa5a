//! The workload `idle-latency`: one job at a time into a queue whose host waits, from just before the push to the
//! start of its run, and to its settlement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use redis::cmd;
use sandhog::worker::lane::Observe;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::server::Load;
use super::stage::Stage;
use super::{Args, line, micros, percentiles, percentiles_text};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{progress, text};

/// Jobs when the flag does not say it.
const JOBS: u64 = 500;
/// Jobs before them that are not counted: connections, caches and the first turn.
const WARM_UP: u64 = 20;
/// How long a queue rests before the next job, and by how much more at the most.
const REST: Duration = Duration::from_millis(3);
const REST_MORE_MS: u64 = 5;
/// How long one job may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages from the host that wait: one job is under way at a time.
const MESSAGES_MAX: usize = 16;

/// Tells when a run starts and when it is settled.
struct Bell {
    started: mpsc::Sender<(u64, Instant)>,
    settled: mpsc::Sender<Instant>,
}

impl Observe for Bell {
    fn started(&self, payload: &[u8]) {
        let now = Instant::now();
        let number = payload.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        // Full only when nobody listens any more.
        let _ = self.started.try_send((number, now));
    }

    fn settled(&self, _: Instant) {
        let _ = self.settled.try_send(Instant::now());
    }
}

/// Runs the workload.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let jobs = args.jobs.unwrap_or(JOBS);
    let stage = Stage::set(context, args.component(), args, 1, args.concurrency).await?;
    let (started, mut starts) = mpsc::channel(MESSAGES_MAX);
    let (settled, mut ends) = mpsc::channel(MESSAGES_MAX);
    let host = stage.host(Arc::new(Bell { started, settled })).await?;
    let (mut to_start, mut to_end) = (micros(), micros());
    let bar = progress::over_steps(jobs + WARM_UP);
    let mut before = Load::default();
    for number in 0..jobs + WARM_UP {
        if number == WARM_UP {
            before = Load::look(&stage.link).await?;
        }
        tokio::time::sleep(REST + Duration::from_millis(fastrand::u64(0..=REST_MORE_MS))).await;
        let mut payload = vec![b'x'; usize::try_from(args.payload_bytes()).unwrap_or(8)];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let pushed = Instant::now();
        stage.link.query::<u64>(cmd("RPUSH").arg(stage.queues[0].as_str()).arg(payload)).await?;
        let (got, at) = next(&mut starts, "started").await?;
        if got != number {
            return Err(Failure::failed(format!("job {number} was pushed, but job {got} started")));
        }
        let end = next(&mut ends, "settled").await?;
        if number >= WARM_UP {
            to_start.saturating_record(between(pushed, at));
            to_end.saturating_record(between(pushed, end));
        }
        bar.set_position(number);
    }
    bar.finish_and_clear();
    let load = Load::look(&stage.link).await?.since(before);
    stage.clear(host).await?;
    let mut document = json!({
        "workload": "idle-latency",
        "jobs": jobs,
        "payload_bytes": args.payload_bytes(),
        "latency_ms": percentiles(&to_start),
        "settled_ms": percentiles(&to_end),
    });
    load.add_to(&mut document, jobs);
    let report =
        line("workload", &format!("idle-latency, {}, one at a time", text::counted(jobs, "job", "jobs")))
            + &line(
                "start",
                &format!("{} from push to handler start", percentiles_text(&document["latency_ms"])),
            )
            + &line(
                "settled",
                &format!("{} from push to settled", percentiles_text(&document["settled_ms"])),
            )
            + &Load::text(&document);
    Ok((document, report))
}

async fn next<T>(messages: &mut mpsc::Receiver<T>, what: &str) -> Outcome<T> {
    let message = timeout(PATIENCE, messages.recv()).await;
    let message = message.with_context(|| format!("a job was not {what} within {} s", PATIENCE.as_secs()))?;
    message.ok_or_else(|| Failure::failed("the host has ended"))
}

fn between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
