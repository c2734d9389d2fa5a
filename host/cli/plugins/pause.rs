//! `sandhog plugins pause` and `resume`: whether hosts claim for a plugin, in the whole fleet.

use sandhog::job::hold::{self, Hold};
use sandhog::plugin::name::PluginName;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::{argument, known};

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
    let served = known::served_plugins(&link).await?;
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
        if !served.iter().any(|plugin| plugin == name.as_str()) {
            let effect = if paused { "; one that does will not claim for it" } else { "" };
            let instead = known::did_you_mean_plugin(name, &served);
            context.note(&format!("no living host serves `{name}` now{effect}{instead}"));
        }
        documents.push(json!({ "plugin": name.as_str(), "paused": paused, "changed": changed }));
    }
    if context.out.is_json() {
        context.out.document(&json!({ "plugins": documents }))?;
    }
    Ok(())
}
