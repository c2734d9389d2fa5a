//! Guests whose single instructions take long: `memory.fill` and `memory.copy` over a gigabyte are one call into the engine
//! each, during which a run does not yield. Two such runs hold both threads of the host, and a neighbour continues. The
//! test measures how many jobs the neighbour runs one after the other per instruction of the attackers. If the
//! neighbour had to wait for the end of an instruction each time, this would be one.

use std::time::{Duration, Instant};

use redis::AsyncCommands;

use super::attack::attacker;
use super::siege::longest;
use super::table::{Figures, Pending};
use crate::support::guest::worker;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::redis::TestRedis;

pub(super) const ATTACKS: &[&str] = &["fills_and_copies_of_a_gigabyte_at_once"];

/// Fills and copies of each run.
const INSTRUCTIONS: u64 = 8;
const RUNS: u64 = 2;
/// Least number of the neighbour's jobs for each of them.
const JOBS_PER_INSTRUCTION: u64 = 2;

const BULK: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"attack\"\nconcurrency = 2\ntimeout = \"60s\"\n\
                    [limits]\nmemory = \"1GiB\"\n";
const GOOD: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"good\"\n";

fn bulk() -> Vec<u8> {
    attacker(
        "",
        "",
        &format!(
            "(if (i32.eq (memory.grow (i32.const 16000)) (i32.const -1)) (then unreachable))
            (loop $l
                (memory.fill (i32.const 262144) (local.get $i) (i32.const 1048576000))
                (memory.copy (i32.const 262144) (i32.const 262208) (i32.const 1048575936))
                (local.set $i (i32.add (local.get $i) (i32.const 2)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const {INSTRUCTIONS}))))
            (i32.const 0)"
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_fill_a_gigabyte_at_once_hold_up_no_neighbour() {
    let pending = Pending::new(ATTACKS[0], "spare threads");
    let redis = TestRedis::start_with(&["--slowlog-max-len", "100000", "--slowlog-log-slower-than", "1000"]);
    let plugins = Plugins::new();
    let mut plain = redis.plain().await;
    plugins.put("bulk", &bulk(), BULK);
    plugins.put("good", &worker("", "", "i32.const 0"), GOOD);
    let mut settings = plugins.settings(&redis.url(), "h");
    (settings.host.threads, settings.ceilings.memory_bytes, settings.ceilings.instances) = (2, 1 << 30, 8);
    let host = serve(settings).await;
    let _: u64 = plain.rpush("attack", vec!["go"; 2]).await.unwrap();
    until("both run", async || count(&host, "attack", |c| &c.claimed) == RUNS).await;
    let ended = || count(&host, "attack", |c| &c.completed) + count(&host, "attack", |c| &c.buried);
    let (mut jobs, mut waits) = (0, Vec::new());
    while ended() < RUNS {
        let pushed = Instant::now();
        let _: u64 = plain.rpush("good", "x").await.unwrap();
        jobs += 1;
        until("the neighbour's job is done", async || count(&host, "good", |c| &c.completed) == jobs).await;
        waits.push(pushed.elapsed());
    }
    assert_eq!(count(&host, "attack", |c| &c.completed), RUNS);
    let instructions = RUNS * INSTRUCTIONS;
    assert!(jobs >= JOBS_PER_INSTRUCTION * instructions, "{jobs} jobs beside {instructions} instructions");
    waits.sort_unstable();
    let p99 = waits[(waits.len() * 99 / 100).min(waits.len() - 1)];
    let figures = Figures { p99, longest: Duration::from_micros(longest(&mut plain).await.0) };
    pending.report_with(
        format!("{RUNS} done, {instructions} instructions, {jobs} jobs of the neighbour"),
        figures,
    );
    stop(host).await;
}
