//! Sandboxes of the whole host: a place for each run, and instances that wait in theirs for the next job of their version.
//! A run that finds no place takes one from them: what is kept is never more than what may run at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::sandbox::{Instance, Version};

/// How long an instance may wait for a job before its memory is given back, and how often that is looked at.
const IDLE_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The places of a host.
#[derive(Debug)]
pub struct Sandboxes {
    places: Arc<Semaphore>,
    /// Runs that wait for a place.
    waiting: AtomicUsize,
    /// The one that has waited longest comes first.
    spares: Mutex<VecDeque<Spare>>,
}

/// Room for one run.
#[derive(Debug)]
pub struct Place {
    /// What was kept of the last run here. Goes before the room it takes.
    pub instance: Option<Instance>,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Spare {
    place: Place,
    since: Instant,
}

/// Counts one who waits, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Sandboxes {
    /// Room for so many runs.
    pub fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places));
        Self { places, waiting: AtomicUsize::new(0), spares: Mutex::default() }
    }

    /// A place for a run of `version`, with an instance if one was kept; waits until there is one.
    pub(super) async fn take(&self, version: &Version) -> Place {
        if version.reuse() > 1
            && let Some(place) = self.spare_of(version)
        {
            return place;
        }
        if let Ok(room) = self.places.clone().try_acquire_owned() {
            return Place { instance: None, _room: room };
        }
        self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(&self.waiting);
        let oldest = self.lock().pop_front();
        drop(oldest);
        let room = self.places.clone().acquire_owned().await.expect("nobody closes it");
        Place { instance: None, _room: room }
    }

    /// Gives a place back. Its instance waits there for the next job, unless somebody waits for the place.
    pub(super) fn give_back(&self, place: Place) {
        if place.instance.is_some() {
            let mut spares = self.lock();
            // Under the lock: whoever waits from now on finds it here.
            if self.waiting.load(SeqCst) == 0 {
                spares.push_back(Spare { place, since: Instant::now() });
            }
        }
    }

    /// Lets go of a plugin's instances, but for those that `keeps` wants.
    pub(super) fn let_go(&self, plugin: &str, keeps: impl Fn(&Instance) -> bool) {
        let goes = |instance: &Instance| instance.plugin() == plugin && !keeps(instance);
        self.remove(|spare| spare.place.instance.as_ref().is_some_and(goes));
    }

    /// Gives back the memory of instances that nobody has used for a while, until `stop`.
    pub async fn sweep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow_and_update() {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
            self.sweep_at(Instant::now());
        }
    }

    fn sweep_at(&self, now: Instant) {
        self.remove(|spare| now.saturating_duration_since(spare.since) >= IDLE_MAX);
    }

    /// The instance of `version` that was used last.
    fn spare_of(&self, version: &Version) -> Option<Place> {
        let mut spares = self.lock();
        let is_of = |spare: &Spare| spare.place.instance.as_ref().is_some_and(|kept| kept.is_of(version));
        let at = spares.iter().rposition(is_of)?;
        spares.remove(at).map(|spare| spare.place)
    }

    fn remove(&self, goes: impl Fn(&Spare) -> bool) {
        let mut spares = self.lock();
        if !spares.iter().any(&goes) {
            return;
        }
        let (gone, stays): (VecDeque<_>, VecDeque<_>) = spares.drain(..).partition(goes);
        *spares = stays;
        // Outside the lock: it takes a while.
        drop(spares);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Spare>> {
        // Nothing that can panic happens under the lock.
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_is_given_back() {
        let sandboxes = Sandboxes::new(3);
        let begun = Instant::now();
        for age in [3, 2, 1] {
            let room = sandboxes.places.clone().try_acquire_owned().unwrap();
            let place = Place { instance: None, _room: room };
            sandboxes.lock().push_back(Spare { place, since: begun + IDLE_MAX / age });
        }
        let left = |later| {
            sandboxes.sweep_at(begun + later);
            (sandboxes.lock().len(), sandboxes.places.available_permits())
        };
        assert_eq!(left(IDLE_MAX), (3, 0));
        assert_eq!(left(IDLE_MAX + IDLE_MAX / 2), (1, 2));
        assert_eq!(left(IDLE_MAX * 2), (0, 3));
    }
}
