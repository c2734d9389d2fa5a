//! The atomic mode: what a run writes stays here until its job completes, and what it reads is looked for here
//! first. `overlay/key.rs` has the operations on strings, `overlay/list.rs` and `overlay/pop.rs` those on queues;
//! all work on `slot`, the state of one key, and note in `known` what they decide on. Applying it is `job::commit`.

mod key;
mod known;
mod list;
mod pop;
mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contention::Turn;
use super::direct::Direct;
use super::foresight::{Foreseen, Foresight};
use super::plan::{Atomic, Isolation};
use super::refusal::Refusal;
use super::write_rate::WriteRate;
use crate::job::change::{Assumption, Changes, Write};
use known::Known;
use slot::{Due, Presence, Slot};

/// Most bytes of keys, values and payloads that one run can write. What its commit checks counts against the same bytes
/// of work (`known`).
pub const EFFECT_BYTES_MAX: usize = 4 << 20;
/// Most bytes that one run holds until its end: what it writes, and what it takes for granted.
pub const HELD_BYTES_MAX: u64 = (EFFECT_BYTES_MAX + known::BYTES_MAX) as u64;
/// What a write takes besides its key and value: so that empty ones do not count as nothing.
const BYTES_EACH: usize = 16;

/// The effects of one run, held back.
#[derive(Debug)]
pub(super) struct Overlay {
    /// For bounds only; reads go through `stored`.
    direct: Direct,
    /// What runs like this one do; none: nothing is foreseen.
    foreseen: Option<Box<Foreseen>>,
    plan: Arc<Atomic>,
    slots: BTreeMap<String, Slot>,
    /// Jobs with a delay or a unique key, in the order they were pushed.
    jobs: Vec<list::Pushed>,
    /// Entries looked at in place of being taken (`Pops::Look`).
    looked: BTreeMap<String, pop::Looked>,
    known: Known,
    bytes: usize,
    turn: Option<Turn>,
}

/// What a run that ended well leaves to be committed.
#[derive(Debug, Default)]
pub struct Pending {
    /// The changes.
    pub changes: Changes,
    /// The run's turn at a key others wait for; to be dropped when the commit is answered.
    pub turn: Option<Turn>,
    /// Whether something was taken for granted that nobody knew: only a commit can show that the run is right.
    pub presumed: bool,
    /// About what all this takes in memory.
    pub bytes: u64,
}

impl Overlay {
    pub(super) fn new(direct: Direct, plan: Arc<Atomic>) -> Self {
        let known = Known::new(direct.value_bytes_max);
        Self {
            direct,
            foreseen: None,
            plan,
            slots: BTreeMap::new(),
            jobs: Vec::new(),
            looked: BTreeMap::new(),
            known,
            bytes: 0,
            turn: None,
        }
    }

    /// From now on the run may be given what was asked for after `since`.
    pub(super) fn foresee(&mut self, foresight: Arc<Foresight>, since: Instant) {
        self.foreseen = Some(Box::new(Foreseen::new(foresight, since)));
    }

    /// Whether the run was told what nobody knew: then only its commit can show that it is right.
    pub(super) fn has_presumed(&self) -> bool {
        self.foreseen.as_ref().is_some_and(|foreseen| foreseen.has_presumed())
    }

    /// Everything that is to be committed. The overlay is empty afterwards.
    pub(super) fn finish(&mut self) -> Pending {
        if let Some(foreseen) = &mut self.foreseen {
            foreseen.learn();
        }
        let now = Instant::now();
        let known = std::mem::take(&mut self.known);
        let bytes = (self.bytes + known.bytes()) as u64;
        let presumed = self.has_presumed();
        let mut assumptions = known.into_assumptions();
        let mut writes: Vec<Write> = Vec::with_capacity(self.slots.len() + self.jobs.len());
        for (key, looked) in std::mem::take(&mut self.looked) {
            assumptions.extend(looked.seen().into_iter().map(|seen| Assumption { key: key.clone(), seen }));
            writes.extend(looked.into_write(key));
        }
        for (key, mut slot) in std::mem::take(&mut self.slots) {
            slot.age(now);
            writes.extend(slot.into_write(key, now));
        }
        writes.extend(std::mem::take(&mut self.jobs).into_iter().map(list::Pushed::into_write));
        let changes = Changes { assumptions, writes, taken: Vec::new() };
        Pending { changes, turn: self.turn.take(), presumed, bytes }
    }

