//! How long a start waits for a Redis that is not there or not ready yet. What waiting cannot change (a wrong password, a
//! cluster) is refused at once.

use std::time::{Duration, Instant};

use super::StartError;
use crate::job::store::StoreError;
use crate::storage::address::Address;
use crate::storage::fault::Fault;
use crate::storage::obstacle::Obstacle;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// What is left of the time that a start may wait.
pub(super) struct Patience {
    address: Address,
    left: Duration,
}

impl Patience {
    /// So long in all, for the Redis there.
    pub(super) fn new(address: &Address, left: Duration) -> Self {
        Self { address: address.clone(), left }
    }

    /// Repeats the attempt until it succeeds, fails for good, or the time is over.
    pub(super) async fn until<T, E: Into<StartError>>(
        &mut self,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, StartError> {
        let begun = Instant::now();
        let mut waits = false;
        loop {
            let error = match attempt().await {
                Ok(done) => {
                    if waits {
                        tracing::info!(waited_ms = begun.elapsed().as_millis(), "Redis is ready: starting");
                        self.left = self.left.saturating_sub(begun.elapsed());
                    }
                    return Ok(done);
                }
                Err(error) => error.into(),
            };
            let Some(fault) = fault_of(&error) else { return Err(error) };
            if begun.elapsed() >= self.left || !Obstacle::find(&self.address, fault).await.may_pass() {
                return Err(error);
            }
            if !waits {
                let wait_s = self.left.as_secs_f64();
                tracing::warn!(cause = %fault, wait_s, "Redis is not ready: waiting (`host.start_wait`)");
                waits = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn fault_of(error: &StartError) -> Option<&Fault> {
    match error {
        StartError::Redis(fault) | StartError::Store(StoreError::Fault(fault)) => Some(fault),
        _ => None,
    }
}
