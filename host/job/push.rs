//! Putting jobs into a queue. Without options a job is the producer's bytes at the end of a list, as any other
//! client would push it.

use std::time::Duration;

use redis::Value;

use super::envelope::{HEADER_MADE_BYTES_MAX, Header};
use super::key::QueueKeys;
use super::name::{JobId, QueueName};
use super::reply::Fields;
use super::script;
use super::status::{RESULT_KEPT_MAX, RESULT_NOTE};
use super::store::{StoreError, wrong_type};
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Most payloads, and about most bytes, in one command of a bulk push.
const BULK_COUNT: usize = 1_000;
const BULK_BYTES: usize = 1 << 20;

/// A century. Of what is further away, sums with Redis time would leave the range of exact numbers, and that of the
/// expiries Redis accepts.
pub(super) const WAIT_MS_MAX: u64 = 3_155_760_000_000;

/// How a job is to be pushed; the default is a plain push.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushOptions {
    /// Not to be run before this has passed.
    pub delay: Option<Duration>,
    /// Refused while a job with the same key waits or runs, but no longer than this.
    pub unique: Option<(String, Duration)>,
    /// For the guest: names and values. A name that begins with `!` is the host's own.
    pub headers: Vec<(String, String)>,
    /// The job's name, instead of one that is made up. It keeps no other from having the same.
    pub id: Option<JobId>,
    /// Whether the job's result is wanted, and how long it is kept.
    pub result_kept: Option<Duration>,
    /// To be the next one taken, by a queue that takes the oldest first.
    pub front: bool,
}

impl PushOptions {
    /// Whether any client could push it as well, to either end.
    fn is_plain(&self) -> bool {
        self.delay.is_none()
            && self.unique.is_none()
            && self.headers.is_empty()
            && self.id.is_none()
            && self.result_kept.is_none()
    }
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It waits; this many wait where it was put.
    Waiting(u64),
    /// It becomes due later.
    Delayed(JobId),
    /// A living job has its unique key; nothing was pushed.
    Duplicate,
}

/// Pushes one job.
pub async fn push(
    link: &Link,
    queue: &QueueName,
    payload: &[u8],
    options: &PushOptions,
) -> Result<Pushed, StoreError> {
    let keys = QueueKeys::new(queue);
    let end = if options.front { "LPUSH" } else { "RPUSH" };
    if options.is_plain() {
        let length = link.query(redis::cmd(end).arg(&keys.list).arg(payload)).await;
        return length.map(Pushed::Waiting).map_err(|fault| wrong_type(fault, &keys.list));
    }
    let id = options.id.clone().unwrap_or_else(new_id);
    let mut header = Header { id, attempts: 0, crashes: 0, first_seen_ms: 0, notes: options.headers.clone() };
    if let Some(kept) = options.result_kept {
        let kept = kept.clamp(Duration::from_millis(1), RESULT_KEPT_MAX);
        header.set_note(RESULT_NOTE, milliseconds(kept).to_string());
    }
    let mut at = vec![keys.ready.clone(), keys.delayed.clone()];
    if let Some((key, _)) = &options.unique {
        header.set_note("!unique", key);
        at.push(keys.unique(key));
    }
    let line = header.encode();
    // Redis time takes up to 13 digits more than the zero that stands for it.
    if line.len() + 16 > HEADER_MADE_BYTES_MAX {
        return Err(StoreError::HeaderTooLong(line.len()));
    }
    let mut call = script::PUSH.call(&at);
    call.arg(header.id.as_str()).arg(notes(&header)).arg(payload);
    call.arg(options.delay.map(|delay| milliseconds(delay).to_string()).unwrap_or_default()).arg(end);
    call.arg(options.unique.as_ref().map_or(0, |(_, kept)| milliseconds(*kept).max(1)));
    let mut fields = Fields::new(script::PUSH.run::<Value>(link, &call).await?)?;
    match fields.number()? {
        0 => Ok(Pushed::Waiting(fields.number()?)),
        1 => Ok(Pushed::Delayed(header.id)),
        2 => Ok(Pushed::Duplicate),
        _ => Err(StoreError::WrongType(fields.text()?)),
    }
}

/// The id of a job that is pushed with options: random, so that nobody has to be asked.
pub fn new_id() -> JobId {
    JobId::new(format!("push-{:032x}", fastrand::u128(..))).expect("hex digits make a job id")
}

/// Pushes many jobs, plainly and in order, and answers how many wait then. If it fails, the first ones may have
/// been pushed.
pub async fn push_many(
    link: &Link,
    queue: &QueueName,
    payloads: &[impl AsRef<[u8]>],
) -> Result<u64, StoreError> {
    let mut waiting = 0;
    let mut rest = payloads;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |payload: &&_| {
            bytes += AsRef::<[u8]>::as_ref(*payload).len();
            bytes <= BULK_BYTES
        };
        let count = rest.iter().take(BULK_COUNT).take_while(fits).count().max(1);
        let (page, later) = rest.split_at(count);
        let mut push = redis::cmd("RPUSH");
        push.arg(queue.as_str());
        for payload in page {
            push.arg(payload.as_ref());
        }
        let length: Result<u64, Fault> = link.query(&push).await;
        waiting = length.map_err(|fault| wrong_type(fault, queue.as_str()))?;
        rest = later;
    }
    Ok(waiting)
}

/// The notes of the header of a job that has not been claimed yet, as scripts put them after Redis time.
pub(super) fn notes(header: &Header) -> String {
    let line = header.encode();
    let bare = format!("1 {} 0 0 0", header.id);
    line.strip_prefix(&bare).unwrap_or_default().trim_end_matches('\n').to_owned()
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX).min(WAIT_MS_MAX)
}
