//! What is told of a job beside its effects: how far it is, while it runs, and its result, for a producer that asked
//! for it. A result is a list with one entry, so that any client can wait for it (`BLMOVE` to itself, or `BLPOP`): a line
//! that says what became of the job, then its bytes.

use std::time::Duration;

use redis::Value;

use super::change::{Expiry, Write};
use super::key::QueueKeys;
use super::name::{JobId, QueueName};
use super::reply::bytes;
use super::store::StoreError;
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// The note of a job whose result is wanted: how long it is kept, in milliseconds.
pub const RESULT_NOTE: &str = "!result";
/// Longest time a result is kept.
pub const RESULT_KEPT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest result.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;
/// Longest words about how far a run is.
pub const NOTE_BYTES_MAX: usize = 200;
/// Longest progress in Redis, in bytes: two numbers and a note.
const PROGRESS_BYTES_MAX: usize = NOTE_BYTES_MAX + 48;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much; 0: nobody knows.
    pub total: u64,
    /// A few words.
    pub note: String,
}

/// What became of a job whose result is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It completed; what its run left.
    Done(Vec<u8>),
    /// It did not, and will not run again by itself: `dead`, `discarded` or `cancelled`, and why.
    Failed(String, String),
}

/// Shows how far a job is, for so long.
pub async fn show_progress(
    link: &Link,
    keys: &QueueKeys,
    job: &str,
    progress: &Progress,
    kept: Duration,
) -> Result<(), StoreError> {
    let Progress { done, total, note } = progress;
    let mut set = redis::cmd("SET");
    set.arg(keys.progress(job)).arg(format!("{done} {total} {note}"));
    set.arg("PX").arg(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    Ok(link.query::<()>(&set).await?)
}

/// How far these jobs are, in the same order; none of whom nothing was told.
pub async fn progress(
    link: &Link,
    queue: &QueueName,
    jobs: &[JobId],
) -> Result<Vec<Option<Progress>>, StoreError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let keys = QueueKeys::new(queue);
    let mut get = redis::Pipeline::with_capacity(jobs.len());
    for job in jobs {
        get.cmd("GETRANGE").arg(keys.progress(job.as_str())).arg(0).arg(PROGRESS_BYTES_MAX);
    }
    let read = |found: Result<Value, Fault>| match found {
        Ok(Value::BulkString(text)) if text.len() <= PROGRESS_BYTES_MAX => Ok(read_progress(&text)),
        Err(fault) if fault.is_lost() => Err(fault.into()),
        // The key has another type, or another program wrote it.
        _ => Ok(None),
    };
    link.pipeline(&get).await?.into_iter().map(read).collect()
}

fn read_progress(text: &[u8]) -> Option<Progress> {
    let text = std::str::from_utf8(text).ok()?;
    let (done, rest) = text.split_once(' ')?;
    let (total, note) = rest.split_once(' ')?;
    Some(Progress { done: done.parse().ok()?, total: total.parse().ok()?, note: note.to_owned() })
}

/// The change that leaves the result of a completed job.
pub fn leave_result(queue: &QueueName, job: &JobId, value: &[u8], kept_ms: u64) -> Write {
    let entry = [b"done\n", value].concat();
    let key = QueueKeys::new(queue).result(job.as_str());
    Write::Push { key, replaces: true, front: Vec::new(), back: vec![entry], expiry: Expiry::In(kept_ms) }
}

/// Forgets the result of a job, if there is one.
pub async fn forget_result(link: &Link, queue: &QueueName, job: &JobId) -> Result<(), StoreError> {
    let key = QueueKeys::new(queue).result(job.as_str());
    Ok(link.query::<()>(redis::cmd("DEL").arg(&key)).await?)
}

/// Waits up to `longest` for the result of a job, and leaves it there; none: it is not there yet.
///
/// `link` waits for answers longer than that, and has nothing else to do.
pub async fn await_result(
    link: &Link,
    queue: &QueueName,
    job: &JobId,
    longest: Duration,
) -> Result<Option<Ending>, StoreError> {
    let key = QueueKeys::new(queue).result(job.as_str());
    let mut wait = redis::cmd("BLMOVE");
    wait.arg(&key).arg(&key).arg("LEFT").arg("LEFT").arg(longest.as_secs_f64());
    match link.query::<Value>(&wait).await? {
        Value::Nil => Ok(None),
        entry => Ok(Some(read_ending(&bytes(entry)?))),
    }
}

fn read_ending(entry: &[u8]) -> Ending {
    let end = entry.iter().position(|byte| *byte == b'\n').unwrap_or(entry.len());
    let (word, rest) = (&entry[..end], entry.get(end + 1..).unwrap_or_default());
    if word == b"done" {
        return Ending::Done(rest.to_vec());
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ending::Failed(text(word), text(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_and_progress_are_read() {
        assert_eq!(read_ending(b"done\n\xff\n"), Ending::Done(b"\xff\n".to_vec()));
        assert_eq!(read_ending(b"done"), Ending::Done(Vec::new()));
        assert_eq!(read_ending(b"dead\nno card"), Ending::Failed("dead".to_owned(), "no card".to_owned()));
        let found = Progress { done: 3, total: 10, note: "of the pages".to_owned() };
        assert_eq!(read_progress(b"3 10 of the pages"), Some(found));
        assert_eq!(read_progress(b"3 10"), None);
    }
}
