//! The line of those who want to load a component: who goes next, and beside whom. What it guarantees: a component that
//! takes long to compile delays another one by at most `QUICK`, whichever came first, and the components of one plugin
//! are compiled one after the other.
//!
//! One compilation at a time has the quick place. When it has taken `QUICK`, it moves to the long place, or, if that is
//! taken, it is stopped and starts again there when it is its turn. So at most two compilers run at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

/// How long a compilation may keep the quick place.
pub(super) const QUICK: Duration = Duration::from_secs(2);
/// Loads without a compiler at once: they map what was compiled, or start what has just been.
const LIGHT_MAX: usize = 2;
/// Loads at once at the most: two that compile, and after `LIGHT_MAX` of others both may have become light as well.
pub const LOADS_MAX: usize = LIGHT_MAX + 2;
/// Plugins whose time is remembered.
const REMEMBERED_MAX: usize = 4096;
/// First and longest pause between two looks of a thread that waits.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct Claim {
    /// For which plugin.
    pub plugin: String,
    /// SHA-256 of the component, 64 hex digits.
    pub digest: String,
    /// Its length, as far as it is known. Of plugins that have used equally much, the shortest goes first.
    pub bytes: u64,
    /// It was compiled before, and is kept.
    pub is_kept: bool,
    /// It has taken longer than the quick place allows.
    pub is_long: bool,
}

/// The line; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Line {
    state: Arc<Mutex<State>>,
}

/// A place at the front of the line; it is free again when this is dropped.
#[derive(Debug)]
pub struct Turn {
    line: Line,
    number: u64,
    since: Instant,
    is_given_up: Arc<AtomicBool>,
}

/// For whoever waits for what a turn comes to: when this is dropped, its compiler is stopped.
#[derive(Debug)]
pub struct Wanted {
    is_given_up: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    busy: Vec<Busy>,
    /// Time that plugins have taken, most of it for compiling.
    used: HashMap<String, Duration>,
    /// Claims so far.
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    claim: Claim,
    number: u64,
    turn: oneshot::Sender<Turn>,
}

#[derive(Debug)]
struct Busy {
    number: u64,
    plugin: String,
    digest: String,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Quick,
    Long,
    /// Without a compiler.
    Light,
}

impl Line {
    /// Waits for a turn. Whoever stops waiting leaves the line.
    pub async fn turn(&self, claim: Claim) -> Turn {
        let given = self.join(claim);
        // The line keeps each sender until it gives the turn.
        given.await.unwrap_or_else(|_| unreachable!("a line that is in use ends no claim"))
    }

    /// The same on a thread that may block, within a runtime or without one.
    pub(super) fn wait(&self, claim: Claim) -> Turn {
        let mut given = self.join(claim);
        let (mut pause, longest) = LOOK_EVERY;
        loop {
            match given.try_recv() {
                Ok(turn) => return turn,
                Err(TryRecvError::Empty) => std::thread::sleep(pause),
                Err(TryRecvError::Closed) => unreachable!("a line that is in use ends no claim"),
            }
            pause = (pause * 2).min(longest);
        }
    }

    fn join(&self, claim: Claim) -> oneshot::Receiver<Turn> {
        let (turn, given) = oneshot::channel();
        let mut state = self.lock();
        state.count += 1;
        let number = state.count;
        state.waiting.push(Waiting { claim, number, turn });
        drop(state);
        self.give();
        given
    }

