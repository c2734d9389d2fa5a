//! The feeder of a lane: the only task that talks to Redis about the lane's jobs. The life of a job:
//!
//! 1. The feeder claims jobs in batches: Redis moves them from the queue to a record of this host (`feeder/turn.rs`, how
//!    many: `feeder/demand.rs`).
//! 2. The job waits in the lane's run queue (`desk.rs`) until one of the lane's runners is free.
//! 3. The runner runs the handler in a sandbox and decides what its outcome means for the job (`runner.rs`, `fate.rs`).
//! 4. The runner hands in the end, and the feeder sorts it by the step that reports it (`feeder/outbox.rs`).
//! 5. A job with effects ends with a commit (`feeder/commit.rs`), any other one with a settlement or with the
//!    acknowledgement in the next turn (`feeder/turn.rs`).
//! 6. When Redis has accepted the end, the job is no longer in flight (`feeder/accounts.rs`, `feeder/in_flight.rs`). If
//!    Redis and this host disagree about that, they are compared (`feeder/reconcile.rs`, `feeder/cancel.rs`).

mod accounts;
mod acl_check;
mod cancel;
mod commit;
mod demand;
mod epochs;
mod gather;
mod give_back;
mod in_flight;
mod outbox;
mod parts;
mod portion;
mod prefetch;
mod reconcile;
mod rights;
mod setback;
mod stuck;
mod sync;
mod turn;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_task::Task;
use tokio::sync::watch;

use self::cancel::CancelListener;
use self::demand::{Capacity, Demand};
use self::epochs::Epochs;
use self::in_flight::InFlight;
use self::outbox::Outbox;
pub use self::parts::{FeederParts, Phase, Retired};
pub use self::portion::{CLAIM_BYTES_MAX, held_bytes_max};
use self::reconcile::Reconciling;
use self::setback::Trouble;
use self::turn::PendingReply;
pub use super::desk::EFFECTS_BYTES_MAX;
use super::desk::Load;
use super::lane::Lane;
use super::precedence::Standing;
use crate::job::hold::Hold;
use crate::job::store::Delivery;

/// Feeds one lane.
#[derive(Debug)]
pub struct Feeder {
    lane: Arc<Lane>,
    parts: FeederParts,
    retired: Retired,
    epochs: Epochs,
    in_flight: InFlight,
    outbox: Outbox,
    /// How long an end in the outbox may wait for more.
    end_wait: Duration,
    demand: Demand,
    /// Number of claims so far.
    claims: u64,
    reply: PendingReply,
    gate: Standing,
    /// The highest priority of a queue of this host that has waiting jobs.
    priorities: watch::Receiver<Option<u32>>,
    runners: Vec<Task<()>>,
    reconciling: Reconciling,
    cancel: CancelListener,
    trouble: Trouble,
}

/// Why a wait ended.
enum Call {
    /// The run queue has changed, or the time has come to look at it.
    Look,
    /// The queue may have jobs.
    Wake,
    /// Jobs may have been cancelled.
    Cancel,
    /// There is a new connection, or the lease has ended.
    Reconcile,
}

impl Feeder {
    /// A feeder that has not begun. The host must have joined.
    pub fn new(lane: Arc<Lane>, parts: FeederParts, retired: Retired) -> Self {
        let now = Instant::now();
        let keys = lane.store.keys();
        for key in [&keys.list, &keys.ready, &keys.delayed, &keys.paused, &keys.vacant] {
            parts.wake.watch_key(key, &lane.wake);
        }
        let mut gate = lane.precedence.join();
        let priority = lane.current().policy.priority;
        gate.press(priority, priority > 0);
        let epoch = parts.membership.tenure();
        let mut outbox = Outbox::default();
        outbox.begin_epoch(epoch.number);
        Self {
            epochs: Epochs::new(epoch),
            in_flight: InFlight::default(),
            outbox,
            end_wait: gather::END_WAIT_MAX,
            demand: Demand::new(now),
            claims: 0,
            reply: PendingReply::default(),
            priorities: gate.changes(),
            gate,
            runners: Vec::new(),
            reconciling: Reconciling::new(parts.link.generations(), parts.membership.lapses(), now),
            cancel: CancelListener::default(),
            trouble: Trouble::default(),
            lane,
            parts,
            retired,
        }
    }

