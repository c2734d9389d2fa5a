//! What a host asks Redis right after it has joined, and what it does if Redis goes away at that moment.

use std::time::Duration;

use tokio::sync::watch;

use crate::job::hold::{self, Hold, Holds};
use crate::job::store::StoreError;
use crate::storage::link::Link;
use crate::worker::feeder::Phase;

/// Wait until Redis is asked again what operators hold.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What is held. From the moment it has joined, a lost connection is no longer a Redis that is not there: the host waits
/// for it.
pub(super) async fn holds_of_joined(
    link: &Link,
    seat: &str,
    phase: &watch::Receiver<Phase>,
) -> Result<Holds, StoreError> {
    let read = async || {
        // A drained host that is started again serves again; a plugin that is held stays so.
        hold::let_go(link, Hold::Host(seat)).await?;
        hold::read(link).await
    };
    loop {
        match read().await {
            Err(StoreError::Fault(fault)) if fault.is_lost() && *phase.borrow() == Phase::Serving => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            // A host that is to leave serves nothing, whatever is held.
            Err(_) if *phase.borrow() != Phase::Serving => return Ok(Holds::default()),
            read => return read,
        }
    }
}
