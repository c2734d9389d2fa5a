//! Firing: each firing takes place exactly once.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sandhog::job::schedule::book;
use sandhog::job::schedule::fired::Fired;
use sandhog::job::schedule::firing;
use sandhog::job::schedule::plan::{Firing, Step};
use sandhog::job::schedule::{Missed, Schedule};

use super::{READY, age, far, fired, now_ms, plugins, rare, slot};
use crate::support::host::{stop, until};
use crate::support::process::{HostProcess, SETTINGS};
use crate::support::redis::TestRedis;

/// Schedules and rounds of the long test: 1,000 firings.
const SCHEDULES: u64 = 20;
const ROUNDS: u64 = 50;

#[tokio::test]
async fn a_thousand_firings_take_place_once_each_whatever_dies() {
    // What was written before the process is killed stays, without waiting for the disk.
    let mut redis = TestRedis::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let mut plain = redis.plain().await;
    let link = redis.link();
    let names: Vec<String> = (0..SCHEDULES).map(|n| format!("s{n}")).collect();
    for name in &names {
        book::put(&link, name, &rare()).await.unwrap();
    }
    let plugins = plugins();
    let mut hosts = Vec::new();
    for name in ["a", "b"] {
        hosts.push(HostProcess::start_with(&plugins, &redis.url(), name, &mut plain, SETTINGS).await);
    }
    let mut expected = Vec::new();
    let mut last = 0;
    for round in 0..ROUNDS {
        let at = now_ms(&mut plain).await.max(last + 1);
        last = at;
        age(&mut plain, &names, at).await;
        expected.extend(names.iter().map(|name| format!("schedule-{name}-{at}")));
        match round {
            // In the middle of firing, as likely as not.
            10 | 30 => {
                let name = if round == 10 { "a" } else { "b" };
                let victim = usize::from(round == 30);
                hosts[victim].signal(Signal::KILL);
                hosts[victim].ended().await;
                hosts[victim] =
                    HostProcess::start_with(&plugins, &redis.url(), name, &mut plain, SETTINGS).await;
            }
            20 | 40 => {
                redis.kill();
                redis.restart();
                plain = redis.plain().await;
            }
            _ => {}
        }
        until("all were fired", async || {
            for name in &names {
                if slot(&mut plain, name).await == at {
                    return false;
                }
            }
            true
        })
        .await;
    }
    let mut found = fired(&mut plain).await;
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found.len() as u64, SCHEDULES * ROUNDS);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn of_many_that_fire_at_once_one_does() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let links: Vec<_> = (0..8).map(|_| redis.link()).collect();
    book::put(&links[0], "s", &rare()).await.unwrap();
    let at = now_ms(&mut plain).await;
    age(&mut plain, &["s".to_owned()], at).await;
    let due = firing::due(&links[0], "seat", 0).await.unwrap().due.remove(0);
    let next = Some(Firing { slot: at + 10_000, at: at + 10_001 });
    let step = Step { fire: Some(at), next, fired: Fired::default() };
    let schedule = rare();
    let all = links.iter().map(|link| firing::fire(link, &due, &schedule, &step));
    let all = futures_util::future::join_all(all).await;
    assert_eq!(all.into_iter().filter(|fired| *fired.as_ref().unwrap()).count(), 1);
    let envelopes: Vec<String> = plain.lrange(READY, 0, -1).await.unwrap();
    assert_eq!(envelopes.len(), 1);
    let envelope = &envelopes[0];
    assert!(envelope.starts_with(&format!("1 schedule-s-{at} 0 0 ")), "{envelope}");
    assert!(envelope.ends_with(" team=a%20b\ntick"), "{envelope}");
    let score: u64 = plain.zscore("sandhog:schedules", "s").await.unwrap();
    assert_eq!((slot(&mut plain, "s").await, score), (at + 10_000, at + 10_001));
    // Somebody changes it between the look and the firing; or its time is not yet.
    age(&mut plain, &["s".to_owned()], at).await;
    let changed = Schedule { payload: "other".to_owned(), ..rare() };
    book::put(&links[0], "s", &changed).await.unwrap();
    assert!(!firing::fire(&links[0], &due, &rare(), &step).await.unwrap());
    let early = now_ms(&mut plain).await + 60_000;
    age(&mut plain, &["s".to_owned()], early).await;
    let definition = serde_json::to_string(&changed).unwrap();
    let due = firing::Due { firing: Firing { slot: early, at: early }, definition, ..due };
    assert!(!firing::fire(&links[0], &due, &changed, &step).await.unwrap());
    assert_eq!(fired(&mut plain).await.len(), 1);
}

#[tokio::test]
async fn what_was_missed_is_left_out_or_made_up_for_once() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let now = now_ms(&mut plain).await;
    for (name, missed) in [("skips", Missed::Skip), ("once", Missed::RunOnce)] {
        let schedule = Schedule { missed, ..far(now) };
        book::put(&redis.link(), name, &schedule).await.unwrap();
    }
    let next = slot(&mut plain, "once").await;
    let day = 24 * 3_600_000;
    age(&mut plain, &["skips".to_owned(), "once".to_owned()], next - 5 * day).await;
    let host = plugins().serve(&redis.url(), "h").await;
    until("both go on", async || {
        slot(&mut plain, "skips").await == next && slot(&mut plain, "once").await == next
    })
    .await;
    assert_eq!(fired(&mut plain).await, [format!("schedule-once-{}", next - day)]);
    stop(host).await;
}