    /// Bytes of values that were sent and fetched so far, those of the commit apart.
    pub(super) fn moved_bytes(&self) -> u64 {
        self.direct.moved_bytes()
    }

    /// Spends bytes of the write rate for an effect that the run holds back, even if it is never committed.
    pub(super) async fn pay(&self, plugin: &str, rate: WriteRate, bytes: u64) -> Result<(), Refusal> {
        self.direct.pay(plugin, rate, bytes).await
    }

    /// How long the run has waited for slow replies of Redis.
    pub(super) fn stalled(&self) -> Duration {
        self.direct.stalls.total()
    }

    /// Redis, to learn something from it: what was foreseen before is too old then.
    fn stored(&mut self) -> &Direct {
        self.learns();
        &self.direct
    }

    /// The run is about to learn something from Redis.
    fn learns(&mut self) {
        if let Some(foreseen) = &mut self.foreseen {
            foreseen.end();
        }
    }

    /// What the run has done to `key` so far, if anything.
    fn slot(&mut self, key: &str) -> Option<&Slot> {
        let slot = self.slots.get_mut(key)?;
        slot.age(Instant::now());
        Some(slot)
    }

    /// What `key` is, as far as the run alone can tell.
    fn presence(&mut self, key: &str) -> Presence {
        self.slot(key).map_or(Presence::AsStored, Slot::presence)
    }

    /// The place of `key`, to change it.
    fn slot_mut(&mut self, key: &str) -> &mut Slot {
        if !self.slots.contains_key(key) {
            self.slots.insert(key.to_owned(), Slot::default());
        }
        let slot = self.slots.get_mut(key).expect("it has just been put there");
        slot.age(Instant::now());
        slot
    }

    /// Counts what is about to be written.
    fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        let sum = self.bytes.saturating_add(BYTES_EACH + bytes);
        if sum > EFFECT_BYTES_MAX {
            return Err(Refusal::Quota("effect-bytes"));
        }
        self.known.add_written(BYTES_EACH + bytes)?;
        self.bytes = sum;
        Ok(())
    }

    /// Whether what is read is taken for granted though nothing is decided on it.
    fn is_serializable(&self) -> bool {
        self.plan.isolation == Isolation::Serializable
    }

    /// Before the run decides on something about `key`: waits for its turn if others do the same. A run that
    /// has a turn never waits for another, so no two can wait for each other.
    async fn decide(&mut self, key: &str) {
        if self.turn.is_none()
            && self.known.of(key).is_none()
            && let Some(contention) = &self.plan.contention
        {
            self.turn = contention.turn(key).await;
        }
    }

    /// Whether there is such a key. `decides`: the answer is taken for granted in any case.
    async fn is_present(&mut self, key: &str, decides: bool) -> Result<bool, Refusal> {
        match self.presence(key) {
            Presence::Present => Ok(true),
            Presence::Absent => Ok(false),
            Presence::AsStored => self.is_stored(key, decides).await,
        }
    }

    /// Whether there is a key that is to be set only if there is none.
    async fn is_taken(&mut self, key: &str) -> Result<bool, Refusal> {
        let is_known = self.known.of(key).is_some_and(|known| known.present.is_some());
        if is_known || self.presence(key) != Presence::AsStored {
            return self.is_present(key, true).await;
        }
        if self.foreseen.as_mut().is_some_and(|foreseen| foreseen.presumes_absent()) {
            self.known.assume_presence(key, false)?;
            return Ok(false);
        }
        let is_taken = self.is_stored(key, true).await?;
        if let Some(foreseen) = &self.foreseen {
            foreseen.told_absent(!is_taken);
        }
        Ok(is_taken)
    }

    /// Whether there is such a key in Redis.
    async fn is_stored(&mut self, key: &str, decides: bool) -> Result<bool, Refusal> {
        if let Some(present) = self.known.of(key).and_then(|known| known.present) {
            return Ok(present);
        }
        if decides {
            self.decide(key).await;
        }
        let present = self.stored().exists(key).await?;
        if decides || self.is_serializable() {
            self.known.assume_presence(key, present)?;
        }
        Ok(present)
    }
}

/// The end of a time that begins now; so far away that it does not matter, if it cannot be told.
fn due_in(ttl_ms: u64) -> Due {
    let now = Instant::now();
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    let ttl = Duration::from_millis(ttl_ms).min(century);
    now.checked_add(ttl).map_or(Due::Never, Due::At)
}
