//! Large jobs that follow small ones: the sizes of the small ones must not decide how many of the large ones one script
//! reads. The unit of time is that of `longest`.

use redis::AsyncCommands;
use sandhog::job::edit::{self, Which};
use sandhog::job::filter::Filter;
use sandhog::job::heal::{HEAL_BYTES_MAX, HEAL_RECORDS_MAX, Heal};
use sandhog::job::inspect::{self, Place};
use sandhog::job::name::JobId;
use sandhog::job::walk::{self, Change};

use super::longest::{VALUE_MAX, Watch, expect_short, used_ms};
use super::{ROOMY, queue};

/// Large jobs of a test; all of them in one script would take several times as long as is allowed.
const LARGE: u32 = 64;
/// Jobs of a test, with the small ones.
const JOBS: u32 = LARGE + 8;
/// Fewest pages in which `JOBS` jobs may be read: two large jobs are the bytes of one page.
const PAGES_MIN: u32 = LARGE / 3;

/// The job `nth`: eight small ones, then large ones.
fn job(nth: u32) -> String {
    let size = if nth < 8 { 1 } else { VALUE_MAX };
    format!("1 job-{nth} 0 0 5\n{}", "x".repeat(size))
}

/// Adds all jobs to the sorted set or list `key`: the small ones first, or in a list that is read from its end, last.
async fn seed(watch: &mut Watch, key: &str) {
    let plain = &mut watch.scene.plain;
    for nth in 0..JOBS {
        let _: u64 = match key {
            "ready" => plain.rpush("{q}:sandhog:ready", job(nth)).await.unwrap(),
            "ready from its end" => plain.lpush("{q}:sandhog:ready", job(nth)).await.unwrap(),
            // A second apart, in the year 2128 if these are delayed.
            _ => {
                let score = 5_000_000_000_000_u64 + u64::from(nth) * 1_000;
                plain.zadd(format!("{{q}}:sandhog:{key}"), job(nth), score).await.unwrap()
            }
        };
    }
}

/// Sets the counters as if the bytes of the dead jobs were known.
async fn count_dead(watch: &mut Watch) {
    let bytes: usize = (0..JOBS).map(|nth| job(nth).len()).sum();
    let (jobs, bytes) = (JOBS.to_string(), bytes.to_string());
    watch.scene.send(&["HSET", ":stats", "dead_jobs", &jobs, "dead_bytes", &bytes]).await;
}

#[tokio::test]
async fn no_search_for_lost_slots_blocks_redis_for_long_if_large_jobs_follow_small_ones() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        for place in ["ready from its end", "delayed"] {
            watch.scene.begin(&[]).await;
            seed(&mut watch, place).await;
            watch.scene.send(&["RPUSH", ":parked:k", "1 parked 0 0 5 !key=k\nx"]).await;
            watch.scene.send(&["HSET", ":parked", "k", "1", " ", "1"]).await;
            watch.scene.send(&["HSET", ":places", "k", "1", " ", "1"]).await;
            let host = watch.scene.host.clone();
            let (records_max, bytes_max) = (HEAL_RECORDS_MAX, HEAL_BYTES_MAX);
            let heal = Heal { host: &host, key_concurrency: 1, gap_ms: 0, records_max, bytes_max };
            let (mut calls, mut freed, mut more) = (0, 0, true);
            while more {
                let before = used_ms(&mut watch.scene).await;
                let healed = watch.scene.store.heal(&watch.scene.link, &heal).await.unwrap();
                watch.note(before, &format!("a search for lost slots, {place}")).await;
                (calls, freed, more) = (calls + 1, freed + healed.freed, healed.more);
                assert!(calls <= 2 * JOBS, "{place}: the round does not end");
            }
            assert_eq!(freed, 1, "{place}: nobody holds the slot");
        }
        watch
    })
    .await;
}

#[tokio::test]
async fn no_recount_of_dead_jobs_blocks_redis_for_long_if_large_ones_follow_small_ones() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        seed(&mut watch, "dead").await;
        let mut calls = 0;
        loop {
            let before = used_ms(&mut watch.scene).await;
            assert_eq!(watch.scene.store.trim().await, Ok(0));
            watch.note(before, "a recount of dead jobs").await;
            calls += 1;
            assert!(calls <= JOBS, "the recount does not end");
            let known: Option<u32> = watch.scene.plain.hget("{q}:sandhog:stats", "dead_jobs").await.unwrap();
            if known == Some(JOBS) {
                break;
            }
        }
        let bytes: usize = watch.scene.plain.hget("{q}:sandhog:stats", "dead_bytes").await.unwrap();
        assert_eq!(bytes, (0..JOBS).map(|nth| job(nth).len()).sum::<usize>());
        watch
    })
    .await;
}

