//! The baseline `scripts`: the backlog worked off by the claiming and acknowledging script alone, with no host, no desk and
//! no runs, as many jobs a turn as a feeder claims under full load. What Redis and one connection let through; a host
//! cannot be faster.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sandhog::job::lease::{HostInfo, Leases};
use sandhog::job::limit::QueueLimits;
use sandhog::job::name::HostId;
use sandhog::job::store::{CLAIM_MAX, DeadLimits, Delivery, JobStore, Order, Slot, Turn};
use serde_json::{Value, json};

use super::server::Load;
use super::stage::Stage;
use super::{Args, per, processor_us, resident_kib, round};
use crate::cli::error::{Failure, Outcome};

/// Turns under way at once. Each is of a host of its own: the numbers of a host's jobs are given one turn after the other.
const AT_ONCE: u32 = 4;
/// Longer than any backlog takes.
const LEASE: Duration = Duration::from_secs(3600);
/// Nothing dies here.
const DEAD: DeadLimits = DeadLimits { count: 1, age_ms: 1, bytes: 1 };

/// Works off what was pushed.
pub(super) async fn once(args: &Args, stage: Stage, jobs: u64, push_s: f64) -> Outcome<Value> {
    let queue = &stage.queues[0];
    let leases = Leases::new(stage.link.clone());
    let info = HostInfo { queues: vec![queue.clone()], ..HostInfo::default() };
    let mut hosts = Vec::new();
    for seat in 0..AT_ONCE {
        hosts.push(leases.register("bench", seat, LEASE, &info, &[]).await?);
    }
    let store = JobStore::new(stage.link.clone(), queue.clone(), DEAD);
    let before = Load::look(&stage.link).await?;
    let (begun, cpu_before_us) = (Instant::now(), processor_us());
    let done: u64 = try_join_all(hosts.iter().map(|host| drain(&store, host))).await?.iter().sum();
    let (took_s, cpu_us) = (begun.elapsed().as_secs_f64(), processor_us() - cpu_before_us);
    let load = Load::look(&stage.link).await?.since(before);
    for host in &hosts {
        leases.forget(host, true, std::slice::from_ref(queue)).await?;
    }
    if done != jobs {
        return Err(Failure::failed(format!("{jobs} jobs were pushed, and {done} acknowledged")));
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let jobs_f = jobs as f64;
    let mut document = json!({
        "workload": args.workload.word(),
        "baseline": "scripts",
        "jobs": jobs,
        "payload_bytes": args.payload_bytes(),
        "queues": 1,
        "jobs_per_turn": CLAIM_MAX,
        "turns_at_once": AT_ONCE,
        "seconds": round(took_s),
        "jobs_per_s": (jobs_f / took_s).round(),
        "pushed_per_s": (jobs_f / push_s).round(),
        "host_cpu_us_per_job": per(cpu_us, jobs),
        "memory_kib": resident_kib(),
    });
    load.add_to(&mut document, jobs);
    stage.sweep().await?;
    Ok(document)
}

/// One host's turns, until there is nothing to claim; answers how many jobs it had.
async fn drain(store: &JobStore, host: &HostId) -> Outcome<u64> {
    let limits = QueueLimits::default();
    let (mut acks, mut next_seq, mut settled) = (Vec::<Slot>::new(), 0, 0);
    loop {
        let turn = Turn {
            host,
            acks: &acks,
            claim: CLAIM_MAX,
            next_seq,
            order: Order::Fifo,
            delivery: Delivery::AtLeastOnce,
            bytes_max: u64::MAX >> 12,
            payload_bytes_max: u64::MAX >> 12,
            limits: &limits,
            nth: 0,
        };
        let reply = store.turn(&turn).await?;
        settled += reply.settled;
        if reply.jobs.is_empty() {
            return Ok(settled);
        }
        acks = reply.jobs.iter().map(|job| job.slot).collect();
        next_seq = reply.next_seq;
    }
}
