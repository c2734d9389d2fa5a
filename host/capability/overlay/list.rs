//! Lists in an overlay: the operations behind `queue`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slot::{Due, Held};
use super::{Overlay, due_in};
use crate::capability::plan::{Pops, Take};
use crate::capability::refusal::Refusal;
use crate::job::change::{Seen, Write};
use crate::job::key::QueueKeys;
use crate::job::name::QueueName;
use crate::job::push::{self, PushOptions, Pushed as Outcome};
use crate::job::store::StoreError;
use crate::job::take::{End, TakeReply, take};
use crate::storage::fault::Fault;

/// A job that was pushed with options.
#[derive(Debug)]
pub(super) struct Pushed {
    write: Write,
    ready: String,
    unique: Option<(String, Due)>,
}

impl Pushed {
    pub(super) fn into_write(self) -> Write {
        self.write
    }
}

/// Entries of one list that the run has popped by looking at them.
#[derive(Debug, Default)]
pub(super) struct Looked {
    front: Vec<Vec<u8>>,
    back: VecDeque<Vec<u8>>,
    /// Entries there when last looked.
    length: u64,
}

impl Looked {
    /// How many entries at the left, and at the right, are not to be seen any more.
    fn counts(&self) -> (i64, i64) {
        let count = |length| i64::try_from(length).unwrap_or(i64::MAX);
        (count(self.front.len()), count(self.back.len()))
    }

    pub(super) fn into_write(self, key: String) -> Option<Write> {
        let (front, back) = (self.front.len() as u64, self.back.len() as u64);
        (front + back > 0).then_some(Write::Pop { key, front, back })
    }

    /// What must still be so when they are popped in earnest.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let (front, back) = self.counts();
        let mut seen = Vec::new();
        if front > 0 && back > 0 {
            // Of a list that has become shorter, both could be the same entry.
            seen.push(Seen::Length(self.length));
        }
        if front > 0 {
            seen.push(Seen::Range { start: 0, stop: front - 1, entries: self.front.clone() });
        }
        if back > 0 {
            seen.push(Seen::Range { start: -back, stop: -1, entries: self.back.iter().cloned().collect() });
        }
        seen
    }
}

impl Overlay {
    /// Pushes all `payloads`, of which there is at least one; tells how many entries wait then, as far as the
    /// run can see.
    pub(in crate::capability) async fn push(
        &mut self,
        queue: &QueueName,
        payloads: Vec<Vec<u8>>,
        end: End,
    ) -> Result<u64, Refusal> {
        let key = queue.as_str();
        let before = self.length(queue).await?;
        for payload in &payloads {
            self.charge(key.len() + payload.len())?;
        }
        let count = payloads.len() as u64;
        let Some((front, back)) = self.slot_mut(key).list() else {
            return Err(Refusal::WrongType(key.to_owned()));
        };
        match end {
            End::Front => payloads.into_iter().for_each(|payload| front.push_front(payload)),
            End::Back => back.extend(payloads),
        }
        Ok(before + count)
    }

    /// Pushes a job with a delay or a unique key.
    pub(in crate::capability) async fn push_job(
        &mut self,
        queue: &QueueName,
        payload: Vec<u8>,
        options: &PushOptions,
    ) -> Result<Outcome, Refusal> {
        let keys = QueueKeys::new(queue);
        self.charge(queue.as_str().len() + payload.len())?;
        let mut unique = None;
        if let Some((name, kept)) = &options.unique {
            let key = keys.unique(name);
            if !self.free_unique(&key) || self.is_stored(&key, true).await? {
                return Ok(Outcome::Duplicate);
            }
            unique = Some((key, due_in(milliseconds(*kept))));
        }
        let waiting = match options.delay {
            Some(_) => 0,
            None => self.direct.length(&keys.ready).await? + self.own_ready(&keys.ready) + 1,
        };
        let id = push::new_id();
        let write = Write::PushJob {
            queue: queue.clone(),
            id: id.clone(),
            payload,
            delay_ms: options.delay.map(milliseconds),
            unique: options.unique.as_ref().map(|(name, kept)| (name.clone(), milliseconds(*kept))),
        };
        self.jobs.push(Pushed { write, ready: keys.ready, unique });
        Ok(if options.delay.is_some() { Outcome::Delayed(id) } else { Outcome::Waiting(waiting) })
    }

