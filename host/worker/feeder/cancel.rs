//! Cancellation: an operator's command removes the record of a job in flight and writes a notice for its host. The
//! notice says only that there is something to compare, so a lost, late or repeated notice does no harm: the run of a
//! cancelled job ends without effect, because its record is gone.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::Feeder;
use crate::job::store::{Delivery, StoreError};
use crate::storage::wake::Wake;
use crate::worker::counters::Counters;

/// Where a feeder receives the notices for its host.
#[derive(Debug, Default)]
pub(super) struct CancelListener {
    /// Notified when there may be a notice.
    pub(super) signal: Arc<Notify>,
    /// The key that is watched, of the present lease epoch.
    key: String,
    /// The last notice that was read.
    seen: Option<String>,
}

impl CancelListener {
    /// Whether there may be a notice that was not read.
    pub(super) fn is_notified(&self) -> bool {
        self.signal.notified().now_or_never().is_some()
    }

    /// Watches this key, and no other one.
    fn watch(&mut self, key: String, wake: &Wake) {
        if key != self.key {
            wake.forget(&self.signal);
            wake.watch_key(&key, &self.signal);
            (self.key, self.seen) = (key, None);
        }
    }

    /// Whether this notice was not seen before.
    fn is_new(&self, notice: Option<&String>) -> bool {
        notice.is_some() && notice != self.seen.as_ref()
    }
}

impl Feeder {
    /// Reads the notice, if there is one, and stops what it is about. Reading makes Redis report the next notice.
    pub(super) async fn receive_cancellations(&mut self) {
        if let Err(error) = self.read_notice().await {
            // It is read again after a reconnect, and once a minute.
            tracing::debug!(queue = self.lane.queue.as_str(), %error, "could not check for cancellations");
        }
    }

    /// The same, with what went wrong.
    pub(super) async fn read_notice(&mut self) -> Result<(), StoreError> {
        if self.lane.delivery == Delivery::AtMostOnce {
            // What it runs is recorded nowhere, so nobody can take it away.
            return Ok(());
        }
        let epoch = self.epochs.present().clone();
        self.cancel.watch(self.lane.store.keys().word(&epoch.host), &self.parts.wake);
        let notice = self.lane.store.word(&epoch.host).await?;
        if self.cancel.is_new(notice.as_ref()) {
            self.stop_cancelled().await?;
        }
        self.cancel.seen = notice;
        Ok(())
    }

    async fn stop_cancelled(&mut self) -> Result<(), StoreError> {
        self.process_reply();
        let epoch = self.epochs.present().clone();
        let recorded = self.lane.store.inflight(&epoch.host).await?;
        let stopped = self.stop_unrecorded(epoch.number, &recorded);
        if stopped > 0 {
            Counters::add(&self.lane.counters.cancelled, stopped);
            let (plugin, queue) = (&self.lane.plugin, self.lane.queue.as_str());
            tracing::info!(plugin, queue, jobs = stopped, "jobs were cancelled; their runs are stopped");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_new_once_for_each_key() {
        let wake = Wake::default();
        let mut listener = CancelListener::default();
        listener.watch("a".to_owned(), &wake);
        let notice = "1".to_owned();
        assert!(!listener.is_new(None) && listener.is_new(Some(&notice)));
        listener.seen = Some(notice.clone());
        listener.watch("a".to_owned(), &wake);
        assert!(!listener.is_new(Some(&notice)));
        listener.watch("b".to_owned(), &wake);
        assert!(listener.is_new(Some(&notice)), "the host continues under a new id");
    }
}
