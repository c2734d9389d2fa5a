//! Walking over the jobs of a place, a page at a time, and doing something to those that fit a filter. Walks go from
//! the end of a place to its beginning: what is taken away at the beginning meanwhile moves jobs towards it, so none
//! is missed, and what is added meanwhile is not looked at, so a walk ends. A change names the very records that were
//! seen: what has become another job since is left alone.

pub(super) mod apply;

use std::collections::BTreeMap;

use super::edit::Changed;
use super::filter::Filter;
use super::fingerprint::Fingerprint;
use super::inspect::{self, JobRow, PAGE_MAX, PREVIEW_BYTES_MAX, Place, Seen, Wanted};
use super::name::{JobId, QueueName};

use super::pace::Pace;
use super::store::StoreError;
use crate::storage::link::Link;

/// Groups of failures that are told apart; what is beyond is summed up.
pub const GROUPS_MAX: usize = 1000;
/// How often all places are walked for jobs that were named: one can move from a place that comes later to one that
/// was looked at.
const ROUNDS_MAX: u32 = 3;

/// A walk over one place.
pub struct Walk<'a> {
    link: &'a Link,
    queue: &'a QueueName,
    place: Place,
    filter: &'a Filter,
    whole: bool,
    /// Jobs in the place at the beginning.
    total: u64,
    looked: u64,
    /// The page under way: from, where it goes on, to.
    page: (u64, u64, u64),
    /// What runs has no order that lasts, and is walked forwards.
    forwards: Option<u64>,
    /// There is nothing behind what a walk forwards has looked at.
    is_over: bool,
    pace: Pace,
}

/// What a step of a walk has found.
pub struct Found {
    pub(super) seen: Vec<Seen>,
    /// Where the page began.
    first: u64,
}

impl Found {
    /// The jobs that fit; with whole payloads as previews where the walk reads them.
    pub fn rows(&self) -> impl Iterator<Item = &JobRow> {
        self.seen.iter().map(|seen| &seen.row)
    }

    /// These jobs, counted as changed.
    fn counted(&self) -> Changed {
        let found = self.rows().filter_map(|row| row.id.clone()).collect();
        Changed { jobs: self.seen.len() as u64, duplicates: 0, found }
    }
}

impl<'a> Walk<'a> {
    /// A walk that has not begun; with `whole`, payloads are read to their end.
    pub async fn new(
        link: &'a Link,
        queue: &'a QueueName,
        place: Place,
        filter: &'a Filter,
        whole: bool,
    ) -> Result<Self, StoreError> {
        let counts = inspect::counts(link, queue).await?;
        let total = match place {
            Place::Waiting => counts.waiting,
            Place::Ready => counts.ready,
            Place::Inflight => counts.inflight,
            Place::Delayed => counts.delayed,
            Place::Parked => counts.parked,
            Place::Dead => counts.dead,
        };
        let whole = whole || filter.text.is_some();
        let forwards = (place == Place::Inflight).then_some(0);
        Ok(Self {
            link,
            queue,
            place,
            filter,
            whole,
            total,
            looked: 0,
            page: (total, total, total),
            forwards,
            is_over: false,
            pace: Pace::default(),
        })
    }

    /// How many jobs were looked at, and how many there were at the beginning.
    pub fn progress(&self) -> (u64, u64) {
        (self.looked.min(self.total), self.total)
    }

    /// This many jobs of the last step are gone, so the jobs behind them have moved up.
    fn forget(&mut self, jobs: u64) {
        if let Some(skip) = &mut self.forwards {
            *skip = skip.saturating_sub(jobs);
            return;
        }
        let (from, at, to) = self.page;
        let at = at.saturating_sub(jobs).max(from);
        self.page = (from, at, to.saturating_sub(jobs).max(at));
    }

    /// The next jobs that fit, perhaps none of a page; nothing when everything was looked at.
    pub async fn step(&mut self) -> Result<Option<Found>, StoreError> {
        let (skip, look) = match self.forwards {
            Some(_) if self.is_over => return Ok(None),
            Some(skip) => (skip, u64::from(PAGE_MAX)),
            None => {
                let (from, at, to) = self.page;
                if at >= to {
                    if from == 0 {
                        return Ok(None);
                    }
                    let below = from.saturating_sub(u64::from(PAGE_MAX));
                    self.page = (below, below, from);
                }
                (self.page.1, self.page.2 - self.page.1)
            }
        };
        let payload_bytes = if self.whole { u32::MAX } else { PREVIEW_BYTES_MAX };
        let look = u32::try_from(look).unwrap_or(PAGE_MAX);
        let wanted = Wanted { skip, look, payload_bytes, ids: &self.filter.ids, newest: false };
        let page = inspect::page(self.link, self.queue, self.place, &wanted);
        let page = self.pace.page(page).await?;
        if self.forwards.is_some() {
            let next = page.next.filter(|next| *next > skip);
            self.looked = next.map_or(self.total, |next| self.looked + (next - skip));
            self.forwards = Some(next.unwrap_or(skip));
            self.is_over = self.looked >= self.total;
        } else {
            let at = page.next.unwrap_or(self.page.2).clamp(skip + 1, self.page.2);
            self.page.1 = at;
            self.looked += at - skip;
        }
        let mut seen = page.seen;
        seen.retain(|seen| self.filter.fits(&seen.row));
        Ok(Some(Found { seen, first: skip }))
    }
}

