//! `sandhog plugins pause` and `resume`: whether hosts claim for a plugin, in the whole fleet.

use sandhog::job::hold::{self, Hold};
use sandhog::job::lease::Leases;
use sandhog::plugin::name::PluginName;
use serde_json::json;

use crate::cli::argument;
use crate::cli::context::Context;
use crate::cli::error::Outcome;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Lets no host claim for these plugins; what runs goes on. Lasts until they are resumed.
    Pause(Named),
    /// Lets hosts claim for these plugins again.
    Resume(Named),
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The plugins.
    #[arg(required = true, value_parser = argument::plugin)]
    plugins: Vec<PluginName>,
}

/// Runs the command.
pub(super) async fn run(verb: Verb, context: &Context) -> Outcome {
    let (names, paused) = match verb {
        Verb::Pause(named) => (named.plugins, true),
        Verb::Resume(named) => (named.plugins, false),
    };
    let link = context.link().await?;
    let rows = Leases::new(link.clone()).list().await?;
    let is_served = |name: &PluginName| {
        let mut plugins = rows.iter().filter(|row| row.expires_in_ms > 0).flat_map(|row| &row.info.plugins);
        plugins.any(|plugin| plugin.name == name.as_str())
    };
    let mut documents = Vec::new();
    for name in &names {
        let held = Hold::Plugin(name.as_str());
        let changed = if paused { hold::hold(&link, held).await? } else { hold::let_go(&link, held).await? };
        let what = match (paused, changed) {
            (true, true) => "is paused on all hosts; what runs goes on",
            (true, false) => "was paused already",
            (false, true) => "goes on",
            (false, false) => "was not paused",
        };
        if !context.out.is_json() {
            context.out.line(&format!("{name} {what}"))?;
        }
        if paused && !is_served(name) {
            context.note(&format!("no living host serves `{name}` now; one that does will not claim for it"));
        }
        documents.push(json!({ "plugin": name.as_str(), "paused": paused, "changed": changed }));
    }
    if context.out.is_json() {
        context.out.document(&json!({ "plugins": documents }))?;
    }
    Ok(())
}
