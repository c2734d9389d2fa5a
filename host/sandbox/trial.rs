//! Which engine runs a worker faster, found out while it works. Fresh runs are watched; if most grow their memory and
//! are short, the component is compiled for the other engine as well, both take turns, and the faster one stays. Effects
//! are the same in both: they differ in nothing but how they check bounds.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::engine::Engines;
use super::load::{Kind, LoadError};
use super::profile::{Code, Profile};
use crate::panics;

/// Fresh runs that are watched, and those that each engine is tried with.
const WATCHED: u32 = 200;
const TRIED: usize = 200;
/// Longest mean run that is worth a trial: growing costs some 20 µs.
const SHORT_MAX: Duration = Duration::from_millis(2);
/// The other engine must be faster than so much of the first one's time.
const WORTH: f64 = 0.9;
/// Largest component that is tried, and what all those take that wait for it. Large ones are interpreters, which do
/// not gain.
const COMPONENT_BYTES_MAX: usize = 4 << 20;
pub(super) const WAITING_BYTES_MAX: u64 = 32 << 20;

/// Runs are watched.
const WATCHING: u8 = 0;
/// The component is being compiled for the other engine.
const COMPILING: u8 = 1;
/// Both take turns.
const TRYING: u8 = 2;
/// The first one stays.
const KEPT: u8 = 3;
/// The other one stays.
const CHANGED: u8 = 4;

/// The trial of one version.
pub(super) struct Trial {
    plugin: String,
    digest: String,
    kind: Kind,
    engines: Arc<Engines>,
    stage: AtomicU8,
    turn: AtomicU32,
    other: OnceLock<Code>,
    seen: Mutex<Seen>,
}

/// What runs were like.
#[derive(Default)]
struct Seen {
    component: Option<Waiting>,
    runs: u32,
    grown: u32,
    took: Duration,
    /// Times with the first engine, and with the other.
    times: [Vec<Duration>; 2],
}

/// A component that may have to be compiled once more.
struct Waiting {
    bytes: Vec<u8>,
    sum: Arc<AtomicU64>,
}

impl Trial {
    /// A trial, if the component is small enough and not too many wait.
    pub(super) fn new(
        plugin: &str,
        digest: &str,
        kind: Kind,
        engines: &Arc<Engines>,
        bytes: &[u8],
    ) -> Option<Arc<Self>> {
        let (length, sum) = (bytes.len() as u64, engines.waiting.clone());
        let is_small = bytes.len() <= COMPONENT_BYTES_MAX;
        if !is_small || sum.fetch_add(length, Relaxed) + length > WAITING_BYTES_MAX {
            if is_small {
                sum.fetch_sub(length, Relaxed);
            }
            return None;
        }
        let component = Some(Waiting { bytes: bytes.to_owned(), sum });
        Some(Arc::new(Self {
            plugin: plugin.to_owned(),
            digest: digest.to_owned(),
            kind,
            engines: engines.clone(),
            stage: WATCHING.into(),
            turn: 0.into(),
            other: OnceLock::new(),
            seen: Mutex::new(Seen { component, ..Seen::default() }),
        }))
    }

    /// The other engine's code, if the next run is to take it.
    pub(super) fn other(&self) -> Option<&Code> {
        match self.stage.load(Relaxed) {
            CHANGED => self.other.get(),
            TRYING if self.turn.fetch_add(1, Relaxed) % 2 == 1 => self.other.get(),
            _ => None,
        }
    }

    /// Whether runs are still looked at.
    pub(super) fn is_open(&self) -> bool {
        self.stage.load(Relaxed) < KEPT
    }

    /// The profile that stays, or the first as long as nothing is decided.
    pub(super) fn profile(&self) -> Profile {
        if self.stage.load(Relaxed) == CHANGED { Profile::Short } else { Profile::Compute }
    }

    /// Takes note of a fresh run with this profile: how long it took, and whether it has grown its memory.
    pub(super) fn note(self: &Arc<Self>, profile: Profile, took: Duration, has_grown: bool) {
        let mut seen = self.seen();
        match self.stage.load(SeqCst) {
            WATCHING => {
                seen.runs += 1;
                seen.grown += u32::from(has_grown);
                seen.took += took;
                if seen.runs == WATCHED {
                    let component = seen.component.take();
                    let is_worth = seen.grown * 2 > WATCHED && seen.took / WATCHED < SHORT_MAX;
                    let waiting = component.filter(|_| is_worth);
                    self.stage.store(if waiting.is_some() { COMPILING } else { KEPT }, SeqCst);
                    drop(seen);
                    waiting.into_iter().for_each(|waiting| self.begin(waiting));
                }
            }
            TRYING => {
                seen.times[usize::from(profile == Profile::Short)].push(took);
                if seen.times.iter().all(|times| times.len() >= TRIED) {
                    self.decide(std::mem::take(&mut seen.times));
                }
            }
            _ => {}
        }
    }

    /// Compiles on a thread of its own, and lets both take turns.
    fn begin(self: &Arc<Self>, waiting: Waiting) {
        let trial = self.clone();
        let thread = panics::thread("trial", move || {
            let compiled = panics::contained("profile", || trial.compile(&waiting))
                .unwrap_or_else(|panicked| Err(broken(&panicked)));
            if let Err(error) = &compiled {
                tracing::debug!(plugin = trial.plugin, %error, "not tried with the other engine profile");
            }
            let is_there = compiled.is_ok_and(|code| trial.other.set(code).is_ok());
            let stage = if is_there { TRYING } else { KEPT };
            trial.stage.store(stage, SeqCst);
        });
        if thread.is_err() {
            self.stage.store(KEPT, SeqCst);
        }
    }

    fn compile(&self, waiting: &Waiting) -> Result<Code, LoadError> {
        let core = self.engines.core(Profile::Short).map_err(|error| broken(&error))?;
        let (component, _) =
            core.compiler.component(&core.engine, &self.plugin, &self.digest, &waiting.bytes)?;
        Code::link(core, &component, self.kind).map_err(|error| broken(&error))
    }

    fn decide(&self, times: [Vec<Duration>; 2]) {
        let [first, other] = times.map(median);
        let is_faster = other.as_secs_f64() < first.as_secs_f64() * WORTH;
        self.stage.store(if is_faster { CHANGED } else { KEPT }, SeqCst);
        let (plugin, version) = (&self.plugin, &self.digest[..12]);
        let [compute, short] = [first, other].map(|time| format!("{:.1} µs", time.as_secs_f64() * 1e6));
        let profile = self.profile().word();
        tracing::info!(plugin, version, profile, compute, short, "the faster engine profile was chosen");
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(error: &dyn std::fmt::Display) -> LoadError {
    LoadError { problems: vec![error.to_string()], hint: None }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes.len() as u64, Relaxed);
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}
