//! The queue of loads of components: decides which load is next, and which loads run at the same time. It guarantees
//! that a slow compilation delays another one by at most `QUICK`, whichever came first, and that the components of one
//! plugin are compiled one after the other.
//! One compilation at a time has the quick slot. After `QUICK`, it moves to the long slot. If the long slot is in use,
//! the compilation is stopped and starts again there in its turn. So at most two compilers run at the same time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

/// How long a compilation may keep the quick slot.
pub(super) const QUICK: Duration = Duration::from_secs(2);
/// Most loads without a compiler at the same time: they map compiled code, or start a component that was just compiled.
const LIGHT_MAX: usize = 2;
/// Most loads at the same time: `LIGHT_MAX` and two that compile, which can become light loads, too.
pub const LOADS_MAX: usize = LIGHT_MAX + 2;
/// Most plugins whose compile time is remembered.
const REMEMBERED_MAX: usize = 4096;
/// First and longest pause between two polls of a waiting thread.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// A request to load a component.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The plugin of the component.
    pub plugin: String,
    /// SHA-256 of the component, 64 hex digits.
    pub digest: String,
    /// Its length, if it is known. Of plugins that have used equally much time, the shortest component goes first.
    pub bytes: u64,
    /// Whether the component was compiled before and its code is kept.
    pub is_kept: bool,
    /// Whether its compilation has taken longer than the quick slot allows.
    pub is_long: bool,
}

/// The queue of loads; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Line {
    state: Arc<Mutex<State>>,
}

/// The right to load now. Dropping it frees the slot.
#[derive(Debug)]
pub struct Turn {
    line: Line,
    number: u64,
    since: Instant,
    is_given_up: Arc<AtomicBool>,
}

/// Held by the caller that waits for the result of a turn. Dropping it stops the compiler.
#[derive(Debug)]
pub struct Wanted {
    is_given_up: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    busy: Vec<Busy>,
    /// Time that each plugin has used, mostly for compiling.
    used: HashMap<String, Duration>,
    /// Number of claims so far.
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
    /// Loads that run without a compiler.
    Light,
}

impl Line {
    /// Waits for a turn. A caller that stops waiting leaves the queue.
    pub async fn turn(&self, claim: Claim) -> Turn {
        let given = self.join(claim);
        // The queue keeps each sender until it gives the turn.
        given.await.unwrap_or_else(|_| unreachable!("a line that is in use ends no claim"))
    }

    /// The same for a thread that may block, inside or outside a runtime.
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

    /// Gives a turn to each claim that can have one.
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
            // Outside the lock: if the receiver is gone, the turn is dropped here and frees its slot.
            let _ = turn.send(Turn::new(self, number));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The code under the lock cannot panic.
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
    /// The claim that is next: kept code first, then the plugin that has used the least time, then the shortest
    /// component, then the earliest claim.
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
        // The second claim of the same component will find it compiled.
        let is_apart = |busy: &Busy| busy.plugin != claim.plugin && busy.digest != claim.digest;
        count(place) == 0 && compiling.all(is_apart)
    }
}

impl Turn {
    fn new(line: &Line, number: u64) -> Self {
        Self { line: line.clone(), number, since: Instant::now(), is_given_up: Arc::default() }
    }

    /// The turn's result is wanted as long as this is held.
    pub fn wanted(&self) -> Wanted {
        Wanted { is_given_up: self.is_given_up.clone() }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Relaxed)
    }

    /// Whether the turn allows compiling.
    pub(super) fn may_compile(&self) -> bool {
        let state = self.line.lock();
        state.busy.iter().any(|busy| busy.number == self.number && busy.place != Place::Light)
    }

    /// Whether a compilation that has had the quick slot for `QUICK` may continue, because it could move to the long
    /// slot.
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

    /// Reports that the compilation is done.
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
        assert!(monster.may_go_on(), "the long slot is free");
        let second = given(&mut quick).unwrap();
        assert!(!second.may_go_on(), "the long slot is in use");
        drop(second);
        let mut again = line.join(Claim { is_long: true, ..claim("b", "1", 1) });
        assert!(given(&mut again).is_none());
        // A later claim now goes before it.
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
        assert!(same.iter_mut().all(|other| given(other).is_none()), "the quick slot is in use");
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
        assert!(line.lock().waiting.len() <= 1, "claims of callers that stopped waiting are removed");
        drop(first);
        drop(line.turn(claim("c", "2", 1)).now_or_never().unwrap());
        assert!(line.lock().busy.is_empty());
    }
}
