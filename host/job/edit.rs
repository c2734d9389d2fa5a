//! What operators do to jobs that do not run: make them ready now, throw them away, hold a whole queue. Each
//! page of a change is one script.

use redis::Value;

use super::inspect::Place;
use super::key::QueueKeys;
use super::name::{JobId, QueueName};
use super::reply::Fields;
use super::script;
use super::store::StoreError;
use crate::storage::link::Link;

/// Jobs one script looks at.
const PAGE: u64 = 100;

/// Which jobs are meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// These, wherever they are.
    Ids(&'a [JobId]),
    /// All in one place.
    All(Place),
}

/// Makes jobs ready now, `limit` at most, and answers how many: dead ones, which begin anew without attempts
/// and crashes, or delayed ones, which keep them. Jobs elsewhere are left alone.
pub async fn requeue(
    link: &Link,
    queue: &QueueName,
    which: &Which<'_>,
    limit: u64,
) -> Result<u64, StoreError> {
    edit(link, queue, which, limit, Change::Requeue).await
}

/// Throws jobs away, `limit` at most, and answers how many: dead, delayed or ready ones. Jobs elsewhere are
/// left alone: the producers' list is theirs, and what runs is its host's.
pub async fn discard(
    link: &Link,
    queue: &QueueName,
    which: &Which<'_>,
    limit: u64,
) -> Result<u64, StoreError> {
    edit(link, queue, which, limit, Change::Discard).await
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
) -> Result<u64, StoreError> {
    let everywhere: &[Place] = match change {
        Change::Requeue => &[Place::Dead, Place::Delayed],
        Change::Discard => &[Place::Ready, Place::Delayed, Place::Dead],
    };
    let (places, ids) = match which {
        Which::All(place) => (everywhere.iter().filter(|p| *p == place).copied().collect(), &[][..]),
        Which::Ids([]) => return Ok(0),
        Which::Ids(ids) => (everywhere.to_vec(), *ids),
    };
    let limit = if ids.is_empty() { limit } else { limit.min(ids.len() as u64) };
    let mut changed = 0;
    for place in places {
        let mut skip = Some(0);
        while let Some(from) = skip
            && changed < limit
        {
            let (count, next) = page(link, queue, place, from, limit - changed, ids, change).await?;
            changed += count;
            skip = next;
        }
    }
    Ok(changed)
}

async fn page(
    link: &Link,
    queue: &QueueName,
    place: Place,
    skip: u64,
    most: u64,
    ids: &[JobId],
    change: Change,
) -> Result<(u64, Option<u64>), StoreError> {
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
    call.arg(kind).arg(skip).arg(PAGE).arg(most);
    if matches!(change, Change::Discard) {
        call.arg(keys.unique_prefix());
    }
    for id in ids {
        call.arg(id.as_str());
    }
    let mut fields = Fields::new(script.run::<Value>(link, &call).await?)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    Ok((fields.number()?, fields.optional_number()?))
}
