//! What one whole fresh run costs. Not a check: it prints.
//! `cargo test --test tests -- --ignored --nocapture a_fresh_run_is_measured`

use std::time::{Duration, Instant};

use crate::support::guest::{context, job, load, no_redis, worker};

#[tokio::test]
#[ignore = "a measurement"]
async fn a_fresh_run_is_measured() {
    let version = load(&worker("", "", "i32.const 0"));
    let context = context(no_redis());
    let payload = [b'x'; 100];
    let runs: u32 = 200_000;
    for round in 0..3 {
        let started = Instant::now();
        for _ in 0..runs {
            std::hint::black_box(version.run_job(job(&payload), &context).await);
        }
        let each = started.elapsed() / runs;
        println!(
            "round {round}: {each:?} a run, {:.0} runs/s",
            Duration::from_secs(1).div_duration_f64(each)
        );
    }
}
