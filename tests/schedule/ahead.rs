//! Redis' clock was ahead, for example on a wrong server, and is corrected: schedules continue at the present time.

use redis::AsyncCommands;
use sandhog::job::schedule::fired::Fired;
use sandhog::job::schedule::firing;
use sandhog::job::schedule::{Schedule, When, book};

use super::{age, far, fired, now_ms, plugins, schedule, slot};
use crate::support::host::{stop, until};
use crate::support::redis::TestRedis;

const HOUR: u64 = 3_600_000;

/// Each second, by a cron expression.
fn each_second() -> Schedule {
    schedule(When::Cron { expression: "* * * * * *".to_owned(), timezone: "Europe/Berlin".to_owned() })
}

#[tokio::test]
async fn a_schedule_set_by_a_clock_that_was_ahead_fires_now() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    let names = ["period".to_owned(), "cron".to_owned()];
    book::put(&link, "period", &schedule(When::Every(1000))).await.unwrap();
    book::put(&link, "cron", &each_second()).await.unwrap();
    let now = now_ms(&mut plain).await / 1000 * 1000;
    age(&mut plain, &names, now + HOUR).await;
    // Slots that fired while the clock was ahead do not fire again when their time comes.
    let (first, last) = (now + 3000, now + 4000);
    for name in &names {
        let done = format!("{first}-{last}");
        let () = plain.hset(format!("sandhog:schedule:{name}"), "fired", done).await.unwrap();
    }
    let host = plugins().serve(&redis.url(), "h").await;
    let passed = |ids: &[String], name: &str| {
        let slot = |id: &String| id.strip_prefix(&format!("schedule-{name}-"))?.parse::<u64>().ok();
        ids.iter().filter_map(slot).any(|slot| slot > last)
    };
    until("both have passed the slots that had fired", async || {
        let ids = fired(&mut plain).await;
        names.iter().all(|name| passed(&ids, name))
    })
    .await;
    stop(host).await;
    let mut ids = fired(&mut plain).await;
    ids.sort_unstable();
    let mut once = ids.clone();
    once.dedup();
    assert_eq!(ids, once, "a slot fired twice");
    for name in &names {
        for done in [first, last] {
            assert!(!ids.contains(&format!("schedule-{name}-{done}")), "{done} had fired: {ids:?}");
        }
        assert!(slot(&mut plain, name).await < now + HOUR);
        let kept: String = plain.hget(format!("sandhog:schedule:{name}"), "fired").await.unwrap();
        let kept = Fired::read(&kept);
        assert!(kept.has(first) && kept.has(last), "{kept:?}");
    }
}

#[tokio::test]
async fn only_schedules_with_a_too_late_slot_are_reset() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    let now = now_ms(&mut plain).await;
    for name in ["good", "late", "done", "paused"] {
        book::put(&link, name, &Schedule { jitter_ms: 500, ..far(now) }).await.unwrap();
    }
    let next = slot(&mut plain, "good").await;
    let day = 24 * HOUR;
    age(&mut plain, &["late".to_owned(), "done".to_owned()], next + day).await;
    // Its slot fired too early, so it waits for the next one.
    let () = plain.hset("sandhog:schedule:done", "fired", format!("{next}-{next}")).await.unwrap();
    book::pause(&link, "paused").await.unwrap();
    let all = firing::ahead(&link, "seat", 0).await.unwrap();
    let mut back = Vec::new();
    for ahead in &all.due {
        if firing::reset(&link, ahead, all.now).await.unwrap() {
            back.push(ahead.name.as_str());
        }
    }
    assert_eq!((all.due.len(), back), (3, vec!["late"]), "a paused schedule is not examined");
    assert_eq!(
        (slot(&mut plain, "good").await, slot(&mut plain, "late").await, slot(&mut plain, "done").await),
        (next, next, next + day)
    );
    let scores: Vec<u64> = plain.zscore_multiple("sandhog:schedules", &["good", "late"]).await.unwrap();
    assert!(scores.iter().all(|at| (next..=next + 500).contains(at)), "{scores:?}");
    // Another host was faster.
    let late = all.due.iter().find(|ahead| ahead.name == "late").unwrap();
    assert!(!firing::reset(&link, late, all.now).await.unwrap());
    // A resumed schedule does not fire a slot again.
    book::pause(&link, "done").await.unwrap();
    book::resume(&link, "done").await.unwrap();
    assert_eq!(slot(&mut plain, "done").await, next + day);
    // A changed expression has other slots, so what fired before is dropped.
    book::put(&link, "done", &schedule(When::Every(HOUR))).await.unwrap();
    assert!(!plain.hexists::<_, _, bool>("sandhog:schedule:done", "fired").await.unwrap());
}

#[tokio::test]
async fn a_host_that_declared_schedules_by_a_clock_ahead_is_forgotten_in_time() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    let now = now_ms(&mut plain).await;
    let file = [("a".to_owned(), far(now))];
    book::declare(&link, "gone", true, &file).await.unwrap();
    let ahead = format!("{}\na", now + 365 * 24 * HOUR);
    let () = plain.hset("sandhog:schedules:files", "gone", ahead).await.unwrap();
    book::declare(&link, "here", true, &[]).await.unwrap();
    let told: String = plain.hget("sandhog:schedules:files", "gone").await.unwrap();
    let (at, names) = told.split_once('\n').unwrap();
    assert!(at.parse::<u64>().unwrap() < now + HOUR && names == "a", "{told}");
}
