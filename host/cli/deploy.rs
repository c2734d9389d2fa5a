//! `sandhog deploy`: a component and its manifest become what every host of the fleet is to run. What hosts would
//! refuse is refused here first, in the same words.

use std::path::PathBuf;
use std::time::Duration;

use sandhog::config::env;
use sandhog::config::problem::Problems;
use sandhog::plugin::depot::{Depot, Put};
use sandhog::plugin::manifest::Manifest;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::{Digest, Release, Wanted};
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::Tier;
use serde_json::json;

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use crate::cli::{argument, changes, check, progress, rollout, sign, text};

/// Puts a plugin into Redis and makes it the version that the fleet is to run.
///
/// Everything that hosts would refuse is refused here first, and nothing is put.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The component; its signature, if it has one, lies beside it (`FILE.sig`).
    component: PathBuf,
    /// The plugin's name; that of the file when not given.
    #[arg(long, value_name = "NAME", value_parser = argument::plugin)]
    plugin: Option<PluginName>,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The private key that signs the order for hosts with `plugins.trusted_keys`; default: `sandhog.key` if the
    /// settings here have trusted keys.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Tries the version on a share of the runs first: `0.1`, or `share=0.1,for=2m,max_failure_rate=0.05`.
    #[arg(long, value_name = "TERMS", value_parser = argument::canary)]
    canary: Option<String>,
    /// Waits until every living host has taken it; fails with the reasons of those that refuse it.
    #[arg(long)]
    wait: bool,
    /// How long to wait; default: 2m, and up to 1h while a host compiles the component.
    #[arg(long, value_name = "TIME", value_parser = argument::duration)]
    timeout: Option<Duration>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let settings = context.settings()?;
    let refused = |problems: Problems| context::refusal("the plugin would be refused", &problems);
    let mut pair = Pair::of(&args.component, args.manifest.as_deref()).map_err(refused)?;
    if let Some(name) = args.plugin {
        pair.name = name;
    }
    let mut source = pair.read(&settings.ceilings, &settings.plugins.trusted_keys).map_err(refused)?;
    if let Some(canary) = args.canary {
        if source.manifest.canary.is_some() {
            return Err(Failure::refused(
                "the manifest has a `[canary]` table already; leave out `--canary`",
            ));
        }
        source.text = format!("{}\n{canary}", source.text);
        source.manifest =
            Manifest::parse(&source.origin, &source.text, &settings.ceilings).map_err(refused)?;
    }
    let key = sign::order_key(args.key.as_deref(), &settings, context)?;
    progress::load_showing(source.clone(), &check::sandbox(&settings, Tier::Optimized)?).map_err(refused)?;

    let link = context::connect(&settings).await?;
    let depot = Depot::new(link.clone());
    let component = Digest::of(&source.component);
    let release = Release { component, manifest: source.text, signature: source.signature };
    let bar = progress::over_bytes(Some(source.component.len() as u64));
    bar.set_message(text::size(source.component.len() as u64));
    let put = depot.put(&release, &source.component, |sent| bar.set_position(sent)).await;
    bar.finish_and_clear();
    let put = put?;
    let former = depot.wanted().await?.entries.remove(&pair.name);
    let (name, id, by) = (&pair.name, release.id(), env::machine_name());
    let wanted = match &key {
        Some(key) => {
            let trusted = sign::counted_keys(&settings, key);
            depot.want_signed(name, &id, &release.component, &by, key, &trusted).await?
        }
        None => depot.want(name, &id, &release.component, &by).await?,
    };
    let changed = match &former {
        Some(former) => changes::of_releases(&depot, former, &wanted).await,
        None => Vec::new(),
    };
    report(context, &pair.name, &wanted, source.component.len() as u64, put, &changed)?;
    if args.wait {
        rollout::wait(context, link, &pair.name, &wanted, args.timeout).await?;
    }
    Ok(())
}

fn report(
    context: &Context,
    plugin: &PluginName,
    wanted: &Wanted,
    bytes: u64,
    put: Put,
    changed: &[String],
) -> Outcome {
    if context.out.is_json() {
        return Ok(context.out.document(&json!({
            "plugin": plugin.as_str(),
            "version": wanted.component,
            "release": wanted.release,
            "number": wanted.number,
            "bytes": bytes,
            "sent": put == Put::Sent,
            "manifest_changes": changed,
        }))?);
    }
    let (version, number) = (changes::release_name(wanted), text::count(wanted.number));
    context.out.line(&format!("{plugin} {version} is wanted, deploy {number}"))?;
    changes::tell(context, changed);
    if put == Put::Known {
        context.note("Redis had the component already");
    }
    Ok(())
}
