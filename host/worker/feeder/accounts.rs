//! What an answer of Redis about a job changes on this host.

use std::time::{Duration, Instant};

use super::demand::Demand;
use super::in_flight::InFlight;
use super::outbox::Outbox;
use crate::job::settle::Fate;
use crate::worker::counters::Counters;
use crate::worker::desk::Ended;
use crate::worker::lane::Lane;

/// The parts of a feeder that an answer about jobs changes.
pub(super) struct Accounts<'a> {
    pub(super) lane: &'a Lane,
    pub(super) in_flight: &'a mut InFlight,
    pub(super) demand: &'a mut Demand,
    pub(super) outbox: &'a mut Outbox,
}

impl Accounts<'_> {
    /// Redis has accepted this end.
    pub(super) fn accepted(&mut self, fate: Fate, ended: &Ended) {
        if let Fate::Retry { delay_ms } = fate {
            self.demand.retry_in(Duration::from_millis(delay_ms + 1), Instant::now());
        }
        self.in_flight.remove((ended.tenure.number, ended.slot));
        count(self.lane, fate, ended);
    }

    /// The job was no longer ours when its end was reported.
    pub(super) fn late(&mut self, ended: &Ended) {
        self.in_flight.remove((ended.tenure.number, ended.slot));
        Counters::add(&self.lane.counters.late, 1);
    }

    /// Redis has not accepted this end: it is reported again.
    pub(super) fn keep(&mut self, ended: Ended) {
        self.outbox.add(ended, Instant::now());
    }
}

/// Counts the end of a job.
pub(super) fn count(lane: &Lane, fate: Fate, ended: &Ended) {
    let counters = &lane.counters;
    let counter = match fate {
        Fate::Complete => &counters.completed,
        Fate::Discard => &counters.discarded,
        Fate::Retry { .. } => &counters.retried,
        Fate::Bury => &counters.buried,
        Fate::Release | Fate::GiveBack(_) => &counters.released,
    };
    Counters::add(counter, 1);
    // A job that goes back has not ended.
    let is_back = matches!(fate, Fate::Release | Fate::GiveBack(_));
    if let Some(observer) = lane.observer.as_ref().filter(|_| !is_back) {
        observer.settled(ended.claimed_at);
    }
}