/// Applies a change. Returns how many jobs were changed, and in how many pages.
async fn edit(watch: &mut Watch, what: &str, which: &Which<'_>, limit: u64) -> (u64, u32) {
    let (mut pages, link, queue) = (0, watch.scene.link.clone(), queue());
    let before = used_ms(&mut watch.scene).await;
    let changed = match what {
        "requeue" => edit::requeue(&link, &queue, which, limit, |_| pages += 1).await,
        _ => edit::discard(&link, &queue, which, limit, |_| pages += 1).await,
    };
    watch.note_mean(before, pages, &format!("a page of `{what}`")).await;
    (changed.unwrap().jobs, pages)
}

#[tokio::test]
async fn no_page_of_an_operators_change_blocks_redis_for_long_if_large_jobs_follow_small_ones() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        let last = [JobId::new(format!("job-{}", JOBS - 1)).unwrap()];
        for (what, place, key) in [
            ("requeue", Place::Dead, "dead"),
            ("requeue", Place::Delayed, "delayed"),
            ("discard", Place::Dead, "dead"),
            ("discard", Place::Delayed, "delayed"),
            ("discard", Place::Ready, "ready"),
        ] {
            let case = format!("{what} {key}");
            watch.scene.begin(&[]).await;
            seed(&mut watch, key).await;
            if key == "dead" {
                count_dead(&mut watch).await;
            }
            let (one, pages) = edit(&mut watch, what, &Which::Ids(&last), u64::MAX).await;
            assert_eq!(one, 1, "{case}: one job has the id");
            assert!(pages >= PAGES_MIN, "{case}: {pages} pages to find one job");
            assert_eq!(
                edit(&mut watch, what, &Which::All(place), 12).await.0,
                12,
                "{case}: as many as wanted"
            );
            let (all, pages) = edit(&mut watch, what, &Which::All(place), u64::MAX).await;
            assert_eq!(all, u64::from(JOBS) - 13, "{case}: all that are left");
            assert!(pages >= PAGES_MIN - 4, "{case}: {pages} pages");
            let counts = inspect::counts(&watch.scene.link, &queue()).await.unwrap();
            let ready = if what == "requeue" { u64::from(JOBS) } else { 0 };
            assert_eq!((counts.ready, counts.dead + counts.delayed), (ready, 0), "{case}");
            let discarded = counts.stats.get("discarded").copied().unwrap_or(0);
            assert_eq!(discarded, u64::from(JOBS) - ready, "{case}: each is counted once");
            let dead_bytes = counts.stats.get("dead_bytes").copied().unwrap_or(0);
            assert_eq!(dead_bytes, 0, "{case}: no bytes of dead jobs are left");
        }
        watch
    })
    .await;
}

#[tokio::test]
async fn no_page_of_a_listing_blocks_redis_for_long_if_large_jobs_follow_small_ones() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        let all = Filter::default();
        let by_text = Filter { text: Some("xxxx".to_owned()), ..Filter::default() };
        for (place, key) in [(Place::Dead, "dead"), (Place::Delayed, "delayed"), (Place::Ready, "ready")] {
            watch.scene.begin(&[]).await;
            seed(&mut watch, key).await;
            if key == "dead" {
                count_dead(&mut watch).await;
            }
            for (filter, change, expected) in [
                (&all, Change::Count, JOBS),
                (&by_text, Change::Count, LARGE),
                (&by_text, Change::Discard, LARGE),
            ] {
                let (mut pages, link, queue) = (0, watch.scene.link.clone(), queue());
                let before = used_ms(&mut watch.scene).await;
                let told = |_, _, _| pages += 1;
                let changed = walk::change(&link, &queue, &[place], filter, change, told).await.unwrap();
                watch.note_mean(before, pages, &format!("a page of {key}")).await;
                assert_eq!(changed.jobs, u64::from(expected), "{key}, {change:?}");
                assert!(pages >= PAGES_MIN, "{key}, {change:?}: {pages} pages");
            }
        }
        watch
    })
    .await;
}
