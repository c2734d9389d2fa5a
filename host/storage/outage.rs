//! Logs connections to Redis that break and cannot be replaced, as one outage for all links of a host.

use std::time::{Duration, Instant};

use super::fault::Fault;
use super::obstacle::Obstacle;
use super::reminder::Reminder;

/// A loss that follows the previous one after more than this time is logged like the first one.
const LOSS_GAP: Duration = Duration::from_secs(60);

/// The present outage, as the links of a host see it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Whether there was a connection before. Before that, the start of the host logs what it waits for.
    was_reached: bool,
    now: Option<Reminder>,
    losses: Option<(Reminder, Instant)>,
}

impl Outage {
    /// A connection broke while commands used it. If connections break repeatedly, only some of the losses are logged.
    pub(super) fn lost(&mut self, role: &str, cause: &str) {
        let now = Instant::now();
        let recent = self.losses.take().filter(|(_, last)| now.duration_since(*last) < LOSS_GAP);
        let mut losses = recent.map_or_else(Reminder::growing, |(losses, _)| losses);
        if self.now.is_none() && losses.is_due("").is_some() {
            tracing::warn!(role, cause, "lost the connection to Redis");
            self.now = Some(Reminder::steady());
        } else {
            tracing::debug!(role, cause, "lost the connection to Redis");
        }
        self.losses = Some((losses, now));
    }

    /// A connection could not be made: logged when an outage begins, when its cause changes, and once a minute.
    pub(super) fn failed(&mut self, address: &str, fault: &Fault) {
        if !self.was_reached {
            return;
        }
        let outage = self.now.get_or_insert_with(Reminder::steady);
        // Texts of the same obstacle can alternate, so the obstacles are compared.
        let obstacle = Obstacle::of(fault);
        let Some(lasts) = outage.is_due(&format!("{obstacle:?}")) else { return };
        let cause = match fault {
            Fault::Lost { cause, .. } => cause.clone(),
            fault => fault.to_string(),
        };
        let hint = obstacle.hint().filter(|_| obstacle != Obstacle::NotReady);
        let away_s = lasts.as_secs();
        tracing::warn!(redis = address, cause, away_s, hint, "cannot reach Redis; trying again");
    }

    /// A connection was made.
    pub(super) fn ended(&mut self, address: &str) {
        self.was_reached = true;
        if let Some(outage) = self.now.take() {
            let away_ms = u64::try_from(outage.lasts().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(redis = address, away_ms, "Redis is back");
        }
    }
}
