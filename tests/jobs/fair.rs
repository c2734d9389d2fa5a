//! Due jobs, ready jobs and the list each get their share of every claim, including claims of one job and claims that are
//! ended by their bytes.

use std::collections::BTreeMap;

use redis::AsyncCommands;
use sandhog::job::store::{Slot, Turn};

use super::{Scene, payloads, turn};

const EACH: u64 = 40;

/// Adds this many jobs to each of these places; their payloads name the place.
async fn begin(scene: &mut Scene, places: &[&str]) {
    scene.begin(&[]).await;
    for nth in 0..EACH {
        for place in places {
            let envelope = format!("1 {place}-{nth} 0 0 5\n{place}");
            let _: u64 = match *place {
                "due" => scene.plain.zadd("{q}:sandhog:delayed", envelope, nth + 1).await.unwrap(),
                "ready" => scene.plain.rpush("{q}:sandhog:ready", envelope).await.unwrap(),
                _ => scene.plain.rpush("q", *place).await.unwrap(),
            };
        }
    }
}

/// Makes this many claims; returns how many jobs came from each place.
async fn claims(scene: &mut Scene, claims: u64, of: u32, bytes_max: u64) -> BTreeMap<String, u32> {
    let host = scene.host.clone();
    let mut from: BTreeMap<String, u32> = BTreeMap::new();
    let mut acks: Vec<Slot> = Vec::new();
    for nth in 0..claims {
        let next_seq = scene.next_seq;
        let turn = Turn { claim: of, next_seq, nth, bytes_max, ..turn(&host, &acks) };
        let reply = scene.store.turn(&turn).await.unwrap();
        scene.next_seq = reply.next_seq;
        acks = reply.jobs.iter().map(|job| job.slot).collect();
        for place in payloads(&reply.jobs) {
            *from.entry(place).or_default() += 1;
        }
    }
    from
}

fn counts(expected: &[(&str, u32)]) -> BTreeMap<String, u32> {
    expected.iter().map(|(place, count)| ((*place).to_owned(), *count)).collect()
}

#[tokio::test]
async fn no_source_starves_under_overload() {
    let mut scene = Scene::new().await;
    let all: &[&str] = &["due", "ready", "list"];
    for (places, of, expected) in [
        (all, 1, counts(&[("due", 4), ("ready", 4), ("list", 4)])),
        (all, 2, counts(&[("due", 6), ("ready", 6), ("list", 12)])),
        (all, 3, counts(&[("due", 12), ("ready", 12), ("list", 12)])),
        (&["due", "ready"], 1, counts(&[("due", 8), ("ready", 4)])),
        (&["due", "ready"], 2, counts(&[("due", 12), ("ready", 12)])),
        (&["due", "list"], 2, counts(&[("due", 12), ("list", 12)])),
        (&["ready", "list"], 1, counts(&[("ready", 8), ("list", 4)])),
        (&["ready", "list"], 2, counts(&[("ready", 12), ("list", 12)])),
        (&["list"], 2, counts(&[("list", 24)])),
        (&["due"], 3, counts(&[("due", 36)])),
    ] {
        begin(&mut scene, places).await;
        assert_eq!(claims(&mut scene, 12, of, 1 << 20).await, expected, "{places:?}, {of} at a time");
    }
}

#[tokio::test]
async fn no_source_starves_if_bytes_end_every_claim() {
    let mut scene = Scene::new().await;
    begin(&mut scene, &["due", "ready", "list"]).await;
    let from = claims(&mut scene, 12, 8, 1).await;
    assert_eq!(from, counts(&[("due", 4), ("ready", 4), ("list", 4)]));
}

#[tokio::test]
async fn other_sources_use_what_one_leaves() {
    let mut scene = Scene::new().await;
    for (places, only) in [(&["due", "ready", "list"], "ready"), (&["list", "ready", "due"], "due")] {
        begin(&mut scene, places).await;
        for key in ["q", ":ready", ":delayed"] {
            let is_kept = (key == ":ready" && only == "ready") || (key == ":delayed" && only == "due");
            if !is_kept {
                // Leaves one.
                match key {
                    ":delayed" => scene.send(&["ZREMRANGEBYRANK", key, "1", "-1"]).await,
                    _ => scene.send(&["LTRIM", key, "0", "0"]).await,
                };
            }
        }
        let from = claims(&mut scene, 1, 12, 1 << 20).await;
        assert_eq!(from.values().sum::<u32>(), 12, "{from:?}");
        assert_eq!(from[only], 10, "{from:?}");
    }
}

#[tokio::test]
async fn due_jobs_come_first() {
    let mut scene = Scene::new().await;
    begin(&mut scene, &["due", "ready", "list"]).await;
    let reply = scene.claim(6).await.unwrap();
    assert_eq!(payloads(&reply.jobs), ["due", "due", "ready", "list", "list", "list"]);
}
