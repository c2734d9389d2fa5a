//! A worker for tests of swaps: tells which version of it ran, and which settings that run saw.
//!
//! For a job `<id>` of the queue `q` it adds 1 to `q:sum` and pushes `<id> <stamp> <release>` to `q:receipts`. The stamp
//! is a part of its code that tests change in the built component; the release is a setting of the manifest. A run
//! whose stamp and release do not belong together has mixed two versions. With the setting `fails` the run fails
//! after it has written.

// Links the allocator.
use sandhog_guest as _;

use exports::sandhog::worker::handler::{Failure, Guest, Job, RetryOptions};
use sandhog::worker::types::Error;
use sandhog::worker::{kv, queue};
use wasi::config::store;

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(Edition);

/// What tests look for in the component, and how many characters after it are the stamp.
const MARK: usize = "sandhog-edition:".len();
static STAMPED: [u8; MARK + 8] = *b"sandhog-edition:00000000";

struct Edition;

impl Guest for Edition {
    fn handle(job: Job) -> Result<(), Failure> {
        // Read where it lies: the compiler must not put what it knows of the text in its place.
        let stamped = std::hint::black_box(&STAMPED);
        let stamp = String::from_utf8_lossy(&stamped[MARK..]);
        let release = setting("release").unwrap_or_default();
        let id = String::from_utf8_lossy(&job.payload);
        kv::add(&format!("{}:sum", job.queue), 1).map_err(failure)?;
        let receipt = format!("{id} {stamp} {release}");
        queue::push(&format!("{}:receipts", job.queue), receipt.as_bytes()).map_err(failure)?;
        match setting("fails") {
            Some(reason) => Err(later(reason)),
            None => Ok(()),
        }
    }
}

fn setting(name: &str) -> Option<String> {
    store::get(name).ok().flatten()
}

fn failure(error: Error) -> Failure {
    later(format!("{error:?}"))
}

fn later(reason: String) -> Failure {
    Failure::Retry(RetryOptions { reason, after_ms: None })
}
