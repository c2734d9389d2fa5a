//! `sandhog push`: a producer with options. A job without options is a plain `RPUSH`, as any Redis client does it. Waiting for
//! its result is in `push/wait`.

mod wait;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{TryStreamExt as _, stream};
use indicatif::ProgressBar;
use sandhog::job::name::{JobId, QueueName};
use sandhog::job::push::{self, PushOptions, Pushed};
use sandhog::job::status;
use sandhog::storage::link::Link;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::{argument, known, progress, text};
use wait::Wait;

/// Jobs that travel to Redis as one step.
const BATCH_JOBS_MAX: usize = 1000;
/// Bytes after which a batch is sent though it is not full.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Longest line, and longest payload from standard input: what Redis takes as one value.
const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Pushes with options that are under way at the same time.
const PUSHES_UNDER_WAY: usize = 64;
/// How long a unique key is held when the flag does not say it.
const UNIQUE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a result is kept that `--wait` asks for: long enough to look at it again.
const RESULT_TTL: Duration = Duration::from_secs(60 * 60);

const EXAMPLES: &str = "\
Examples:
  sandhog push orders '{\"id\":1}'
  sandhog push orders '{\"id\":2}' --delay 10m --header traceparent=00-4bf9-00f0-01
  sandhog push orders '{\"id\":3}' --unique order-3:1h
  sandhog push orders '{\"id\":4}' --wait --timeout 30s
  sandhog push orders --file orders.jsonl";

/// Pushes jobs to a queue.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue: the key of a Redis list.
    #[arg(value_parser = argument::queue)]
    queue: QueueName,
    /// The job's bytes; `-` reads them from standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    payload: Option<String>,
    /// Pushes every line of a file as a job of its own (`-`: standard input); empty lines are skipped.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Lets the job be claimed only after this time, for example `10s`, `2h`.
    #[arg(long, value_name = "TIME", value_parser = argument::duration, allow_hyphen_values = true)]
    delay: Option<Duration>,
    /// Refuses the job while another with the same key is alive; the key is free after TTL (24h) in any case.
    #[arg(long, value_name = "KEY[:TTL]", value_parser = unique, conflicts_with = "file")]
    unique: Option<(String, Duration)>,
    /// The job's name instead of one that is made up; other jobs may have the same.
    #[arg(long, value_name = "ID", value_parser = argument::job_id, conflicts_with = "file")]
    id: Option<JobId>,
    /// Attaches a header that the handler sees; may be repeated.
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = argument::header)]
    headers: Vec<(String, String)>,
    /// Pushes to the front: the next job to be claimed.
    #[arg(long)]
    front: bool,
    /// Waits until the job has ended and prints its result; exit code 4 if it did not complete.
    /// On a terminal, control characters and bytes that are not text appear as escapes.
    #[arg(long, conflicts_with = "file")]
    wait: bool,
    /// With `--wait`: prints the result's bytes unchanged on a terminal, too.
    #[arg(long, requires = "wait", conflicts_with = "json")]
    raw: bool,
    /// With `--wait`: no longer than this; then the exit code is 3, and the job goes on.
    #[arg(long, value_name = "TIME", value_parser = argument::duration, allow_hyphen_values = true, requires = "wait")]
    timeout: Option<Duration>,
    /// Asks for the job's result and keeps it for so long; 1h where `--wait` asks for it.
    #[arg(long, value_name = "TIME", value_parser = argument::duration, allow_hyphen_values = true, conflicts_with = "file")]
    result_ttl: Option<Duration>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let result_kept = args.result_ttl.or(args.wait.then_some(RESULT_TTL));
    // Who asks for a result needs the name it is under.
    let id = args.id.or_else(|| result_kept.map(|_| push::new_id()));
    let wait = args.wait.then_some(Wait { longest: args.timeout, is_raw: args.raw });
    let options = PushOptions {
        delay: args.delay,
        unique: args.unique,
        headers: args.headers,
        id,
        front: args.front,
        result_kept,
    };
    options.unique.as_ref().and_then(unique_note).iter().for_each(|note| context.note(note));
    match (args.payload, args.file) {
        (_, Some(file)) => push_lines(context, &args.queue, &file, &options).await,
        (Some(payload), None) => {
            let payload = if payload == "-" { from_stdin()? } else { payload.into_bytes() };
            push_one(context, &args.queue, &payload, &options, wait).await
        }
        (None, None) => Err(Failure::refused("there is nothing to push")),
    }
}

