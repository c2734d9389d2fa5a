//! A worker for tests that imports WASI, as guests of other toolchains do: through preview 1, which
//! `sandhog componentize` adapts to WASI 0.2. Its payload is a script, one command a line; the results are
//! pushed to the queue `probe-results`.
//!
//! ```text
//! sleep MS | sleep-for-ever | print TEXT | complain TEXT (standard error) | clock | random | environment
//! folders (how many the host opened for it) | exit CODE
//! ```

// Links the allocator.
use sandhog_guest as _;

mod preview1;

use exports::sandhog::worker::handler::{Failure, Guest, Job};
use sandhog::worker::queue;

wit_bindgen::generate!({ path: "../../../wit", world: "queue-worker", generate_all });
export!(WasiProbe);

struct WasiProbe;

impl Guest for WasiProbe {
    fn handle(job: Job) -> Result<(), Failure> {
        for line in String::from_utf8_lossy(&job.payload).lines() {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let result = match name {
                "sleep" => preview1::sleep_ms(rest.parse().unwrap_or(0)),
                "sleep-for-ever" => preview1::sleep_ms(u64::MAX / 1_000_000),
                "print" => preview1::write(1, rest),
                "complain" => preview1::write(2, rest),
                "clock" => preview1::clock_ns().map(|ns| (ns > 0).to_string()),
                "random" => preview1::random().map(|bytes| (bytes != [0; 16]).to_string()),
                "environment" => preview1::environment_size().map(|count| count.to_string()),
                "folders" => Ok(preview1::folders().to_string()),
                "exit" => preview1::exit(rest.parse().unwrap_or(0)),
                _ => return Err(Failure::Bury(format!("no command `{name}`"))),
            };
            let result = match result {
                Ok(value) => format!("{name}: ok {value}"),
                Err(errno) => format!("{name}: errno {errno}"),
            };
            drop(queue::push("probe-results", result.trim_end().as_bytes()));
        }
        Ok(())
    }
}
