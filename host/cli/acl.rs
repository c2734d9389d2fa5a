//! `sandhog acl`: a plugin's grants as the line that makes a Redis user of them.

use std::path::PathBuf;

use sandhog::capability::acl::{line, notes, reader_rules, rules};
use sandhog::plugin::manifest::Kind;
use sandhog::plugin::scan::Pair;
use sandhog::storage::user::USER_PREFIX;
use serde_json::json;

use crate::cli::context::{self, Context};
use crate::cli::error::Outcome;
use crate::cli::text;

/// Longest note in characters.
const NOTE_CHARS_MAX: usize = 2000;

/// Prints the line that gives a Redis user what a plugin's manifest grants.
///
/// The user has no password yet: add `>PASSWORD` to let somebody in. With `redis.per_plugin_users = true` hosts make
/// such users themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plugin of the plugin folder, or a component with its manifest beside it.
    plugin: PathBuf,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let settings = context.settings()?;
    let is_name = args.plugin.extension().is_none() && args.plugin.components().count() == 1;
    let component = match is_name {
        true => settings.plugins_dir.join(&args.plugin).with_extension("wasm"),
        false => args.plugin.clone(),
    };
    let refused = |problems| context::refusal("the plugin would be refused", &problems);
    let pair = Pair::of(&component, args.manifest.as_deref()).map_err(refused)?;
    let manifest = pair.manifest(&settings.ceilings).map_err(refused)?;
    let user = format!("{USER_PREFIX}{}", pair.name);
    let database = settings.redis.address.database();
    let rules = match manifest.kind {
        Kind::Worker | Kind::BatchWorker => rules(&manifest.grants, manifest.is_atomic(), database),
        Kind::ConfigReader => reader_rules(&manifest.grants, database),
    };
    let (line, notes) = (line(&user, &rules), notes(&manifest.grants));
    if context.out.is_json() {
        let document = json!({ "user": user, "rules": rules, "line": line, "notes": notes });
        return Ok(context.out.document(&document)?);
    }
    context.out.text(&format!("{line}\n"))?;
    for note in &notes {
        context.note(&format!("note: {}", text::visible(note.as_bytes(), NOTE_CHARS_MAX)));
    }
    Ok(())
}
