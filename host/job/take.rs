//! Entries that runs pop: off their list and into a record of the host, until the run is over. With its completion
//! they go (`commit`); if it fails they are put back; if the host dies, whoever reaps it puts them back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redis::{Cmd, Value};

use super::change::Taken;
use super::key::{HOSTS, QueueKeys, host_info};
use super::name::{HostId, QueueName};
use super::recorded::INFLIGHT_BOUND;
use super::reply::{Fields, bytes, text, unexpected};
use super::script;
use super::store::{StoreError, wrong_type};
use crate::storage::bounded::{self, Of};
use crate::storage::link::Link;

/// Most entries one call puts back.
const CALL_ENTRIES_MAX: usize = 500;
/// Bytes that one call puts back, at most about this many: a MiB costs Redis 4 ms.
const CALL_BYTES_MAX: usize = 1 << 20;

/// Records of this process by their numbers, as long as somebody in it holds their names: whoever runs, commits or
/// puts back does. No two have the same number, and a host id belongs to one process.
static HELD: Mutex<Held> = Mutex::new(Held { next: 0, names: BTreeMap::new() });

struct Held {
    next: u64,
    names: BTreeMap<u64, Weak<str>>,
}

/// The two ends of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Left.
    Front,
    /// Right.
    Back,
}

/// What there was to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeReply {
    /// This entry, which is the host's now.
    Entry(Vec<u8>),
    /// Nothing.
    Empty,
    /// An entry of this many bytes; it stays where it is.
    TooLong(u64),
}

impl Taken {
    /// A new record, for an entry that is about to be taken.
    pub fn begin(queue: QueueName, end: End) -> Self {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let n = held.next;
        held.next += 1;
        // One that is not held any more goes for each that comes, the oldest first.
        if let Some(gone) = held.names.iter().find(|(_, name)| name.strong_count() == 0).map(|(n, _)| *n) {
            held.names.remove(&gone);
        }
        let taken = Self::new(queue, end, n);
        held.names.insert(n, Arc::downgrade(&taken.field));
        taken
    }

    /// The record of the entry taken as number `n` by a host.
    pub fn new(queue: QueueName, end: End, n: u64) -> Self {
        let letter = if end == End::Front { 'f' } else { 'b' };
        Self { queue, field: format!("{letter}{n}").into() }
    }

    /// Which of the host's entries it is; they count up.
    fn number(&self) -> u64 {
        number(&self.field).unwrap_or(0)
    }
}

/// Takes one entry of at most `bytes_max` bytes from `end` into the record `taken` of `host`. Said again it answers
/// the same entry. `NoLease` when the host holds no lease.
pub async fn take(
    link: &Link,
    host: &HostId,
    taken: &Taken,
    end: End,
    bytes_max: u64,
) -> Result<TakeReply, StoreError> {
    let keys = QueueKeys::new(&taken.queue);
    let about = host_info(host.as_str());
    let mut call = script::TAKE.call(&[&keys.list, &keys.inflight(host), HOSTS, &about]);
    call.arg(host.as_str()).arg(&*taken.field);
    call.arg(if end == End::Front { "LPOP" } else { "RPOP" }).arg(bytes_max);
    let mut fields = Fields::new(script::TAKE.run::<Value>(link, &call).await?)?;
    match fields.number()? {
        0 => Ok(TakeReply::Entry(bytes(fields.next())?)),
        1 => Ok(TakeReply::Empty),
        2 => Ok(TakeReply::TooLong(fields.number()?)),
        3 => Err(StoreError::NoLease),
        _ => Err(StoreError::WrongType(fields.text()?)),
    }
}

/// Puts entries back where they were taken, the last one taken first, so that lists look as before. Those whose
/// record is gone are left out. After an error some entries may be back; the others keep their records. The calls are
/// sent one after the other, because Redis executes all commands that have arrived before it serves another connection.
pub async fn put_back(link: &Link, host: &HostId, taken: &[Taken]) -> Result<(), StoreError> {
    let mut entries: Vec<&Taken> = taken.iter().collect();
    entries.sort_by(|a, b| a.queue.cmp(&b.queue).then(b.number().cmp(&a.number())));
    let mut failure = None;
    for mut rest in entries.chunk_by(|a, b| a.queue == b.queue) {
        while !rest.is_empty() {
            match put_back_some(link, host, &rest[..rest.len().min(CALL_ENTRIES_MAX)]).await {
                Ok(done) => rest = &rest[done..],
                Err(StoreError::Fault(fault)) if fault.is_lost() => return Err(fault.into()),
                // Entries of another queue may still go back.
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Puts back the first of these entries of one queue, as many as one call may. Returns how many.
async fn put_back_some(link: &Link, host: &HostId, entries: &[&Taken]) -> Result<usize, StoreError> {
    match script::PUT_BACK.run(link, &call(host, entries)).await? {
        Value::Int(done) => match usize::try_from(done) {
            Ok(done) if (1..=entries.len()).contains(&done) => Ok(done),
            _ => Err(unexpected(&Value::Int(done)).into()),
        },
        key @ Value::BulkString(_) => Err(StoreError::WrongType(text(key)?)),
        other => Err(unexpected(&other).into()),
    }
}

/// Puts back what `host`, a host of this process, has taken from `queue` and nobody here holds any more. A failover
/// can bring back records that were done with; their jobs run again, and take other entries. Answers how many.
pub async fn put_back_forgotten(link: &Link, host: &HostId, queue: &QueueName) -> Result<usize, StoreError> {
    let key = QueueKeys::new(queue).inflight(host);
    let fields = bounded::texts(link, &key, Of::Names, INFLIGHT_BOUND).await;
    let fields: Vec<String> = fields.map_err(|fault| wrong_type(fault, &key))?;
    let forgotten: Vec<Taken> = {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = |n| held.names.get(&n).is_some_and(|name| name.strong_count() > 0);
        let entries = fields.into_iter().filter(|field| field.starts_with(['f', 'b']));
        let forgotten = entries.filter(|field| number(field).is_some_and(|n| !is_held(n)));
        forgotten.map(|field| Taken { queue: queue.clone(), field: field.into() }).collect()
    };
    put_back(link, host, &forgotten).await?;
    Ok(forgotten.len())
}

/// The number in the name of a record.
fn number(field: &str) -> Option<u64> {
    field.get(1..)?.parse().ok()
}

/// The call for some entries of one queue.
fn call(host: &HostId, entries: &[&Taken]) -> Cmd {
    let keys = QueueKeys::new(&entries[0].queue);
    let mut call = script::PUT_BACK.call(&[&keys.inflight(host), &keys.list]);
    call.arg(CALL_BYTES_MAX);
    for taken in entries {
        call.arg(&*taken.field);
    }
    call
}