/// What is done to jobs that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Nothing: they are counted.
    Count,
    /// They become ready now, with this payload if there is one; dead ones begin anew.
    Requeue(Option<&'a [u8]>),
    /// They are thrown away; nothing that runs is.
    Discard,
    /// They are thrown away wherever they are, running or not.
    Cancel,
}

/// Applies `change` to all jobs of these places that match the filter. `told` is called with the number of jobs read,
/// their total, and the number changed so far.
pub async fn change(
    link: &Link,
    queue: &QueueName,
    places: &[Place],
    filter: &Filter,
    change: Change<'_>,
    mut told: impl FnMut(u64, u64, u64),
) -> Result<Changed, StoreError> {
    let mut changed = Changed::default();
    let mut filter = filter.clone();
    let rounds = if change == Change::Count { 1 } else { ROUNDS_MAX };
    for _ in 0..rounds {
        for place in places {
            let whole = change != Change::Count;
            let mut walk = Walk::new(link, queue, *place, &filter, whole).await?;
            while let Some(found) = walk.step().await? {
                let mut done = Changed::default();
                let applied = apply::apply(link, queue, *place, &found, change, &mut done).await;
                if change != Change::Count {
                    walk.forget(done.jobs);
                }
                changed.add(done);
                let (looked, total) = walk.progress();
                told(looked, total, changed.jobs);
                applied?;
            }
        }
        // Only after a whole round, because several jobs may have one id.
        filter.ids.retain(|id| !changed.found.contains(id));
        if filter.ids.is_empty() {
            break;
        }
    }
    Ok(changed)
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// How many there are.
    pub jobs: u64,
    /// When the first of them died.
    pub first_ms: u64,
    /// When the last of them died.
    pub last_ms: u64,
    /// The last of them.
    pub example: Option<JobId>,
    /// Why the last of them died.
    pub reason: String,
}

/// Dead jobs by what their failures have in common, the largest group first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    /// The groups, `GROUPS_MAX` at most.
    pub list: Vec<Group>,
    /// Jobs of further groups.
    pub others: u64,
}

/// Groups the dead jobs that fit.
pub async fn groups(
    link: &Link,
    queue: &QueueName,
    filter: &Filter,
    mut told: impl FnMut(u64, u64),
) -> Result<Groups, StoreError> {
    let mut walk = Walk::new(link, queue, Place::Dead, filter, false).await?;
    let mut groups: BTreeMap<Fingerprint, Group> = BTreeMap::new();
    let mut others = 0;
    while let Some(found) = walk.step().await? {
        for row in found.rows() {
            let reason = row.reason.as_deref().unwrap_or_default();
            let fingerprint = Fingerprint::of(reason);
            let at_ms = row.at_ms.unwrap_or(0);
            if let Some(group) = groups.get_mut(&fingerprint) {
                group.add(row, reason, at_ms);
            } else if groups.len() == GROUPS_MAX {
                others += 1;
            } else {
                let (example, reason) = (row.id.clone(), reason.to_owned());
                let group = Group {
                    fingerprint: fingerprint.clone(),
                    jobs: 1,
                    first_ms: at_ms,
                    last_ms: at_ms,
                    example,
                    reason,
                };
                groups.insert(fingerprint, group);
            }
        }
        let (looked, total) = walk.progress();
        told(looked, total);
    }
    let mut list: Vec<Group> = groups.into_values().collect();
    list.sort_by_key(|group| (std::cmp::Reverse(group.jobs), std::cmp::Reverse(group.last_ms)));
    Ok(Groups { list, others })
}

impl Group {
    fn add(&mut self, row: &JobRow, reason: &str, at_ms: u64) {
        self.jobs += 1;
        self.first_ms = self.first_ms.min(at_ms);
        if at_ms > self.last_ms {
            (self.last_ms, self.example) = (at_ms, row.id.clone());
            reason.clone_into(&mut self.reason);
        }
    }
}
