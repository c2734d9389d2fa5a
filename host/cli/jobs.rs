//! `sandhog jobs`: looks at single jobs, gives dead ones another chance, throws some away. What a row looks like
//! is in `jobs/row`.

mod row;

use clap::{Subcommand, ValueEnum};
use sandhog::job::edit::{self, Which};
use sandhog::job::inspect::{self, JobRow, Place};
use sandhog::job::name::{JobId, QueueName};
use sandhog::storage::link::Link;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{argument, output, text};

/// Rows of a page when the flag does not say it.
const PAGE_ROWS: u32 = 20;
/// Jobs that one edit moves at the most: whoever has more runs it again.
const EDIT_JOBS_MAX: u64 = 10_000_000;
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
    /// Lists jobs, a page at a time.
    List(List),
    /// Shows one job with its whole payload.
    Show(Show),
    /// Makes dead or delayed jobs ready again; dead ones start over with no attempt counted.
    Requeue(Edit),
    /// Throws ready, delayed or dead jobs away.
    Discard(Discard),
}

#[derive(Debug, clap::Args)]
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
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// The job.
    #[arg(value_parser = argument::job_id)]
    id: JobId,
    /// Prints the payload's bytes and nothing else.
    #[arg(long, conflicts_with = "json")]
    payload: bool,
}

#[derive(Debug, clap::Args)]
struct Edit {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// The jobs.
    #[arg(value_parser = argument::job_id, required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<JobId>,
    /// All jobs of one place.
    #[arg(long)]
    all: bool,
    /// The place; jobs that are named are found wherever they are.
    #[arg(long, value_enum, default_value = "dead", conflicts_with = "ids")]
    place: EditPlace,
}

#[derive(Debug, clap::Args)]
struct Discard {
    #[command(flatten)]
    edit: Edit,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Places {
    All,
    Waiting,
    Ready,
    Inflight,
    Delayed,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EditPlace {
    Dead,
    Delayed,
    Ready,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.verb {
        Verb::List(list) => run_list(list, context).await,
        Verb::Show(show) => run_show(show, context).await,
        Verb::Requeue(edit) => run_requeue(edit, context).await,
        Verb::Discard(discard) => run_discard(discard, context).await,
    }
}

async fn run_list(list: List, context: &Context) -> Outcome {
    let places = places(list.place);
    if list.cursor.is_some() && places.len() > 1 {
        return Err(Failure::refused("a cursor belongs to one place").with_hint("add `--place`"));
    }
    let link = context.link().await?;
    let mut rows = Vec::new();
    let mut more = Vec::new();
    for place in places {
        let (page, next) = pages(&link, &list, *place).await?;
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
        context.note("no jobs");
        return Ok(());
    }
    let now_ms = context.redis_now_ms(&link).await?;
    context.out.text(&row::table(&rows, now_ms).render())?;
    for (place, cursor) in more {
        let place = row::place_name(place);
        context.note(&format!("more {place} jobs: add `--place {place} --cursor {cursor}`"));
    }
    Ok(())
}

/// As many jobs of `place` as were asked for, and where to go on.
async fn pages(link: &Link, list: &List, place: Place) -> Outcome<(Vec<JobRow>, Option<String>)> {
    let mut rows: Vec<JobRow> = Vec::new();
    let mut cursor = list.cursor.clone();
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
    let Some((found, payload)) = inspect::show(&link, &show.queue, &show.id).await? else {
        let queue = text::visible(show.queue.as_str().as_bytes(), 80);
        return Err(Failure::failed(format!("there is no job `{}` in queue `{queue}`", show.id))
            .with_hint("it may be done; jobs that wait in the plain list have no id yet"));
    };
    if show.payload {
        return Ok(output::bytes(&payload)?);
    }
    if context.out.is_json() {
        let mut document = row::document(&found);
        document["payload"] = output::payload(&payload);
        return Ok(context.out.document(&document)?);
    }
    let now_ms = context.redis_now_ms(&link).await?;
    Ok(context.out.text(&row::sheet(&found, &payload, now_ms))?)
}

async fn run_requeue(edit: Edit, context: &Context) -> Outcome {
    let place = match edit.place {
        EditPlace::Dead => Place::Dead,
        EditPlace::Delayed => Place::Delayed,
        EditPlace::Ready => return Err(Failure::refused("ready jobs need no requeue")),
    };
    let link = context.link().await?;
    let moved = edit::requeue(&link, &edit.queue, &edit.which(place), EDIT_JOBS_MAX).await?;
    finish_edit(context, "requeued", moved, &edit)
}

async fn run_discard(discard: Discard, context: &Context) -> Outcome {
    let edit = discard.edit;
    let place = match edit.place {
        EditPlace::Dead => Place::Dead,
        EditPlace::Delayed => Place::Delayed,
        EditPlace::Ready => Place::Ready,
    };
    let link = context.link().await?;
    if edit.all && !discard.yes {
        let counts = inspect::counts(&link, &edit.queue).await?;
        let jobs = match place {
            Place::Delayed => counts.delayed,
            Place::Ready => counts.ready,
            _ => counts.dead,
        };
        let queue = text::visible(edit.queue.as_str().as_bytes(), 80);
        let question =
            format!("discard all {} {} jobs of `{queue}`?", text::count(jobs), row::place_name(place));
        match output::confirm(&question)? {
            Some(true) => {}
            Some(false) => return Err(Failure::refused("nothing was discarded")),
            None => {
                return Err(Failure::refused("will not discard all jobs of a place unasked")
                    .with_hint("add `--yes` where nobody can answer"));
            }
        }
    }
    let discarded = edit::discard(&link, &edit.queue, &edit.which(place), EDIT_JOBS_MAX).await?;
    finish_edit(context, "discarded", discarded, &edit)
}

/// Tells how many jobs an edit reached; missing one that was named is a failure.
fn finish_edit(context: &Context, verb: &str, moved: u64, edit: &Edit) -> Outcome {
    if context.out.is_json() {
        context.out.document(&json!({ "queue": edit.queue.as_str(), verb: moved }))?;
    } else {
        context.out.line(&format!("{verb} {}", text::counted(moved, "job", "jobs")))?;
    }
    let named = edit.ids.len() as u64;
    if moved < named {
        let missing = text::counted(named - moved, "job was", "jobs were");
        return Err(Failure::failed(format!("{missing} not {verb}"))
            .with_hint("it may be done, running, or waiting in the plain list; `sandhog jobs show` tells"));
    }
    Ok(())
}

impl Edit {
    fn which(&self, place: Place) -> Which<'_> {
        if self.all { Which::All(place) } else { Which::Ids(&self.ids) }
    }
}

fn places(places: Places) -> &'static [Place] {
    match places {
        Places::All => &[Place::Inflight, Place::Ready, Place::Waiting, Place::Delayed, Place::Dead],
        Places::Waiting => &[Place::Waiting],
        Places::Ready => &[Place::Ready],
        Places::Inflight => &[Place::Inflight],
        Places::Delayed => &[Place::Delayed],
        Places::Dead => &[Place::Dead],
    }
}
