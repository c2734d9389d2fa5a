//! The hint for an operator if Redis refuses something to the host's user: the error of Redis does not name the key.

use crate::job::key::companions;
use crate::job::name::QueueName;
use crate::storage::fault::Fault;
use crate::storage::obstacle::Obstacle;

/// The rights that a host needs for a queue, if this fault is about rights.
pub(super) fn hint(fault: &Fault, queue: &QueueName) -> Option<String> {
    if Obstacle::of(fault) != Obstacle::Permission {
        return None;
    }
    let queue = queue.as_str();
    let companions = companions(queue, "*").join("`, `");
    Some(format!(
        "this host's Redis user needs the keys `{queue}`, `{companions}` and `sandhog:*`, and the commands that `sandhog \
         acl --host` prints"
    ))
}
