//! A queue worker that does nothing: the benchmark's guest, and the shortest there is.

// Links the allocator.
use guest as _;

use exports::sandhog::worker::handler::{Failure, Guest, Job};

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(Noop);

struct Noop;

impl Guest for Noop {
    fn handle(_job: Job) -> Result<(), Failure> {
        Ok(())
    }
}
