//! `sandhog jobs requeue`, `discard`, `cancel`: what operators do to jobs, to those they name or to all that fit.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use sandhog::job::edit::{self, Changed, Which};
use sandhog::job::inspect::{self, Place};
use sandhog::job::name::{JobId, QueueName};
use sandhog::job::walk::{self, Change};
use sandhog::storage::link::Link;
use serde_json::json;

use super::row;
use super::select::Select;
use super::short_id::{self, Named};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::{argument, output, progress, text};

/// Longest payload: what Redis takes as one value.
const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;

const REQUEUE_EXAMPLES: &str = "\
Examples:
  sandhog jobs requeue orders web-1.0000000a.0199aa5b1c00-17
  sandhog jobs requeue orders --all
  sandhog jobs requeue orders --fingerprint 3f2a9c1b7d10 --since 2h --dry-run
  sandhog jobs requeue orders job-1 --payload '{\"id\":1}'";

const DISCARD_EXAMPLES: &str = "\
Examples:
  sandhog jobs discard orders job-1 job-2
  sandhog jobs discard orders --text malformed --dry-run
  sandhog jobs discard orders --place delayed --all --yes";

const CANCEL_EXAMPLES: &str = "\
Examples:
  sandhog jobs cancel orders job-1
  sandhog jobs cancel orders --text '\"tenant\":7' --dry-run
  sandhog jobs cancel orders --text '\"tenant\":7' --place waiting --yes";

/// Which jobs, in the words of every edit.
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// The jobs, by id, in any state; an id selects every job that has it. Both ends of an id, as in tables
    /// (`web-1…c00-17`), select the only job that has such an id.
    #[arg(id = "ids", value_name = "IDS", value_parser = short_id::parse, conflicts_with = "all")]
    named: Vec<Named>,
    /// Their whole ids.
    #[arg(skip)]
    ids: Vec<JobId>,
    /// All jobs of the place.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    select: Select,
    /// Changes nothing; tells how many jobs it would be.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = REQUEUE_EXAMPLES)]
pub(super) struct Requeue {
    #[command(flatten)]
    edit: Edit,
    /// Where to look for jobs that are not named.
    #[arg(long, value_enum, default_value = "dead", conflicts_with = "ids")]
    place: EditPlace,
    /// Replaces the payload; of one job, by id.
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["payload_file", "all"], requires = "ids")]
    payload: Option<String>,
    /// Replaces the payload with what is in a file (`-`: standard input).
    #[arg(long, value_name = "FILE", conflicts_with = "all", requires = "ids")]
    payload_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = DISCARD_EXAMPLES)]
