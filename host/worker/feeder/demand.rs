//! How many jobs to claim, and when to look for more.

use std::time::{Duration, Instant};

use super::prefetch::Prefetch;
use super::stuck::Stuck;
use crate::job::store::{CLAIM_MAX, TurnReply};
use crate::worker::desk::{BATCH, Load};

/// How long to wait for the notice that the fleet's limits have room again, in case the notice is lost.
const LIMITED_WAIT: Duration = Duration::from_secs(5);

/// What a feeder knows of its queue, and how fast its runs end.
#[derive(Debug)]
pub(super) struct Demand {
    /// Whether the queue may have more jobs.
    is_hungry: bool,
    /// Whether the queue has more jobs, but one of its limits ended the last claim.
    is_limited: bool,
    /// When the next delayed job is due.
    due: Option<Instant>,
    prefetch: Prefetch,
    /// Whether runs end.
    pub(super) stuck: Stuck,
}

/// How many jobs a lane may hold, by its policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    /// Jobs in runs at once.
    pub(super) jobs_at_once: usize,
    /// Whether a claim leaves a record. Jobs without a record are lost with their host, so the lane claims only jobs that
    /// can run now.
    pub(super) is_recorded: bool,
    /// Whether the fleet's limits count jobs in flight. A job that waits here would take the slot of one that could run.
    pub(super) is_limited: bool,
    /// Bytes of payloads that may still be claimed.
    pub(super) room_bytes: u64,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        let (prefetch, stuck) = (Prefetch::new(now), Stuck::new(now));
        Self { is_hungry: true, is_limited: false, due: None, prefetch, stuck }
    }

    /// Whether the queue may have more jobs.
    pub(super) fn is_hungry(&self) -> bool {
        self.is_hungry
    }

    /// Whether one of the queue's limits ended the last claim.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// The queue may have jobs.
    pub(super) fn wake(&mut self) {
        self.is_hungry = true;
    }

    /// What was known of the queue may be out of date.
    pub(super) fn forget(&mut self) {
        (self.is_hungry, self.due) = (true, None);
    }

    /// A job in flight has ended, so the limits may let another one through.
    pub(super) fn made_room(&mut self) {
        self.is_hungry |= self.is_limited;
    }

    /// So many jobs have ended.
    pub(super) fn ended(&mut self, jobs: usize, now: Instant) {
        self.made_room();
        self.prefetch.ended(jobs, now);
        self.stuck.ended(jobs, now);
    }

    /// Records what a claim says about the queue.
    pub(super) fn learn(&mut self, reply: &TurnReply, now: Instant) {
        self.is_hungry = reply.more && !reply.paused;
        self.is_limited = reply.limited;
        let wait = |due_ms: u64| Duration::from_millis(due_ms.saturating_sub(reply.now_ms) + 1);
        self.due = reply.next_due_ms.map(|due_ms| now + wait(due_ms));
        if reply.limited {
            self.due = Some(self.due.unwrap_or(now + LIMITED_WAIT));
        }
        if reply.paused {
            // Redis reports the end of the pause.
            self.due = None;
        }
    }

    /// A job of this lane runs again after `delay`. Without key tracking, nothing else wakes the feeder then.
    pub(super) fn retry_in(&mut self, delay: Duration, now: Instant) {
        let due = now + delay;
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// When a delayed job is due, if one is known.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the delayed job is due now. It is reported once.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// Jobs to hold beyond those that run.
    pub(super) fn ahead(&self, capacity: &Capacity, now: Instant) -> usize {
        if capacity.is_limited { 0 } else { self.prefetch.ahead(now) }
    }

    /// How many jobs to claim now: 0 if the queue has none, or if the lane holds enough.
    pub(super) fn to_claim(&self, capacity: &Capacity, load: Load, now: Instant) -> u32 {
        if !self.is_hungry || capacity.room_bytes == 0 {
            return 0;
        }
        let ahead = self.ahead(capacity, now);
        let size = capacity.jobs_at_once + if capacity.is_recorded { ahead } else { 0 };
        let size = size.min(self.stuck.most());
        let room = size.saturating_sub(load.waiting + load.running);
        // Half of the prefetched jobs at a time, so that not every finished job causes a claim. But a lane that could
        // run more claims whatever it can get.
        let worth = (ahead / 2).clamp(1, BATCH);
        let starving = load.waiting == 0 && load.running < capacity.jobs_at_once;
        if room >= worth || (room > 0 && starving) {
            u32::try_from(room).unwrap_or(u32::MAX).min(CLAIM_MAX)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Capacity =
        Capacity { jobs_at_once: 8, is_recorded: true, is_limited: false, room_bytes: 1 << 20 };

    fn load(waiting: usize, running: usize) -> Load {
        Load { waiting, running, runners: running }
    }

    /// A demand whose runs end at a rate of 100 jobs a millisecond.
    fn fast(now: Instant) -> Demand {
        let mut demand = Demand::new(now);
        let mut at = now;
        for _ in 0..100 {
            at += Duration::from_millis(1);
            demand.ended(100, at);
        }
        demand
    }

    #[test]
    fn a_lane_that_starves_claims_what_fits_and_a_full_one_nothing() {
        let now = Instant::now();
        let demand = Demand::new(now);
        assert_eq!(demand.to_claim(&ROOMY, load(0, 0), now), 8);
        assert_eq!(demand.to_claim(&ROOMY, load(0, 7), now), 1);
        assert_eq!(demand.to_claim(&ROOMY, load(1, 7), now), 0);
        assert_eq!(demand.to_claim(&Capacity { room_bytes: 0, ..ROOMY }, load(0, 0), now), 0);
    }

    #[test]
    fn fast_runs_are_fed_ahead_unless_a_job_would_be_lost_or_take_the_slot_of_another() {
        let now = Instant::now();
        let (demand, later) = (fast(now), now + Duration::from_millis(100));
        assert!(demand.to_claim(&ROOMY, load(0, 8), later) > 100);
        assert_eq!(demand.to_claim(&ROOMY, load(800, 8), later), 0, "not for one job more");
        let unrecorded = Capacity { is_recorded: false, ..ROOMY };
        assert_eq!(demand.to_claim(&unrecorded, load(0, 6), later), 2);
        let limited = Capacity { is_limited: true, ..ROOMY };
        assert_eq!(demand.to_claim(&limited, load(0, 6), later), 2);
    }

    #[test]
    fn an_empty_queue_is_claimed_from_when_a_push_or_a_due_job_is_reported() {
        let now = Instant::now();
        let mut demand = Demand::new(now);
        demand.learn(&TurnReply { now_ms: 1000, next_due_ms: Some(1500), ..TurnReply::default() }, now);
        assert_eq!(demand.to_claim(&ROOMY, load(0, 0), now), 0);
        let due = now + Duration::from_millis(501);
        assert_eq!(demand.due_at(), Some(due));
        assert!(!demand.take_due(now));
        assert!(demand.take_due(due) && !demand.take_due(due), "once");
        demand.wake();
        assert_eq!(demand.to_claim(&ROOMY, load(0, 0), now), 8);
    }

    #[test]
    fn a_limit_is_tried_again_when_a_job_ends_or_after_some_seconds() {
        let now = Instant::now();
        let mut demand = Demand::new(now);
        demand.learn(&TurnReply { limited: true, ..TurnReply::default() }, now);
        assert_eq!((demand.is_hungry(), demand.due_at()), (false, Some(now + LIMITED_WAIT)));
        demand.ended(1, now);
        assert!(demand.is_hungry());
        demand.learn(&TurnReply::default(), now);
        demand.ended(1, now);
        assert!(!demand.is_hungry(), "the queue is empty, whatever ends");
    }

    #[test]
    fn a_paused_queue_waits_for_its_notice() {
        let now = Instant::now();
        let mut demand = Demand::new(now);
        let reply = TurnReply { more: true, paused: true, next_due_ms: Some(5), ..TurnReply::default() };
        demand.learn(&reply, now);
        assert_eq!((demand.is_hungry(), demand.due_at()), (false, None));
        demand.forget();
        assert!(demand.is_hungry());
    }

    #[test]
    fn the_earliest_retry_counts() {
        let now = Instant::now();
        let mut demand = Demand::new(now);
        demand.retry_in(Duration::from_secs(2), now);
        demand.retry_in(Duration::from_secs(1), now);
        demand.retry_in(Duration::from_secs(3), now);
        assert_eq!(demand.due_at(), Some(now + Duration::from_secs(1)));
    }
}
