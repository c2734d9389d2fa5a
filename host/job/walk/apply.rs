//! Applies a change to the jobs that a step of a walk has found. Each script call changes all of its jobs or none, but one
//! step can need several calls: what the earlier ones changed is reported although a later one is refused.

use std::collections::BTreeMap;

use redis::Value;

use super::{Change, Found};
use crate::job::edit::Changed;
use crate::job::inspect::Place;
use crate::job::key::QueueKeys;
use crate::job::name::{HostId, JobId, QueueName};
use crate::job::reply::{Fields, list, text};
use crate::job::script;
use crate::job::store::StoreError;
use crate::storage::link::Link;

/// How long a host has to notice a cancelled job.
const WORD_MS: u64 = 60_000;

/// Applies `change` to the jobs that were found, if they are still there. `done` has what was changed, also if a later
/// part of it was refused.
pub(super) async fn apply(
    link: &Link,
    queue: &QueueName,
    place: Place,
    found: &Found,
    change: Change<'_>,
    done: &mut Changed,
) -> Result<(), StoreError> {
    let Some(last) = found.seen.last() else { return Ok(()) };
    if change == Change::Count {
        done.add(found.counted());
        return Ok(());
    }
    let keys = QueueKeys::new(queue);
    let (source, kind) = match place {
        Place::Waiting => (&keys.list, "list"),
        Place::Ready => (&keys.ready, "ready"),
        Place::Delayed => (&keys.delayed, "delayed"),
        Place::Dead => (&keys.dead, "dead"),
        Place::Parked => return remove_parked(link, &keys, found, change, done).await,
        Place::Inflight if change == Change::Cancel => return cancel_running(link, &keys, found, done).await,
        Place::Inflight => return Ok(()),
    };
    let (script, mut call) = match change {
        Change::Count => return Ok(()),
        Change::Requeue(payload) => {
            if !matches!(place, Place::Delayed | Place::Dead) {
                return Ok(());
            }
            let mut call = script::REVIVE.call(&[source, &keys.stats, &keys.ready]);
            call.arg(kind).arg(u8::from(payload.is_some())).arg(payload.unwrap_or_default());
            call.arg(keys.unique_prefix());
            (&script::REVIVE, call)
        }
        Change::Discard | Change::Cancel => {
            let counter = if change == Change::Cancel { "cancelled" } else { "discarded" };
            let mut call = script::REMOVE.call(&[source, &keys.stats]);
            let (from, to) = (found.seen[0].nth, last.nth);
            call.arg(kind).arg(counter).arg(keys.unique_prefix());
            call.arg(found.first + from).arg(to - from + 1);
            (&script::REMOVE, call)
        }
    };
    for seen in &found.seen {
        call.arg(&seen.record);
    }
    let mut fields = read_reply(script.run::<Value>(link, &call).await?)?;
    done.jobs += fields.number()?;
    if matches!(change, Change::Requeue(_)) {
        done.duplicates += fields.number()?;
    }
    done.find(fields.next())
}

/// Takes parked jobs away, those of each key together.
async fn remove_parked(
    link: &Link,
    keys: &QueueKeys,
    found: &Found,
    change: Change<'_>,
    done: &mut Changed,
) -> Result<(), StoreError> {
    let counter = match change {
        Change::Count | Change::Requeue(_) => return Ok(()),
        Change::Discard => "discarded",
        Change::Cancel => "cancelled",
    };
    let mut by_key: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for seen in &found.seen {
        let key = seen.row.notes.iter().find(|(name, _)| name == "!key");
        by_key.entry(key.map_or("", |(_, key)| key)).or_default().push(&seen.record);
    }
    for (key, records) in by_key {
        let mut call = script::REMOVE.call(&[&keys.parked_of(key), &keys.stats]);
        // Where in its list each of them stands is not known: it is looked for from the head.
        call.arg("parked").arg(counter).arg(keys.unique_prefix()).arg(0).arg(records.len()).arg(records);
        let mut fields = read_reply(script::REMOVE.run::<Value>(link, &call).await?)?;
        done.jobs += fields.number()?;
        done.find(fields.next())?;
    }
    Ok(())
}

/// Takes what runs away from its hosts, and gives them word.
async fn cancel_running(
    link: &Link,
    keys: &QueueKeys,
    found: &Found,
    done: &mut Changed,
) -> Result<(), StoreError> {
    let mut by_host: BTreeMap<HostId, BTreeMap<&str, Option<&JobId>>> = BTreeMap::new();
    for seen in &found.seen {
        if let Some(host) = seen.row.host.as_deref().and_then(HostId::parse) {
            by_host.entry(host).or_default().insert(&seen.field, seen.row.id.as_ref());
        }
    }
    for (host, jobs) in by_host {
        let mut call = script::CANCEL.call(&[&keys.inflight(&host), &keys.stats, &keys.word(&host)]);
        call.arg(keys.unique_prefix()).arg(WORD_MS).arg(jobs.keys().collect::<Vec<_>>());
        let mut fields = read_reply(script::CANCEL.run::<Value>(link, &call).await?)?;
        done.jobs += fields.number()?;
        for field in list(fields.next())? {
            let id = jobs.get(text(field)?.as_str()).copied().flatten();
            done.found.extend(id.cloned());
        }
    }
    Ok(())
}

/// The fields of a reply after its code; an error if the code names a key of a wrong type.
pub(in crate::job) fn read_reply(reply: Value) -> Result<Fields, StoreError> {
    let mut fields = Fields::new(reply)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    Ok(fields)
}
