//! `sandhog invoke`: one run of a plugin, here and now, and everything that can be said about it. Its effects are held
//! back, told, and made only if that is wanted. How the run is told is in `invoke/report`, how its effects are in
//! `invoke/effect` and `invoke/document`; `invoke/before` looks at the keys they are about. What runs need is in
//! `invoke/stage`, running again at each change of a file in `invoke/watch`.

mod before;
mod document;
mod effect;
mod repeat;
mod report;
mod stage;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::job::change::Changes;
use sandhog::plugin::load::Loaded;
use sandhog::plugin::manifest::{Consume, EffectsMode, Kind, Manifest};
use sandhog::sandbox::Instance;
use sandhog::sandbox::run::{BatchReport, JobCall, RunContext};
use sandhog::storage::link::Link;
use sandhog::telemetry::Heard;

use crate::cli::argument;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use repeat::Times;
use report::{Cost, Run};
use stage::Stage;

/// Most runs of one call.
const RUNS_MAX: u64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  sandhog invoke plugins/orders.wasm --payload '{\"id\": \"A-1\", \"customer\": \"ada\", \"amount_cents\": 5}'
  sandhog invoke plugins/orders.wasm --payload-file order.json --set total:ada=7
  sandhog invoke plugins/orders.wasm --payload-file order.json --before cases/good.toml --repeat 1000
  sandhog invoke plugins/orders.wasm --payload-file order.json --before cases/good.toml --watch
  sandhog invoke plugins/sums.wasm --payload 'ada 1' --payload 'bob 2'
  sandhog invoke plugins/orders.wasm --payload-file order.json --redis redis://127.0.0.1:6379 --commit";

/// Runs a worker on one payload, or a config reader, and tells what it would change.
///
/// Effects are held back, as in the atomic mode, whatever the manifest says. The run has a private Redis of its own,
/// which is thrown away; `--set` and `--before` put keys into it before. With `--redis` it reads that server instead, and changes
/// nothing there; with `--commit` too, what it would change is applied as one step if it ends well.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The component.
    component: PathBuf,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The job's bytes; may be repeated for a batch worker, which is given all in one call.
    #[arg(long, value_name = "BYTES", conflicts_with = "payload_file")]
    payload: Vec<String>,
    /// A file with the job's bytes; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// The queue the job seems to come from; the first of the manifest when not given.
    #[arg(long)]
    queue: Option<String>,
    /// A header of the job; may be repeated.
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = argument::header)]
    headers: Vec<(String, String)>,
    /// The number of the attempt.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// The job's id; the second of several has `-2` behind it, and so on.
    #[arg(long, default_value = "invoke-1", value_parser = argument::job_id)]
    id: sandhog::job::name::JobId,
    /// A key of the private Redis, set before the run; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument::pair)]
    set: Vec<(String, String)>,
    /// A TOML file whose `[before]` says what the private Redis holds, as in the cases of `sandhog test`.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// A setting as a config reader would give it, for example `site.theme=dark`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = argument::pair)]
    setting: Vec<(String, String)>,
    /// Makes the changes, on the Redis named with `--redis`.
    #[arg(long, conflicts_with = "repeat")]
    commit: bool,
    /// Runs again whenever the component, its manifest, the payload's file or the file of keys has changed, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Runs it so often, each time as if it were the first, and tells how long that took; the first run is shown.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=RUNS_MAX))]
    repeat: u64,
    /// Lets the runs share an instance as far as the manifest's `[instances]` allows.
    #[arg(long, requires = "repeat")]
    reuse: bool,
    /// Compile as `run` does, for figures: slower, and the code is faster.
    #[arg(long)]
    optimized: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let mut stage = Stage::new(&args, context)?;
    if args.watch {
        return watch::run(&mut stage).await;
    }
    let ready = stage.ready().await?;
    stage.connect().await?;
    report::tell(&stage.run(&ready).await?, context, report::Told::Once)
}

/// The runs after the first. Effects are held back, so each finds what the first has found.
async fn repeat(
    args: &Args,
    loaded: &Loaded,
    link: &Link,
    payloads: &[Vec<u8>],
    kept: &mut Option<Instance>,
    heard: &Heard,
    first: &mut Run,
) -> Outcome {
    if args.repeat == 1 {
        return Ok(());
    }
    let mut times = Times::default();
    times.add(first.cost.whole(), first.verdict().0);
    for _ in 1..args.repeat {
        let (run, _) = attempt(args, loaded, link, payloads, kept).await?;
        times.add(run.cost.whole(), run.verdict().0);
        // What is said again and again must not pile up.
        heard.take();
    }
    first.times = Some(times);
    Ok(())
}

