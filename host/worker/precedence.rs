//! Strict priorities between the queues of a host: a queue takes no jobs while one with a higher priority has some
//! that wait. Only claims are held back; what runs, runs on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What the queues of a host know of each other.
#[derive(Debug)]
pub struct Precedence {
    /// Queues that press, by their priority.
    pressing: Mutex<BTreeMap<u32, usize>>,
    /// The highest priority with one.
    highest: watch::Sender<Option<u32>>,
}

/// A queue's word; it presses no longer once this is dropped.
#[derive(Debug)]
pub(super) struct Standing {
    precedence: Arc<Precedence>,
    /// The priority with which it presses, if it does.
    pressing: Option<u32>,
}

impl Default for Precedence {
    fn default() -> Self {
        Self { pressing: Mutex::default(), highest: watch::Sender::new(None) }
    }
}

impl Precedence {
    /// For one more queue.
    pub(super) fn join(self: &Arc<Self>) -> Standing {
        Standing { precedence: self.clone(), pressing: None }
    }

    fn change(&self, from: Option<u32>, to: Option<u32>) {
        let mut pressing = self.pressing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(priority) = to {
            *pressing.entry(priority).or_default() += 1;
        }
        if let Some(priority) = from
            && let Some(count) = pressing.get_mut(&priority)
        {
            *count -= 1;
            if *count == 0 {
                pressing.remove(&priority);
            }
        }
        let highest = pressing.last_key_value().map(|(priority, _)| *priority);
        self.highest.send_if_modified(|known| std::mem::replace(known, highest) != highest);
    }
}

impl Standing {
    /// Says whether the queue, of this priority, has jobs that wait.
    pub(super) fn press(&mut self, priority: u32, presses: bool) {
        let now = presses.then_some(priority);
        if now != self.pressing {
            self.precedence.change(std::mem::replace(&mut self.pressing, now), now);
        }
    }

    /// The queue has no claim on others now.
    pub(super) fn withdraw(&mut self) {
        self.press(0, false);
    }

    /// Whether a queue of this priority has to let another one go first.
    pub(super) fn must_yield(&self, priority: u32) -> bool {
        self.precedence.highest.borrow().is_some_and(|highest| highest > priority)
    }

    /// Changes whenever another priority is the highest that presses.
    pub(super) fn changes(&self) -> watch::Receiver<Option<u32>> {
        self.precedence.highest.subscribe()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.press(0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_one_yields_as_long_as_a_higher_one_presses() {
        let precedence = Arc::new(Precedence::default());
        let (mut high, mut other, low) = (precedence.join(), precedence.join(), precedence.join());
        assert!(!low.must_yield(1));
        high.press(5, true);
        high.press(5, true);
        other.press(3, true);
        assert!(low.must_yield(1) && other.must_yield(3) && !high.must_yield(5));
        high.press(5, false);
        assert!(low.must_yield(1) && !other.must_yield(3));
        drop(other);
        assert!(!low.must_yield(1));
    }
}
