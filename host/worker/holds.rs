//! Hears what operators hold, and tells all feeders of this host. Redis says when it changes (key tracking); without
//! that, and in case a message is lost, it is read again after a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::job::hold::{self, Holds};
use crate::job::key::HELD;
use crate::storage::link::Link;
use crate::storage::wake::Wake;

/// Period with tracking: a lost message costs at most this.
const PERIOD_TRACKED: Duration = Duration::from_secs(60);
/// Period without tracking, and after a read that failed.
const PERIOD_UNTRACKED: Duration = Duration::from_secs(1);

/// Follows what is held until `stop`.
pub async fn run(link: Link, wake: Arc<Wake>, holds: watch::Sender<Holds>, mut stop: watch::Receiver<bool>) {
    let signal = Arc::new(Notify::new());
    wake.watch_key(HELD, &signal);
    let mut generations = link.generations();
    while !*stop.borrow() {
        let tracked = link.connect().await.unwrap_or(false);
        let read = hold::read(&link).await;
        let period = if tracked && read.is_ok() { PERIOD_TRACKED } else { PERIOD_UNTRACKED };
        match read {
            Ok(read) => {
                holds.send_if_modified(|known| {
                    *known != read && {
                        *known = read;
                        true
                    }
                });
            }
            Err(error) => tracing::debug!(%error, "what operators hold was not heard; trying again"),
        }
        tokio::select! {
            () = signal.notified() => {}
            () = tokio::time::sleep(period) => {}
            Ok(()) = generations.changed() => {}
            changed = stop.changed() => {
                if changed.is_err() { break }
            }
        }
    }
    wake.forget(&signal);
}
