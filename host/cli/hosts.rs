//! `sandhog hosts`: who is at work on this Redis.

use sandhog::job::lease::{HostRow, Leases};
use sandhog::job::report::PluginReport;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::plugins::VERSION_DIGITS;
use crate::cli::table::{Column, Table};
use crate::cli::text;

/// Longest list of queues or plugins in a table.
const LIST_CHARS_MAX: usize = 60;

/// Shows the hosts, what they serve, and how long their leases last.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) async fn run(_: Args, context: &Context) -> Outcome {
    let link = context.link().await?;
    let mut rows = Leases::new(link).list().await?;
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    if context.out.is_json() {
        let hosts: Vec<Value> = rows.iter().map(document).collect();
        return Ok(context.out.document(&json!({ "hosts": hosts }))?);
    }
    if rows.is_empty() {
        context.note("no host is registered on this Redis");
        return Ok(());
    }
    let mut table = Table::new(&[
        Column::Text("host"),
        Column::Text("lease"),
        Column::Number("pid"),
        Column::Text("version"),
        Column::Text("queues"),
        Column::Text("plugins"),
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
        ]);
    }
    Ok(context.out.text(&table.render())?)
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

fn document(row: &HostRow) -> Value {
    let queues: Vec<&str> = row.info.queues.iter().map(sandhog::job::name::QueueName::as_str).collect();
    json!({
        "host": row.id.as_str(),
        "expires_in_ms": row.expires_in_ms,
        "alive": row.expires_in_ms > 0,
        "pid": row.info.pid,
        "version": row.info.version,
        "queues": queues,
        "plugins": row.info.plugins,
    })
}