pub(super) struct Discard {
    #[command(flatten)]
    edit: Edit,
    /// Where to look for jobs that are not named.
    #[arg(long, value_enum, default_value = "dead", conflicts_with = "ids")]
    place: EditPlace,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(super) struct Cancel {
    #[command(flatten)]
    edit: Edit,
    /// Where to look for jobs that are not named; everywhere but among the dead when it is not given.
    #[arg(long, value_enum, conflicts_with = "ids")]
    place: Option<CancelPlace>,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EditPlace {
    Dead,
    Delayed,
    Ready,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CancelPlace {
    Waiting,
    Ready,
    Inflight,
    Delayed,
    Parked,
    Dead,
}

impl EditPlace {
    fn place(self) -> Place {
        match self {
            Self::Dead => Place::Dead,
            Self::Delayed => Place::Delayed,
            Self::Ready => Place::Ready,
        }
    }
}

/// What is done, in the words of this command.
struct Verb {
    /// `requeue`
    name: &'static str,
    /// `requeued`
    past: &'static str,
}

/// Makes jobs ready again.
pub(super) async fn requeue(args: Requeue, context: &Context) -> Outcome {
    let verb = Verb { name: "requeue", past: "requeued" };
    let Requeue { mut edit, place, payload, payload_file } = args;
    edit.check()?;
    if place == EditPlace::Ready {
        return Err(Failure::refused("ready jobs need no requeue"));
    }
    let payload = match (payload, payload_file) {
        (Some(payload), _) => Some(payload.into_bytes()),
        (None, Some(file)) => Some(read_payload(&file)?),
        (None, None) => None,
    };
    if payload.is_some() && edit.named.len() > 1 {
        return Err(Failure::refused("a payload replaces that of one job").with_hint("name one job"));
    }
    let link = context.link().await?;
    edit.complete_ids(&link).await?;
    let places = if edit.named.is_empty() { vec![place.place()] } else { vec![Place::Dead, Place::Delayed] };
    if payload.is_some() && !edit.dry_run {
        let count = edit.go(context, &link, &places, Change::Count).await?.jobs;
        if count > 1 {
            let why = format!("{count} jobs have this id; a payload replaces that of one job");
            let hint = "choose one of them with `--text`, `--since` or `--until`";
            return Err(Failure::refused(why).with_hint(hint));
        }
    }
    if edit.is_plain() && payload.is_none() {
        return edit.run_plain(context, &link, &verb, place.place()).await;
    }
    edit.run(context, &link, &verb, &places, Change::Requeue(payload.as_deref())).await
}

/// Throws jobs away that do not run.
pub(super) async fn discard(args: Discard, context: &Context) -> Outcome {
    let verb = Verb { name: "discard", past: "discarded" };
    let Discard { mut edit, place, yes } = args;
    edit.check()?;
    let link = context.link().await?;
    edit.complete_ids(&link).await?;
    let places = if edit.named.is_empty() {
        vec![place.place()]
    } else {
        vec![Place::Ready, Place::Delayed, Place::Parked, Place::Dead]
    };
    edit.ask(context, &link, &verb, &places, yes).await?;
    if edit.is_plain() {
        return edit.run_plain(context, &link, &verb, place.place()).await;
    }
    edit.run(context, &link, &verb, &places, Change::Discard).await
}

/// Throws jobs away wherever they are.
pub(super) async fn cancel(args: Cancel, context: &Context) -> Outcome {
    let verb = Verb { name: "cancel", past: "cancelled" };
    let Cancel { mut edit, place, yes } = args;
    edit.check()?;
    let link = context.link().await?;
    edit.complete_ids(&link).await?;
    let places = match place {
        // Who is named is most likely running, and then it is urgent.
        None if !edit.named.is_empty() => {
            vec![Place::Inflight, Place::Ready, Place::Delayed, Place::Parked, Place::Dead]
        }
        // In the order in which jobs move.
        None => vec![Place::Waiting, Place::Delayed, Place::Parked, Place::Ready, Place::Inflight],
        Some(CancelPlace::Waiting) => vec![Place::Waiting],
        Some(CancelPlace::Ready) => vec![Place::Ready],
        Some(CancelPlace::Inflight) => vec![Place::Inflight],
        Some(CancelPlace::Delayed) => vec![Place::Delayed],
        Some(CancelPlace::Parked) => vec![Place::Parked],
        Some(CancelPlace::Dead) => vec![Place::Dead],
    };
    edit.ask(context, &link, &verb, &places, yes).await?;
    edit.run(context, &link, &verb, &places, Change::Cancel).await
}

impl Edit {
    fn check(&self) -> Outcome {
        if self.named.is_empty() && !self.all && self.select.is_empty() {
            return Err(Failure::refused("it is not said which jobs are meant")
                .with_hint("name them, describe them (`--text`, `--fingerprint`, …), or say `--all`"));
        }
        Ok(())
    }

    /// Completes the ids of which only both ends were given.
    async fn complete_ids(&mut self, link: &Link) -> Outcome {
        for named in &self.named {
            self.ids.push(named.id(link, &self.queue).await?);
        }
        Ok(())
    }

    /// Whether Redis can tell by itself which jobs are meant.
    fn is_plain(&self) -> bool {
        self.select.is_empty() && !self.dry_run
    }

    /// Asks before jobs that were not named are thrown away.
    async fn ask(&self, context: &Context, link: &Link, verb: &Verb, places: &[Place], yes: bool) -> Outcome {
        if yes || self.dry_run || !self.named.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = places.iter().map(|place| row::place_name(*place)).collect();
        let place = if let [only] = names.as_slice() { format!("{only} ") } else { String::new() };
        let which = if self.all { "all" } else { "the" };
        let count = self.go(context, link, places, Change::Count).await?.jobs;
        let queue = text::visible(self.queue.as_str().as_bytes(), 80);
        let jobs = text::counted(count, &format!("{place}job"), &format!("{place}jobs"));
        match output::confirm(&format!("{} {which} {jobs} of `{queue}`?", verb.name))? {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::refused(format!("nothing was {}", verb.past))),
            None => {
                let what = if self.all { "all jobs of a place" } else { "jobs that are not named" };
                Err(Failure::refused(format!("will not {} {what} unasked", verb.name))
                    .with_hint("add `--yes` where nobody can answer, or `--dry-run` to count them"))
            }
        }
    }

    /// Named jobs, or all of a place: nothing of them has to be fetched.
    async fn run_plain(&self, context: &Context, link: &Link, verb: &Verb, place: Place) -> Outcome {
        let (which, total) = if self.all {
            let counts = inspect::counts(link, &self.queue).await?;
            // Jobs that are added meanwhile do not count: a requeued job may die again.
            let total = match place {
                Place::Delayed => counts.delayed,
                Place::Ready => counts.ready,
                _ => counts.dead,
            };
            (Which::All(place), total)
        } else {
            (Which::Ids(&self.ids), u64::MAX)
        };
        let bar = progress::over_steps(if self.all { total } else { 0 });
        let told = |changed| {
            bar.set_position(changed);
            bar.set_message(format!("{} {}", verb.past, text::counted(changed, "job", "jobs")));
        };
        let changed = match verb.name {
            "discard" => edit::discard(link, &self.queue, &which, total, told).await,
            _ => edit::requeue(link, &self.queue, &which, total, told).await,
        };
        bar.finish_and_clear();
        self.finish(context, verb, &changed?)
    }

    async fn run(
        &self,
        context: &Context,
        link: &Link,
        verb: &Verb,
        places: &[Place],
        change: Change<'_>,
    ) -> Outcome {
        let change = if self.dry_run { Change::Count } else { change };
        let changed = self.go(context, link, places, change).await?;
        if !self.dry_run {
            return self.finish(context, verb, &changed);
        }
        let count = changed.jobs;
        if context.out.is_json() {
            let document = json!({ "queue": self.queue.as_str(), "dry_run": true, "matched": count });
            return Ok(context.out.document(&document)?);
        }
        let jobs = text::counted(count, "job", "jobs");
        Ok(context.out.line(&format!("would {} {jobs}; nothing was changed", verb.name))?)
    }

    /// Walks over these places.
    async fn go(
        &self,
        context: &Context,
        link: &Link,
        places: &[Place],
        change: Change<'_>,
    ) -> Outcome<Changed> {
        let filter = self.select.filter(&self.ids, context.redis_now_ms(link).await?);
        let bar = progress::over_steps(0);
        let told = |looked, total, changed| {
            bar.set_length(total);
            bar.set_position(looked);
            bar.set_message(format!("{} found", text::counted(changed, "job", "jobs")));
        };
        let changed = walk::change(link, &self.queue, places, &filter, change, told).await;
        bar.finish_and_clear();
        Ok(changed?)
    }

    /// Reports how many jobs were changed; fails if a chosen job was not.
    fn finish(&self, context: &Context, verb: &Verb, changed: &Changed) -> Outcome {
        let past = verb.past;
        let Changed { jobs, duplicates, found } = changed;
        if context.out.is_json() {
            let mut document = json!({ "queue": self.queue.as_str(), past: jobs });
            if verb.name == "requeue" {
                document["duplicates"] = json!(duplicates);
            }
            context.out.document(&document)?;
        } else {
            let mut line = format!("{past} {}", text::counted(*jobs, "job", "jobs"));
            if *duplicates > 0 {
                let stay = text::counted(*duplicates, "stays", "stay");
                line = format!("{line}; {stay} dead: a living job has the same unique key");
            }
            context.out.line(&line)?;
        }
        let missing = self.ids.iter().filter(|id| !found.contains(*id)).collect::<BTreeSet<_>>().len() as u64;
        let left = missing + *duplicates;
        if left > 0 {
            let hint = if missing > 0 {
                "it may be done, running, or waiting in the plain list; check with `sandhog jobs show`"
            } else {
                "a living job has the same unique key; requeue it again when that one has ended"
            };
            let jobs = text::counted(left, "job was", "jobs were");
            return Err(Failure::failed(format!("{jobs} not {past}")).with_hint(hint));
        }
        Ok(())
    }
}

fn read_payload(file: &std::path::Path) -> Outcome<Vec<u8>> {
    let mut payload = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(PAYLOAD_BYTES_MAX).read_to_end(&mut payload)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(PAYLOAD_BYTES_MAX).read_to_end(&mut payload))
    };
    read.with_context(|| format!("cannot read `{}`", file.display())).refuse()?;
    Ok(payload)
}
