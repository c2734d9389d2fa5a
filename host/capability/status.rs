//! `status` for guests: how far a run is, and the result of its job. The host's own word about a job, so it travels on
//! the host's connection and needs no grant; what a guest controls of it is bounded here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binding::sandhog::worker::status::Host;
use super::refusal::Refusal;
use super::view::View;
use crate::job::key::QueueKeys;
use crate::job::status::{NOTE_BYTES_MAX, Progress, RESULT_BYTES_MAX, show_progress};
use crate::storage::link::Link;

/// How often a run's progress goes to Redis, and how long a run takes at the least of which any does.
const EVERY: Duration = Duration::from_secs(1);
/// How much longer than a run can take its progress is kept.
const MARGIN: Duration = Duration::from_secs(60);

/// Where the progress of a queue's jobs is shown.
#[derive(Debug)]
pub struct Board {
    /// The host's connection.
    pub link: Link,
    /// The queue's keys.
    pub keys: QueueKeys,
    /// The longest run.
    pub timeout: Duration,
}

/// What one run tells about its job.
#[derive(Debug)]
pub(super) struct Told {
    job: String,
    board: Option<Arc<Board>>,
    /// When the run began, or last told how far it is.
    since: Instant,
    result: Option<Vec<u8>>,
}

impl Told {
    fn new(job: &str, board: Option<Arc<Board>>) -> Self {
        Self { job: job.to_owned(), board, since: Instant::now(), result: None }
    }
}

impl View {
    /// Lets the run tell about its job, for components that can.
    pub fn let_tell(&mut self, job: &str, board: Option<Arc<Board>>) {
        self.told = Some(Box::new(Told::new(job, board)));
    }

    /// The result of its job, if it has set one.
    pub fn take_result(&mut self) -> Option<Vec<u8>> {
        self.told.as_mut().and_then(|told| told.result.take())
    }
}

impl Host for View {
    async fn progress(&mut self, done: u64, total: u64, note: String) -> wasmtime::Result<()> {
        let Some(told) = self.told.as_mut() else { return Ok(()) };
        let Some(board) = told.board.clone().filter(|_| told.since.elapsed() >= EVERY) else { return Ok(()) };
        told.since = Instant::now();
        let note = note[..note.floor_char_boundary(NOTE_BYTES_MAX)].to_owned();
        let kept = board.timeout.saturating_add(MARGIN);
        let progress = Progress { done, total, note };
        // Whether Redis takes it does not concern the guest; a lost connection is the host's to report.
        let _ = show_progress(&board.link, &board.keys, &told.job, &progress, kept).await;
        Ok(())
    }

    async fn set_result(&mut self, value: Vec<u8>) -> Result<(), Refusal> {
        self.spend_call("status.set-result")?;
        self.check_value(value.len())?;
        if value.len() > RESULT_BYTES_MAX {
            return Err(Refusal::Quota("result"));
        }
        if let Some(told) = self.told.as_mut() {
            told.result = Some(value);
        }
        Ok(())
    }
}
