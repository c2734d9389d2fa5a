//! What the control thread publishes to the fleet. While Redis is away, the attempts do not keep the thread from its
//! other work.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Parts;
use crate::worker::feeder::Phase;

/// First wait after a failed publication; the wait doubles up to the longest.
const AGAIN_FIRST: Duration = Duration::from_millis(200);
/// Longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// The host could not publish what it serves.
pub(super) struct Untold {
    again: Instant,
    wait: Duration,
}

impl Untold {
    /// Returns when it is time for another attempt; never if none is due.
    pub(super) async fn passed(untold: Option<&Self>) {
        match untold {
            Some(untold) => tokio::time::sleep_until(untold.again).await,
            None => std::future::pending().await,
        }
    }

    /// It is time for another attempt now, and soon again if that fails as well.
    pub(super) fn due() -> Self {
        Self { again: Instant::now(), wait: AGAIN_FIRST }
    }

    fn after(former: Option<&Self>) -> Self {
        let wait = former.map_or(AGAIN_FIRST, |former| (former.wait * 2).min(AGAIN_MAX));
        Self { again: Instant::now() + wait, wait }
    }
}

impl Parts {
    /// Publishes what this host serves now. Returns false if that failed; `untold` then has the time of the next
    /// attempt.
    pub(super) async fn tell(&mut self, phase: &mut watch::Receiver<Phase>) -> bool {
        let view = self.served.view();
        self.told = view.clone();
        self.membership.will_serve(self.served.queue_names(), view);
        if self.untold.as_ref().is_some_and(|untold| untold.again > Instant::now()) {
            return false;
        }
        let was_told = tokio::select! {
            told = self.membership.describe() => told,
            // Redis may need seconds to refuse; a stop of the host does not wait for that.
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => false,
        };
        if !was_told {
            self.untold = Some(Untold::after(self.untold.as_ref()));
            return false;
        }
        self.untold = None;
        self.tell_history().await;
        true
    }

    /// Publishes the swaps of versions. Swaps that could not be published are published the next time.
    pub(super) async fn tell_history(&mut self) {
        let (leases, tenure) = (self.membership.leases(), self.membership.tenure());
        let history = self.served.history();
        if history.pending().is_empty() {
            return;
        }
        match leases.remember(&tenure.host, history.pending()).await {
            Ok(()) => history.clear(),
            Err(error) => tracing::warn!(%error, "could not publish a swap to the fleet; trying again"),
        }
    }
}
