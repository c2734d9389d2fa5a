//! Runs jobs off a lane's desk, one after the other, until none is left. Never talks to Redis about jobs: how a run
//! ended goes back to the desk.

use std::sync::Arc;
use std::time::Instant;

use super::desk::{Ended, Job};
use super::fate::{self, Ran, Rules};
use super::lane::Lane;
use crate::job::envelope::Header;
use crate::job::settle::Fate;
use crate::job::store::{Claimed, Delivery, Slot};
use crate::sandbox::outcome::Outcome;
use crate::sandbox::run::{JobCall, RunContext};

/// Runs after which a runner lets other tasks have the thread, though none of its guests had to wait.
const RUNS_PER_TURN: u32 = 16;

/// Runs jobs until the desk is empty. Dropping the future in a run hands the job back, attempt not counted.
pub(super) async fn run(lane: Arc<Lane>) {
    let settings = lane.settings.load().current();
    let context = RunContext { link: lane.guests.clone(), settings, timeout: lane.policy.load().timeout };
    let mut seat = Seat { lane: &lane, context, held: None, left: false };
    let mut ended = None;
    let mut runs = 0;
    let mut sandbox = lane.sandboxes.acquire().await;
    while let Some(job) = lane.desk.next(ended.take()) {
        let end = seat.run(job).await;
        runs += 1;
        if runs % RUNS_PER_TURN == 0 {
            // Handed in before the pause: a runner stopped there would forget the end it holds.
            lane.desk.hand_in(end);
            drop(sandbox);
            tokio::task::yield_now().await;
            // Behind whoever waits: a lane with a backlog must not keep its sandboxes for ever.
            sandbox = lane.sandboxes.acquire().await;
        } else {
            ended = Some(end);
        }
    }
    drop(sandbox);
    seat.left = true;
}

/// A runner's place at the desk. Whatever way the runner goes, the job it holds is handed in.
struct Seat<'a> {
    lane: &'a Lane,
    context: RunContext,
    held: Option<Held>,
    left: bool,
}

struct Held {
    slot: Slot,
    tenure: u32,
    claimed_at: Instant,
    header: Header,
}

impl Held {
    fn end(self, settlement: impl FnOnce(Header) -> Option<(Header, Fate)>) -> Ended {
        let Self { slot, tenure, claimed_at, header } = self;
        Ended { slot, tenure, claimed_at, settlement: settlement(header) }
    }
}

impl Seat<'_> {
    async fn run(&mut self, job: Job) -> Ended {
        let lane = self.lane;
        let Job { claimed, tenure, claimed_at, .. } = job;
        let Claimed { slot, header, payload } = claimed;
        if let Some(observer) = &lane.observer {
            observer.started(&payload);
        }
        let rules = self.context();
        let held = self.held.insert(Held { slot, tenure, claimed_at, header });
        let headers: Vec<(&str, &str)> =
            held.header.producer_headers().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let call = JobCall {
            id: held.header.id.as_str(),
            queue: lane.queue.as_str(),
            payload: &payload,
            attempt: held.header.attempts.saturating_add(1),
            max_attempts: rules.max_attempts,
            first_seen_ms: held.header.first_seen_ms,
            headers: &headers,
        };
        // Fixed here for the whole run, whatever is swapped meanwhile.
        let version = lane.version.load_full();
        let outcome = version.run_job(call, &self.context).await.outcome;
        let held = self.held.take().expect("nobody else takes what this runner holds");
        held.end(|header| judge(lane, &rules, version.digest(), &outcome, header))
    }

    /// Brings the context up to date with what the operator and config readers say now.
    fn context(&mut self) -> Rules {
        let policy = self.lane.policy.load();
        self.context.timeout = policy.timeout;
        self.context.settings = self.lane.settings.load().current();
        policy.rules.clone()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.left {
            let ended = self.held.take().map(|held| held.end(|header| Some((header, Fate::Release))));
            self.lane.desk.abandon(ended);
        }
    }
}

/// What is to be said to Redis about this run; none for the ordinary good end.
fn judge(
    lane: &Lane,
    rules: &Rules,
    version: &str,
    outcome: &Outcome,
    mut header: Header,
) -> Option<(Header, Fate)> {
    let ran = Ran { plugin: &lane.plugin, version };
    let fate = fate::decide(outcome, &mut header, rules, ran, fastrand::f64());
    if fate == Fate::Complete {
        return None;
    }
    report(lane, version, outcome, &header, fate);
    Some((header, fate))
}

fn report(lane: &Lane, version: &str, outcome: &Outcome, header: &Header, fate: Fate) {
    let (plugin, queue, job) = (&lane.plugin, lane.queue.as_str(), header.id.as_str());
    let version = version.get(..12).unwrap_or(version);
    let reason = outcome.reason();
    let (reason, attempt) = (reason.as_ref(), header.attempts);
    if let Outcome::Trapped { backtrace, .. } = outcome {
        tracing::warn!(plugin, version, queue, job, reason, backtrace, "guest trapped");
    }
    let lost = lane.delivery == Delivery::AtMostOnce;
    match fate {
        _ if lost => tracing::warn!(plugin, version, queue, job, reason, "job failed and is not kept"),
        Fate::Bury => tracing::warn!(plugin, version, queue, job, attempt, reason, "job buried"),
        Fate::Retry { delay_ms } => {
            tracing::info!(plugin, version, queue, job, attempt, reason, delay_ms, "job will be retried");
        }
        _ => tracing::info!(plugin, version, queue, job, reason, "job discarded"),
    }
}