/// `wait`: whether to wait for the result.
async fn push_one(
    context: &Context,
    queue: &QueueName,
    payload: &[u8],
    options: &PushOptions,
    wait: Option<Wait>,
) -> Outcome {
    let link = context.link().await?;
    if let (Some(id), Some(_)) = (&options.id, options.result_kept) {
        // The result of a former job with this name is not this one's.
        status::forget_result(&link, queue, id).await?;
    }
    let pushed = push::push(&link, queue, payload, options).await?;
    known::question_queue(context, &link, queue).await?;
    if let (Some(wait), Some(id)) = (&wait, &options.id)
        && pushed != Pushed::Duplicate
    {
        return wait::print_result(context, queue, id, wait).await;
    }
    let name = text::visible(queue.as_str().as_bytes(), 80);
    if wait.is_some() {
        let name = text::visible(queue.as_str().as_bytes(), 80);
        return Err(Failure::failed(format!("not pushed to `{name}`: a job with this unique key is alive")));
    }
    let id = options.id.as_ref().map(JobId::as_str);
    let named = id.map_or(String::new(), |id| format!(" as `{id}`"));
    let (document, line) = match pushed {
        Pushed::Waiting(waiting) => (
            json!({ "outcome": "waiting", "queue": queue.as_str(), "waiting": waiting, "id": id }),
            format!("pushed to `{name}`{named}, {} waiting", text::count(waiting)),
        ),
        Pushed::Delayed(id) => (
            json!({ "outcome": "delayed", "queue": queue.as_str(), "id": id.as_str() }),
            format!("pushed to `{name}` with a delay: job `{id}`"),
        ),
        Pushed::Duplicate => (
            json!({ "outcome": "duplicate", "queue": queue.as_str() }),
            format!("not pushed to `{name}`: a job with this unique key is alive"),
        ),
    };
    if context.out.is_json() {
        context.out.document(&document)?
    } else {
        context.out.line(&line)?
    }
    Ok(())
}

async fn push_lines(context: &Context, queue: &QueueName, file: &Path, options: &PushOptions) -> Outcome {
    let mut lines = Lines::open(file).refuse()?;
    let link = context.link().await?;
    let bar = progress::over_bytes(lines.length);
    let mut pushed = 0;
    let all = push_batches(&link, queue, &mut lines, options, &bar, &mut pushed).await;
    bar.finish_and_clear();
    if let Err(failure) = all {
        return Err(failure.with_details(vec![format!(
            "{} pushed before; the last batch of at most {BATCH_JOBS_MAX} may be too",
            text::counted(pushed, "job was", "jobs were")
        )]));
    }
    if context.out.is_json() {
        let document = json!({
            "outcome": "pushed", "queue": queue.as_str(), "jobs": pushed, "empty_lines": lines.empty,
        });
        return Ok(context.out.document(&document)?);
    }
    let name = text::visible(queue.as_str().as_bytes(), 80);
    let mut line = format!("pushed {} to `{name}`", text::counted(pushed, "job", "jobs"));
    if lines.empty > 0 {
        line.push_str(&format!("; skipped {}", text::counted(lines.empty, "empty line", "empty lines")));
    }
    Ok(context.out.line(&line)?)
}

async fn push_batches(
    link: &Link,
    queue: &QueueName,
    lines: &mut Lines,
    options: &PushOptions,
    bar: &ProgressBar,
    pushed: &mut u64,
) -> Outcome {
    let plain = options.delay.is_none() && options.headers.is_empty() && !options.front;
    loop {
        let batch = lines.batch()?;
        if batch.is_empty() {
            return Ok(());
        }
        if plain {
            push::push_many(link, queue, &batch).await?;
        } else {
            // One after the other into one pipeline, so the order stays.
            stream::iter(batch.iter().map(|payload| Ok(push::push(link, queue, payload, options))))
                .try_buffered(PUSHES_UNDER_WAY)
                .try_for_each(async |_| Ok(()))
                .await?;
        }
        *pushed += batch.len() as u64;
        bar.set_position(lines.bytes);
        bar.set_message(text::counted(*pushed, "job", "jobs"));
    }
}

/// The lines of a file, a batch at a time: a file may be larger than memory.
struct Lines {
    name: String,
    reader: Box<dyn BufRead>,
    length: Option<u64>,
    bytes: u64,
    empty: u64,
}

