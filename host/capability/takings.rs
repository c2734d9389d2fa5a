//! The entries a run has popped from queues. They are off their lists and in records of the host; whoever ends the
//! run lets them go with its commit, or puts them back.

use std::sync::{Mutex, PoisonError};

use crate::job::change::Taken;
use crate::job::name::QueueName;
use crate::job::take::End;

/// What one run has taken.
#[derive(Debug, Default)]
pub struct Takings(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    taken: Taken,
    /// Whether Redis said so. Otherwise it may be taken or not.
    sure: bool,
}

/// What was taken, at the end of a run.
#[derive(Debug, Default)]
pub struct Drained {
    /// Surely.
    pub sure: Vec<Taken>,
    /// Perhaps: the answer was lost.
    pub unsure: Vec<Taken>,
}

impl Takings {
    /// A new record for an entry that is about to be taken.
    pub(super) fn begin(&self, queue: &QueueName, end: End) -> Taken {
        let taken = Taken::begin(queue.clone(), end);
        self.lock().push(Entry { taken: taken.clone(), sure: false });
        taken
    }

    /// Redis has answered: there was an entry, or not.
    pub(super) fn answered(&self, field: &str, got_one: bool) {
        let mut entries = self.lock();
        let Some(at) = entries.iter().rposition(|entry| &*entry.taken.field == field) else { return };
        if got_one {
            entries[at].sure = true;
        } else {
            entries.remove(at);
        }
    }

    /// Everything, to be let go or put back. None is left.
    pub fn drain(&self) -> Drained {
        let mut drained = Drained::default();
        for entry in self.lock().drain(..) {
            if entry.sure { drained.sure.push(entry.taken) } else { drained.unsure.push(entry.taken) }
        }
        drained
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
