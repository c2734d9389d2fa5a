//! The handler that the README shows: counts how often a name came, and greets it.

// Links the allocator.
use guest as _;

use exports::sandhog::worker::handler::{Failure, Guest, Job, RetryOptions};
use sandhog::worker::{kv, queue};

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(Greeter);

struct Greeter;

impl Guest for Greeter {
    fn handle(job: Job) -> Result<(), Failure> {
        let name = String::from_utf8(job.payload).map_err(|_| Failure::Bury("not a name".into()))?;
        let times = kv::increment(&format!("greeted:{name}"), 1).map_err(later)?;
        queue::push("greetings", format!("hello, {name} ({times})").as_bytes()).map_err(later)?;
        Ok(())
    }
}

fn later(error: kv::Error) -> Failure {
    Failure::Retry(RetryOptions { reason: format!("{error:?}"), after_ms: None })
}
