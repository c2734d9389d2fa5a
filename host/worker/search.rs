//! Searches for jobs in flight under ids that are not registered, at start and every hour. One host does it for all.
//! The reaper takes the jobs back; `job::lost` searches.

use std::time::Duration;

use tokio::sync::watch;

use crate::job::lost::{self, SEARCH_EVERY};
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Wait after a search that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// Searches until `stop`; ids that are found are registered with `lease`.
pub async fn run(link: Link, lease: Duration, mut stop: watch::Receiver<bool>) {
    let mut starting = true;
    let mut refused = false;
    while !*stop.borrow() {
        let round = async {
            let wait = match search(&link, lease, starting).await {
                Ok(()) => {
                    (starting, refused) = (false, false);
                    SEARCH_EVERY
                }
                Err(error @ Fault::Refused { .. }) => {
                    if !std::mem::replace(&mut refused, true) {
                        let hint = "give the host's user the rights that `sandhog acl --host` prints";
                        tracing::warn!(%error, hint, "cannot search for jobs of unregistered hosts; retrying in an hour");
                    }
                    SEARCH_EVERY
                }
                Err(_) => AGAIN,
            };
            tokio::time::sleep(wait).await;
        };
        tokio::select! {
            () = round => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

async fn search(link: &Link, lease: Duration, starting: bool) -> Result<(), Fault> {
    if lost::is_our_turn(link, starting).await? {
        lost::search(link, lease).await?;
    }
    Ok(())
}
