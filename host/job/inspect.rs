//! Looking at queues and jobs without changing them: counts, pages of jobs with the beginning of their
//! payloads, one job whole. Nothing here walks over all keys of the database.

use std::collections::BTreeMap;

use redis::Value;

use super::envelope::Header;
use super::filter::Filter;
use super::key::{HOSTS, QueueKeys};
use super::name::{HostId, JobId, QueueName, first_seen_ms};
use super::pace::Pace;
use super::reply::{Fields, bytes, list as elements, text};
use super::script;
use super::status::{self, Progress};
use super::store::{Slot, StoreError};
use crate::storage::link::Link;

/// Most jobs in one page.
pub const PAGE_MAX: u32 = 100;
/// Bytes of a payload that a page shows.
pub const PREVIEW_BYTES_MAX: u32 = 256;
/// Bytes of a payload that `show` answers; what is longer is cut.
pub const SHOW_BYTES_MAX: u32 = 8 << 20;

/// How many jobs of a queue are where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueCounts {
    /// In the producers' list.
    pub waiting: u64,
    /// Ready again.
    pub ready: u64,
    /// Claimed by hosts that are registered.
    pub inflight: u64,
    /// Due later.
    pub delayed: u64,
    /// Buried.
    pub dead: u64,
    /// Held back because others with their key run.
    pub parked: u64,
    /// Whether an operator holds the queue.
    pub paused: bool,
    /// What happened so far, by the words of the scripts: jobs `claimed`, `completed`, `discarded`, `cancelled`,
    /// `retried`, `buried`, `released`, `reaped`; `late`, runs that no longer owned their job at their end; `commits`, those of
    /// the completed that ended together with their effects, the number of these `effects`, and `conflicts`, runs
    /// whose assumptions did not hold; `dead_bytes`, the bytes of all dead jobs, `dead_jobs`, their number (if it
    /// differs from `dead`, somebody changed the set by hand, and its jobs are being counted again), and
    /// `dead_dropped`.
    pub stats: BTreeMap<String, u64>,
}

/// Where a job can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the producers' list.
    Waiting,
    /// Ready again.
    Ready,
    /// Claimed by a host.
    Inflight,
    /// Due later.
    Delayed,
    /// Waits for a place among those with its key.
    Parked,
    /// Buried.
    Dead,
}

/// One job, with the beginning of its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Where it is.
    pub place: Place,
    /// None while it waits in the producers' list.
    pub id: Option<JobId>,
    /// Runs that reached the guest and failed.
    pub attempts: u32,
    /// Runs that ended with their host.
    pub crashes: u32,
    /// Redis time of its first claim, or of its push.
    pub first_seen_ms: Option<u64>,
    /// When it is due, or was buried.
    pub at_ms: Option<u64>,
    /// Who runs it.
    pub host: Option<String>,
    /// Why its last run failed.
    pub reason: Option<String>,
    /// Length of the whole payload.
    pub payload_bytes: u64,
    /// Its beginning.
    pub preview: Vec<u8>,
    /// The producer's headers and the host's notes.
    pub notes: Vec<(String, String)>,
    /// How far its run is, if it has told.
    pub progress: Option<Progress>,
}

/// All queues that hosts ever served, in alphabetical order.
pub async fn known_queues(link: &Link) -> Result<Vec<QueueName>, StoreError> {
    Ok(super::lease::known_queues(link).await?)
}

/// How many jobs of `queue` are where.
pub async fn counts(link: &Link, queue: &QueueName) -> Result<QueueCounts, StoreError> {
    let keys = QueueKeys::new(queue);
    let at =
        [&keys.list, &keys.ready, &keys.delayed, &keys.dead, &keys.stats, &keys.paused, HOSTS, &keys.parked];
    let mut call = script::COUNTS.call(&at);
    call.arg(keys.inflight_prefix());
    let mut fields = Fields::new(script::COUNTS.run::<Value>(link, &call).await?)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    let mut counts = QueueCounts {
        waiting: fields.number()?,
        ready: fields.number()?,
        inflight: fields.number()?,
        delayed: fields.number()?,
        dead: fields.number()?,
        paused: fields.number()? != 0,
        parked: 0,
        stats: BTreeMap::new(),
    };
    let mut stats = elements(fields.next())?.into_iter();
    counts.parked = fields.number()?;
    while let (Some(counter), Some(value)) = (stats.next(), stats.next()) {
        // A counter spoiled by hand is left out.
        if let Ok(value) = text(value)?.parse() {
            counts.stats.insert(text(counter)?, value);
        }
    }
    Ok(counts)
}