#[tokio::test]
async fn a_paused_or_removed_one_does_not_fire_and_a_spoiled_one_holds_up_no_other() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    for name in ["paused", "removed", "good", "spoiled"] {
        let queue = if name == "spoiled" { "bad" } else { "ticks" };
        let schedule = Schedule { queue: queue.to_owned(), ..rare() };
        book::put(&link, name, &schedule).await.unwrap();
    }
    let () = plain.set("{bad}:sandhog:ready", "a string").await.unwrap();
    let host = plugins().serve(&redis.url(), "h").await;
    book::pause(&link, "paused").await.unwrap();
    book::remove(&link, "removed").await.unwrap();
    assert!(!plain.exists::<_, bool>("sandhog:schedule:removed").await.unwrap());
    let at = now_ms(&mut plain).await;
    // Its slot is past, but it is not due.
    let () = plain.hset("sandhog:schedule:paused", "slot", at).await.unwrap();
    // Names that nobody can give: somebody wrote them by hand.
    let invalid = ["evil name".to_owned(), "\u{1b}[1m".to_owned(), "x".repeat(200)];
    for name in &invalid {
        let mut copy = redis::cmd("COPY");
        copy.arg("sandhog:schedule:good").arg(format!("sandhog:schedule:{name}"));
        let () = copy.query_async(&mut plain).await.unwrap();
    }
    age(&mut plain, &invalid, at - 2000).await;
    // Longer due than the good one.
    age(&mut plain, &["spoiled".to_owned()], at - 1000).await;
    age(&mut plain, &["good".to_owned()], at).await;
    until("the good one was fired", async || slot(&mut plain, "good").await != at).await;
    assert_eq!(slot(&mut plain, "spoiled").await, at - 1000);
    let () = plain.del("{bad}:sandhog:ready").await.unwrap();
    until("the spoiled one was fired", async || slot(&mut plain, "spoiled").await != at - 1000).await;
    let bad: Vec<String> = plain.lrange("{bad}:sandhog:ready", 0, -1).await.unwrap();
    assert!(bad.len() == 1 && bad[0].contains(&format!("schedule-spoiled-{}", at - 1000)), "{bad:?}");
    assert_eq!(fired(&mut plain).await, [format!("schedule-good-{at}")]);
    book::resume(&link, "paused").await.unwrap();
    assert!(slot(&mut plain, "paused").await > at, "what it was paused for is not made up for");
    stop(host).await;
}

#[tokio::test]
async fn at_the_memory_limit_a_firing_waits() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    book::put(&link, "s", &rare()).await.unwrap();
    let host = plugins().serve(&redis.url(), "h").await;
    let at = now_ms(&mut plain).await + 300;
    age(&mut plain, &["s".to_owned()], at).await;
    let limit = async |bytes: &str, plain: &mut MultiplexedConnection| {
        let () =
            redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).query_async(plain).await.unwrap();
    };
    limit("1", &mut plain).await;
    until("it is due", async || now_ms(&mut plain).await > at + 200).await;
    assert_eq!((slot(&mut plain, "s").await, fired(&mut plain).await.len()), (at, 0));
    limit("0", &mut plain).await;
    until("it was fired", async || slot(&mut plain, "s").await != at).await;
    assert_eq!(fired(&mut plain).await, [format!("schedule-s-{at}")]);
    stop(host).await;
}

#[tokio::test]
async fn hosts_that_wait_ask_nothing() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    book::put(&redis.link(), "s", &rare()).await.unwrap();
    let plugins = plugins();
    let mut settings = plugins.settings(&redis.url(), "h");
    // The reaper asks by the same command.
    settings.host.reap_every = std::time::Duration::from_secs(600);
    let host = crate::support::host::serve(settings).await;
    let looks = async |plain: &mut MultiplexedConnection| -> u64 {
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(plain).await.unwrap();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha_ro:"));
        line.and_then(|l| l.split("calls=").nth(1)?.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    until("it has looked", async || looks(&mut plain).await > 0).await;
    // A change is heard of at once; after it there is silence.
    let at = now_ms(&mut plain).await;
    age(&mut plain, &["s".to_owned()], at).await;
    until("it was fired", async || slot(&mut plain, "s").await != at).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let before = looks(&mut plain).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(looks(&mut plain).await - before, 0, "an idle host looks at its schedules");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_whose_slot_is_no_number_is_reported_and_keeps_no_host_busy() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for name in ["bad", "good"] {
        book::put(&redis.link(), name, &rare()).await.unwrap();
    }
    let plugins = plugins();
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, SETTINGS).await;
    let at = now_ms(&mut plain).await;
    let () = plain.hset("sandhog:schedule:bad", "slot", "soon").await.unwrap();
    let () = plain.zadd("sandhog:schedules", "bad", at - 1000).await.unwrap();
    age(&mut plain, &["good".to_owned()], at).await;
    until("it is reported", async || host.log().contains("a schedule cannot be fired")).await;
    until("the other one was fired", async || slot(&mut plain, "good").await != at).await;
    let commands = async |plain: &mut MultiplexedConnection| -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query_async(plain).await.unwrap();
        let count = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        count.unwrap().trim().parse().unwrap()
    };
    let before = commands(&mut plain).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let sent = commands(&mut plain).await - before;
    assert!(sent < 5_000, "{sent} commands");
}
