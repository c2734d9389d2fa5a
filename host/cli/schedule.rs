//! `sandhog schedule`: jobs that are pushed at certain times, kept in Redis. Hosts fire them.

use std::time::Duration;

use clap::Subcommand;
use sandhog::job::name::QueueName;
use sandhog::job::schedule::book::{self, BookError, Row};
use sandhog::job::schedule::{Missed, Schedule, When};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::table::{Column, Table};
use crate::cli::{argument, known, text};

/// Longest name of a queue in a table.
const QUEUE_CHARS_MAX: usize = 40;
/// Times that are shown of a schedule that is new.
const TIMES_SHOWN: usize = 3;

const EXAMPLES: &str = "\
Examples:
  sandhog schedule add nightly --queue reports --cron '0 3 * * *' --timezone Europe/Berlin
  sandhog schedule add heartbeat --queue pings --every 10s --payload '{}'
  sandhog schedule list
  sandhog schedule pause nightly";

/// Pushes jobs at certain times: cron expressions or fixed periods.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Adds a schedule, or changes the one of this name.
    Add(Add),
    /// Lists the schedules, the next to fire first.
    List,
    /// Removes a schedule.
    Rm(Name),
    /// Lets a schedule fire no more until it is resumed.
    Pause(Name),
    /// Lets a schedule fire again, from its next time on.
    Resume(Name),
}

#[derive(Debug, clap::Args)]
struct Name {
    /// The schedule.
    name: String,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// What it is called: letters, digits, `.`, `_`, `-`.
    name: String,
    /// Where its jobs go.
    #[arg(long, value_parser = argument::queue)]
    queue: QueueName,
    /// When it fires: minute, hour, day, month, day of the week; or six fields with the second first.
    #[arg(long, value_name = "EXPRESSION", required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// Whose clocks the expression means, for example `Europe/Berlin`.
    #[arg(long, value_name = "ZONE", default_value = "UTC", conflicts_with = "every")]
    timezone: String,
    /// Fires at whole multiples of this time, for example `10s`, `6h`.
    #[arg(long, value_name = "TIME", value_parser = argument::duration, allow_hyphen_values = true)]
    every: Option<Duration>,
    /// Each firing is late by a part of this, always the same for the same firing.
    #[arg(long, value_name = "TIME", value_parser = argument::duration, allow_hyphen_values = true)]
    jitter: Option<Duration>,
    /// The bytes of each job.
    #[arg(long, default_value = "")]
    payload: String,
    /// Attaches a header that the handler sees; may be repeated.
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = argument::header)]
    headers: Vec<(String, String)>,
    /// What becomes of firings that no host was there for: `skip`, or `run-once` for all of them together.
    #[arg(long, value_name = "POLICY", default_value = "skip", value_parser = missed)]
    missed: Missed,
}

fn missed(text: &str) -> Result<Missed, String> {
    [Missed::Skip, Missed::RunOnce]
        .into_iter()
        .find(|policy| policy.as_str() == text)
        .ok_or_else(|| "it must be `skip` or `run-once`".to_owned())
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.verb {
        Verb::Add(add) => run_add(add, context).await,
        Verb::List => run_list(context).await,
        Verb::Rm(Name { name }) => {
            let link = context.link().await?;
            book::remove(&link, &name).await.map_err(refused)?;
            said(context, &name, "removed")
        }
        Verb::Pause(Name { name }) => {
            let link = context.link().await?;
            book::pause(&link, &name).await.map_err(refused)?;
            said(context, &name, "paused")
        }
        Verb::Resume(Name { name }) => {
            let link = context.link().await?;
            book::resume(&link, &name).await.map_err(refused)?;
            said(context, &name, "resumed")
        }
    }
}

/// What an operator got wrong is a refusal; what Redis could not do is a failure.
fn refused(error: BookError) -> Failure {
    match error {
        BookError::Store(error) => error.into(),
        BookError::Wrong(error) if error.field == "name" => {
            Failure::refused(format!("a name {}", error.text))
        }
        BookError::Wrong(error) => Failure::refused(format!("`--{}` {}", error.field, error.text)),
        other => Failure::refused(other.to_string()),
    }
}

