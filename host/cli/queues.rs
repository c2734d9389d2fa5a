//! `sandhog queues`: where the jobs are, in numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sandhog::job::edit;
use sandhog::job::inspect::{self, QueueCounts};
use sandhog::job::name::QueueName;
use sandhog::storage::link::Link;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::serve::Signals;
use crate::cli::table::{Column, Table};
use crate::cli::{argument, known, text};

/// Queues that are asked about at the same time.
const QUESTIONS_UNDER_WAY: usize = 32;
/// Time from one look of `--watch` to the next.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Longest queue name in a table.
const NAME_CHARS_MAX: usize = 60;

/// Shows how many jobs each queue holds, and where; holds and resumes queues.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The queues; all that a host ever served when none is named.
    #[arg(value_parser = argument::queue)]
    queues: Vec<QueueName>,
    /// Holds the queues: hosts claim no more from them; what runs goes on.
    #[arg(long, requires = "queues", conflicts_with = "resume")]
    pause: bool,
    /// Lets hosts claim from the queues again.
    #[arg(long, requires = "queues")]
    resume: bool,
    /// Shows the figures again every second until Ctrl-C; with `--json`, a line each time.
    #[arg(long, conflicts_with_all = ["pause", "resume"])]
    watch: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let link = context.link().await?;
    for queue in &args.queues {
        if args.pause {
            edit::pause(&link, queue).await?;
        } else if args.resume {
            edit::resume(&link, queue).await?;
        }
    }
    for queue in &args.queues {
        known::question_queue(context, &link, queue).await?;
    }
    if args.watch {
        return watch(&args.queues, &link, context).await;
    }
    let rows = read(&args.queues, &link).await?;
    if context.out.is_json() {
        return Ok(context.out.document(&documents(&rows))?);
    }
    if rows.is_empty() {
        context.note("no host has served a queue on this Redis yet; name a queue to see it all the same");
        return Ok(());
    }
    Ok(context.out.table(&table(&rows))?)
}

/// The figures of these queues, or of all known ones if none is named.
async fn read(named: &[QueueName], link: &Link) -> Outcome<Vec<(QueueName, QueueCounts)>> {
    let queues = if named.is_empty() { inspect::known_queues(link).await? } else { named.to_vec() };
    let queues: BTreeSet<QueueName> = queues.into_iter().collect();
    let counted = stream::iter(queues).map(|queue| async {
        let counts = inspect::counts(link, &queue).await;
        counts.map(|counts| (queue, counts))
    });
    Ok(counted.buffered(QUESTIONS_UNDER_WAY).try_collect().await?)
}

/// Shows the figures until a signal comes. On a terminal, each table replaces the one before.
async fn watch(named: &[QueueName], link: &Link, context: &Context) -> Outcome {
    let mut signals = Signals::take()?;
    let mut every = tokio::time::interval(WATCH_EVERY);
    loop {
        tokio::select! {
            () = signals.any() => return Ok(()),
            _ = every.tick() => {}
        }
        let rows = read(named, link).await?;
        if context.out.is_json() {
            context.out.document_line(&documents(&rows))?;
        } else {
            context.out.screen(&table(&rows))?;
        }
    }
}

fn documents(rows: &[(QueueName, QueueCounts)]) -> Value {
    let queues: Vec<Value> = rows.iter().map(|(queue, counts)| document(queue, counts)).collect();
    json!({ "queues": queues })
}

fn table(rows: &[(QueueName, QueueCounts)]) -> Table {
    let mut table = Table::new(&[
        Column::Long("queue"),
        Column::Number("waiting"),
        Column::Number("ready"),
        Column::Number("in flight"),
        Column::Number("delayed"),
        Column::Number("dead"),
        Column::Number("done"),
        Column::Number("retried"),
        Column::Text("state"),
    ]);
    for (queue, counts) in rows {
        let stat = |name: &str| text::count(counts.stats.get(name).copied().unwrap_or(0));
        table.row([
            text::visible(queue.as_str().as_bytes(), NAME_CHARS_MAX),
            text::count(counts.waiting),
            text::count(counts.ready),
            text::count(counts.inflight),
            text::count(counts.delayed),
            text::count(counts.dead),
            stat("completed"),
            stat("retried"),
            state(counts),
        ]);
    }
    table
}

fn state(counts: &QueueCounts) -> String {
    let parked = (counts.parked > 0).then(|| format!("{} parked", text::count(counts.parked)));
    let words = counts.paused.then(|| "paused".to_owned()).into_iter().chain(parked);
    words.collect::<Vec<_>>().join(", ")
}

fn document(queue: &QueueName, counts: &QueueCounts) -> Value {
    json!({
        "queue": queue.as_str(),
        "waiting": counts.waiting,
        "ready": counts.ready,
        "inflight": counts.inflight,
        "delayed": counts.delayed,
        "dead": counts.dead,
        "parked": counts.parked,
        "paused": counts.paused,
        "stats": counts.stats,
    })
}
