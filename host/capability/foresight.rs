//! What a run will read next, learnt from the runs before it. Runs of one worker are alike: they read a setting, then
//! push to a queue, and the push answers the queue's length. Where two runs have done so, the length is asked for
//! together with the setting, and the push need not wait.
//!
//! An answer fetched so is used only while the run has learnt nothing else since: it then is what Redis would have
//! answered a run that was a little quicker, never older than anything this run has seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys about which something is remembered. Beyond them everything is forgotten: keys that differ with every job
/// teach nothing.
const KEYS_MAX: usize = 64;

/// What runs of one worker were seen to read after a key.
#[derive(Debug, Default)]
pub struct Foresight {
    next: Mutex<HashMap<String, Next>>,
}

#[derive(Debug)]
struct Next {
    queue: String,
    /// Seen more than once.
    sure: bool,
}

/// What one run was given beforehand.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    foresight: Option<Arc<Foresight>>,
    /// The key that was read last, if nothing was since.
    key: Option<String>,
    /// A queue and its length at that time.
    length: Option<(String, u64)>,
}

impl Foresight {
    fn after(&self, key: &str) -> Option<String> {
        self.lock().get(key).filter(|next| next.sure).map(|next| next.queue.clone())
    }

    fn learn(&self, key: String, queue: &str) {
        let mut next = self.lock();
        if let Some(known) = next.get_mut(&key) {
            known.sure = known.queue == queue;
            queue.clone_into(&mut known.queue);
            return;
        }
        if next.len() >= KEYS_MAX {
            next.clear();
        }
        next.insert(key, Next { queue: queue.to_owned(), sure: false });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Next>> {
        // Whatever panicked, a wrong guess costs one needless read.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Foreseen {
    pub(super) fn new(foresight: Option<Arc<Foresight>>) -> Self {
        Self { foresight, key: None, length: None }
    }

    /// The queue whose length is worth asking for together with `key`.
    pub(super) fn after(&self, key: &str) -> Option<String> {
        self.foresight.as_ref()?.after(key)
    }

    /// `key` was read, and with it this length.
    pub(super) fn read(&mut self, key: &str, length: Option<(String, u64)>) {
        self.forget();
        self.key = self.foresight.is_some().then(|| key.to_owned());
        self.length = length;
    }

    /// The length of `queue`, if it is there already; if not, it is about to be asked for.
    pub(super) fn length(&mut self, queue: &str) -> Option<u64> {
        match self.length.take() {
            Some((foreseen, length)) if foreseen == queue => return Some(length),
            _ => {}
        }
        if let (Some(foresight), Some(key)) = (&self.foresight, self.key.take()) {
            foresight.learn(key, queue);
        }
        None
    }

    /// The run has ended, or is about to learn something else.
    pub(super) fn forget(&mut self) {
        let (key, unused) = (self.key.take(), self.length.take());
        if let (Some(foresight), Some(key), Some(_)) = (&self.foresight, key, unused) {
            foresight.lock().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(foresight: &Arc<Foresight>, key: &str, queue: Option<&str>) -> bool {
        let mut foreseen = Foreseen::new(Some(foresight.clone()));
        let guess = foreseen.after(key);
        foreseen.read(key, guess.map(|queue| (queue, 7)));
        let hit = queue.is_some_and(|queue| foreseen.length(queue) == Some(7));
        foreseen.forget();
        hit
    }

    #[test]
    fn what_two_runs_did_the_third_is_given() {
        let foresight = Arc::default();
        assert!(!run(&foresight, "rate", Some("audit")));
        assert!(!run(&foresight, "rate", Some("audit")));
        assert!(run(&foresight, "rate", Some("audit")));
        // Another queue: nothing is right, then it is learnt.
        assert!(!run(&foresight, "rate", Some("mail")));
        assert!(!run(&foresight, "rate", Some("mail")));
        assert!(run(&foresight, "rate", Some("mail")));
    }

    #[test]
    fn a_guess_nobody_needed_is_not_made_again() {
        let foresight = Arc::default();
        for _ in 0..3 {
            run(&foresight, "rate", Some("audit"));
        }
        assert!(foresight.after("rate").is_some());
        run(&foresight, "rate", None);
        assert_eq!(foresight.after("rate"), None);
    }

    #[test]
    fn an_answer_older_than_what_was_learnt_since_is_not_used() {
        let foresight = Arc::new(Foresight::default());
        let mut foreseen = Foreseen::new(Some(foresight));
        foreseen.read("rate", Some(("audit".to_owned(), 7)));
        foreseen.forget();
        assert_eq!(foreseen.length("audit"), None);
        foreseen.read("rate", Some(("audit".to_owned(), 7)));
        assert_eq!((foreseen.length("audit"), foreseen.length("audit")), (Some(7), None));
    }

    #[test]
    fn keys_that_differ_with_every_job_are_not_kept_for_ever() {
        let foresight = Arc::default();
        for n in 0..1000 {
            run(&foresight, &format!("user:{n}"), Some("audit"));
        }
        assert!(foresight.lock().len() <= KEYS_MAX);
    }
}
