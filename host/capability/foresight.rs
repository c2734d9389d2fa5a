//! What a run will ask Redis, learnt from the runs before it, so that it need not wait for the answer. Runs of one worker
//! are alike: they read the same settings first, and the marker that says a job was done already is not there.
//!
//! **Beginnings.** The reads with which all runs lately began are asked for together, once for all that start within some
//! milliseconds. A run is given an answer that was asked for after its job was claimed, and that is no older than
//! `AGE_MAX`; and only while it has learnt nothing else: so it sees what a run that was a little quicker would have seen,
//! never anything older than what it has seen before.
//!
//! **Absences.** Where keys that were to be set if absent always were, the next one is presumed to be. The commit proves
//! it: a presumption that was wrong is a conflict, and the job runs again without any. So does one whose run has not
//! completed it after a presumption: nobody can tell why.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};
use tokio::task::JoinSet;

use super::direct::Direct;
use crate::panics::named;
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Reads of a beginning.
const READS_MAX: usize = 8;
/// A value that is longer is not asked for beforehand.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Runs in a row that began alike, after which the next one is taken to.
const ALIKE_MIN: u32 = 2;
/// Runs after which a beginning is learnt anew: it may have become longer.
const ALIKE_MAX: u32 = 10_000;
/// An answer that is older is given to no run. Some round trips to a busy Redis.
const AGE_MAX: Duration = Duration::from_millis(10);
/// An answer that is older is asked for again, while runs still use it.
const AGE_FRESH: Duration = Duration::from_millis(2);
/// Keys in a row that were absent, after which the next one is presumed to be.
const ABSENT_MIN: u32 = 32;

/// What runs of one version on one queue were seen to do.
#[derive(Debug, Default)]
pub struct Foresight {
    state: Mutex<State>,
    /// Keys in a row that were to be set if absent, and were.
    absent: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    beginning: Arc<[Read]>,
    /// Runs in a row that began so.
    alike: u32,
    answers: Option<Arc<Answers>>,
    /// Asks once more; one task at the most.
    asking: JoinSet<()>,
    /// Runs from which nothing is learnt: what runs begin with cannot be asked for beforehand.
    pause: u32,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Text(String),
    Length(String),
}

/// The same, borrowed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    /// A string.
    Text(&'a str),
    /// How long a list is.
    Length(&'a str),
}

/// What Redis answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The string, if there is one.
    Text(Option<Vec<u8>>),
    /// Entries of a list.
    Length(u64),
}

/// The answers to a beginning.
#[derive(Debug)]
struct Answers {
    asked_at: Instant,
    reads: Arc<[Read]>,
    /// None: nothing that can be used.
    found: Vec<Option<Found>>,
}

/// What one run is given beforehand.
#[derive(Debug)]
pub(super) struct Foreseen {
    foresight: Arc<Foresight>,
    /// Answers are asked for after this.
    since: Instant,
    answers: Option<Arc<Answers>>,
    /// Of these, how many the run has used.
    used: usize,
    /// What the run has read itself, if it has used none of them.
    read: Vec<Read>,
    /// It has learnt something else, or what was foreseen is too old.
    is_over: bool,
    /// How it went on is not known, so that nothing can be learnt from it.
    is_cut: bool,
    presumes: bool,
}

impl Foresight {
    /// A presumption was wrong, or may have been.
    pub fn doubt(&self) {
        self.absent.store(0, Relaxed);
    }

    /// What the next runs begin with, asked for after `since`; none where they are not alike.
    async fn answers(self: &Arc<Self>, since: Instant, link: &Link) -> Option<Arc<Answers>> {
        let reads = {
            let mut state = self.lock();
            if state.alike < ALIKE_MIN {
                return None;
            }
            if let Some(answers) = state.answers.clone() {
                let age = answers.asked_at.elapsed();
                while state.asking.try_join_next().is_some() {}
                if age > AGE_FRESH && state.asking.is_empty() {
                    let (foresight, link, reads) = (self.clone(), link.clone(), state.beginning.clone());
                    let asking = async move { drop(foresight.ask(&link, reads).await) };
                    state.asking.spawn(named("foresight", asking));
                }
                if answers.asked_at >= since && age <= AGE_MAX {
                    return Some(answers);
                }
            }
            state.beginning.clone()
        };
        self.ask(link, reads).await
    }

    /// Asks now. A fault is told to whoever reads by itself.
    async fn ask(&self, link: &Link, reads: Arc<[Read]>) -> Option<Arc<Answers>> {
        let asked_at = Instant::now();
        let mut ask = Pipeline::with_capacity(2 * READS_MAX);
        for read in &*reads {
            match read {
                // To the byte after the last one of use: it shows a longer value.
                Read::Text(key) => {
                    ask.cmd("EXISTS").arg(key).cmd("GETRANGE").arg(key).arg(0).arg(TEXT_BYTES_MAX)
                }
                Read::Length(key) => ask.cmd("LLEN").arg(key),
            };
        }
        let mut told = link.read(ask).await.ok()?.into_iter();
        let found = reads.iter().map(|read| read.found(&mut told)).collect();
        let answers = Arc::new(Answers { asked_at, reads, found });
        let mut state = self.lock();
        let is_newer = state.answers.as_ref().is_none_or(|known| known.asked_at < asked_at);
        if is_newer && state.beginning == answers.reads {
            state.answers = Some(answers.clone());
        }
        Some(answers)
    }

