//! The example guests, each run as a plugin with its own manifest against a real Redis.

mod orders;
mod probes;
mod site_settings;

use crate::support::example;
use crate::support::guest::{context, job, no_redis};

/// What the guests start with, see guest-examples/.cargo/config.toml.
const INITIAL_MEMORY: u64 = 17 * 65_536;

#[tokio::test]
async fn noop_is_done_within_its_initial_memory() {
    let report = example::plugin("noop").version.run_job(job(&[b'x'; 100]), &context(no_redis())).await;
    assert_eq!((report.outcome.kind(), report.memory_peak_bytes), ("done", INITIAL_MEMORY));
}
