//! Keys that runs of this host fight about. After a conflict, runs that decide on the same key do so one after the
//! other for a while, each keeping the key until its commit is answered: so that they get done, instead of refuting
//! each other again and again. Only a matter of speed: what is right is decided in Redis.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

/// How long after its last conflict a key is still taken in turns.
const HOT: Duration = Duration::from_secs(2);
/// Longest wait for a turn; then a run goes on without, and takes its chance.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// Keys remembered at once. Runs that fight about further ones take their chances.
const KEYS_MAX: usize = 10_000;

/// The keys runs fight about.
#[derive(Debug, Default)]
pub struct Contention {
    keys: Mutex<HashMap<String, Key>>,
    /// How many there are: in the usual case nobody has to take the lock to learn that there are none.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Key {
    turn: Arc<tokio::sync::Mutex<()>>,
    until: Instant,
}

/// A run's turn at a key, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Contention {
    /// Remembers that runs fought about `key`.
    pub fn note(&self, key: &str) {
        let now = Instant::now();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, key| key.until > now);
        }
        if let Some(key) = keys.get_mut(key) {
            key.until = now + HOT;
        } else if keys.len() < KEYS_MAX {
            keys.insert(key.to_owned(), Key { turn: Arc::default(), until: now + HOT });
        }
        self.count.store(keys.len(), Relaxed);
    }

    /// Waits for a turn at `key` if it is fought about.
    pub(super) async fn turn(&self, key: &str) -> Option<Turn> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let turn = self.hot(key)?;
        let guard = tokio::time::timeout(TURN_WAIT_MAX, turn.lock_owned()).await.ok()?;
        Some(Turn { _guard: guard })
    }

    fn hot(&self, key: &str) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let found = keys.get(key)?;
        if found.until > Instant::now() {
            return Some(found.turn.clone());
        }
        keys.remove(key);
        self.count.store(keys.len(), Relaxed);
        None
    }
}
