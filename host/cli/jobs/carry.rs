//! `sandhog jobs export` and `import`: jobs as lines of JSON.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use sandhog::escape;
use sandhog::job::import::{self, Imported};
use sandhog::job::inspect::Place;
use sandhog::job::name::QueueName;
use sandhog::job::transfer::{self, Carried};
use sandhog::job::walk::Walk;
use serde_json::json;

use super::select::Select;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::{argument, progress, text};

/// Most bytes of a file to import: all of it is read, and found to be right, before the first job is added.
const IMPORT_BYTES_MAX: u64 = 1 << 30;

const EXPORT_EXAMPLES: &str = "\
Examples:
  sandhog jobs export orders > dead.jsonl
  sandhog jobs export orders --fingerprint 3f2a9c1b7d10 | jq -r .id
  sandhog jobs export orders --place delayed > delayed.jsonl";

const IMPORT_EXAMPLES: &str = "\
Examples:
  sandhog jobs import orders dead.jsonl
  sandhog jobs export orders | sandhog jobs import orders-test - --redis redis://other";

#[derive(Debug, clap::Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct Export {
    /// The queue.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// Where to look.
    #[arg(long, value_enum, default_value = "dead")]
    place: ExportPlace,
    #[command(flatten)]
    select: Select,
}

#[derive(Debug, clap::Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct Import {
    /// The queue; it may be another one than that the jobs were exported from.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// The file; `-` reads standard input.
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportPlace {
    Dead,
    Delayed,
    Ready,
}

/// Prints one line for each job. They are JSON with and without `--json`.
pub(super) async fn export(args: Export, context: &Context) -> Outcome {
    let link = context.link().await?;
    let filter = args.select.filter(&[], context.redis_now_ms(&link).await?);
    let place = match args.place {
        ExportPlace::Dead => Place::Dead,
        ExportPlace::Delayed => Place::Delayed,
        ExportPlace::Ready => Place::Ready,
    };
    let mut walk = Walk::new(&link, &args.queue, place, &filter, true).await?;
    let bar = progress::over_steps(walk.progress().1);
    let mut out = io::stdout().lock();
    let (mut jobs, mut foreign) = (0_u64, 0_u64);
    while let Some(found) = walk.step().await? {
        for row in found.rows() {
            match transfer::line(row) {
                Some(line) => {
                    writeln!(out, "{}", escape::json(&line))?;
                    jobs += 1;
                }
                None => foreign += 1,
            }
        }
        bar.set_position(walk.progress().0);
    }
    out.flush()?;
    bar.finish_and_clear();
    context.note(&format!("exported {}; they are still there", text::counted(jobs, "job", "jobs")));
    if foreign > 0 {
        let entries = text::counted(foreign, "entry that is no job was", "entries that are no jobs were");
        context.note(&format!("{entries} left out"));
    }
    Ok(())
}

/// Adds the jobs of a file that are not there yet.
pub(super) async fn import(args: Import, context: &Context) -> Outcome {
    let jobs = read(&args.file)?;
    let link = context.link().await?;
    let bar = progress::over_steps(jobs.len() as u64);
    let mut sum = Imported::default();
    let all = import::import(&link, &args.queue, &jobs, &mut sum, |done| bar.set_position(done)).await;
    bar.finish_and_clear();
    if let Err(error) = all {
        let added = text::counted(sum.added, "job was", "jobs were");
        return Err(Failure::from(error)
            .with_details(vec![format!("{added} imported before, of {}", text::count(jobs.len() as u64))])
            .with_hint("import the same file again: jobs that are already in the queue are skipped"));
    }
    let Imported { added, present, duplicates } = sum;
    if context.out.is_json() {
        let queue = args.queue.as_str();
        let document =
            json!({ "queue": queue, "imported": added, "present": present, "duplicates": duplicates });
        return Ok(context.out.document(&document)?);
    }
    let mut line = format!("imported {}", text::counted(added, "job", "jobs"));
    if present > 0 {
        line = format!("{line}; {} there already", text::counted(present, "was", "were"));
    }
    if duplicates > 0 {
        let left_out = text::counted(duplicates, "was", "were");
        line = format!("{line}; {left_out} left out: a living job has the same unique key");
    }
    Ok(context.out.line(&line)?)
}

/// Every job of the file; the first bad line is told with its number, and nothing is imported.
fn read(file: &std::path::Path) -> Outcome<Vec<Carried>> {
    let name = file.display();
    let input: Box<dyn io::Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read `{name}`"));
        Box::new(opened.refuse()?)
    };
    let mut input = BufReader::new(input.take(IMPORT_BYTES_MAX + 1));
    let (mut jobs, mut line, mut bytes) = (Vec::new(), Vec::new(), 0);
    for number in 1_u64.. {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        let length = read.with_context(|| format!("cannot read `{name}`")).refuse()? as u64;
        bytes += length;
        if bytes > IMPORT_BYTES_MAX {
            return Err(Failure::refused(format!("`{name}` has more than 1 GiB; nothing was imported"))
                .with_hint("split it: `split --line-bytes=900M`"));
        }
        if length == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let refused =
            |why: String| Failure::refused(format!("`{name}`, line {number}: {why}; nothing was imported"));
        let text = std::str::from_utf8(&line).map_err(|_| refused("it is not UTF-8".to_owned()))?;
        jobs.push(transfer::read(text).map_err(refused)?);
    }
    Ok(jobs)
}