    /// Takes one entry. It is the run's own from then on.
    pub(in crate::capability) async fn pop(
        &mut self,
        queue: &QueueName,
        end: End,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let key = queue.as_str();
        if self.slot(key).is_some_and(|slot| slot.length().is_none()) {
            return Err(Refusal::WrongType(key.to_owned()));
        }
        if let Some(own) = self.pop_own(key, end) {
            self.let_go_if_empty(queue).await?;
            return Ok(Some(own));
        }
        if !self.slot(key).is_some_and(|slot| slot.replaced) {
            let expiry = self.expiry_to_hand_on(key).await?;
            let entry = match &self.plan.pops {
                // What was assumed of a list must not be refuted by the run itself: so only looked at.
                Pops::Take(to) if !self.is_serializable() => self.take(queue, end, to).await?,
                _ => self.look(key, end).await?,
            };
            if entry.is_some() {
                if expiry.is_some() && self.stored_left(key).await? == 0 {
                    self.slot_mut(key).due = expiry.map_or(Due::Keep, due_in);
                }
                self.let_go_if_empty(queue).await?;
                return Ok(entry);
            }
        }
        // Redis has none: what the run pushed at the other end is next.
        let Some((front, back)) = self.slots.get_mut(key).and_then(|slot| slot.list()) else {
            return Ok(None);
        };
        let entry = if end == End::Front { back.pop_front() } else { front.pop_back() };
        self.let_go_if_empty(queue).await?;
        Ok(entry)
    }

    /// Number of entries.
    pub(in crate::capability) async fn length(&mut self, queue: &QueueName) -> Result<u64, Refusal> {
        let key = queue.as_str();
        let (own, replaced) = self.slot(key).map_or((Some(0), false), |slot| (slot.length(), slot.replaced));
        let wrong = || Refusal::WrongType(key.to_owned());
        let own = own.ok_or_else(wrong)? as u64;
        if replaced {
            return Ok(own);
        }
        if let Some(known) = self.known.of(key) {
            match (known.text.is_some(), known.present) {
                (true, _) => return Err(wrong()),
                (_, Some(false)) => return Ok(own),
                _ => {}
            }
        }
        let stored = self.direct.length(key).await?;
        if self.is_serializable() {
            self.known.assume(key, Seen::Length(stored))?;
        }
        let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
        Ok(stored.saturating_sub(front.unsigned_abs() + back.unsigned_abs()) + own)
    }

    /// Up to `count` entries from the front.
    pub(in crate::capability) async fn peek(
        &mut self,
        queue: &QueueName,
        count: u32,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let key = queue.as_str();
        let replaced = self.slot(key).is_some_and(|slot| slot.replaced);
        let (mut entries, after): (Vec<Vec<u8>>, Vec<Vec<u8>>) = match self.slot(key).map(|slot| &slot.held) {
            None | Some(Held::Nothing) => Default::default(),
            Some(Held::List { front, back }) => {
                (front.iter().cloned().collect(), back.iter().cloned().collect())
            }
            Some(_) => return Err(Refusal::WrongType(key.to_owned())),
        };
        let wanted = count as usize;
        entries.truncate(wanted);
        if entries.len() < wanted && !replaced {
            let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
            let more = (wanted - entries.len()) as u64;
            // What was popped at the right is at the end of what Redis answers, if it reaches that far.
            let stored = self.direct.range(key, front, more).await?;
            let left = if back == 0 { usize::MAX } else { self.left_of(key, front, back).await? };
            if self.is_serializable() {
                let stop = front.saturating_add_unsigned(more) - 1;
                self.known.assume(key, Seen::Range { start: front, stop, entries: stored.clone() })?;
            }
            entries.extend(stored.into_iter().take(left));
        }
        entries.extend(after.into_iter().take(wanted.saturating_sub(entries.len())));
        let bytes: usize = entries.iter().map(Vec::len).sum();
        if bytes as u64 > self.direct.value_bytes_max { Err(Refusal::Quota("value")) } else { Ok(entries) }
    }

    async fn left_of(&self, key: &str, front: i64, back: i64) -> Result<usize, Refusal> {
        let stored = self.direct.length(key).await?;
        let popped = front.unsigned_abs() + back.unsigned_abs();
        Ok(usize::try_from(stored.saturating_sub(popped)).unwrap_or(usize::MAX))
    }

