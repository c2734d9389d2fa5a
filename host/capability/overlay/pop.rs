//! Popping from lists in an overlay: the run's own entries, entries taken from Redis into a record of the host, and
//! entries only looked at, where a run has no host or takes for granted all it reads.

use std::collections::VecDeque;

use super::slot::{Due, Held};
use super::{Overlay, due_in};
use crate::capability::plan::{Pops, Take};
use crate::capability::refusal::Refusal;
use crate::job::change::{Seen, Write};
use crate::job::name::QueueName;
use crate::job::store::StoreError;
use crate::job::take::{End, TakeReply, take};
use crate::storage::fault::Fault;
use crate::storage::user::Ask;

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
    pub(super) fn counts(&self) -> (i64, i64) {
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
            self.learns();
            let entry = match &self.plan.pops {
                Pops::Take(to) if !self.is_serializable() && self.known.of(key).is_none() => {
                    self.take(queue, end, to).await?
                }
                // What was taken for granted of a list must not be refuted by the run itself: so only looked at.
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
        let Some(own) = self.slots.get_mut(key).and_then(|slot| slot.list()) else { return Ok(None) };
        let entry = if end == End::Front { own.back.pop_front() } else { own.front.pop_back() };
        self.let_go_if_empty(queue).await?;
        Ok(entry)
    }

    /// The run's own entry at this end of the list, if there is one beyond those in Redis.
    fn pop_own(&mut self, key: &str, end: End) -> Option<Vec<u8>> {
        match &mut self.slots.get_mut(key)?.held {
            Held::List(own) if end == End::Front => own.front.pop_front(),
            Held::List(own) => own.back.pop_back(),
            _ => None,
        }
    }

    /// Takes an entry off the list in Redis.
    async fn take(&self, queue: &QueueName, end: End, to: &Take) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(user) = &to.user {
            // The host takes, on its own connection: so what Redis thinks of it has to be asked.
            let ask = Ask { command: "LPOP", key: queue.as_str().to_owned(), arguments: &[] };
            let denied = self
                .direct
                .stalls
                .wait(user.is_denied(&[ask]))
                .await
                .map_err(|fault| Refusal::of(fault, queue.as_str()))?;
            if denied != [false] {
                let fault = Fault::Forbidden { user: user.name().to_owned(), detail: "no LPOP".to_owned() };
                return Err(Refusal::of(fault, queue.as_str()));
            }
        }
        let _room = self.direct.room(0).await;
        let record = to.takings.begin(queue, end);
        let taking = take(&to.link, &to.host, &record, end, self.direct.value_bytes_max);
        let reply = self.direct.stalls.wait(taking).await;
        // Where the answer was lost, nobody knows; it stays among the takings, and goes back if it is there.
        if !matches!(&reply, Err(StoreError::Fault(fault)) if fault.is_lost()) {
            to.takings.answered(&record.field, matches!(reply, Ok(TakeReply::Entry(_))));
        }
        match reply {
            Ok(TakeReply::Entry(entry)) => {
                self.direct.fetched(entry.len());
                Ok(Some(entry))
            }
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
        let length = self.stored().length(key).await?;
        if length <= front.unsigned_abs() + back.unsigned_abs() {
            if self.is_serializable() {
                self.known.assume(key, Seen::Length(length))?;
            }
            return Ok(None);
        }
        let index = if end == End::Front { front } else { -1 - back };
        let Some(entry) = self.stored().range(key, index, 1).await?.pop() else { return Ok(None) };
        self.charge(key.len() + entry.len())?;
        let looked = self.looked.entry(key.to_owned()).or_default();
        looked.length = length;
        match end {
            End::Front => looked.front.push(entry.clone()),
            End::Back => looked.back.push_front(entry.clone()),
        }
        Ok(Some(entry))
    }

    /// Entries in Redis without those popped.
    pub(super) async fn left_of(&mut self, key: &str, front: i64, back: i64) -> Result<usize, Refusal> {
        let stored = self.stored().length(key).await?;
        let popped = front.unsigned_abs() + back.unsigned_abs();
        Ok(usize::try_from(stored.saturating_sub(popped)).unwrap_or(usize::MAX))
    }

    /// How long the list in Redis still lives, if the run has entries of its own that will go on living when the
    /// last one in Redis is popped.
    async fn expiry_to_hand_on(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.slot(key) {
            Some(slot) if slot.due == Due::Keep && slot.length() > Some(0) => self.stored().ttl(key).await,
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
    async fn stored_left(&mut self, key: &str) -> Result<usize, Refusal> {
        let (front, back) = self.looked.get(key).map_or((0, 0), Looked::counts);
        self.left_of(key, front, back).await
    }
}