    /// Feeds until it is told to leave and holds no more jobs. False: as far as Redis knows, it may hold some. They come
    /// back when the lease ends.
    pub async fn run(mut self) -> bool {
        self.receive_cancellations().await;
        let holds_nothing = loop {
            let phase = self.next_phase();
            if phase != Phase::Serving {
                self.process_reply();
            }
            if phase == Phase::Leaving && self.lane.delivery == Delivery::AtMostOnce {
                self.give_back_unbegun().await;
            }
            let load = self.prepare(phase);
            let still = load.running == 0 && load.waiting == 0;
            self.note_changes();
            let must_reconcile = self.reconciling.is_wanted();
            let done = still && load.runners == 0 && self.outbox.is_empty();
            if done && (phase == Phase::Leaving || (phase == Phase::Draining && !must_reconcile)) {
                break !must_reconcile;
            }
            if done && self.gives_up() {
                break false;
            }
            if must_reconcile && phase != Phase::Leaving {
                self.reconcile().await;
                continue;
            }
            if self.cancel.is_notified() {
                self.receive_cancellations().await;
                continue;
            }
            let now = Instant::now();
            let claim = self.jobs_to_claim(load, phase, now);
            if claim > 0 || self.outbox.is_due(still, self.end_wait, now) {
                if !self.sync_with_redis(claim).await && phase == Phase::Leaving {
                    break false;
                }
                continue;
            }
            self.process_reply();
            if now >= self.reconciling.at() {
                self.reconcile().await;
            } else {
                match self.wait(load).await {
                    Call::Look => {}
                    Call::Wake => self.demand.wake(),
                    Call::Cancel => self.receive_cancellations().await,
                    Call::Reconcile => self.request_reconciliation(),
                }
            }
        };
        self.parts.wake.forget(&self.lane.wake);
        self.parts.wake.forget(&self.cancel.signal);
        holds_nothing && self.epochs.expired.is_empty()
    }

    /// The current phase, with its changes marked as seen: only later ones end the next `wait`.
    fn next_phase(&mut self) -> Phase {
        self.retired.mark_unchanged();
        self.parts.holds.mark_unchanged();
        self.parts.phase.mark_unchanged();
        self.phase()
    }

    /// The current phase: that of the host, or a later one if the lane is retired or held. Changes are not marked as seen,
    /// because only the loop of `run` acts on each.
    fn phase(&self) -> Phase {
        let own = if *self.retired.borrow() { Phase::Draining } else { Phase::Serving };
        let holds = self.parts.holds.borrow();
        let is_held = holds.since_ms(Hold::Plugin(&self.lane.plugin)).is_some()
            || holds.since_ms(Hold::Host(self.epochs.present().host.seat())).is_some();
        let held = if is_held { Phase::Held } else { Phase::Serving };
        own.max(held).max(*self.parts.phase.borrow())
    }

    /// How many jobs to claim now: none while a queue of a higher priority has waiting jobs. Tells the other queues of
    /// this host whether jobs wait here.
    fn jobs_to_claim(&mut self, load: Load, phase: Phase, now: Instant) -> u32 {
        let is_serving = phase == Phase::Serving;
        let priority = self.lane.current().policy.priority;
        let is_backlogged = is_serving && (self.demand.is_hungry() || load.waiting > 0);
        self.gate.press(priority, is_backlogged && priority > 0);
        if is_serving && !self.gate.must_yield(priority) {
            self.demand.to_claim(&self.capacity(), load, now)
        } else {
            0
        }
    }

    /// How many jobs the lane may hold.
    fn capacity(&self) -> Capacity {
        let edition = self.lane.current();
        let policy = &edition.policy;
        let most = held_bytes_max(policy.concurrency, policy.payload_bytes_max);
        let held = self.in_flight.bytes() + self.reply.bytes();
        Capacity {
            jobs_at_once: policy.jobs_at_once(),
            is_recorded: self.lane.delivery == Delivery::AtLeastOnce,
            is_limited: policy.limits.is_concurrency(),
            room_bytes: most.saturating_sub(held).min(CLAIM_BYTES_MAX),
        }
    }

    async fn wait(&mut self, load: Load) -> Call {
        let ends_due = self.outbox.due_at(self.end_wait);
        let until =
            [ends_due, self.demand.due_at(), self.demand.stuck.look_at(load), Some(self.reconciling.at())];
        let until = until.into_iter().flatten().min();
        let until = tokio::time::Instant::from_std(until.expect("a comparison is always planned"));
        tokio::select! {
            () = self.lane.desk.changed.notified() => Call::Look,
            () = self.lane.wake.notified() => Call::Wake,
            () = self.cancel.signal.notified() => Call::Cancel,
            () = tokio::time::sleep_until(until) => {
                if self.demand.take_due(Instant::now()) { Call::Wake } else { Call::Look }
            }
            Ok(()) = self.priorities.changed() => Call::Look,
            () = self.reconciling.changed() => Call::Reconcile,
            _ = self.parts.phase.changed() => Call::Look,
            Ok(()) = self.parts.holds.changed() => Call::Look,
            Ok(()) = self.retired.changed() => Call::Look,
        }
    }
}
