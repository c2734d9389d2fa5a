//! What operators do to jobs that do not run: make them ready now, throw them away, hold a whole queue. Each
//! page of a change is one script.

use std::collections::BTreeSet;

use redis::Value;

use super::inspect::Place;
use super::key::QueueKeys;
use super::name::{JobId, QueueName};
use super::pace::Pace;
use super::reply::{Fields, list, text};
use super::script;
use super::store::StoreError;
use crate::storage::link::Link;

/// Most jobs that one script reads.
const PAGE: u64 = 100;
/// Bytes of jobs after which a page ends early, so that Redis can serve other clients between pages.
const PAGE_BYTES: u64 = 1 << 20;

/// Which jobs are meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// These, wherever they are.
    Ids(&'a [JobId]),
    /// All in one place.
    All(Place),
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// Jobs that were changed.
    pub jobs: u64,
    /// Jobs that stay dead, because a living job has their unique key.
    pub duplicates: u64,
    /// If jobs were named by id: the ids that were found. An id selects every job that has it.
    pub found: BTreeSet<JobId>,
}

impl Changed {
    pub(super) fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.duplicates += other.duplicates;
        self.found.extend(other.found);
    }

    /// Adds the ids of a script's reply to `found`.
    pub(super) fn find(&mut self, ids: Value) -> Result<(), StoreError> {
        for id in list(ids)? {
            self.found.extend(JobId::new(text(id)?));
        }
        Ok(())
    }
}

/// Makes jobs ready now, at most `limit` (duplicates included): dead ones start again without attempts and crashes
/// and take their unique key again; delayed ones keep their attempts. Other jobs are not changed. `told` is called
/// after each page with the number of jobs changed so far.
pub async fn requeue(
    link: &Link,
    queue: &QueueName,
    which: &Which<'_>,
    limit: u64,
    told: impl FnMut(u64),
) -> Result<Changed, StoreError> {
    edit(link, queue, which, limit, Change::Requeue, told).await
}

/// Discards jobs, at most `limit`: dead, delayed or ready ones. Other jobs are not changed: the list belongs to
/// producers, and a running job to its host. `told` is called after each page with the number of jobs discarded so
/// far.
pub async fn discard(
    link: &Link,
    queue: &QueueName,
    which: &Which<'_>,
    limit: u64,
    told: impl FnMut(u64),
) -> Result<Changed, StoreError> {
    edit(link, queue, which, limit, Change::Discard, told).await
}

/// Holds `queue`: no host claims from it until it is resumed. What runs goes on.
pub async fn pause(link: &Link, queue: &QueueName) -> Result<(), StoreError> {
    super::hold::pause(link, &QueueKeys::new(queue).paused).await.map(drop)
}

/// Lets hosts claim from `queue` again; false when nobody held it.
pub async fn resume(link: &Link, queue: &QueueName) -> Result<bool, StoreError> {
    Ok(link.query(redis::cmd("DEL").arg(&QueueKeys::new(queue).paused)).await?)
}

#[derive(Clone, Copy)]
enum Change {
    Requeue,
    Discard,
}

async fn edit(
    link: &Link,
    queue: &QueueName,
    which: &Which<'_>,
    limit: u64,
    change: Change,
    mut told: impl FnMut(u64),
) -> Result<Changed, StoreError> {
    let everywhere: &[Place] = match change {
        Change::Requeue => &[Place::Dead, Place::Delayed],
        Change::Discard => &[Place::Ready, Place::Delayed, Place::Dead],
    };
    let (places, ids) = match which {
        Which::All(place) => (everywhere.iter().filter(|p| *p == place).copied().collect(), &[][..]),
        Which::Ids([]) => return Ok(Changed::default()),
        Which::Ids(ids) => (everywhere.to_vec(), *ids),
    };
    let mut all = Changed::default();
    let mut pace = Pace::default();
    for place in places {
        let mut skip = Some(0);
        while let Some(from) = skip
            && all.jobs + all.duplicates < limit
        {
            let most = limit - all.jobs - all.duplicates;
            let page = page(link, queue, place, from, most, ids, change);
            let (changed, next) = pace.page(page).await?;
            all.add(changed);
            skip = next;
            told(all.jobs);
        }
    }
    Ok(all)
}

async fn page(
    link: &Link,
    queue: &QueueName,
    place: Place,
    skip: u64,
    most: u64,
    ids: &[JobId],
    change: Change,
) -> Result<(Changed, Option<u64>), StoreError> {
    let keys = QueueKeys::new(queue);
    let (source, kind) = match place {
        Place::Ready => (&keys.ready, "ready"),
        Place::Delayed => (&keys.delayed, "delayed"),
        _ => (&keys.dead, "dead"),
    };
    let (script, mut call) = match change {
        Change::Requeue => (&script::REQUEUE, script::REQUEUE.call(&[source, &keys.stats, &keys.ready])),
        Change::Discard => (&script::DISCARD, script::DISCARD.call(&[source, &keys.stats])),
    };
    call.arg(kind).arg(skip).arg(PAGE).arg(most).arg(PAGE_BYTES).arg(keys.unique_prefix());
    for id in ids {
        call.arg(id.as_str());
    }
    let mut fields = Fields::new(script.run::<Value>(link, &call).await?)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    let mut changed = Changed { jobs: fields.number()?, ..Changed::default() };
    let next = fields.optional_number()?;
    if matches!(change, Change::Requeue) {
        changed.duplicates = fields.number()?;
    }
    changed.find(fields.next())?;
    Ok((changed, next))
}
