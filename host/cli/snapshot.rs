//! `sandhog snapshot`: a component whose runs need not start it any more. The work is done in `sandbox::snapshot`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandhog::config::settings::{Overrides, Settings};
use sandhog::plugin::load::terms;
use sandhog::plugin::manifest::{Kind, Manifest};
use sandhog::plugin::name::PluginName;
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::load::COMPONENT_BYTES_MAX;
use sandhog::sandbox::snapshot::WarmUp;
use sandhog::sandbox::{JobCall, RunContext, SnapshotError, Tier};
use sandhog::storage::link::Link;

use crate::cli::componentize::{self, hand_over};
use crate::cli::confined::{self, Bounds};
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::{argument, check, invoke};

/// How many copies of the guest's memory the process holds: two instances, the memory read, and the snapshot written.
const MEMORY_COPIES: u64 = 6;
/// Processor time to start an instance.
const START_MAX: Duration = Duration::from_secs(5);

/// What a component without a manifest may do: nothing.
const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"snapshot\"\n";

const EXAMPLES: &str = "\
Examples:
  sandhog snapshot thumbs.wasm -o plugins/thumbs.wasm
  sandhog snapshot thumbs.wasm -o plugins/thumbs.wasm --payload '{\"id\": \"A-1\"}' --set size=200";

/// Makes a component that begins where another one stands once it has started: its runs need not start it.
///
/// With `--payload` it handles that first, so that what a language does at first use is done as well. Whatever it has in its
/// memory then, random numbers and the time among it, is what every run begins with; what the job would change is dropped. It has a private Redis; with `--redis` it reads that server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The component.
    component: PathBuf,
    /// Where to write the new one; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The manifest, if it does not lie beside the component; without any it is a worker that may do nothing.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A job to handle first; may be repeated: one after the other.
    #[arg(long, value_name = "BYTES")]
    payload: Vec<String>,
    /// A key of the private Redis that the jobs find; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument::pair, requires = "payload")]
    set: Vec<(String, String)>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if context.global.redis.is_some() && !args.set.is_empty() {
        return Err(Failure::refused("`--set` is for the private Redis: nothing is set on one of yours"));
    }
    let settings = context.settings()?;
    let (name, manifest) = about(&args, &settings)?;
    if !context.is_confined {
        return confined::again(bounds(&args, &settings, &manifest), &args.component);
    }
    let bytes = componentize::read(&args.component, COMPONENT_BYTES_MAX)?;
    let sandbox = check::sandbox(&settings, Tier::Optimized)?;
    let jobs: Vec<JobCall<'_>> = args.payload.iter().map(|payload| job(payload, &manifest)).collect();
    // A component that is only started reaches nothing.
    let (link, _redis) = if jobs.is_empty() { (None, None) } else { connect(&args, context).await? };
    let run = link.map(|link| RunContext {
        link,
        settings: Arc::default(),
        timeout: manifest.consume.first().map_or(manifest.read_timeout, |consume| consume.timeout),
        plan: invoke::plan(&manifest),
        foresight: None,
        board: None,
    });
    let warm_up = run.as_ref().map(|context| WarmUp { jobs: &jobs, context });
    let snapshot = sandbox.snapshot(terms(&name, &manifest), &bytes, warm_up).await;
    let snapshot = snapshot.map_err(|error| refusal(&args.component, &error))?;
    hand_over(&snapshot, &args.output, context)
}

/// Bounds of parsing the component twice, before and after the snapshot, and of running the jobs with each.
fn bounds(args: &Args, settings: &Settings, manifest: &Manifest) -> Bounds {
    let timeout = manifest.consume.first().map_or(manifest.read_timeout, |consume| consume.timeout);
    let jobs = u32::try_from(args.payload.len()).unwrap_or(u32::MAX);
    let once = settings.compile.time.saturating_add(START_MAX).saturating_add(timeout.saturating_mul(jobs));
    let copies = manifest.limits.memory_bytes.saturating_mul(MEMORY_COPIES);
    Bounds {
        memory_bytes: settings.compile.memory_bytes.saturating_add(copies),
        time: once.saturating_mul(2),
        remedy: "to allow more, raise `compile.time` and `compile.memory` in the settings",
    }
}

/// The terms that the component runs under: its manifest's, if it has one.
fn about(args: &Args, settings: &Settings) -> Outcome<(PluginName, Manifest)> {
    let refused = |problems| context::refusal("the plugin would be refused", &problems);
    // While it is built, a component may have a name that hides it.
    let stem = args.component.file_stem().unwrap_or_default().to_string_lossy();
    let shown = args.component.with_file_name(format!("{}.wasm", stem.trim_start_matches('.')));
    let pair = Pair::of(&shown, args.manifest.as_deref()).map_err(refused)?;
    let manifest = match args.manifest.is_some() || pair.manifest.exists() {
        true => pair.manifest(&settings.ceilings),
        false => Manifest::parse("snapshot", MANIFEST, &settings.ceilings),
    };
    let manifest = manifest.map_err(refused)?;
    if manifest.kind == Kind::ConfigReader && !args.payload.is_empty() {
        return Err(Failure::refused("a config reader takes no payload"));
    }
    Ok((pair.name, manifest))
}

/// What the jobs find: a private Redis with the keys given, or the one that was named.
async fn connect(args: &Args, context: &Context) -> Outcome<(Option<Link>, Option<PrivateRedis>)> {
    if context.global.redis.is_some() {
        return Ok((Some(context::connect(&context.settings()?).await?), None));
    }
    let redis = PrivateRedis::start(Reach::Socket).await?;
    let flags = Overrides { redis_url: Some(redis.url()), ..Overrides::default() };
    let link = context::connect(&context.settings_with(flags)?).await?;
    for (key, value) in &args.set {
        link.query::<()>(redis::cmd("SET").arg(key).arg(value)).await?;
    }
    Ok((Some(link), Some(redis)))
}

fn job<'a>(payload: &'a str, manifest: &'a Manifest) -> JobCall<'a> {
    let consume = manifest.consume.first();
    JobCall {
        id: "snapshot-1",
        queue: consume.map_or("snapshot", |consume| consume.queue.as_str()),
        payload: payload.as_bytes(),
        attempt: 1,
        max_attempts: consume.map_or(1, |consume| consume.max_attempts),
        first_seen_ms: 0,
        headers: &[],
    }
}

fn refusal(component: &Path, error: &SnapshotError) -> Failure {
    let failure = Failure::refused(format!("`{}` {error}", component.display()));
    let cause = if let SnapshotError::Lame(cause) = error { cause } else { error };
    let hint = match cause {
        SnapshotError::Load(error) => error.hint,
        SnapshotError::Resources => {
            Some("let it write nothing before it is done, and in no job given with `--payload`")
        }
        SnapshotError::Grown => Some("raise `limits.memory` in the manifest, or give it smaller jobs"),
        SnapshotError::Shape(_) | SnapshotError::Run { .. } | SnapshotError::Lame(_) => None,
    };
    hint.into_iter().fold(failure, Failure::with_hint)
}
