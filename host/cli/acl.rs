//! `sandhog acl`: prints the `ACL SETUSER` line for the grants of a plugin, or for a host.

use std::path::{Path, PathBuf};

use sandhog::app::StartError;
use sandhog::capability::acl::{Served, host_notes, host_rules, line, notes, reader_rules, rules};
use sandhog::config::problem::Problems;
use sandhog::config::settings::{Overrides, PluginsFrom, Settings};
use sandhog::plugin::manifest::{Kind, Manifest};
use sandhog::plugin::scan::{Pair, scan};
use sandhog::storage::user::USER_PREFIX;
use serde_json::json;

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use crate::cli::{output, serve, text};

/// Longest note in characters.
const NOTE_CHARS_MAX: usize = 2000;
/// The host's user if its URL names none. It must not begin with `USER_PREFIX`: hosts delete such users.
const HOST_USER: &str = "sandhog-host";

/// Prints the line that gives a Redis user the rights of a plugin, or of a host.
///
/// The user has no password yet: add `>PASSWORD`. With `redis.per_plugin_users = true` hosts create the users of
/// plugins themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plugin of the plugin folder, or a component with its manifest beside it.
    #[arg(required_unless_present = "host")]
    plugin: Option<PathBuf>,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    manifest: Option<PathBuf>,
    /// Prints the line for the host's own user, from the plugins of the folder and the schedules of the settings.
    #[arg(long, conflicts_with = "plugin")]
    host: bool,
    /// The plugin folder.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let flags = Overrides { plugins_dir: args.plugins.clone(), ..Overrides::default() };
    let settings = context.settings_with(flags)?;
    match &args.plugin {
        Some(plugin) => of_plugin(plugin, args.manifest.as_deref(), &settings, context),
        None => of_host(&settings, context),
    }
}

fn of_plugin(plugin: &Path, manifest: Option<&Path>, settings: &Settings, context: &Context) -> Outcome {
    let is_name = plugin.extension().is_none() && plugin.components().count() == 1;
    let component = match is_name {
        true => settings.plugins_dir.join(plugin).with_extension("wasm"),
        false => plugin.to_owned(),
    };
    let pair = Pair::of(&component, manifest).map_err(refused)?;
    let manifest = pair.manifest(&settings.ceilings).map_err(refused)?;
    let user = format!("{USER_PREFIX}{}", pair.name);
    let database = settings.redis.address.database();
    let rules = match manifest.kind {
        Kind::Worker | Kind::BatchWorker => rules(&manifest.grants, manifest.is_atomic(), database),
        Kind::ConfigReader => reader_rules(&manifest.grants, database),
    };
    print(&user, &rules, &notes(&manifest.grants), context)
}

fn of_host(settings: &Settings, context: &Context) -> Outcome {
    let is_folder = settings.plugins.source == PluginsFrom::Folder;
    let manifests = if is_folder { manifests(settings)? } else { Vec::new() };
    let consumed =
        manifests.iter().flat_map(|manifest| &manifest.consume).map(|consume| consume.queue.as_str());
    let scheduled = settings.schedules.iter().map(|(_, schedule)| schedule.queue.as_str());
    let served = Served {
        queues: consumed.chain(scheduled).collect(),
        grants: manifests.iter().map(|manifest| &manifest.grants).collect(),
        published: manifests.iter().filter_map(|manifest| manifest.publish.as_deref()).collect(),
        is_unknown: !is_folder,
    };
    let redis = &settings.redis;
    let user = redis.address.user().filter(|user| *user != "default").unwrap_or(HOST_USER);
    let rules = host_rules(&served, redis.address.database(), redis.per_plugin_users);
    print(user, &rules, &host_notes(&served, redis.per_plugin_users), context)
}

/// The manifests of the folder. A manifest with an error is a failure, because the line would lack the keys of its
/// plugin. A folder without a manifest is a failure, too, because a wrong path must not allow all keys.
fn manifests(settings: &Settings) -> Outcome<Vec<Manifest>> {
    if !settings.plugins_dir.is_dir() {
        return Err(no_plugins(settings));
    }
    let (pairs, mut problems) = scan(&settings.plugins_dir);
    let mut manifests = Vec::new();
    for pair in pairs {
        match pair.manifest(&settings.ceilings) {
            Ok(manifest) => manifests.push(manifest),
            Err(more) => problems.append(more),
        }
    }
    let manifests = problems.into_result(manifests).map_err(refused)?;
    if manifests.is_empty() { Err(no_plugins(settings)) } else { Ok(manifests) }
}

fn no_plugins(settings: &Settings) -> Failure {
    serve::refusal(StartError::NoPlugins(settings.plugins_dir.display().to_string()))
}

fn refused(problems: Problems) -> Failure {
    context::refusal("the plugin would be refused", &problems)
}

fn print(user: &str, rules: &[String], notes: &[String], context: &Context) -> Outcome {
    let line = line(user, rules);
    if context.out.is_json() {
        let document = json!({ "user": user, "rules": rules, "line": line, "notes": notes });
        return Ok(context.out.document(&document)?);
    }
    // The output for a program is exact: patterns may have any character.
    output::foreign(format!("{line}\n").as_bytes(), false)?;
    for note in notes {
        context.note(&format!("note: {}", text::visible(note.as_bytes(), NOTE_CHARS_MAX)));
    }
    Ok(())
}
