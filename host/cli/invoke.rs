//! `sandhog invoke`: one run of a plugin, here and now, and everything that can be said about it. What it changed
//! is found in `invoke/change`; how it is told is in `invoke/report`.

mod change;
mod report;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use sandhog::config::settings::{Overrides, Settings};
use sandhog::plugin::load::{Loaded, load};
use sandhog::plugin::manifest::{Consume, Kind};
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::run::{JobCall, RunContext};
use sandhog::storage::link::Link;
use sandhog::telemetry::Reader;

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::{argument, check};
use change::Keys;
use report::{Cost, Run};

/// Longest payload read from a file.
const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Runs a worker on one payload, or a config reader, and tells what it did.
///
/// The run has a private Redis of its own, which is thrown away; `--set` puts keys into it before. With `--redis`
/// and `--commit` it works on that server instead, and what it writes stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The component.
    component: PathBuf,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The job's bytes.
    #[arg(long, value_name = "BYTES", conflicts_with = "payload_file")]
    payload: Option<String>,
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
    /// The job's id.
    #[arg(long, default_value = "invoke-1", value_parser = argument::job_id)]
    id: sandhog::job::name::JobId,
    /// A key of the private Redis, set before the run; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument::pair, conflicts_with = "commit")]
    set: Vec<(String, String)>,
    /// A setting as a config reader would give it, for example `site.theme=dark`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = argument::pair)]
    setting: Vec<(String, String)>,
    /// Works on the Redis named with `--redis`: what the run writes stays there.
    #[arg(long)]
    commit: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match (args.commit, context.global.redis.is_some()) {
        (true, false) => {
            return Err(Failure::refused(
                "`--commit` needs `--redis URL`: name the server that is written to",
            ));
        }
        (false, true) => {
            return Err(Failure::refused("a run on your Redis changes it: effects are immediate")
                .with_hint("add `--commit` if that is wanted; leave `--redis` out for a private server"));
        }
        _ => {}
    }
    let settings = context.settings()?;
    context::start_logging(&settings, Reader::Watcher)?;
    let (loaded, compile) = prepare(&args, &settings)?;
    let private = if args.commit { None } else { Some(PrivateRedis::start(Reach::Socket).await?) };
    let settings = context.settings_with(Overrides {
        redis_url: private.as_ref().map(PrivateRedis::url),
        ..Overrides::default()
    })?;
    let link = context::connect(&settings).await?;
    for (key, value) in &args.set {
        link.query::<()>(redis::cmd("SET").arg(key).arg(value)).await?;
    }
    // Looking at every key is for a server that is ours alone.
    let before = if private.is_some() { Some(Keys::look(&link).await?) } else { None };
    let mut run = attempt(&args, &loaded, &link).await?;
    run.cost.compile = compile;
    if let Some(before) = before {
        run.changes = Some(before.changes(&Keys::look(&link).await?));
    }
    report::tell(&run, context)
}

/// The plugin, compiled, and how long that took.
fn prepare(args: &Args, settings: &Settings) -> Outcome<(Loaded, std::time::Duration)> {
    let refused = |problems| context::refusal("the plugin would be refused", &problems);
    let pair = Pair::of(&args.component, args.manifest.as_deref()).map_err(refused)?;
    let source = pair.read(&settings.ceilings).map_err(refused)?;
    let has_payload = args.payload.is_some() || args.payload_file.is_some();
    match (source.manifest.kind, has_payload) {
        (Kind::Worker, false) => {
            return Err(Failure::refused("a worker needs a job: give `--payload` or `--payload-file`"));
        }
        (Kind::ConfigReader, true) => return Err(Failure::refused("a config reader takes no payload")),
        _ => {}
    }
    let sandbox = check::sandbox(settings)?;
    let started = Instant::now();
    let loaded = load(source, &sandbox).map_err(refused)?;
    Ok((loaded, started.elapsed()))
}

/// The run itself.
async fn attempt(args: &Args, loaded: &Loaded, link: &Link) -> Outcome<Run> {
    let consume = consume(args, loaded)?;
    let context = RunContext {
        link: link.clone(),
        settings: Arc::new(args.setting.iter().cloned().collect::<BTreeMap<_, _>>()),
        timeout: consume.map_or(loaded.manifest.read_timeout, |consume| consume.timeout),
        plan: sandhog::capability::plan::Plan::Immediate,
    };
    let started = Instant::now();
    let Some(consume) = consume else {
        let answer = loaded.version.read_config(&context).await;
        let cost = Cost { run: started.elapsed(), usage: answer.usage, ..Cost::default() };
        return Ok(Run::of_reader(loaded, answer.settings, cost));
    };
    let payload = payload(args).refuse()?;
    let headers: Vec<(&str, &str)> = args.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let (seconds, micros): (u64, u64) = link.query(&redis::cmd("TIME")).await?;
    let job = JobCall {
        id: args.id.as_str(),
        queue: args.queue.as_deref().unwrap_or(consume.queue.as_str()),
        payload: &payload,
        attempt: args.attempt,
        max_attempts: consume.max_attempts.max(args.attempt),
        first_seen_ms: seconds * 1000 + micros / 1000,
        headers: &headers,
    };
    let started = Instant::now();
    let answer = loaded.version.run_job(job, &context).await;
    let cost = Cost {
        run: started.elapsed(),
        usage: answer.usage,
        memory_peak_bytes: Some(answer.memory_peak_bytes),
        log_dropped_bytes: answer.log_dropped_bytes,
        ..Cost::default()
    };
    Ok(Run::of_worker(loaded, answer.outcome, cost))
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

fn payload(args: &Args) -> anyhow::Result<Vec<u8>> {
    let Some(file) = &args.payload_file else {
        return Ok(args.payload.clone().unwrap_or_default().into_bytes());
    };
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read `{}`", file.display()))?;
    Ok(bytes)
}
