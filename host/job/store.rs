//! The jobs of one queue in Redis: claiming, finding again, taking back from dead hosts. Each method is one
//! script or command. How runs end is in `settle`, who may claim in `lease`, what operators do in `edit`.

use std::fmt;
use std::str::FromStr;

use redis::Value;

use super::envelope::Header;
use super::key::{HOSTS, QueueKeys};
use super::lease::Death;
use super::limit::QueueLimits;
use super::name::{HostId, JobId, QueueName, first_seen_ms};
use super::reply::{Fields, list, number, text, unexpected};
use super::script;
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Most jobs in one claim: at some thousands Lua's `unpack` fails, after the jobs were taken.
pub const CLAIM_MAX: u32 = 512;
/// Most records one call of `reap` moves, so that Redis serves others in between.
pub const REAP_RECORDS_MAX: u32 = 500;
/// Bytes of records after which a call of `reap` stops early.
pub const REAP_BYTES_MAX: u64 = 2 << 20;

/// Which end of the list is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    #[default]
    Fifo,
    /// Newest first.
    Lifo,
}

/// What happens to a job whose host dies while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// It runs again.
    #[default]
    AtLeastOnce,
    /// It is gone: a claim is its end.
    AtMostOnce,
}

/// How much of what was buried is kept; the oldest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLimits {
    /// Most dead jobs of a queue.
    pub count: u64,
    /// Longest time a dead job is kept.
    pub age_ms: u64,
    /// Most bytes of dead jobs of a queue.
    pub bytes: u64,
}

/// Largest sequence number: scripts count in doubles, which are exact up to here. Hosts give none in 500 years.
const SEQ_MAX: u64 = 1 << 53;

/// The place of a claimed job among its host's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The sequence number of the claim.
    pub seq: u64,
    /// Whether the record is an envelope rather than the bare payload.
    pub enveloped: bool,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, enveloped } = self;
        if *enveloped { write!(f, "e{seq}") } else { write!(f, "{seq}") }
    }
}

/// The field is none of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSlot;

impl FromStr for Slot {
    type Err = NoSlot;

    fn from_str(field: &str) -> Result<Self, Self::Err> {
        let (digits, enveloped) = field.strip_prefix('e').map_or((field, false), |digits| (digits, true));
        let seq = digits.parse().ok().filter(|seq| *seq <= SEQ_MAX).ok_or(NoSlot)?;
        Ok(Self { seq, enveloped })
    }
}

/// A job this host now owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Where its record is.
    pub slot: Slot,
    /// What is known of it; made here for a job from the list.
    pub header: Header,
    /// The producer's bytes.
    pub payload: Vec<u8>,
}

impl Claimed {
    /// About what it takes in memory.
    pub fn bytes(&self) -> u64 {
        let notes: usize = self.header.notes.iter().map(|(name, value)| name.len() + value.len()).sum();
        (self.payload.len() + notes) as u64
    }
}

/// One step of a queue's feeder.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// Who claims.
    pub host: &'a HostId,
    /// Jobs that completed. Those no longer ours are counted as late.
    pub acks: &'a [Slot],
    /// How many jobs to claim at most, up to `CLAIM_MAX`; none does not even look whether there are any.
    pub claim: u32,
    /// Least sequence number to give: what the last reply said, zero at first.
    pub next_seq: u64,
    /// Which end of the list is next.
    pub order: Order,
    /// Whether claims leave a record.
    pub delivery: Delivery,
    /// Most bytes of all that is claimed; one job is claimed in any case.
    pub bytes_max: u64,
    /// Most bytes of a payload: a job with more is buried, unseen.
    pub payload_bytes_max: u64,
    /// What the whole fleet may run of the queue.
    pub limits: &'a QueueLimits,
    /// The number of this claim among those of its feeder: claims of one job take turns between the places.
    pub nth: u64,
}

/// What a turn did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TurnReply {
    /// How many of the acknowledged jobs were ours.
    pub settled: u64,
    /// The claimed jobs, in the order they are to start.
    pub jobs: Vec<Claimed>,
    /// Least sequence number for the next turn.
    pub next_seq: u64,
    /// Redis time.
    pub now_ms: u64,
    /// When the earliest delayed job is due, if there is one; not told when all that was wanted was claimed.
    pub next_due_ms: Option<u64>,
    /// Whether the list or ready may still hold jobs. When not, Redis reports the next push (key tracking).
    pub more: bool,
    /// Whether an operator holds the queue; nothing is claimed then.
    pub paused: bool,
    /// Jobs that were buried because their payload is too large.
    pub oversized: u64,
    /// Whether a limit of the queue is all that ended the claim. Then `next_due_ms` is when it lets through more, if
    /// that is known; else Redis reports it.
    pub limited: bool,
}

