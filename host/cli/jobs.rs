//! `sandhog jobs`: looks at single jobs, searches for them, changes them. What a row looks like is in `jobs/row`, by
//! what jobs are chosen in `jobs/select`.

mod carry;
mod edit;
mod groups;
mod row;
mod select;
mod short_id;

use clap::{Subcommand, ValueEnum};
use sandhog::job::filter::Filter;
use sandhog::job::inspect::{self, JobRow, Place};
use sandhog::job::name::QueueName;
use sandhog::storage::link::Link;
use serde_json::{Value, json};

use select::Select;
use short_id::Named;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{argument, known, output, text};

/// Rows of a page when the flag does not say it.
const PAGE_ROWS: u32 = 20;
/// Rows of a page at the most.
const PAGE_ROWS_MAX: i64 = 1000;

/// Shows and moves single jobs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists jobs, a page at a time, or searches for them.
    List(List),
    /// Shows one job with its whole payload.
    Show(Show),
    /// Makes dead or delayed jobs ready again; dead ones start over with no attempt counted.
    Requeue(edit::Requeue),
    /// Throws ready, delayed or dead jobs away.
    Discard(edit::Discard),
    /// Ends jobs wherever they are; running ones are stopped.
    Cancel(edit::Cancel),
    /// Groups dead jobs by what their failures have in common.
    Groups(groups::Args),
    /// Prints jobs as lines of JSON.
    Export(carry::Export),
    /// Adds jobs from lines of JSON; those that are there already are left out.
    Import(carry::Import),
}

const LIST_EXAMPLES: &str = "\
Examples:
  sandhog jobs list orders
  sandhog jobs list orders --place dead --text 'no such user' --since 2h
  sandhog jobs list orders --place waiting --limit 100 --cursor 100";

#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// Where to look.
    #[arg(long, value_enum, default_value = "all")]
    place: Places,
    /// Jobs on a page, per place.
    #[arg(long, default_value_t = PAGE_ROWS, value_parser = clap::value_parser!(u32).range(1..=PAGE_ROWS_MAX))]
    limit: u32,
    /// Where the last page ended, as it said itself; needs `--place`.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    select: Select,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// The job: its id, the beginning of its id, or both ends of it as in tables (`web-1…c00-17`).
    #[arg(value_parser = short_id::parse)]
    id: Named,
    /// Prints only the bytes of the payload; on a terminal, control characters appear as escapes.
    #[arg(long, conflicts_with = "json")]
    payload: bool,
    /// With `--payload`: prints the bytes unchanged on a terminal, too.
    #[arg(long, requires = "payload")]
    raw: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Places {
    All,
    Waiting,
    Ready,
    Inflight,
    Delayed,
    Parked,
    Dead,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.verb {
        Verb::List(list) => run_list(list, context).await,
        Verb::Show(show) => run_show(show, context).await,
        Verb::Requeue(args) => edit::requeue(args, context).await,
        Verb::Discard(args) => edit::discard(args, context).await,
        Verb::Cancel(args) => edit::cancel(args, context).await,
        Verb::Groups(args) => groups::run(args, context).await,
        Verb::Export(args) => carry::export(args, context).await,
        Verb::Import(args) => carry::import(args, context).await,
    }
}

async fn run_list(list: List, context: &Context) -> Outcome {
    let places = places(list.place);
    if list.cursor.is_some() && places.len() > 1 {
        return Err(Failure::refused("a cursor belongs to one place").with_hint("add `--place`"));
    }
    let link = context.link().await?;
    let filter = list.select.filter(&[], context.redis_now_ms(&link).await?);
    let mut rows = Vec::new();
    let mut more = Vec::new();
    for place in places {
        let (page, next) = pages(&link, &list, *place, &filter).await?;
        rows.extend(page);
        more.extend(next.map(|cursor| (*place, cursor)));
    }
    if context.out.is_json() {
        let jobs: Vec<Value> = rows.iter().map(row::document).collect();
        let next: serde_json::Map<String, Value> = more
            .into_iter()
            .map(|(place, cursor)| (row::place_name(place).to_owned(), cursor.into()))
            .collect();
        return Ok(context.out.document(&json!({ "jobs": jobs, "next": next }))?);
    }
    if rows.is_empty() {
        known::question_queue(context, &link, &list.queue).await?;
        context.note("no jobs");
        return Ok(());
    }
    let now_ms = context.redis_now_ms(&link).await?;
    context.out.table(&row::table(&rows, now_ms))?;
    for (place, cursor) in more {
        let place = row::place_name(place);
        context.note(&format!("more {place} jobs: add `--place {place} --cursor {cursor}`"));
    }
    Ok(())
}

/// As many jobs of `place` as were asked for, and where to go on.
async fn pages(
    link: &Link,
    list: &List,
    place: Place,
    filter: &Filter,
) -> Outcome<(Vec<JobRow>, Option<String>)> {
    let mut cursor = list.cursor.clone();
    if !filter.is_empty() {
        return Ok(inspect::search(link, &list.queue, place, filter, cursor, list.limit).await?);
    }
    let mut rows: Vec<JobRow> = Vec::new();
    loop {
        let wanted = list.limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let (page, next) =
            inspect::list(link, &list.queue, place, cursor, wanted.min(inspect::PAGE_MAX)).await?;
        rows.extend(page);
        if next.is_none() || rows.len() >= list.limit as usize {
            return Ok((rows, next));
        }
        cursor = next;
    }
}

async fn run_show(show: Show, context: &Context) -> Outcome {
    let link = context.link().await?;
    let id = show.id.id(&link, &show.queue).await?;
    let mut shown = inspect::show(&link, &show.queue, &id).await?;
    if shown.is_none()
        && let Some(whole) = short_id::find(&link, &show.queue, id.as_str(), "").await?
    {
        shown = inspect::show(&link, &show.queue, &whole).await?;
    }
    let Some((found, payload)) = shown else {
        let queue = text::visible(show.queue.as_str().as_bytes(), 80);
        return Err(Failure::failed(format!("there is no job `{id}` in queue `{queue}`"))
            .with_hint("it may be done; jobs that wait in the plain list have no id yet"));
    };
    if show.payload {
        return Ok(output::foreign(&payload, show.raw)?);
    }
    if context.out.is_json() {
        let mut document = row::document(&found);
        document["payload"] = output::payload(&payload);
        return Ok(context.out.document(&document)?);
    }
    let now_ms = context.redis_now_ms(&link).await?;
    Ok(context.out.text(&row::sheet(&found, &payload, now_ms))?)
}

fn places(places: Places) -> &'static [Place] {
    match places {
        Places::All => {
            &[Place::Inflight, Place::Ready, Place::Waiting, Place::Delayed, Place::Parked, Place::Dead]
        }
        Places::Waiting => &[Place::Waiting],
        Places::Ready => &[Place::Ready],
        Places::Inflight => &[Place::Inflight],
        Places::Delayed => &[Place::Delayed],
        Places::Parked => &[Place::Parked],
        Places::Dead => &[Place::Dead],
    }
}
