//! Reads that many ask for at the same time are sent once. Runs of one plugin often read the same: a rate, the length
//! of the queue they all push to. Whoever asks while the same read is under way waits for the next one, which is sent
//! when the first has been answered: so an answer is never older than the question.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use redis::{Pipeline, Value};

use super::fault::Fault;
use super::link::Link;

/// What the commands of a read were answered.
pub(super) type Answer = Result<Vec<Result<Value, Fault>>, Fault>;

/// The reads under way on one connection.
#[derive(Clone, Default)]
pub(super) struct Together {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By the bytes that are sent.
    reads: HashMap<Vec<u8>, Pair>,
    next_number: u64,
}

/// A read that may have been sent, and one that has not been: it can still be joined.
#[derive(Default)]
struct Pair {
    sent: Option<Numbered>,
    next: Option<Numbered>,
}

/// Held by those who wait for it alone: if all of them give up, so does it.
struct Numbered {
    number: u64,
    read: WeakShared<BoxFuture<'static, Answer>>,
}

/// A read's place in the state, until it is answered or nobody waits for it any more.
struct Place {
    together: Together,
    what: Vec<u8>,
    number: u64,
}

impl Together {
    /// The answer to a read that is sent over `link` after this call.
    pub(super) fn ask(&self, link: &Link, read: Pipeline) -> Shared<BoxFuture<'static, Answer>> {
        let what = read.get_packed_pipeline();
        let mut state = self.lock();
        state.next_number += 1;
        let number = state.next_number;
        let pair = state.reads.entry(what.clone()).or_default();
        if let Some(next) = pair.next.as_ref().and_then(|next| next.read.upgrade()) {
            return next;
        }
        let before = pair.sent.as_ref().and_then(|sent| sent.read.upgrade());
        let has_before = before.is_some();
        let place = Place { together: self.clone(), what, number };
        let link = link.clone();
        let made = async move {
            if let Some(before) = before {
                drop(before.await);
                place.promote();
            }
            match link.pipeline(&read).await {
                Err(Fault::Lost { .. }) => link.pipeline(&read).await,
                answer => answer,
            }
        };
        let made = made.boxed().shared();
        let numbered = made.downgrade().map(|read| Numbered { number, read });
        *(if has_before { &mut pair.next } else { &mut pair.sent }) = numbered;
        made
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The read is about to be sent: nobody can join it any more.
    fn promote(&self) {
        if let Some(pair) = self.together.lock().reads.get_mut(&self.what)
            && pair.next.as_ref().is_some_and(|next| next.number == self.number)
        {
            pair.sent = pair.next.take();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.together.lock();
        let Some(pair) = state.reads.get_mut(&self.what) else { return };
        for read in [&mut pair.sent, &mut pair.next] {
            if read.as_ref().is_some_and(|read| read.number == self.number) {
                *read = None;
            }
        }
        if pair.sent.is_none() && pair.next.is_none() {
            state.reads.remove(&self.what);
        }
    }
}
