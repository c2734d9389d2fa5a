//! Adds the jobs of a file (`transfer`) to a queue, except those that the queue already has. Several jobs may have
//! the same id, so jobs are compared by their whole identity, and equal ones are counted.

use std::collections::{HashMap, HashSet};

use redis::Value;

use super::filter::Filter;
use super::inspect::{Place, Seen};
use super::key::QueueKeys;
use super::name::{JobId, QueueName};
use super::script;
use super::store::StoreError;
use super::transfer::{Carried, Identity, identity};
use super::walk::Walk;
use super::walk::apply::read_reply;
use crate::storage::link::Link;

/// Most jobs that are sent to Redis in one call.
const BATCH_JOBS_MAX: usize = 500;
/// Bytes of records after which a batch is sent early.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Jobs that were added.
    pub added: u64,
    /// Jobs that were already there, or twice in the file.
    pub present: u64,
    /// Jobs that were skipped, because a living job has their unique key.
    pub duplicates: u64,
}

impl Imported {
    fn looked_at(&self) -> u64 {
        self.added + self.present + self.duplicates
    }
}

/// Adds the jobs that are not in the queue yet. `sum` counts what was done, even if the import fails half-way. `told`
/// is called after each batch with the number of jobs processed so far.
///
/// # Errors
///
/// Redis did not answer or refused, or a key of the queue is of a wrong type.
pub async fn import(
    link: &Link,
    queue: &QueueName,
    jobs: &[Carried],
    sum: &mut Imported,
    mut told: impl FnMut(u64),
) -> Result<(), StoreError> {
    let mut known = known(link, queue, jobs).await?;
    let mut named = HashSet::new();
    for place in [Place::Dead, Place::Delayed, Place::Ready] {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut ours = jobs.iter().filter(|job| job.place == place).peekable();
        while let Some(job) = ours.next() {
            // A sorted set has no record twice: the export listed the same job twice.
            let is_again = place != Place::Ready && !named.insert((place, &job.record));
            let count = known.get_mut(&job.identity).filter(|count| **count > 0);
            if is_again {
                sum.present += 1;
            } else if let Some(count) = count {
                *count -= 1;
                sum.present += 1;
            } else {
                bytes += job.record.len();
                batch.push(job);
            }
            let is_full = batch.len() >= BATCH_JOBS_MAX || bytes >= BATCH_BYTES_MAX;
            if is_full || ours.peek().is_none() {
                add(link, queue, place, &batch, sum).await?;
                told(sum.looked_at());
                batch.clear();
                bytes = 0;
            }
        }
    }
    Ok(())
}

async fn add(
    link: &Link,
    queue: &QueueName,
    place: Place,
    batch: &[&Carried],
    sum: &mut Imported,
) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    let keys = QueueKeys::new(queue);
    let (key, kind) = match place {
        Place::Ready => (&keys.ready, "ready"),
        Place::Delayed => (&keys.delayed, "delayed"),
        _ => (&keys.dead, "dead"),
    };
    let mut call = script::IMPORT.call(&[key, &keys.stats]);
    call.arg(kind).arg(keys.unique_prefix());
    for job in batch {
        call.arg(job.at_ms).arg(&job.record);
    }
    let mut fields = read_reply(script::IMPORT.run::<Value>(link, &call).await?)?;
    sum.added += fields.number()?;
    sum.duplicates += fields.number()?;
    Ok(())
}

/// How often each identity is in the queue, for the ids of the file.
async fn known(
    link: &Link,
    queue: &QueueName,
    jobs: &[Carried],
) -> Result<HashMap<Identity, u64>, StoreError> {
    let ids: HashSet<&JobId> = jobs.iter().map(|job| &job.id).collect();
    let mut known = HashMap::new();
    for place in [Place::Ready, Place::Delayed, Place::Parked, Place::Dead, Place::Inflight] {
        // Whole payloads are fetched only if a preview is shorter than its payload.
        let found = match of_place(link, queue, place, &ids, false).await? {
            Some(found) => found,
            None => of_place(link, queue, place, &ids, true).await?.unwrap_or_default(),
        };
        for identity in found {
            *known.entry(identity).or_default() += 1;
        }
    }
    Ok(known)
}

/// The identities of the jobs with these ids in one place; none if a preview is shorter than its payload.
async fn of_place(
    link: &Link,
    queue: &QueueName,
    place: Place,
    ids: &HashSet<&JobId>,
    whole: bool,
) -> Result<Option<Vec<Identity>>, StoreError> {
    let all = Filter::default();
    let mut walk = Walk::new(link, queue, place, &all, whole).await?;
    let mut found = Vec::new();
    let mut records = HashSet::new();
    while let Some(step) = walk.step().await? {
        for Seen { row, record, .. } in &step.seen {
            let Some(id) = row.id.as_ref().filter(|id| ids.contains(id)) else { continue };
            if !whole && (row.preview.len() as u64) < row.payload_bytes {
                return Ok(None);
            }
            // A walk may list a job twice; a sorted set has no record twice.
            let is_set = matches!(place, Place::Delayed | Place::Dead);
            if is_set && !records.insert(sha1_smol::Sha1::from(record).digest().bytes()) {
                continue;
            }
            found.push(identity(id, row.first_seen_ms.unwrap_or(0), &row.notes, &row.preview));
        }
    }
    Ok(Some(found))
}