/// What taking back from a dead host did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaped {
    /// Jobs ready again, and popped entries back on their list.
    pub moved: u64,
    /// Jobs buried as poison.
    pub buried: u64,
    /// Records still to be moved: call again.
    pub left: u64,
    /// The host's lease lives (again): nothing was done.
    pub alive: bool,
}

/// Why the store could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Redis gave no usable answer.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The host is not registered or its lease ended. A turn's acknowledgements were carried out, its claim
    /// was not.
    #[error("the host holds no lease")]
    NoLease,
    /// A key of ours, or the queue, holds another type. Nothing was taken. A turn's acknowledgements were
    /// carried out (or are without object, if the key is the very hash of records).
    #[error("the key `{0}` holds another type than Sandhog keeps there")]
    WrongType(String),
    /// What is to be remembered about a job does not fit into a header.
    #[error("the headers of the job have {0} bytes; at most 16,384 fit")]
    HeaderTooLong(usize),
}

/// The jobs of one queue; clones share the connection.
#[derive(Debug, Clone)]
pub struct JobStore {
    pub(super) link: Link,
    pub(super) keys: QueueKeys,
    pub(super) dead: DeadLimits,
    queue: QueueName,
}

impl JobStore {
    /// The jobs of `queue`.
    pub fn new(link: Link, queue: QueueName, dead: DeadLimits) -> Self {
        Self { link, keys: QueueKeys::new(&queue), dead, queue }
    }

    /// The keys of the queue.
    pub fn keys(&self) -> &QueueKeys {
        &self.keys
    }

    /// The queue.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Acknowledges what completed and claims what may start, in one step.
    pub async fn turn(&self, turn: &Turn<'_>) -> Result<TurnReply, StoreError> {
        let has_small_nodes = turn.claim > 0 && self.link.has_small_nodes().await?;
        let keys = &self.keys;
        let watched = [&keys.list, &keys.ready, &keys.delayed, &keys.paused, &keys.vacant];
        let (script, watched) = if turn.limits.is_none() {
            (&script::TURN, &watched[..4])
        } else {
            (&script::TURN_LIMITED, &watched[..])
        };
        let mut call = script.call(watched);
        let pop = match turn.order {
            Order::Fifo => "LPOP",
            Order::Lifo => "RPOP",
        };
        call.arg(turn.host.as_str()).arg(turn.host.epoch_ms()).arg(turn.claim.min(CLAIM_MAX));
        call.arg(turn.next_seq).arg(pop).arg(u8::from(turn.delivery == Delivery::AtMostOnce));
        call.arg(keys.inflight(turn.host)).arg(&keys.stats).arg(HOSTS).arg(keys.unique_prefix());
        call.arg(turn.bytes_max).arg(turn.payload_bytes_max);
        call.arg(&keys.dead).arg(self.dead.count).arg(self.dead.age_ms).arg(self.dead.bytes);
        let (numbers, source) = turn.limits.arguments();
        call.arg(numbers).arg(source).arg(turn.nth).arg(u8::from(has_small_nodes));
        call.arg(turn.acks.iter().filter(|slot| slot.enveloped).count());
        for slot in turn.acks.iter().filter(|slot| slot.enveloped) {
            call.arg(slot.to_string());
        }
        for slot in turn.acks.iter().filter(|slot| !slot.enveloped) {
            call.arg(slot.seq);
        }
        let reply = script.run::<Value>(&self.link, &call).await?;
        read_turn(turn, reply)
    }

    /// Takes back what a dead `host` had in flight, a page at a time: to ready with one crash more, or to dead
    /// at `crashes_max` crashes; entries that its runs had popped, to the list.
    pub async fn reap(&self, host: &HostId, death: Death, crashes_max: u32) -> Result<Reaped, StoreError> {
        let keys = &self.keys;
        let inflight = keys.inflight(host);
        let mut call =
            script::REAP.call(&[&inflight, &keys.stats, &keys.ready, &keys.dead, HOSTS, &keys.list]);
        call.arg(host.as_str()).arg(host.epoch_ms()).arg(death.code()).arg(crashes_max);
        call.arg(REAP_RECORDS_MAX).arg(REAP_BYTES_MAX);
        call.arg(self.dead.count).arg(self.dead.age_ms).arg(self.dead.bytes).arg(keys.unique_prefix());
        let mut fields = Fields::new(script::REAP.run::<Value>(&self.link, &call).await?)?;
        match fields.number()? {
            0 => Ok(Reaped {
                moved: fields.number()?,
                buried: fields.number()?,
                left: fields.number()?,
                alive: false,
            }),
            1 => Ok(Reaped { alive: true, ..Reaped::default() }),
            _ => Err(StoreError::WrongType(fields.text()?)),
        }
    }