/// The run itself; in the instance that is kept, if runs share one.
async fn attempt(
    args: &Args,
    loaded: &Loaded,
    link: &Link,
    payloads: &[Vec<u8>],
    kept: &mut Option<Instance>,
) -> Outcome<(Run, Option<Changes>)> {
    let consume = consume(args, loaded)?;
    let context = RunContext {
        link: link.clone(),
        settings: Arc::new(args.setting.iter().cloned().collect::<BTreeMap<_, _>>()),
        timeout: consume.map_or(loaded.manifest.read_timeout, |consume| consume.timeout),
        plan: plan(&loaded.manifest),
        foresight: None,
        board: None,
    };
    let started = Instant::now();
    let Some(consume) = consume else {
        let answer = loaded.version.read_config(&context).await;
        let cost = Cost {
            run: started.elapsed().saturating_sub(answer.instantiate),
            instantiate: answer.instantiate,
            usage: answer.usage,
            memory_peak_bytes: answer.memory_peak_bytes,
            log_dropped_bytes: 0,
        };
        return Ok((Run::of_reader(loaded, answer.settings, cost), None));
    };
    let headers: Vec<(&str, &str)> = args.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let (seconds, micros): (u64, u64) = link.query(&redis::cmd("TIME")).await?;
    let ids: Vec<String> = (1..=payloads.len()).map(|number| id(args, number)).collect();
    let job = |(id, payload)| JobCall {
        id,
        queue: args.queue.as_deref().unwrap_or(consume.queue.as_str()),
        payload,
        attempt: args.attempt,
        max_attempts: consume.max_attempts.max(args.attempt),
        first_seen_ms: seconds.saturating_mul(1000).saturating_add(micros / 1000),
        headers: &headers,
    };
    let jobs: Vec<JobCall<'_>> =
        ids.iter().map(String::as_str).zip(payloads.iter().map(Vec::as_slice)).map(job).collect();
    let mut fresh = None;
    let kept = if args.reuse { kept } else { &mut fresh };
    let started = Instant::now();
    let (report, answers) = match loaded.version.kind() {
        Kind::BatchWorker => {
            let BatchReport { run, answers } = loaded.version.run_batch_in(kept, &jobs, &context).await;
            (run, answers)
        }
        _ => (loaded.version.run_job_in(kept, jobs[0], &context).await, Vec::new()),
    };
    let cost = Cost {
        run: started.elapsed().saturating_sub(report.instantiate),
        instantiate: report.instantiate,
        usage: report.usage,
        memory_peak_bytes: report.memory_peak_bytes,
        log_dropped_bytes: report.log_dropped_bytes,
    };
    // A call has ended well if all its jobs have.
    let ended = answers.iter().find(|answer| answer.kind() != "done").unwrap_or(&report.outcome).clone();
    let mut run = Run::of_worker(loaded, ended, cost);
    run.result = report.result;
    if jobs.len() > 1 {
        run.jobs = ids.into_iter().zip(answers).collect();
    }
    Ok((run, report.pending.map(|pending| pending.changes)))
}

/// The id of a job, counted from 1.
fn id(args: &Args, number: usize) -> String {
    let first = args.id.as_str();
    if number == 1 { first.to_owned() } else { format!("{first}-{number}") }
}

/// Effects wait, and nothing is taken off a queue meanwhile.
pub(crate) fn plan(manifest: &Manifest) -> Plan {
    let isolation = match manifest.effects {
        EffectsMode::Atomic(isolation) => isolation,
        EffectsMode::Immediate => Isolation::default(),
    };
    Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None }))
}

/// The part of the manifest that tells how the job's queue is served; none for a config reader.
fn consume<'l>(args: &Args, loaded: &'l Loaded) -> Outcome<Option<&'l Consume>> {
    let all = &loaded.manifest.consume;
    match &args.queue {
        None => Ok(all.first()),
        Some(queue) => match all.iter().find(|consume| consume.queue.as_str() == queue) {
            Some(consume) => Ok(Some(consume)),
            None => Err(Failure::refused(format!("the manifest has no queue `{queue}`"))),
        },
    }
}
