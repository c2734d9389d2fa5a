//! `sandhog jobs groups`: dead jobs by what their failures have in common.

use sandhog::job::name::QueueName;
use sandhog::job::walk::{self, Group, Groups};
use serde_json::{Value, json};

use super::select::Select;
use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::table::{Column, Table};
use crate::cli::{argument, progress, text};

/// Characters of a failure in a table.
const FAILURE_CHARS: usize = 70;

const EXAMPLES: &str = "\
Examples:
  sandhog jobs groups orders
  sandhog jobs groups orders --plugin mailer --since 1d --json
  sandhog jobs requeue orders --fingerprint 3f2a9c1b7d10";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    #[command(flatten)]
    select: Select,
}

/// Runs the command.
pub(super) async fn run(args: Args, context: &Context) -> Outcome {
    let link = context.link().await?;
    let now_ms = context.redis_now_ms(&link).await?;
    let filter = args.select.filter(&[], now_ms);
    let bar = progress::over_steps(0);
    let told = |looked, total| {
        bar.set_length(total);
        bar.set_position(looked);
    };
    let groups = walk::groups(&link, &args.queue, &filter, told).await;
    bar.finish_and_clear();
    let Groups { list, others } = groups?;
    if context.out.is_json() {
        let groups: Vec<Value> = list.iter().map(document).collect();
        let document = json!({ "queue": args.queue.as_str(), "groups": groups, "other_jobs": others });
        return Ok(context.out.document(&document)?);
    }
    if list.is_empty() {
        context.note("no dead jobs");
        return Ok(());
    }
    let mut table = Table::new(&[
        Column::Text("fingerprint"),
        Column::Number("jobs"),
        Column::Text("first"),
        Column::Text("last"),
        Column::Id("example"),
        Column::Long("failure"),
    ]);
    for group in &list {
        table.row([
            group.fingerprint.name(),
            text::count(group.jobs),
            text::when(group.first_ms.min(now_ms), now_ms),
            text::when(group.last_ms.min(now_ms), now_ms),
            group.example.as_ref().map_or("-".to_owned(), ToString::to_string),
            text::visible(group.fingerprint.text().as_bytes(), FAILURE_CHARS),
        ]);
    }
    context.out.table(&table)?;
    if others > 0 {
        let jobs = text::counted(others, "job", "jobs");
        context
            .note(&format!("{jobs} failed in yet other ways; `--since` and `--plugin` show fewer at a time"));
    }
    Ok(())
}

fn document(group: &Group) -> Value {
    json!({
        "fingerprint": group.fingerprint.name(),
        "failure": group.fingerprint.text(),
        "jobs": group.jobs,
        "first_ms": group.first_ms,
        "last_ms": group.last_ms,
        "example": { "id": group.example.as_ref().map(|id| id.as_str()), "reason": group.reason },
    })
}