    /// Gives turns to all who can have one.
    fn give(&self) {
        loop {
            let mut state = self.lock();
            state.waiting.retain(|waiting| !waiting.turn.is_closed());
            let Some(next) = state.next() else { return };
            let Waiting { claim, number, turn } = state.waiting.swap_remove(next);
            let place = claim.place();
            let Claim { plugin, digest, .. } = claim;
            state.busy.push(Busy { number, plugin, digest, place });
            drop(state);
            // Outside the lock: a turn that nobody waits for any more is dropped here, and frees its place.
            let _ = turn.send(Turn::new(self, number));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    fn place(&self) -> Place {
        match (self.is_kept, self.is_long) {
            (true, _) => Place::Light,
            (false, false) => Place::Quick,
            (false, true) => Place::Long,
        }
    }
}

impl State {
    /// Who goes next: what is kept first, then whichever plugin has used least, then the shortest, then the first.
    fn next(&self) -> Option<usize> {
        let able = self.waiting.iter().enumerate().filter(|(_, waiting)| self.is_free_for(&waiting.claim));
        let next = able.min_by_key(|(_, Waiting { claim, number, .. })| {
            let used = self.used.get(&claim.plugin).copied().unwrap_or_default();
            (!claim.is_kept, claim.is_long, used, claim.bytes, *number)
        });
        next.map(|(at, _)| at)
    }

    fn is_free_for(&self, claim: &Claim) -> bool {
        let count = |place| self.busy.iter().filter(|busy| busy.place == place).count();
        if count(Place::Light) >= LIGHT_MAX {
            return false;
        }
        let place = claim.place();
        if place == Place::Light {
            return true;
        }
        let mut compiling = self.busy.iter().filter(|busy| busy.place != Place::Light);
        // Of the same component the second claim finds it compiled.
        let is_apart = |busy: &Busy| busy.plugin != claim.plugin && busy.digest != claim.digest;
        count(place) == 0 && compiling.all(is_apart)
    }
}

impl Turn {
    fn new(line: &Line, number: u64) -> Self {
        Self { line: line.clone(), number, since: Instant::now(), is_given_up: Arc::default() }
    }

    /// The turn is of use as long as this is held.
    pub fn wanted(&self) -> Wanted {
        Wanted { is_given_up: self.is_given_up.clone() }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Relaxed)
    }

    /// Whether it was given for compiling.
    pub(super) fn may_compile(&self) -> bool {
        let state = self.line.lock();
        state.busy.iter().any(|busy| busy.number == self.number && busy.place != Place::Light)
    }

    /// Whether a compilation that has had the quick place for `QUICK` may go on, because it could move to the long place.
    pub(super) fn may_go_on(&self) -> bool {
        let mut state = self.line.lock();
        let is_taken = state.busy.iter().any(|busy| busy.place == Place::Long && busy.number != self.number);
        let own = state.busy.iter_mut().find(|busy| busy.number == self.number);
        let may = match own {
            Some(busy) if busy.place == Place::Quick && is_taken => false,
            Some(busy) if busy.place == Place::Quick => {
                busy.place = Place::Long;
                true
            }
            _ => true,
        };
        drop(state);
        self.line.give();
        may
    }

    /// There is nothing to compile any more.
    pub(in crate::sandbox) fn has_compiled(&self) {
        let mut state = self.line.lock();
        state.busy.iter_mut().filter(|busy| busy.number == self.number).for_each(|b| b.place = Place::Light);
        drop(state);
        self.line.give();
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.is_given_up.store(true, Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if let Some(at) = state.busy.iter().position(|busy| busy.number == self.number) {
            let plugin = state.busy.swap_remove(at).plugin;
            if state.used.len() >= REMEMBERED_MAX && !state.used.contains_key(&plugin) {
                state.used.clear();
            }
            *state.used.entry(plugin).or_default() += self.since.elapsed();
        }
        drop(state);
        self.line.give();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn claim(plugin: &str, digest: &str, bytes: u64) -> Claim {
        let (plugin, digest) = (plugin.to_owned(), digest.to_owned());
        Claim { plugin, digest, bytes, is_kept: false, is_long: false }
    }

    /// The turn, if it was given.
    fn given(receiver: &mut oneshot::Receiver<Turn>) -> Option<Turn> {
        receiver.try_recv().ok()
    }

    #[test]
    fn whoever_has_used_least_goes_next_and_then_the_shortest() {
        let line = Line::default();
        let first = line.wait(claim("often", "0", 1));
        let mut others = [
            line.join(claim("often", "1", 1)),
            line.join(claim("large", "2", 50)),
            line.join(claim("small", "3", 10)),
        ];
        assert!(others.iter_mut().all(|other| given(other).is_none()));
        line.lock().used.insert("often".to_owned(), Duration::from_secs(1));
        drop(first);
        for next in [2, 1, 0] {
            let turn = given(&mut others[next]).unwrap_or_else(|| panic!("{next} is next"));
            assert!(others[..next].iter_mut().all(|other| given(other).is_none()));
            drop(turn);
        }
    }

    #[test]
    fn what_takes_long_makes_way_once() {
        let line = Line::default();
        let monster = line.wait(claim("a", "0", 1));
        let mut quick = line.join(claim("b", "1", 1));
        assert!(given(&mut quick).is_none());
        assert!(monster.may_go_on(), "the long place is free");
        let second = given(&mut quick).unwrap();
        assert!(!second.may_go_on(), "the long place is taken");
        drop(second);
        let mut again = line.join(Claim { is_long: true, ..claim("b", "1", 1) });
        assert!(given(&mut again).is_none());
        // Whoever comes now passes it.
        drop(line.turn(claim("c", "2", 1)).now_or_never().unwrap());
        assert!(monster.may_go_on());
        drop(monster);
        assert!(given(&mut again).unwrap().may_go_on());
    }

    #[test]
    fn one_plugin_and_one_component_are_compiled_one_after_the_other() {
        let line = Line::default();
        let long = line.wait(claim("a", "0", 1));
        assert!(long.may_go_on());
        let mut same = [line.join(claim("a", "1", 1)), line.join(claim("b", "0", 1))];
        assert!(same.iter_mut().all(|other| given(other).is_none()));
        let quick = line.wait(claim("c", "2", 1));
        drop(long);
        assert!(same.iter_mut().all(|other| given(other).is_none()), "the quick place is taken");
        drop(quick);
        let firsts = same.iter_mut().filter_map(given).count();
        assert_eq!(firsts, 1);
    }

    #[test]
    fn what_is_kept_waits_for_no_compiler_and_few_are_loaded_at_once() {
        let line = Line::default();
        let kept = |plugin: &str| Claim { is_kept: true, ..claim(plugin, plugin, 1) };
        let long = line.wait(claim("a", "0", 1));
        assert!(long.may_go_on());
        let quick = line.wait(claim("b", "1", 1));
        let lights: Vec<Turn> = (0..LIGHT_MAX).map(|n| line.wait(kept(&format!("k{n}")))).collect();
        quick.has_compiled();
        long.has_compiled();
        assert_eq!(line.lock().busy.len(), LOADS_MAX);
        let mut more = [line.join(claim("c", "2", 1)), line.join(kept("d"))];
        drop((long, quick));
        assert!(more.iter_mut().all(|other| given(other).is_none()));
        drop(lights);
        assert_eq!(more.iter_mut().filter_map(given).count(), 2);
    }

    #[test]
    fn who_no_longer_waits_is_forgotten() {
        let line = Line::default();
        let first = line.wait(claim("a", "0", 1));
        for _ in 0..100 {
            assert!(line.turn(claim("b", "1", 1)).now_or_never().is_none());
        }
        assert!(line.lock().waiting.len() <= 1, "they are not collected");
        drop(first);
        drop(line.turn(claim("c", "2", 1)).now_or_never().unwrap());
        assert!(line.lock().busy.is_empty());
    }
}
