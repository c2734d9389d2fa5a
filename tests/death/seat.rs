//! Who may reclaim jobs without waiting for a lease: a host that holds the seat of the dead one, but not a host with a
//! copy of that seat.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::{id_of, plugins, push, reaped, started, with_lease};
use crate::support::host::{Plugins, until};
use crate::support::process::{HostProcess, hosts};
use crate::support::redis::TestRedis;

/// So long that no test waits for it.
const LEASE: &str = "5m";

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_state_dir_takes_no_jobs_from_the_living_host() {
    let (redis, original, copy) = (TestRedis::start(), plugins(2), plugins(2));
    let mut plain = redis.plain().await;
    let settings = with_lease(LEASE);
    let living = HostProcess::start_with(&original, &redis.url(), "h", &mut plain, &settings).await;
    push(&mut plain, &["Long"]).await;
    started(&mut plain, 1).await;
    let id = id_of(&mut plain, "h").await;
    let seat = |plugins: &Plugins| plugins.path().join(".state/h.1.seat");
    std::fs::create_dir(copy.path().join(".state")).unwrap();
    std::fs::copy(seat(&original), seat(&copy)).unwrap();
    for _ in 0..3 {
        let mut clone = HostProcess::start_with(&copy, &redis.url(), "h", &mut plain, &settings).await;
        until("the clone serves", async || clone.log().contains("joined")).await;
        clone.signal(Signal::TERM);
        assert!(clone.ended().await.success());
        if clone.log().matches("joined").count() == 1 {
            assert!(clone.log().contains("the folder is a copy"), "{}", clone.log());
        }
    }
    assert_eq!(reaped(&mut plain).await, 0);
    assert_eq!(hosts(&mut plain, "h").await, [id.as_str()]);
    assert_ne!(std::fs::read(seat(&original)).unwrap(), std::fs::read(seat(&copy)).unwrap());
    drop(living);
}

/// Each host checks for the other before it compiles, and joins after that.
#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_start_at_once_from_copies_of_one_folder_have_two_seats() {
    let (redis, one, other) = (TestRedis::start(), plugins(2), plugins(2));
    let file = |plugins: &Plugins| plugins.path().join(".state/h.1.seat");
    for plugins in [&one, &other] {
        std::fs::create_dir(plugins.path().join(".state")).unwrap();
        std::fs::write(file(plugins), "0badcafe\n").unwrap();
    }
    let (url, settings) = (redis.url(), with_lease(LEASE));
    let (mut plain, mut second) = (redis.plain().await, redis.plain().await);
    let (first, second) = tokio::join!(
        HostProcess::start_with(&one, &url, "h", &mut plain, &settings),
        HostProcess::start_with(&other, &url, "h", &mut second, &settings),
    );
    until("both have joined", async || first.log().contains("joined") && second.log().contains("joined"))
        .await;
    let ids = hosts(&mut plain, "h").await;
    let seats: BTreeSet<&str> = ids.iter().map(|id| id.rsplit_once('.').unwrap().0).collect();
    assert_eq!((ids.len(), seats.len()), (2, 2), "{ids:?}");
    assert_ne!(std::fs::read(file(&one)).unwrap(), std::fs::read(file(&other)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_crashes_its_hosts_is_buried_even_if_they_restart_immediately() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    let settings = with_lease(LEASE);
    push(&mut plain, &["Long"]).await;
    for life in 1..=3 {
        let mut host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
        started(&mut plain, life).await;
        host.signal(Signal::KILL);
        host.ended().await;
    }
    let _last = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    let mut dead = redis::cmd("ZCARD");
    dead.arg("{jobs}:sandhog:dead");
    until("the job is dead", async || dead.query_async::<u64>(&mut plain).await.unwrap() == 1).await;
    assert_eq!(reaped(&mut plain).await, 3);
}

/// After a reboot, or on another machine: only the lease counts.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_host_of_unknown_origin_wait_for_its_lease() {
    let (redis, plugins) = (TestRedis::start(), plugins(2));
    let mut plain = redis.plain().await;
    let settings = with_lease("1s");
    let mut first = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    push(&mut plain, &["Long"]).await;
    started(&mut plain, 1).await;
    let id = id_of(&mut plain, "h").await;
    first.signal(Signal::KILL);
    first.ended().await;
    let mut steps = redis::pipe();
    steps.hset(format!("sandhog:host:{id}"), "origin", "another:1:2").ignore();
    let now = super::now_ms(&mut plain).await;
    // Prevents the reaper from finding it before the test has checked that it was left alone.
    steps.hset(format!("sandhog:host:{id}"), "lease_ms", 600_000).ignore();
    steps.zadd("sandhog:hosts", id.as_str(), now + 300_000).ignore();
    let () = steps.query_async(&mut plain).await.unwrap();
    let _second = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    until("the second serves", async || hosts(&mut plain, "h").await.len() == 2).await;
    assert_eq!(reaped(&mut plain).await, 0, "its lease lives");
    super::age(&mut plain, 0, &[(&id, -1)]).await;
    started(&mut plain, 2).await;
    assert_eq!(reaped(&mut plain).await, 1);
}