/// A page of the jobs in one place: those first that are next (of the dead, those that died last), and the
/// cursor of the next page. Jobs come and go between pages, so some may be missed or seen twice.
pub async fn list(
    link: &Link,
    queue: &QueueName,
    place: Place,
    cursor: Option<String>,
    count: u32,
) -> Result<(Vec<JobRow>, Option<String>), StoreError> {
    let skip = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let look = count.clamp(1, PAGE_MAX);
    let wanted = Wanted { skip, look, payload_bytes: PREVIEW_BYTES_MAX, ids: &[], newest: true };
    let page = page(link, queue, place, &wanted).await?;
    let mut rows: Vec<JobRow> = page.seen.into_iter().map(|seen| seen.row).collect();
    add_progress(link, queue, &mut rows).await?;
    Ok((rows, page.next.map(|next| next.to_string())))
}

/// Asks how far those are that run.
async fn add_progress(link: &Link, queue: &QueueName, rows: &mut [JobRow]) -> Result<(), StoreError> {
    let running: Vec<&mut JobRow> = rows.iter_mut().filter(|row| row.place == Place::Inflight).collect();
    let ids: Vec<JobId> = running.iter().filter_map(|row| row.id.clone()).collect();
    let told = status::progress(link, queue, &ids).await?;
    for (row, progress) in running.into_iter().filter(|row| row.id.is_some()).zip(told) {
        row.progress = progress;
    }
    Ok(())
}

/// As many jobs of one place as were asked for of those that fit, in the order of `list`, and where to go on.
pub async fn search(
    link: &Link,
    queue: &QueueName,
    place: Place,
    filter: &Filter,
    cursor: Option<String>,
    count: u32,
) -> Result<(Vec<JobRow>, Option<String>), StoreError> {
    let mut skip = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let payload_bytes = if filter.text.is_some() { u32::MAX } else { PREVIEW_BYTES_MAX };
    let ids = &filter.ids;
    let mut rows = Vec::new();
    let mut pace = Pace::default();
    loop {
        let wanted = Wanted { skip, look: PAGE_MAX, payload_bytes, ids, newest: true };
        let page = pace.page(page(link, queue, place, &wanted)).await?;
        for Seen { mut row, nth, .. } in page.seen {
            if !filter.fits(&row) {
                continue;
            }
            if rows.len() >= count as usize {
                return Ok((rows, Some(skip.saturating_add(nth).to_string())));
            }
            row.preview.truncate(PREVIEW_BYTES_MAX as usize);
            rows.push(row);
        }
        match page.next {
            Some(next) => skip = next,
            None => return Ok((rows, None)),
        }
    }
}

/// One job and its payload (`SHOW_BYTES_MAX` at most), wherever it is.
pub async fn show(
    link: &Link,
    queue: &QueueName,
    id: &JobId,
) -> Result<Option<(JobRow, Vec<u8>)>, StoreError> {
    for place in [Place::Inflight, Place::Ready, Place::Delayed, Place::Parked, Place::Dead] {
        let mut skip = Some(0);
        while let Some(from) = skip {
            let ids = std::slice::from_ref(id);
            let payload_bytes = SHOW_BYTES_MAX;
            let wanted = Wanted { skip: from, look: PAGE_MAX, payload_bytes, ids, newest: true };
            let mut page = page(link, queue, place, &wanted).await?;
            if let Some(Seen { mut row, .. }) = page.seen.pop() {
                let payload = row.preview.clone();
                row.preview.truncate(PREVIEW_BYTES_MAX as usize);
                add_progress(link, queue, std::slice::from_mut(&mut row)).await?;
                return Ok(Some((row, payload)));
            }
            skip = page.next;
        }
    }
    Ok(None)
}