    /// Drops dead jobs that have passed a cap, a bounded number at a time; zero when there are none. Burying
    /// does the same; this is for queues where nothing is buried any more.
    pub async fn trim(&self) -> Result<u64, StoreError> {
        let mut call = script::TRIM.call(&[&self.keys.dead, &self.keys.stats]);
        call.arg(self.dead.count).arg(self.dead.age_ms).arg(self.dead.bytes);
        match script::TRIM.run::<Value>(&self.link, &call).await? {
            dropped @ Value::Int(_) => Ok(number(&dropped)?),
            key => Err(StoreError::WrongType(text(key)?)),
        }
    }
}

/// Names the key when a plain command met another type.
pub(super) fn wrong_type(fault: Fault, key: &str) -> StoreError {
    if fault.is_code("WRONGTYPE") { StoreError::WrongType(key.to_owned()) } else { fault.into() }
}

fn read_turn(turn: &Turn<'_>, reply: Value) -> Result<TurnReply, StoreError> {
    let mut fields = Fields::new(reply)?;
    let code = fields.number()?;
    let settled = fields.number()?;
    match code {
        0 => {}
        1 => return Err(StoreError::NoLease),
        _ => return Err(StoreError::WrongType(fields.text()?)),
    }
    let now_ms = fields.number()?;
    let next_due_ms = fields.optional_number()?;
    let more = fields.number()? != 0;
    let paused = fields.number()? != 0;
    let mut seq = fields.number()?.max(turn.next_seq);
    let envelopes = list(fields.next())?;
    let payloads = list(fields.next())?;
    let mut jobs = Vec::with_capacity(envelopes.len() + payloads.len());
    let records = envelopes.into_iter().map(|r| (true, r)).chain(payloads.into_iter().map(|r| (false, r)));
    for (enveloped, record) in records {
        let Value::BulkString(record) = record else { return Err(unexpected(&record).into()) };
        jobs.push(read_record(turn.host, Slot { seq, enveloped }, record));
        seq += 1;
    }
    // They have numbers, too: no two jobs have the same id.
    let oversized = fields.number()?;
    let next_seq = fields.number()?.max(seq + oversized);
    let limited = fields.number()? != 0;
    Ok(TurnReply { settled, jobs, next_seq, now_ms, next_due_ms, more, paused, oversized, limited })
}

/// The job in a record.
pub(super) fn read_record(host: &HostId, slot: Slot, mut record: Vec<u8>) -> Claimed {
    if slot.enveloped
        && let Ok((header, payload)) = Header::decode(&record)
    {
        let begins = record.len() - payload.len();
        record.drain(..begins);
        return Claimed { slot, header, payload: record };
    }
    // Bare; or no envelope of ours, put there by somebody's hand: then all of it is the payload.
    let header = Header {
        id: JobId::claimed(host, slot.seq),
        attempts: 0,
        crashes: 0,
        first_seen_ms: first_seen_ms(host, slot.seq),
        notes: Vec::new(),
    };
    Claimed { slot, header, payload: record }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_as_they_are_written() {
        for (text, seq, enveloped) in
            [("0", 0, false), ("17", 17, false), ("e9007199254740992", 1 << 53, true)]
        {
            let slot = Slot { seq, enveloped };
            assert_eq!((slot.to_string().as_str(), text.parse()), (text, Ok(slot)));
        }
        for bad in ["", "e", "x1", "-1", "e-1", "1e", "9007199254740993", "e18446744073709551615"] {
            assert!(bad.parse::<Slot>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_envelope_is_a_payload_as_a_whole() {
        let host = HostId::new("h", 1, 1000).unwrap();
        let slot = Slot { seq: 1024, enveloped: true };
        let job = read_record(&host, slot, b"junk\nmore".to_vec());
        assert_eq!((job.payload.as_slice(), job.header.first_seen_ms), (&b"junk\nmore"[..], 1002));
    }
}