impl Lines {
    fn open(file: &Path) -> anyhow::Result<Self> {
        if file == Path::new("-") {
            let reader = Box::new(BufReader::new(io::stdin()));
            return Ok(Self { name: "standard input".to_owned(), reader, length: None, bytes: 0, empty: 0 });
        }
        let name = format!("`{}`", file.display());
        let opened = File::open(file).with_context(|| format!("cannot read {name}"))?;
        let metadata = opened.metadata().with_context(|| format!("cannot read {name}"))?;
        anyhow::ensure!(!metadata.is_dir(), "cannot read {name}: it is a folder");
        let length = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, reader: Box::new(BufReader::new(opened)), length, bytes: 0, empty: 0 })
    }

    /// The next lines that are not empty; an empty batch at the end.
    fn batch(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_JOBS_MAX && bytes < BATCH_BYTES_MAX {
            let mut line = Vec::new();
            let mut bounded = (&mut self.reader).take(PAYLOAD_BYTES_MAX + 1);
            let read = bounded.read_until(b'\n', &mut line);
            let read = read.with_context(|| format!("cannot read {}", self.name))? as u64;
            if read == 0 {
                break;
            }
            self.bytes += read;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            anyhow::ensure!(
                line.len() as u64 <= PAYLOAD_BYTES_MAX,
                "{} holds a line longer than {}",
                self.name,
                text::size(PAYLOAD_BYTES_MAX)
            );
            if line.is_empty() {
                self.empty += 1;
                continue;
            }
            bytes += line.len();
            batch.push(line);
        }
        Ok(batch)
    }
}

fn from_stdin() -> Outcome<Vec<u8>> {
    let mut payload = Vec::new();
    io::stdin()
        .take(PAYLOAD_BYTES_MAX + 1)
        .read_to_end(&mut payload)
        .context("cannot read standard input")
        .refuse()?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        let bound = text::size(PAYLOAD_BYTES_MAX);
        return Err(Failure::refused(format!(
            "standard input holds more than {bound}, the most Redis takes"
        )));
    }
    Ok(payload)
}

/// `key` or `key:ttl`; a key may have colons itself, so only a last part that is a time is taken as one.
fn unique(argument: &str) -> Result<(String, Duration), String> {
    // A bare number is a part of the key, because a time has a unit.
    let is_time =
        |ttl: &str| ttl.starts_with(|c: char| c.is_ascii_digit()) && !ttl.bytes().all(|b| b.is_ascii_digit());
    let time = argument.rsplit_once(':').filter(|(_, ttl)| is_time(ttl));
    let time = time.and_then(|(key, ttl)| Some((key, humantime::parse_duration(ttl).ok()?)));
    let (key, ttl) = time.unwrap_or((argument, UNIQUE_TTL));
    if key.is_empty() || key.len() > 1024 {
        return Err("a unique key has 1 to 1,024 bytes".to_owned());
    }
    if ttl < Duration::from_millis(1) {
        return Err("the time of the unique key is 0; write at least `1ms`".to_owned());
    }
    Ok((key.to_owned(), ttl))
}

/// The note about a unique key whose last part could have been meant as a time.
fn unique_note((key, ttl): &(String, Duration)) -> Option<String> {
    let (_, last) = key.rsplit_once(':').filter(|_| *ttl == UNIQUE_TTL)?;
    let shown = |text: &str| text::visible(text.as_bytes(), 80);
    Some(format!(
        "note: the unique key is `{}`, and it is free after 24h at the latest: `{}` is not a time such as `1h`",
        shown(key),
        shown(last)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_key_may_hold_colons_and_a_time() {
        for (argument, key, seconds) in [
            ("order-7", "order-7", 86_400),
            ("order-7:10m", "order-7", 600),
            ("order:7", "order:7", 86_400),
            ("order:0", "order:0", 86_400),
            ("order:7:30s", "order:7", 30),
        ] {
            assert_eq!(unique(argument), Ok((key.to_owned(), Duration::from_secs(seconds))));
        }
        assert!(unique("").is_err() && unique(":10s").is_err());
        for none in ["k:0s", "k:0ms", "k:1us"] {
            assert!(unique(none).unwrap_err().contains("is 0"), "{none}");
        }
        let note = |argument: &str| unique_note(&unique(argument).unwrap());
        assert_eq!((note("order-7"), note("order:7:30s")), (None, None));
        let said = note("k:abc").unwrap();
        assert!(
            said.contains("`k:abc`") && said.contains("24h") && said.contains("`abc` is not a time"),
            "{said}"
        );
    }

    #[test]
    fn lines_are_binary_safe_and_the_last_needs_no_end() {
        let reader = Box::new(io::Cursor::new(b"a\n\n\xff\x00\r\nlast".to_vec()));
        let mut lines = Lines { name: "test".to_owned(), reader, length: None, bytes: 0, empty: 0 };
        assert_eq!(lines.batch().unwrap(), [&b"a"[..], b"\xff\x00\r", b"last"]);
        assert_eq!((lines.empty, lines.bytes), (1, 11));
        assert!(lines.batch().unwrap().is_empty());
    }
}
