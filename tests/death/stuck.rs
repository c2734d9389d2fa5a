//! Dead hosts whose jobs cannot be reclaimed, and members of the registry that are not hosts, must not keep the jobs of
//! other dead hosts waiting.

use std::time::Duration;

use redis::AsyncCommands;
use sandhog::job::name::HostId;

use super::{now_ms, plugins, started, wait_for_contact, with_lease};
use crate::support::host::until;
use crate::support::process::{HostProcess, hosts};
use crate::support::redis::TestRedis;

/// Members of each kind: more than a page of the registry has.
const MANY: u32 = 120;
/// The log line about a dead host whose jobs cannot be reclaimed.
const WARNING: &str = "cannot reclaim the jobs of a dead host";

#[tokio::test(flavor = "multi_thread")]
async fn dead_hosts_that_cannot_be_forgotten_keep_no_other_jobs_waiting() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &with_lease("10s")).await;
    // Then leases that ended earlier are not extended.
    wait_for_contact(&mut plain, Duration::ZERO).await;

    let now = now_ms(&mut plain).await;
    let epoch_ms = u64::try_from(now - 7_200_000).unwrap();
    let mut steps = redis::pipe();
    steps.atomic().set("{bad}:sandhog:ready", "of another program").ignore();
    for nth in 0..MANY {
        let stuck = HostId::new("stuck", nth, epoch_ms).unwrap();
        steps.hset(format!("{{bad}}:sandhog:inflight:{stuck}"), "7", "job").ignore();
        steps.hset(format!("sandhog:host:{stuck}"), "queues", "[\"bad\"]").ignore();
        steps.zadd("sandhog:hosts", stuck.as_str(), now - 3_600_000 + i64::from(nth)).ignore();
        steps.zadd("sandhog:hosts", format!("nobody {nth}"), nth).ignore();
    }
    let gone = HostId::new("gone", 1, epoch_ms).unwrap();
    steps.hset(format!("{{jobs}}:sandhog:inflight:{gone}"), "7", "job").ignore();
    steps.hset(format!("sandhog:host:{gone}"), "queues", "[\"jobs\"]").ignore();
    steps.zadd("sandhog:hosts", gone.as_str(), now - 1_000_000).ignore();
    let () = steps.query_async(&mut plain).await.unwrap();

    started(&mut plain, 1).await;
    until("the healthy one is forgotten", async || hosts(&mut plain, "gone").await.is_empty()).await;

    let warnings = || host.log().matches(WARNING).count();
    until("each of the others has a warning", async || warnings() >= MANY as usize).await;
    // Several rounds later.
    wait_for_contact(&mut plain, Duration::from_secs(2)).await;
    assert_eq!(warnings(), MANY as usize, "one warning for each");
    assert_eq!(hosts(&mut plain, "stuck").await.len(), MANY as usize);

    let () = plain.del("{bad}:sandhog:ready").await.unwrap();
    until("all are forgotten", async || hosts(&mut plain, "stuck").await.is_empty()).await;
    assert_eq!(plain.llen::<_, u32>("{bad}:sandhog:ready").await.unwrap(), MANY, "their jobs are ready");
}
