//! What one whole fresh run costs (store, instance, one call, drop), by the guest's initial memory, and for the
//! example `noop` if it is built. `cargo bench --bench fresh_run`; whole jobs through Redis: `sandhog bench`.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement prints, and may fail loudly")]

#[path = "../tests/support/guest.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest of it")]
mod guest;

use std::time::{Duration, Instant};

use guest::{component, context, job, load, no_redis, worker_text};
use sandhog::sandbox::Version;

const RUNS: u32 = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for pages in [2, 4, 8, 17] {
            let text = worker_text("", "", "i32.const 0");
            let text = text.replace("(export \"memory\") 4)", &format!("(export \"memory\") {pages})"));
            println!("{} KiB: {}", pages * 64, measure(&load(&component("queue-worker", &text))).await);
        }
        if let Ok(noop) = std::fs::read("guest-examples/built/noop.wasm") {
            println!("example `noop`: {}", measure(&load(&noop)).await);
        }
    });
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

/// Time this thread has had a processor: other work on the machine does not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
