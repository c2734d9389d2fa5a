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

/// The hint for an error in the middle of the work, if it is about rights or a server that is not ready. It is found
/// by the text of the error, because errors of other modules contain those of Redis.
pub(crate) fn within(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let said = cause.to_string();
    let (code, detail) = said.strip_prefix("Redis refused: ")?.split_once(' ')?;
    let fault = Fault::Refused { code: code.to_owned(), detail: detail.to_owned() };
    match Obstacle::of(&fault) {
        obstacle @ (Obstacle::Permission | Obstacle::NotReady) => obstacle.hint(),
        _ => None,
    }
}
