//! A worker for tests: its payload is a script, and each line of it makes one call or misbehaves in one way.
//!
//! ```text
//! report queue seen          where results go: `queue NAME`, `key NAME` or `none`; else `queue probe-results`
//! kv.set greeting hello      one result line each: `kv.set: ok`
//! kv.get greeting            `kv.get: ok some "hello"`
//! kv.get secret              `kv.get: err denied "secret"`
//! bury enough                how the job ends; without such a line it is done
//! ```
//!
//! Words are separated by blanks; `script` says how a word can stand for any bytes. Results are pushed one by
//! one as they come, so what happened before a trap is seen; with `report key` the key holds all lines so far.
//! Reporting costs calls of its own: where calls are counted, `report none` and end with `bury $results`.
//! The commands are in `calls` (each function of the WIT), `deeds` (hostile ones) and `run` (the rest).

// Links the allocator.
use sandhog_guest as _;

mod calls;
mod deeds;
mod report;
mod run;
mod script;
mod show;

use exports::sandhog::worker::handler::{Failure, Guest, Job};

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(Probe);

struct Probe;

impl Guest for Probe {
    fn handle(job: Job) -> Result<(), Failure> {
        run::Run::new(job).finish()
    }
}
