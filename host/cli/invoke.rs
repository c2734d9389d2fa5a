//! `sandhog invoke`: one run of a plugin, here and now, and everything that can be said about it. Its effects are held
//! back, told, and made only if that is wanted. How the run is told is in `invoke/report`, how its effects are in
//! `invoke/effect` and `invoke/document`; `invoke/before` looks at the keys they are about.

mod before;
mod document;
mod effect;
mod report;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::config::settings::{Overrides, Settings};
use sandhog::job::change::Changes;
use sandhog::job::commit::{Verdict, Why, apply};
use sandhog::plugin::load::{Loaded, load};
use sandhog::plugin::manifest::{Consume, EffectsMode, Kind, Manifest};
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::run::{JobCall, RunContext};
use sandhog::storage::link::Link;
use sandhog::telemetry::Reader;

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::{argument, check};
use report::{Cost, Effects, Fate, Run};

/// Longest payload read from a file.
const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Runs a worker on one payload, or a config reader, and tells what it would change.
///
/// Effects are held back, as in the atomic mode, whatever the manifest says. The run has a private Redis of its own,
/// which is thrown away; `--set` puts keys into it before. With `--redis` it reads that server instead, and changes
/// nothing there; with `--commit` too, what it would change is applied as one step if it ends well.
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
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument::pair)]
    set: Vec<(String, String)>,
    /// A setting as a config reader would give it, for example `site.theme=dark`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = argument::pair)]
    setting: Vec<(String, String)>,
    /// Makes the changes, on the Redis named with `--redis`.
    #[arg(long)]
    commit: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let is_private = context.global.redis.is_none();
    if args.commit && is_private {
        return Err(Failure::refused("`--commit` needs `--redis URL`: name the server that is changed"));
    }
    if !args.set.is_empty() && !is_private {
        return Err(Failure::refused("`--set` is for the private Redis: nothing is set on one of yours"));
    }
    let settings = context.settings()?;
    context::start_logging(&settings, Reader::Watcher)?;
    let (loaded, compile) = prepare(&args, &settings)?;
    let private = if is_private { Some(PrivateRedis::start(Reach::Socket).await?) } else { None };
    let settings = context.settings_with(Overrides {
        redis_url: private.as_ref().map(PrivateRedis::url),
        ..Overrides::default()
    })?;
    let link = context::connect(&settings).await?;
    for (key, value) in &args.set {
        link.query::<()>(redis::cmd("SET").arg(key).arg(value)).await?;
    }
    let (mut run, changes) = attempt(&args, &loaded, &link).await?;
    run.cost.compile = compile;
    if let Some(changes) = changes {
        let keys: Vec<&str> = changes.writes.iter().map(|write| effect::name(write).1).collect();
        let before = before::look(&link, &keys).await?;
        let now_ms = context.redis_now_ms(&link).await?;
        let fate = match (is_private, args.commit) {
            (true, _) => Fate::Shown,
            (false, false) => Fate::Held,
            (false, true) => commit(&link, &changes).await?,
        };
        run.effects = Some(Effects { changes, before, fate, now_ms });
    }
    report::tell(&run, context)
}

/// Applies the changes as one step.
async fn commit(link: &Link, changes: &Changes) -> Outcome<Fate> {
    Ok(match apply(link, changes).await? {
        Verdict::Done => Fate::Made,
        Verdict::Conflict(key) => {
            Fate::Refused(format!("`{key}` is not any more what the run saw; run it again"))
        }
        Verdict::Refused { key, why } => Fate::Refused(match why {
            Why::WrongType => format!("`{key}` holds another type"),
            Why::NotAnInteger => format!("`{key}` holds no whole number"),
            Why::OutOfRange => format!("the sum at `{key}` would be out of range"),
            Why::Forbidden => format!("the plugin's own Redis user has no permission for `{key}`"),
            Why::Permission => format!("this Redis user has no permission for `{key}`"),
        }),
        Verdict::Full => Fate::Refused("Redis is at its memory limit".to_owned()),
        Verdict::Late | Verdict::Parted(_) => {
            Fate::Refused("Redis took it for a job that is gone".to_owned())
        }
    })
}

/// The plugin, compiled, and how long that took.
fn prepare(args: &Args, settings: &Settings) -> Outcome<(Loaded, std::time::Duration)> {
    let refused = |problems| context::refusal("the plugin would be refused", &problems);
    let pair = Pair::of(&args.component, args.manifest.as_deref()).map_err(refused)?;
    // Whoever runs it here by hand needs nobody to vouch for it.
    let source = pair.read(&settings.ceilings, &[]).map_err(refused)?;
    let has_payload = args.payload.is_some() || args.payload_file.is_some();
    match (source.manifest.kind, has_payload) {
        (Kind::Worker | Kind::BatchWorker, false) => {
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
async fn attempt(args: &Args, loaded: &Loaded, link: &Link) -> Outcome<(Run, Option<Changes>)> {
    let consume = consume(args, loaded)?;
    let context = RunContext {
        link: link.clone(),
        settings: Arc::new(args.setting.iter().cloned().collect::<BTreeMap<_, _>>()),
        timeout: consume.map_or(loaded.manifest.read_timeout, |consume| consume.timeout),
        plan: plan(&loaded.manifest),
        board: None,
    };
    let started = Instant::now();
    let Some(consume) = consume else {
        let answer = loaded.version.read_config(&context).await;
        let cost = Cost { run: started.elapsed(), usage: answer.usage, ..Cost::default() };
        return Ok((Run::of_reader(loaded, answer.settings, cost), None));
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
    let answer = match loaded.version.kind() {
        Kind::BatchWorker => loaded.version.run_batch(&[job], &context).await.of_one(),
        _ => loaded.version.run_job(job, &context).await,
    };
    let cost = Cost {
        run: started.elapsed(),
        usage: answer.usage,
        memory_peak_bytes: Some(answer.memory_peak_bytes),
        log_dropped_bytes: answer.log_dropped_bytes,
        ..Cost::default()
    };
    let changes = answer.pending.map(|pending| pending.changes);
    let mut run = Run::of_worker(loaded, answer.outcome, cost);
    run.result = answer.result;
    Ok((run, changes))
}

/// Effects wait, and nothing is taken off a queue meanwhile.
pub(crate) fn plan(manifest: &Manifest) -> Plan {
    let isolation = match manifest.effects {
        EffectsMode::Atomic(isolation) => isolation,
        EffectsMode::Immediate => Isolation::default(),
    };
    Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None, foresight: None }))
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