/// What a page is to show.
pub(super) struct Wanted<'a> {
    /// Jobs to skip.
    pub(super) skip: u64,
    /// Jobs to look at.
    pub(super) look: u32,
    /// Bytes of each payload.
    pub(super) payload_bytes: u32,
    /// Jobs to look for; none for all.
    pub(super) ids: &'a [JobId],
    /// Whether those that died last come first.
    pub(super) newest: bool,
}

/// A job as a page shows it.
pub(super) struct Seen {
    /// What is known of it.
    pub(super) row: JobRow,
    /// Its record: header and payload, the payload as far as was wanted.
    pub(super) record: Vec<u8>,
    /// Where it is among its host's records.
    pub(super) field: String,
    /// How many jobs of the page come before it.
    pub(super) nth: u64,
}

/// A page.
pub(super) struct Page {
    /// The jobs.
    pub(super) seen: Vec<Seen>,
    /// Jobs to skip for the next page, if there is one. A page ends early where jobs are large.
    pub(super) next: Option<u64>,
}

pub(super) async fn page(
    link: &Link,
    queue: &QueueName,
    place: Place,
    wanted: &Wanted<'_>,
) -> Result<Page, StoreError> {
    let keys = QueueKeys::new(queue);
    let (key, kind) = match place {
        Place::Waiting => (keys.list.as_str(), "list"),
        Place::Ready => (keys.ready.as_str(), "list"),
        Place::Delayed => (keys.delayed.as_str(), "oldest"),
        Place::Dead => (keys.dead.as_str(), if wanted.newest { "newest" } else { "oldest" }),
        Place::Parked => (keys.parked.as_str(), "parked"),
        Place::Inflight => (HOSTS, "inflight"),
    };
    let mut call = script::PAGE.call(&[key]);
    call.arg(kind).arg(wanted.skip).arg(wanted.look).arg(wanted.payload_bytes);
    call.arg(keys.inflight_prefix());
    for id in wanted.ids {
        call.arg(id.as_str());
    }
    let mut fields = Fields::new(script::PAGE.run::<Value>(link, &call).await?)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    let next = fields.optional_number()?;
    let rows = elements(fields.next())?;
    let seen: Result<Vec<Seen>, StoreError> = rows.into_iter().map(|row| read_row(place, row)).collect();
    Ok(Page { seen: seen?, next })
}

fn read_row(place: Place, row: Value) -> Result<Seen, StoreError> {
    let mut fields = Fields::new(row)?;
    let (host, field, score) = (fields.text()?, fields.text()?, fields.text()?);
    let record_bytes = fields.number()?;
    let record = bytes(fields.next())?;
    let nth = fields.number()?;
    let mut row = JobRow {
        place,
        id: None,
        attempts: 0,
        crashes: 0,
        first_seen_ms: None,
        at_ms: whole_number(&score),
        host: Some(host).filter(|host| !host.is_empty()),
        reason: None,
        payload_bytes: record_bytes,
        preview: Vec::new(),
        notes: Vec::new(),
        progress: None,
    };
    let slot = field.parse::<Slot>().ok();
    let enveloped = place != Place::Waiting && slot.is_none_or(|slot| slot.enveloped);
    if enveloped && let Ok((header, payload)) = Header::decode(&record) {
        let begins = record.len() - payload.len();
        row.payload_bytes = record_bytes.saturating_sub(begins as u64);
        row.reason = header.note("!reason").map(str::to_owned);
        row.id = Some(header.id);
        (row.attempts, row.crashes) = (header.attempts, header.crashes);
        row.first_seen_ms = Some(header.first_seen_ms);
        row.preview = payload.to_vec();
        row.notes = header.notes;
        return Ok(Seen { row, record, field, nth });
    }
    if let (Some(slot), Some(host)) = (slot, row.host.as_deref().and_then(HostId::parse)) {
        row.id = Some(JobId::claimed(&host, slot.seq));
        row.first_seen_ms = Some(first_seen_ms(&host, slot.seq));
    }
    row.preview = record.clone();
    Ok(Seen { row, record, field, nth })
}

/// Scores are floating numbers in Redis; ours are whole.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts from float saturate")]
fn whole_number(score: &str) -> Option<u64> {
    score.parse::<f64>().ok().map(|score| score as u64)
}