    /// The run's own entry at this end of the list, if there is one beyond those in Redis.
    fn pop_own(&mut self, key: &str, end: End) -> Option<Vec<u8>> {
        match &mut self.slots.get_mut(key)?.held {
            Held::List { front, back } if end == End::Front => front.pop_front(),
            Held::List { front: _, back } => back.pop_back(),
            _ => None,
        }
    }

    /// Takes an entry off the list in Redis.
    async fn take(&self, queue: &QueueName, end: End, to: &Take) -> Result<Option<Vec<u8>>, Refusal> {
        let record = to.takings.begin(queue, end);
        let reply = take(&to.link, &to.host, &record, end, self.direct.value_bytes_max).await;
        // Where the answer was lost, nobody knows; it stays among the takings, and goes back if it is there.
        if !matches!(&reply, Err(StoreError::Fault(fault)) if fault.is_lost()) {
            to.takings.answered(&record.field, matches!(reply, Ok(TakeReply::Entry(_))));
        }
        match reply {
            Ok(TakeReply::Entry(entry)) => Ok(Some(entry)),
            Ok(TakeReply::Empty) => Ok(None),
            Ok(TakeReply::TooLong(_)) => Err(Refusal::Quota("value")),
            Err(StoreError::Fault(fault)) => Err(Refusal::of(fault, queue.as_str())),
            Err(StoreError::WrongType(_)) => Err(Refusal::WrongType(queue.as_str().to_owned())),
            Err(error) => Err(Refusal::Unavailable(Fault::Unexpected(error.to_string()))),
        }
    }

    /// Looks at the entry that is next at this end of the list in Redis.
    async fn look(&mut self, key: &str, end: End) -> Result<Option<Vec<u8>>, Refusal> {
        let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
        let length = self.direct.length(key).await?;
        if length <= front.unsigned_abs() + back.unsigned_abs() {
            if self.is_serializable() {
                self.known.assume(key, Seen::Length(length))?;
            }
            return Ok(None);
        }
        let index = if end == End::Front { front } else { -1 - back };
        let Some(entry) = self.direct.range(key, index, 1).await?.pop() else { return Ok(None) };
        self.charge(key.len() + entry.len())?;
        let looked = self.looked.entry(key.to_owned()).or_default();
        looked.length = length;
        match end {
            End::Front => looked.front.push(entry.clone()),
            End::Back => looked.back.push_front(entry.clone()),
        }
        Ok(Some(entry))
    }

    /// How long the list in Redis still lives, if the run has entries of its own that will go on living when the
    /// last one in Redis is popped.
    async fn expiry_to_hand_on(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.slot(key) {
            Some(slot) if slot.due == Due::Keep && slot.length() > Some(0) => self.direct.ttl(key).await,
            _ => Ok(None),
        }
    }

    /// A list that is empty is no key any more, so it has no expiry: the next push makes a new one.
    async fn let_go_if_empty(&mut self, queue: &QueueName) -> Result<(), Refusal> {
        let key = queue.as_str();
        let is_looked = self.looked.contains_key(key);
        let expires = self.slot(key).is_some_and(|slot| slot.due != Due::Keep);
        if !(expires || is_looked) || self.length(queue).await? > 0 {
            return Ok(());
        }
        if let Some(looked) = self.looked.get(key) {
            self.known.assume(key, Seen::Length(looked.length))?;
            self.slot_mut(key).delete();
        }
        self.slot_mut(key).due = Due::Keep;
        Ok(())
    }

    /// Entries in Redis that are not popped.
    async fn stored_left(&self, key: &str) -> Result<usize, Refusal> {
        let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
        self.left_of(key, front, back).await
    }

    /// Whether the run itself has not given this unique key away. One that has expired by now is let go.
    fn free_unique(&mut self, key: &str) -> bool {
        let now = Instant::now();
        let owner = self.jobs.iter_mut().find(|job| job.unique.as_ref().is_some_and(|(own, _)| own == key));
        match owner {
            Some(job) if matches!(&job.unique, Some((_, Due::At(at))) if *at <= now) => {
                job.unique = None;
                if let Write::PushJob { unique, .. } = &mut job.write {
                    *unique = None;
                }
                true
            }
            owner => owner.is_none(),
        }
    }

    /// Jobs that the run has put into this list of ready ones.
    fn own_ready(&self, ready: &str) -> u64 {
        let now =
            |job: &&Pushed| job.ready == ready && matches!(&job.write, Write::PushJob { delay_ms: None, .. });
        self.jobs.iter().filter(now).count() as u64
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
