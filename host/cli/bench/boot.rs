//! The workload `boot`: how soon a host works. A real `sandhog run` in a process of its own serves a folder of plugins,
//! all different, that a start before has compiled; one job waits in the queue of the last one, which is loaded last.
//!
//! Timed is from just before the process is spawned to the moment at which Redis shows that the job was claimed, and
//! that it was completed: the queue's own counters, asked for every millisecond, so a figure is up to a millisecond and
//! a round trip too long. Within it are the small program that ties the process to this one (`cli/child`), reading and
//! mapping what was compiled, connections, and registering the host. Redis runs already.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use redis::cmd;
use rustix::process::{Pid, Signal, kill_process};
use sandhog::job::key::QueueKeys;
use serde_json::{Value, json};

use super::stage::Stage;
use super::{Args, line, micros, percentiles, percentiles_text};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{child, progress};

/// Starts that are measured when the flag does not say it.
const STARTS: u64 = 20;
/// Between two looks at the counters.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a start may take, and a stop. The first one compiles everything.
const PATIENCE: Duration = Duration::from_secs(300);

/// A host in a process of its own; it ends with this.
struct Process {
    child: Child,
    log: PathBuf,
}

/// From the spawn of the process.
struct Took {
    claimed: Duration,
    completed: Duration,
}

/// Runs the workload.
pub(super) async fn run(args: &Args, context: &Context) -> Outcome<(Value, String)> {
    let plugins = args.plugins();
    let starts = args.jobs.unwrap_or(STARTS);
    let stage = Stage::set(context, args.component(), args, plugins, args.concurrency.min(8)).await?;
    let (mut to_claim, mut to_end) = (micros(), micros());
    let bar = progress::over_steps(starts + 1);
    let cold = once(&stage).await?;
    for _ in 0..starts {
        bar.inc(1);
        let took = once(&stage).await?;
        record(&mut to_claim, took.claimed);
        record(&mut to_end, took.completed);
    }
    bar.finish_and_clear();
    stage.sweep().await?;
    let document = json!({
        "workload": "boot",
        "plugins": plugins,
        "starts": starts,
        "claimed_ms": percentiles(&to_claim),
        "completed_ms": percentiles(&to_end),
        "cold_claimed_ms": super::round(cold.claimed.as_secs_f64() * 1e3),
    });
    let report = line("workload", &format!("boot, {starts} starts with {plugins} plugins, compiled before"))
        + &line(
            "claim",
            &format!("{} from the start of the process", percentiles_text(&document["claimed_ms"])),
        )
        + &line("completed", &percentiles_text(&document["completed_ms"]))
        + &line(
            "cold",
            &format!("{} ms to the claim when all had to be compiled", document["cold_claimed_ms"]),
        );
    Ok((document, report))
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

/// One start, with one job that waits, and the stop after it.
async fn once(stage: &Stage) -> Outcome<Took> {
    let queue = stage.queues.last().context("the bench has no queue")?;
    let stats = QueueKeys::new(queue).stats;
    stage.link.query::<u64>(cmd("UNLINK").arg(&stats)).await?;
    stage.link.query::<u64>(cmd("RPUSH").arg(queue.as_str()).arg("x")).await?;
    let begun = Instant::now();
    let mut process = Process::start(stage)?;
    let mut claimed = None;
    let took = loop {
        let (is_claimed, is_completed): (Option<u64>, Option<u64>) =
            stage.link.query(cmd("HMGET").arg(&stats).arg("claimed").arg("completed")).await?;
        let now = begun.elapsed();
        if is_claimed.is_some() {
            claimed.get_or_insert(now);
        }
        if let (Some(claimed), Some(_)) = (claimed, is_completed) {
            break Took { claimed, completed: now };
        }
        if now > PATIENCE || process.has_ended() {
            return Err(process.failure("the host did not complete the job"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    process.stop().await?;
    Ok(took)
}

impl Process {
    fn start(stage: &Stage) -> Outcome<Self> {
        let state: &Path = stage.state();
        std::fs::create_dir_all(state).context("cannot make a state folder")?;
        let (settings, log) = (state.join("sandhog.toml"), state.join("host.log"));
        std::fs::write(&settings, "[host]\nname = \"bench\"\n").context("cannot write settings")?;
        let child = child::command(child::OURSELVES)
            .args(["run", "--redis", &stage.url, "--config"])
            .arg(settings)
            .arg("--plugins")
            .arg(stage.folder())
            // The environment would go before the file.
            .env("SANDHOG_HOST_NAME", "bench")
            .env("SANDHOG_STATE_DIR", state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).context("cannot write a log")?)
            .spawn()
            .context("cannot start a host")?;
        Ok(Self { child, log })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops it in order.
    async fn stop(&mut self) -> Outcome {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            kill_process(pid, Signal::TERM).context("cannot stop the host")?;
        }
        let asked = Instant::now();
        while !self.has_ended() {
            if asked.elapsed() > PATIENCE {
                return Err(self.failure("the host did not stop"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        Failure::failed(what).with_details(log.lines().map(str::to_owned).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has gone by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
