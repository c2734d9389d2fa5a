//! What to tell an operator whose Redis refuses something to the host's user: Redis itself does not name the key.

use crate::job::key::companions;
use crate::job::name::QueueName;
use crate::storage::fault::Fault;
use crate::storage::obstacle::Obstacle;

/// The rights that a host needs for a queue, if they are what this fault is about.
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
