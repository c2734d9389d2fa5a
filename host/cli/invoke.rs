//! `sandhog invoke`: one run of a plugin, here and now, and everything that can be said about it. Its effects are held
//! back, told, and made only if that is wanted. How the run is told is in `invoke/report`, how its effects are in
//! `invoke/effect` and `invoke/document`; `invoke/before` looks at the keys they are about.

mod before;
mod document;
mod effect;
mod repeat;
mod report;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
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
use sandhog::sandbox::Instance;
use sandhog::sandbox::run::{BatchReport, JobCall, RunContext};
use sandhog::storage::link::Link;
use sandhog::telemetry::Heard;
use serde::Deserialize;

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::test::held::Held;
use crate::cli::{argument, check};
use repeat::Times;
use report::{Cost, Effects, Fate, Run};

/// Longest payload read from a file.
const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Most runs of one call.
const RUNS_MAX: u64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  sandhog invoke plugins/orders.wasm --payload '{\"id\": \"A-1\", \"customer\": \"ada\", \"amount_cents\": 5}'
  sandhog invoke plugins/orders.wasm --payload-file order.json --set total:ada=7
  sandhog invoke plugins/orders.wasm --payload-file order.json --before cases/good.toml --repeat 1000
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
    /// Runs it so often, each time as if it were the first, and tells how long that took; the first run is shown.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=RUNS_MAX))]
    repeat: u64,
    /// Lets the runs share an instance as far as the manifest's `[instances]` allows.
    #[arg(long, requires = "repeat")]
    reuse: bool,
}

/// What a file of keys says; anything else that a case has is not for us.
#[derive(Debug, Deserialize)]
struct Start {
    before: BTreeMap<String, Held>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let is_private = context.global.redis.is_none();
    if args.commit && is_private {
        return Err(Failure::refused("`--commit` needs `--redis URL`: name the server that is changed"));
    }
    if !is_private && (!args.set.is_empty() || args.before.is_some()) {
        let flag = if args.set.is_empty() { "--before" } else { "--set" };
        let why = "is for the private Redis: nothing is set on one of yours";
        return Err(Failure::refused(format!("`{flag}` {why}")));
    }
    let start = args.before.as_deref().map(start).transpose()?;
    let settings = context.settings()?;
    let heard = Heard::beside(&settings.log).refuse()?;
    context::warn(&settings);
    let loaded = prepare(&args, &settings)?;
    let payloads = payloads(&args).refuse()?;
    let private = if is_private { Some(PrivateRedis::start(Reach::Socket).await?) } else { None };
    let settings = context.settings_with(Overrides {
        redis_url: private.as_ref().map(PrivateRedis::url),
        ..Overrides::default()
    })?;
    let link = context::connect(&settings).await?;
    for (key, held) in start.iter().flat_map(|start| &start.before) {
        held.put(&link, key).await?;
    }
    for (key, value) in &args.set {
        link.query::<()>(redis::cmd("SET").arg(key).arg(value)).await?;
    }
    let mut kept = None;
    let (mut run, changes) = attempt(&args, &loaded, &link, &payloads, &mut kept).await?;
    run.said = heard.take();
    repeat(&args, &loaded, &link, &payloads, &mut kept, &heard, &mut run).await?;
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

/// The keys that a file says are there before.
fn start(file: &Path) -> Outcome<Start> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::refused(format!("{shown}: cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].matches('\n').count() + 1;
        Failure::refused(format!("{shown}:{line}: {}", error.message().replace('\n', "; ")))
    })
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

/// The plugin, compiled.
fn prepare(args: &Args, settings: &Settings) -> Outcome<Loaded> {
    let refused = |problems| context::refusal("the plugin would be refused", &problems);
    let pair = Pair::of(&args.component, args.manifest.as_deref()).map_err(refused)?;
    // Whoever runs it here by hand needs nobody to vouch for it.
    let source = pair.read(&settings.ceilings, &[]).map_err(refused)?;
    let has_payload = !args.payload.is_empty() || args.payload_file.is_some();
    match (source.manifest.kind, has_payload) {
        (Kind::Worker | Kind::BatchWorker, false) => {
            return Err(Failure::refused("a worker needs a job: give `--payload` or `--payload-file`"));
        }
        (Kind::Worker, true) if args.payload.len() > 1 => {
            return Err(Failure::refused("only a batch worker takes several jobs: give one `--payload`"));
        }
        (Kind::ConfigReader, true) => return Err(Failure::refused("a config reader takes no payload")),
        _ => {}
    }
    if args.reuse && source.manifest.reuse < 2 {
        let hint = "`--reuse` shows nothing: the manifest has no `[instances]` with a `reuse` above 1";
        return Err(Failure::refused(hint));
    }
    let sandbox = check::sandbox(settings)?;
    load(source, &sandbox).map_err(refused)
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
        first_seen_ms: seconds * 1000 + micros / 1000,
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

/// The bytes of the jobs; none for a config reader.
fn payloads(args: &Args) -> anyhow::Result<Vec<Vec<u8>>> {
    let Some(file) = &args.payload_file else {
        return Ok(args.payload.iter().map(|payload| payload.clone().into_bytes()).collect());
    };
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read `{}`", file.display()))?;
    Ok(vec![bytes])
}
