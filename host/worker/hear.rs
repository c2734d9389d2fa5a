//! What a feeder does when it hears that jobs of this host were taken away: it compares what it runs with what it still
//! owns, and stops the rest. The word itself says nothing, so one that is lost, late or given twice does no harm: a run
//! that goes on unheard ends without effect, because its record is gone.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::counters::Counters;
use super::feeder::Feeder;
use crate::job::store::{Delivery, StoreError};

/// What a feeder knows of words.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Given when there may be a word.
    pub(super) signal: Arc<Notify>,
    /// The key that is listened to, of the present tenure.
    key: String,
    /// The last word.
    heard: Option<String>,
}

impl Feeder {
    /// Whether there may be a word.
    pub(super) fn is_called(&self) -> bool {
        self.ear.signal.notified().now_or_never().is_some()
    }

    /// Hears whether there is a word, and does what it calls for. Reading it makes Redis report the next one.
    pub(super) async fn hear(&mut self) {
        if let Err(error) = self.listen().await {
            // After a reconnect, and once a minute, it is listened again.
            tracing::debug!(queue = self.lane.queue.as_str(), %error, "a word was perhaps not heard");
        }
    }

    /// The same, with what went wrong.
    pub(super) async fn listen(&mut self) -> Result<(), StoreError> {
        if self.lane.delivery == Delivery::AtMostOnce {
            // What it runs is recorded nowhere, so nobody can take it away.
            return Ok(());
        }
        let host = &self.tenure.host;
        let key = self.lane.store.keys().word(host);
        if key != self.ear.key {
            self.parts.wake.forget(&self.ear.signal);
            self.parts.wake.watch_key(&key, &self.ear.signal);
            (self.ear.key, self.ear.heard) = (key, None);
        }
        let word = self.lane.store.word(host).await?;
        if word.is_some() && word != self.ear.heard {
            self.stop_cancelled().await?;
        }
        self.ear.heard = word;
        Ok(())
    }

    async fn stop_cancelled(&mut self) -> Result<(), StoreError> {
        self.take_up();
        let recorded = self.lane.store.inflight(&self.tenure.host).await?;
        let gone = self.stop_what_is_gone(self.tenure.number, &recorded);
        if gone > 0 {
            Counters::add(&self.lane.counters.cancelled, gone);
            let (plugin, queue) = (&self.lane.plugin, self.lane.queue.as_str());
            tracing::info!(plugin, queue, jobs = gone, "jobs were cancelled; their runs are stopped");
        }
        Ok(())
    }
}
