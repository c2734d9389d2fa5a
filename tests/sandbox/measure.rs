//! What one whole fresh run costs, by the guest's initial memory. Not a check: it prints.
//! `cargo test --test tests -- --ignored --nocapture a_fresh_run_is_measured`

use std::time::{Duration, Instant};

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
    let context = context(no_redis());
    let payload = [b'x'; 100];
    for pages in [2, 3, 4, 5, 8, 17] {
        let text = worker_text("", "", "i32.const 0");
        let text = text.replace("(export \"memory\") 4)", &format!("(export \"memory\") {pages})"));
        let version = load(&component("queue-worker", &text));
        let (started, processor) = (Instant::now(), processor_time());
        for _ in 0..RUNS {
            std::hint::black_box(version.run_job(job(&payload), &context).await);
        }
        let (passed, used) = (started.elapsed() / RUNS, (processor_time() - processor) / RUNS);
        println!("{} KiB: {passed:?} a run, {used:?} of a processor", pages * 64);
    }
}