fn said(context: &Context, name: &str, outcome: &str) -> Outcome {
    if context.out.is_json() {
        return Ok(context.out.document(&json!({ "schedule": name, "outcome": outcome }))?);
    }
    Ok(context.out.line(&format!("{outcome} schedule `{name}`"))?)
}

async fn run_add(add: Add, context: &Context) -> Outcome {
    let milliseconds = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
    let schedule = Schedule {
        queue: add.queue.as_str().to_owned(),
        when: match (add.cron, add.every) {
            (Some(expression), _) => When::Cron { expression, timezone: add.timezone },
            (None, every) => When::Every(every.map_or(0, milliseconds)),
        },
        jitter_ms: add.jitter.map_or(0, milliseconds),
        payload: add.payload,
        headers: add.headers,
        missed: add.missed,
    };
    // Before Redis is asked: what is wrong with the words has nothing to do with it.
    let plan = schedule.plan().map_err(|error| refused(error.into()))?;
    let link = context.link().await?;
    let outcome = book::put(&link, &add.name, &schedule).await.map_err(refused)?;
    known::question_queue(context, &link, &add.queue).await?;
    let mut after = context.redis_now_ms(&link).await?;
    let mut times = Vec::new();
    while let Some(slot) = plan.after(after).filter(|_| times.len() < TIMES_SHOWN) {
        times.push(plan.show(slot));
        after = slot;
    }
    if context.out.is_json() {
        let document = json!({ "schedule": add.name, "outcome": outcome, "next": times });
        return Ok(context.out.document(&document)?);
    }
    context.out.line(&format!("{outcome} schedule `{}`: {}", add.name, schedule.describe()))?;
    Ok(context.out.line(&format!("next: {}", times.join(", ")))?)
}

async fn run_list(context: &Context) -> Outcome {
    let link = context.link().await?;
    let rows = book::list(&link).await?;
    if context.out.is_json() {
        let schedules: Vec<Value> = rows.iter().map(document).collect();
        return Ok(context.out.document(&json!({ "schedules": schedules }))?);
    }
    if rows.is_empty() {
        context.note("there is no schedule on this Redis");
        return Ok(());
    }
    let now_ms = context.redis_now_ms(&link).await?;
    let mut table = Table::new(&[
        Column::Long("schedule"),
        Column::Long("queue"),
        Column::Long("when"),
        Column::Text("next"),
        Column::Text("last"),
        Column::Long("from"),
        Column::Long("state"),
    ]);
    for row in &rows {
        let (queue, when) = row.schedule.as_ref().map_or_else(
            || ("?".to_owned(), "of another version".to_owned()),
            |schedule| (schedule.queue.clone(), schedule.describe()),
        );
        table.row([
            text::visible(row.name.as_bytes(), QUEUE_CHARS_MAX),
            text::visible(queue.as_bytes(), QUEUE_CHARS_MAX),
            text::visible(when.as_bytes(), 60),
            next(row),
            row.last_ms.map_or_else(String::new, |last| text::when(last, now_ms)),
            if row.of_files { "settings" } else { "Redis" }.to_owned(),
            if row.paused_ms.is_some() { "paused" } else { "" }.to_owned(),
        ]);
    }
    Ok(context.out.table(&table)?)
}

/// The next firing by the schedule's own clocks.
fn next(row: &Row) -> String {
    let plan = row.schedule.as_ref().and_then(|schedule| schedule.plan().ok());
    row.next.zip(plan).map_or_else(String::new, |(next, plan)| plan.show(next.at))
}

fn document(row: &Row) -> Value {
    json!({
        "schedule": row.name,
        "definition": row.schedule,
        "next_ms": row.next.map(|next| next.at),
        "next_slot_ms": row.next.map(|next| next.slot),
        "last_ms": row.last_ms,
        "paused_ms": row.paused_ms,
        "from": if row.of_files { "settings" } else { "redis" },
    })
}
