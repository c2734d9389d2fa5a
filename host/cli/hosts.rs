//! `sandhog hosts`: who is at work on this Redis, and who shall rest.

use sandhog::job::hold::{self, Hold, Holds};
use sandhog::job::lease::{HostRow, Leases};
use sandhog::job::name::HostId;
use sandhog::job::report::PluginReport;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::plugins::VERSION_DIGITS;
use crate::cli::table::{Column, Table};
use crate::cli::text;

/// Longest list of queues or plugins in a table.
const LIST_CHARS_MAX: usize = 60;

const EXAMPLES: &str = "\
Examples:
  sandhog hosts
  sandhog hosts drain web-1
  sandhog hosts resume web-1";

/// Shows the hosts, what they serve, and how long their leases last; drains hosts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lets hosts claim no more; what they run goes on. Ends when they are started again.
    Drain(Named),
    /// Lets drained hosts claim again.
    Resume(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The hosts, by name or by id.
    #[arg(required = true)]
    hosts: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.verb {
        None => list(context).await,
        Some(Verb::Drain(named)) => change(context, &named.hosts, true).await,
        Some(Verb::Resume(named)) => change(context, &named.hosts, false).await,
    }
}

/// Drains or resumes living hosts.
async fn change(context: &Context, names: &[String], drained: bool) -> Outcome {
    let link = context.link().await?;
    let rows = Leases::new(link.clone()).list().await?;
    let mut hosts = Vec::new();
    for name in names {
        let is_called = |row: &&HostRow| {
            let id = &row.id;
            row.expires_in_ms > 0 && [id.as_str(), id.name(), id.seat()].contains(&name.as_str())
        };
        let found: Vec<&HostRow> = rows.iter().filter(is_called).collect();
        if found.is_empty() {
            let name = text::visible(name.as_bytes(), 100);
            return Err(Failure::failed(format!("no living host is called `{name}`; nothing was changed"))
                .with_hint("`sandhog hosts` shows their names"));
        }
        hosts.extend(found);
    }
    let mut lines = Vec::new();
    let mut documents = Vec::new();
    for host in hosts {
        let held = Hold::Host(host.id.seat());
        let changed =
            if drained { hold::hold(&link, held).await? } else { hold::let_go(&link, held).await? };
        let what = match (drained, changed) {
            (true, true) => "claims no more; what it runs goes on",
            (true, false) => "was drained already",
            (false, true) => "claims again",
            (false, false) => "was not drained",
        };
        lines.push(format!("{} {what}", text::visible(host.id.as_str().as_bytes(), 100)));
        documents.push(json!({ "host": host.id.as_str(), "drained": drained, "changed": changed }));
    }
    if context.out.is_json() {
        return Ok(context.out.document(&json!({ "hosts": documents }))?);
    }
    for line in lines {
        context.out.line(&line)?;
    }
    Ok(())
}

async fn list(context: &Context) -> Outcome {
    let link = context.link().await?;
    let holds = hold::read(&link).await?;
    let mut rows = Leases::new(link).list_all().await?;
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    if context.out.is_json() {
        let hosts: Vec<Value> = rows.iter().map(|row| document(row, &holds)).collect();
        return Ok(context.out.document(&json!({ "hosts": hosts }))?);
    }
    if rows.is_empty() {
        context.note("no host is registered on this Redis");
        return Ok(());
    }
    let mut table = Table::new(&[
        Column::Id("host"),
        Column::Text("lease"),
        Column::Number("pid"),
        Column::Text("version"),
        Column::Long("queues"),
        Column::Long("plugins"),
        Column::Long("state"),
    ]);
    for row in &rows {
        let queues: Vec<&str> = row.info.queues.iter().map(sandhog::job::name::QueueName::as_str).collect();
        table.row([
            text::visible(row.id.as_str().as_bytes(), 90),
            lease(row.expires_in_ms),
            row.info.pid.to_string(),
            text::visible(row.info.version.as_bytes(), 20),
            text::visible(queues.join(" ").as_bytes(), LIST_CHARS_MAX),
            text::visible(plugins(row).join(" ").as_bytes(), LIST_CHARS_MAX),
            text::visible(state(row, &holds).as_bytes(), 120),
        ]);
    }
    Ok(context.out.table(&table)?)
}

/// The plugins of a host, each with the version that new runs take.
fn plugins(row: &HostRow) -> Vec<String> {
    let named = |plugin: &PluginReport| {
        let version = plugin.version.get(..VERSION_DIGITS).unwrap_or(&plugin.version);
        format!("{}@{version}", plugin.name)
    };
    // Of a plugin that is refused and was never served there is no version.
    row.info.plugins.iter().filter(|plugin| !plugin.version.is_empty()).map(named).collect()
}

/// The state of a lease in words.
fn lease(expires_in_ms: i64) -> String {
    if expires_in_ms > 0 {
        format!("{} left", text::span(expires_in_ms.unsigned_abs()))
    } else {
        format!("expired {} ago", text::span(expires_in_ms.unsigned_abs()))
    }
}

/// The text of the `state` column.
fn state(row: &HostRow, holds: &Holds) -> String {
    let mut words = Vec::new();
    if row.expires_in_ms <= 0 {
        words.push("dead".to_owned());
    } else if row.is_silent {
        words.push("silent".to_owned());
    }
    if is_drained(row, holds) {
        words.push("drained".to_owned());
    }
    if let Some(successor) = &row.successor {
        words.push(format!("former id of {successor}"));
    }
    words.join(", ")
}

fn is_drained(row: &HostRow, holds: &Holds) -> bool {
    holds.since_ms(Hold::Host(row.id.seat())).is_some()
}

fn document(row: &HostRow, holds: &Holds) -> Value {
    let queues: Vec<&str> = row.info.queues.iter().map(sandhog::job::name::QueueName::as_str).collect();
    json!({
        "host": row.id.as_str(),
        "expires_in_ms": row.expires_in_ms,
        "alive": row.expires_in_ms > 0,
        "silent": row.expires_in_ms > 0 && row.is_silent,
        "successor": row.successor.as_ref().map(HostId::as_str),
        "drained": is_drained(row, holds),
        "pid": row.info.pid,
        "version": row.info.version,
        "queues": queues,
        "plugins": row.info.plugins,
    })
}
