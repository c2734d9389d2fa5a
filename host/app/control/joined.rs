//! The requests that a host sends to Redis immediately after it has joined, and what it does if Redis is away then.

use std::time::Duration;

use tokio::sync::watch;

use crate::job::hold::{self, Hold, Holds};
use crate::job::store::StoreError;
use crate::storage::link::Link;
use crate::worker::feeder::Phase;

/// Wait between two requests for what operators hold.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The plugins and hosts that operators hold. After the host has joined, a lost connection no longer ends the start:
/// the host waits for Redis.
pub(super) async fn holds_of_joined(
    link: &Link,
    seat: &str,
    phase: &watch::Receiver<Phase>,
) -> Result<Holds, StoreError> {
    let read = async || {
        // A drained host that is started again serves again; a held plugin stays held.
        hold::let_go(link, Hold::Host(seat)).await?;
        hold::read(link).await
    };
    loop {
        match read().await {
            Err(StoreError::Fault(fault)) if fault.is_lost() && *phase.borrow() == Phase::Serving => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            // A host that is to leave serves no plugins, whatever operators hold.
            Err(_) if *phase.borrow() != Phase::Serving => return Ok(Holds::default()),
            read => return read,
        }
    }
}
