//! `sandhog snapshot`: a component whose runs need not start it any more. The work is done in `sandbox::snapshot`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sandhog::config::settings::{Overrides, Settings};
use sandhog::plugin::load::terms;
use sandhog::plugin::manifest::{Kind, Manifest};
use sandhog::plugin::name::PluginName;
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::snapshot::WarmUp;
use sandhog::sandbox::{JobCall, RunContext, SnapshotError};
use sandhog::storage::link::Link;
use serde_json::json;

use crate::cli::componentize::write_whole;
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::{argument, check, invoke, text};

/// What a component without a manifest may do: nothing.
const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"snapshot\"\n";

const EXAMPLES: &str = "\
Examples:
  sandhog snapshot thumbs.wasm -o plugins/thumbs.wasm
  sandhog snapshot thumbs.wasm -o plugins/thumbs.wasm --payload '{\"id\": \"A-1\"}' --set size=200";

/// Makes a component that begins where another one stands once it has started: its runs need not start it.
///
/// With `--payload` it handles that first, so that what a language does at first use is done as well. Whatever it has in its
/// memory then, random numbers and the time among it, is what every run begins with; what the job would change is dropped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The component.
    component: PathBuf,
    /// Where to write the new one.
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
    let settings = context.settings()?;
    let (name, manifest) = about(&args, &settings)?;
    let bytes = std::fs::read(&args.component)
        .with_context(|| format!("cannot read `{}`", args.component.display()))
        .refuse()?;
    let sandbox = check::sandbox(&settings)?;
    let redis = PrivateRedis::start(Reach::Socket).await?;
    let run = RunContext {
        link: connect(&args, context, &redis).await?,
        settings: Arc::default(),
        timeout: manifest.consume.first().map_or(manifest.read_timeout, |consume| consume.timeout),
        plan: invoke::plan(&manifest),
        foresight: None,
        board: None,
    };
    let jobs: Vec<JobCall<'_>> = args.payload.iter().map(|payload| job(payload, &manifest)).collect();
    let warm_up = WarmUp { jobs: &jobs, context: &run };
    let snapshot = sandbox.snapshot(terms(&name, &manifest), &bytes, warm_up).await;
    let snapshot = snapshot.map_err(|error| refusal(&args.component, &error))?;
    write_whole(&args.output, &snapshot)
        .with_context(|| format!("cannot write `{}`", args.output.display()))?;
    if context.out.is_json() {
        let document = json!({ "output": args.output.to_string_lossy(), "bytes": snapshot.len() });
        return Ok(context.out.document(&document)?);
    }
    context.note(&format!("wrote `{}`, {}", args.output.display(), text::size(snapshot.len() as u64)));
    Ok(())
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

/// A Redis with what the jobs find.
async fn connect(args: &Args, context: &Context, redis: &PrivateRedis) -> Outcome<Link> {
    let redis_url = Some(redis.url());
    let link =
        context::connect(&context.settings_with(Overrides { redis_url, ..Overrides::default() })?).await?;
    for (key, value) in &args.set {
        link.query::<()>(redis::cmd("SET").arg(key).arg(value)).await?;
    }
    Ok(link)
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
