//! `sandhog scripts`: Redis scripts for producers that have no library of ours, as text.

use sandhog::job::producer::{self, Shipped};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::output;
use crate::cli::table::{Column, Table};

const EXAMPLES: &str = "\
Examples:
  sandhog scripts
  sandhog scripts push > push.lua
  redis-cli SCRIPT LOAD \"$(sandhog scripts push)\"
  redis-cli EVALSHA \"$(sandhog scripts push --sha1)\" 1 orders '{}' delay 60000";

/// Prints the Redis scripts that any client can call with EVALSHA, for producers in any language.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The script whose text is wanted, to the byte; all are listed without it.
    name: Option<String>,
    /// Prints the digest by which Redis knows it instead.
    #[arg(long, requires = "name", conflicts_with = "json")]
    sha1: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let mut scripts = producer::scripts();
    if let Some(name) = &args.name {
        scripts.retain(|script| script.name == name);
        let Some(script) = scripts.first() else {
            let known: Vec<String> =
                producer::scripts().iter().map(|script| format!("`{}`", script.name)).collect();
            let shown: String = name.chars().take(60).collect();
            return Err(Failure::refused(format!("there is no script `{shown}`"))
                .with_hint(format!("there are: {}", known.join(", "))));
        };
        if args.sha1 {
            return Ok(context.out.line(&script.sha1)?);
        }
        if !context.out.is_json() {
            // Nothing is added: the digest is that of these bytes.
            return Ok(output::bytes(script.text.as_bytes())?);
        }
    }
    if context.out.is_json() {
        let scripts: Vec<Value> = scripts.iter().map(document).collect();
        return Ok(context.out.document(&json!({ "scripts": scripts }))?);
    }
    let mut table = Table::new(&[Column::Text("script"), Column::Text("sha1"), Column::Long("does")]);
    for script in scripts {
        table.row([script.name.to_owned(), script.sha1.clone(), script.about.to_owned()]);
    }
    Ok(context.out.table(&table)?)
}

fn document(script: &Shipped) -> Value {
    json!({
        "name": script.name,
        "sha1": script.sha1,
        "about": script.about,
        "contract": script.contract(),
        "text": script.text,
    })
}
