//! What one whole fresh run costs, by the guest's initial memory. Not a check: it prints.
//! `cargo test --test tests -- --ignored --nocapture a_fresh_run_is_measured`

use std::time::{Duration, Instant};

use sandhog::sandbox::Version;

use crate::support::example;
use crate::support::guest::{component, context, job, load, no_redis, worker_text};

const RUNS: u32 = 100_000;

/// Time this thread has had a processor: other work on the machine does not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
#[ignore = "a measurement"]
async fn a_fresh_run_is_measured() {
    for pages in [2, 3, 4, 5, 8, 17] {
        let text = worker_text("", "", "i32.const 0");
        let text = text.replace("(export \"memory\") 4)", &format!("(export \"memory\") {pages})"));
        println!("{} KiB: {}", pages * 64, measure(&load(&component("queue-worker", &text))).await);
    }
    println!("example `noop`: {}", measure(&example::plugin("noop").version).await);
}

async fn measure(version: &Version) -> String {
    let context = context(no_redis());
    let (started, processor) = (Instant::now(), processor_time());
    for _ in 0..RUNS {
        std::hint::black_box(version.run_job(job(&[b'x'; 100]), &context).await);
    }
    let (passed, used) = (started.elapsed() / RUNS, (processor_time() - processor) / RUNS);
    format!("{passed:?} a run, {used:?} of a processor")
}
