//! How long a start waits for a Redis that does not answer or is not ready yet (`host.start_wait`). An error that
//! waiting cannot fix, such as a wrong password or a cluster, is returned immediately.

use std::time::{Duration, Instant};

use super::StartError;
use crate::job::store::StoreError;
use crate::storage::address::Address;
use crate::storage::fault::Fault;
use crate::storage::obstacle::Obstacle;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// The rest of the time that a start may wait for Redis.
pub(super) struct StartWait {
    address: Address,
    left: Duration,
}

impl StartWait {
    /// Waits for the Redis at `address`, at most `left` over all calls of `retry`.
    pub(super) fn new(address: &Address, left: Duration) -> Self {
        Self { address: address.clone(), left }
    }

    /// Repeats `attempt` until it succeeds, fails with an error that waiting cannot fix, or the time is used up.
    pub(super) async fn retry<T, E: Into<StartError>>(
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