    /// A run has begun with these reads.
    fn learn(&self, begun: &[Read]) {
        let mut state = self.lock();
        if state.pause > 0 {
            state.pause -= 1;
            return;
        }
        let alike = state.beginning.iter().zip(begun).take_while(|(known, read)| known == read).count();
        if alike == 0 {
            (state.beginning, state.alike, state.answers) = (begun.into(), 0, None);
            return;
        }
        if state.alike >= ALIKE_MAX {
            return state.forget();
        }
        if alike < state.beginning.len() {
            (state.beginning, state.answers) = (begun[..alike].into(), None);
        }
        state.alike += 1;
    }

    /// What all begin with cannot be asked for beforehand.
    fn pause(&self) {
        let mut state = self.lock();
        state.forget();
        state.pause = ALIKE_MAX;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked, a wrong guess costs one needless read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self) {
        (self.beginning, self.alike, self.answers) = (Arc::default(), 0, None);
    }
}

impl Read {
    fn is(&self, asked: Asked<'_>) -> bool {
        match (self, asked) {
            (Self::Text(known), Asked::Text(key)) | (Self::Length(known), Asked::Length(key)) => known == key,
            _ => false,
        }
    }

    /// What can be used of the answers to it, which come next.
    fn found(&self, told: &mut impl Iterator<Item = Result<Value, Fault>>) -> Option<Found> {
        match self {
            Self::Text(_) => match (told.next(), told.next()) {
                (Some(Ok(Value::Int(0))), Some(Ok(Value::BulkString(text)))) if text.is_empty() => {
                    Some(Found::Text(None))
                }
                // One that is empty may have gone between the two.
                (_, Some(Ok(Value::BulkString(text)))) if (1..=TEXT_BYTES_MAX).contains(&text.len()) => {
                    Some(Found::Text(Some(text)))
                }
                _ => None,
            },
            Self::Length(_) => match told.next() {
                Some(Ok(Value::Int(length))) => u64::try_from(length).ok().map(Found::Length),
                _ => None,
            },
        }
    }
}

impl From<Asked<'_>> for Read {
    fn from(asked: Asked<'_>) -> Self {
        match asked {
            Asked::Text(key) => Self::Text(key.to_owned()),
            Asked::Length(key) => Self::Length(key.to_owned()),
        }
    }
}

impl Foreseen {
    /// For a run whose job was claimed before `since`.
    pub(super) fn new(foresight: Arc<Foresight>, since: Instant) -> Self {
        let (answers, read) = (None, Vec::new());
        Self { foresight, since, answers, used: 0, read, is_over: false, is_cut: false, presumes: false }
    }

    /// What is known already of what the run is about to read.
    pub(super) async fn find(&mut self, asked: Asked<'_>, direct: &Direct) -> Option<Found> {
        if self.is_over {
            return None;
        }
        let is_first = self.answers.is_none() && self.read.is_empty();
        if is_first && let Ok(link) = direct.link() {
            self.answers = direct.stalls.wait(self.foresight.answers(self.since, link)).await;
        }
        let Some(answers) = &self.answers else {
            self.read.push(asked.into());
            self.is_over = self.read.len() == READS_MAX;
            return None;
        };
        if !is_first && answers.asked_at.elapsed() > AGE_MAX {
            (self.is_over, self.is_cut) = (true, true);
            return None;
        }
        let is_next = answers.reads.get(self.used).is_some_and(|read| read.is(asked));
        if is_next && let Some(found) = answers.found[self.used].clone() {
            self.used += 1;
            return Some(found);
        }
        self.is_over = true;
        if self.used == 0 {
            if is_next {
                self.foresight.pause();
            }
            self.answers = None;
            self.read.push(asked.into());
        }
        None
    }

    /// The run is about to learn something else: what was foreseen is too old then.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// The run has ended.
    pub(super) fn learn(&mut self) {
        match &self.answers {
            _ if self.is_cut => {}
            Some(answers) if self.used > 0 => self.foresight.learn(&answers.reads[..self.used]),
            None if !self.read.is_empty() => self.foresight.learn(&self.read),
            _ => {}
        }
    }

    /// Whether a key about to be set if absent is presumed to be.
    pub(super) fn presumes_absent(&mut self) -> bool {
        let presumes = self.foresight.absent.load(Relaxed) >= ABSENT_MIN;
        self.presumes |= presumes;
        presumes
    }

    /// Redis told whether such a key was absent.
    pub(super) fn told_absent(&self, absent: bool) {
        if absent {
            self.foresight.absent.fetch_add(1, Relaxed);
        } else {
            self.foresight.doubt();
        }
    }

    /// Whether anything was presumed in this run.
    pub(super) fn has_presumed(&self) -> bool {
        self.presumes
    }
}
