//! Hints for a Redis that cannot be used: one for each obstacle.

use sandhog::storage::address::Address;
use sandhog::storage::fault::Fault;
use sandhog::storage::obstacle::Obstacle;

use crate::cli::error::Failure;

/// The refusal to go on without Redis, with the hint that fits.
pub(crate) async fn no_redis(address: &Address, fault: Fault) -> Failure {
    let remedy = Obstacle::find(address, &fault).await.hint();
    let failure = Failure::refused(fault.to_string());
    match remedy {
        Some(remedy) => failure.with_hint(remedy),
        None => failure,
    }
}

/// The hint for an error during the work, if the error is about rights or a server that is not ready.
pub(crate) fn within(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match Obstacle::of(cause.downcast_ref::<Fault>()?) {
        obstacle @ (Obstacle::Permission | Obstacle::NotReady | Obstacle::Replica | Obstacle::Full) => {
            obstacle.hint()
        }
        _ => None,
    }
}
