//! Limits of a queue, as the claim keeps them: what is claimed, what waits where, who goes next.

use sandhog::job::lease::Death;
use sandhog::job::limit::{KeyLimits, KeySource, QueueLimits, Rate};
use sandhog::job::settle::Fate;
use sandhog::job::store::{Claimed, Order, Slot, Turn, TurnReply};

use super::{Scene, host, payloads, turn};

pub const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

fn fleet(most: u32) -> QueueLimits {
    QueueLimits { fleet_concurrency: Some(most), ..QueueLimits::default() }
}

pub fn key(source: &str, concurrency: Option<u32>, rate: Option<u32>) -> QueueLimits {
    let source = match source.strip_prefix("header:") {
        Some(name) => KeySource::Header(name.to_owned()),
        None => KeySource::Payload(source.to_owned()),
    };
    let rate = rate.map(|count| Rate { count, per: SECOND });
    let key = Some(KeyLimits { source, concurrency, rate, in_order: false });
    QueueLimits { key, ..QueueLimits::default() }
}

/// A turn of the scene's host.
pub async fn step(scene: &mut Scene, acks: &[Slot], claim: u32, limits: &QueueLimits) -> TurnReply {
    let (host, next_seq) = (scene.host.clone(), scene.next_seq);
    let turn = Turn { claim, next_seq, limits, ..turn(&host, acks) };
    let reply = scene.store.turn(&turn).await.unwrap();
    scene.next_seq = reply.next_seq;
    reply
}

pub fn slots(jobs: &[Claimed]) -> Vec<Slot> {
    jobs.iter().map(|job| job.slot).collect()
}

/// A job of tenant `tenant`.
pub fn of(tenant: &str, nth: u32) -> String {
    format!(r#"{{"tenant":"{tenant}","n":{nth}}}"#)
}

#[tokio::test]
async fn the_fleet_runs_no_more_than_it_may_and_the_rest_stays_in_the_list() {
    let mut scene = Scene::new().await;
    let limits = fleet(3);
    scene.begin(&[&["RPUSH", "q", "a", "b", "c", "d", "e"]]).await;
    // Two run elsewhere; what a run has popped is no job.
    let other = host(2);
    scene.send(&["ZADD", "sandhog:hosts", "8000000000000", other.as_str()]).await;
    scene
        .send(&["HSET", &format!(":inflight:{other}"), "1", "x", "e2", "1 y 0 0 1\ny", "f3", "popped"])
        .await;
    let reply = step(&mut scene, &[], 8, &limits).await;
    assert_eq!((payloads(&reply.jobs), reply.limited, reply.more), (vec!["a".to_owned()], true, false));
    assert_eq!(scene.dump().await["q"], "list b, c, d, e");
    // None can be claimed; one ends, one can.
    assert!(step(&mut scene, &[], 8, &limits).await.jobs.is_empty());
    let reply = step(&mut scene, &slots(&reply.jobs), 8, &limits).await;
    assert_eq!((payloads(&reply.jobs), reply.limited), (vec!["b".to_owned()], true));
    scene.send(&["DEL", &format!(":inflight:{other}")]).await;
    let reply = step(&mut scene, &[], 8, &limits).await;
    assert_eq!((payloads(&reply.jobs), reply.limited), (vec!["c".to_owned(), "d".to_owned()], true));
    let held = slots(&reply.jobs);
    let reply = step(&mut scene, &held, 8, &limits).await;
    assert_eq!((payloads(&reply.jobs), reply.limited), (vec!["e".to_owned()], false), "the queue is dry");
}

#[tokio::test]
async fn room_that_a_host_does_not_use_is_told_to_the_others() {
    let mut scene = Scene::new().await;
    let limits = fleet(2);
    scene.begin(&[&["RPUSH", "q", "a", "b", "c"]]).await;
    let reply = step(&mut scene, &[], 2, &limits).await;
    assert!(!scene.dump().await.contains_key(":vacant"));
    step(&mut scene, &slots(&reply.jobs[..1]), 0, &limits).await;
    assert!(scene.dump().await.contains_key(":vacant"), "an end without a claim leaves room");
}

#[tokio::test]
async fn a_rate_lets_through_what_has_been_saved_and_then_one_at_a_time() {
    let mut scene = Scene::new().await;
    let limits = QueueLimits { rate: Some(Rate { count: 2, per: SECOND * 100 }), ..QueueLimits::default() };
    scene.begin(&[&["RPUSH", "q", "a", "b", "c", "d"]]).await;
    let reply = step(&mut scene, &[], 8, &limits).await;
    assert_eq!((payloads(&reply.jobs).len(), reply.limited, reply.more), (2, true, false));
    let wait_ms = reply.next_due_ms.unwrap() - reply.now_ms;
    assert!((49_000..=50_001).contains(&wait_ms), "a token comes every 50 s, not in {wait_ms} ms");
    assert!(step(&mut scene, &[], 8, &limits).await.jobs.is_empty());
    // As if 50 s had passed: the moment at which the bucket is full comes nearer.
    let full_at: i64 = redis::cmd("GET").arg("{q}:sandhog:rate").query_async(&mut scene.plain).await.unwrap();
    scene.send(&["SET", ":rate", &(full_at - 50_000_000).to_string()]).await;
    let reply = step(&mut scene, &[], 8, &limits).await;
    assert_eq!((payloads(&reply.jobs).len(), reply.limited), (1, true));
}

#[tokio::test]
async fn jobs_of_a_full_key_are_parked_and_do_not_hold_up_others() {
    let mut scene = Scene::new().await;
    let limits = key("/tenant", Some(1), None);
    let jobs = [of("a", 1), of("a", 2), of("b", 3), of("a", 4), "17".to_owned(), r#"{"x":1}"#.to_owned()];
    let mut push = vec!["RPUSH", "q"];
    push.extend(jobs.iter().map(String::as_str));
    scene.begin(&[&push]).await;
    let reply = step(&mut scene, &[], 4, &limits).await;
    let mut claimed = payloads(&reply.jobs);
    claimed.sort();
    assert_eq!(claimed, ["17", r#"{"tenant":"a","n":1}"#, r#"{"tenant":"b","n":3}"#, r#"{"x":1}"#]);
    let found = scene.dump().await;
    assert_eq!(found[":parked"], "hash  =2, a=2");
    assert_eq!(found[":places"], "hash  =1, a=1, b=1");
    // The end of the first one makes the second ready, in its turn.
    let a = reply.jobs.iter().find(|job| job.payload.starts_with(br#"{"tenant":"a""#)).unwrap();
    let reply = step(&mut scene, &[a.slot], 4, &limits).await;
    assert_eq!(payloads(&reply.jobs), [r#"{"tenant":"a","n":2}"#]);
    let reply = step(&mut scene, &slots(&reply.jobs), 4, &limits).await;
    assert_eq!(payloads(&reply.jobs), [r#"{"tenant":"a","n":4}"#]);
    step(&mut scene, &slots(&reply.jobs), 0, &limits).await;
    let found = scene.dump().await;
    assert!(!found.contains_key(":parked") && !found.contains_key(":parked:a"), "{found:?}");
    assert_eq!(found[":places"], "hash  =1, b=1");
}

#[tokio::test]
async fn every_end_of_a_run_gives_its_place_to_the_next() {
    let mut scene = Scene::new().await;
    let limits = key("header:t", Some(1), None);
    for (name, fate) in [
        ("complete", Fate::Complete),
        ("discard", Fate::Discard),
        ("retry", Fate::Retry { delay_ms: 60_000 }),
        ("bury", Fate::Bury),
    ] {
        scene.begin(&[&["RPUSH", ":ready", "1 one 0 0 5 t=x\n1", "1 two 0 0 5 t=x\n2"]]).await;
        let reply = step(&mut scene, &[], 4, &limits).await;
        let [job] = &reply.jobs[..] else { panic!("{name}: {:?}", reply.jobs) };
        assert_eq!(job.header.id.as_str(), "one");
        let mut header = job.header.clone();
        header.drop_note("!key");
        assert!(scene.settle(job.slot, &header, fate).await.unwrap());
        let next = step(&mut scene, &[], 4, &limits).await;
        assert_eq!(payloads(&next.jobs), ["2"], "after {name}");
        assert_eq!(scene.dump().await[":places"], "hash  =1, x=1", "after {name}");
    }
}

#[tokio::test]
async fn in_order_a_job_that_runs_again_goes_before_those_after_it() {
    let mut scene = Scene::new().await;
    let limits = key("header:t", Some(1), None);
    scene.begin(&[&["RPUSH", ":ready", "1 one 0 0 5 t=x\n1", "1 two 0 0 5 t=x\n2"]]).await;
    let job = step(&mut scene, &[], 4, &limits).await.jobs.remove(0);
    // Its header goes on saying that it has a place.
    assert!(scene.settle(job.slot, &job.header, Fate::Retry { delay_ms: 0 }).await.unwrap());
    let reply = step(&mut scene, &[], 4, &limits).await;
    assert_eq!(payloads(&reply.jobs), ["1"]);
    assert!(scene.settle(reply.jobs[0].slot, &reply.jobs[0].header, Fate::Release).await.unwrap());
    let reply = step(&mut scene, &[], 4, &limits).await;
    assert_eq!(payloads(&reply.jobs), ["1"], "handed back, it is still the first");
}

#[tokio::test]
async fn the_places_of_a_dead_host_stay_with_its_jobs() {
    let mut scene = Scene::new().await;
    let limits = key("/tenant", Some(1), None);
    let jobs = [of("a", 1), of("a", 2)];
    scene.begin(&[&["RPUSH", "q", &jobs[0], &jobs[1]]]).await;
    step(&mut scene, &[], 4, &limits).await;
    let (dead, other) = (scene.host.clone(), host(2));
    scene.send(&["ZADD", "sandhog:hosts", "1", dead.as_str(), "8000000000000", other.as_str()]).await;
    scene.host = other;
    assert!(step(&mut scene, &[], 4, &limits).await.jobs.is_empty(), "it may run still");
    scene.store.reap(&dead, Death::Expired, 3).await.unwrap();
    let reply = step(&mut scene, &[], 4, &limits).await;
    assert_eq!(payloads(&reply.jobs), [jobs[0].as_str()]);
    // As poison it lets go of it.
    scene.store.reap(&scene.host.clone(), Death::Certain, 2).await.unwrap();
    let found = scene.dump().await;
    assert!(found[":dead"].contains(&jobs[0]) && !found[":dead"].contains("!key"), "{found:?}");
    assert!(found[":ready"].contains(&jobs[1]), "{found:?}");
}

#[tokio::test]
async fn a_lower_limit_holds_as_soon_as_jobs_end() {
    let mut scene = Scene::new().await;
    let jobs: Vec<String> = (0..5).map(|nth| of("a", nth)).collect();
    let mut push = vec!["RPUSH", "q"];
    push.extend(jobs.iter().map(String::as_str));
    scene.begin(&[&push]).await;
    let reply = step(&mut scene, &[], 8, &key("/tenant", Some(3), None)).await;
    assert_eq!(reply.jobs.len(), 3);
    let held = slots(&reply.jobs);
    let lower = key("/tenant", Some(1), None);
    assert!(step(&mut scene, &[], 8, &lower).await.jobs.is_empty());
    assert!(step(&mut scene, &held[..2], 8, &lower).await.jobs.is_empty(), "one still runs");
    assert_eq!(payloads(&step(&mut scene, &held[2..], 8, &lower).await.jobs), [jobs[3].as_str()]);
}

#[tokio::test]
async fn a_key_that_starts_too_often_waits_and_others_do_not() {
    let mut scene = Scene::new().await;
    let limits = key("/tenant", None, Some(1));
    let jobs = [of("a", 1), of("a", 2), of("b", 3), of("a", 4)];
    scene.begin(&[&["RPUSH", "q", &jobs[0], &jobs[1], &jobs[2], &jobs[3]]]).await;
    let reply = step(&mut scene, &[], 8, &limits).await;
    assert_eq!(payloads(&reply.jobs), [jobs[0].as_str(), jobs[2].as_str()]);
    let due: Vec<(String, f64)> = redis::cmd("ZRANGE")
        .arg("{q}:sandhog:delayed")
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES")
        .query_async(&mut scene.plain)
        .await
        .unwrap();
    let after: Vec<i64> = due.iter().map(|(_, at)| *at as i64 - reply.now_ms as i64).collect();
    assert!(after.len() == 2 && (after[0] - 1000).abs() <= 1 && (after[1] - 2000).abs() <= 1, "{after:?}");
    // Their time has come: they have paid for it already.
    for (envelope, _) in &due {
        scene.send(&["ZADD", ":delayed", "5", envelope]).await;
    }
    let reply = step(&mut scene, &[], 8, &limits).await;
    assert_eq!(payloads(&reply.jobs), [jobs[1].as_str(), jobs[3].as_str()]);
    assert!(reply.jobs.iter().all(|job| job.header.note("!rated").is_none()));
}

#[tokio::test]
async fn pointers_find_what_they_point_at() {
    let mut scene = Scene::new().await;
    let long = "l".repeat(65);
    for (pointer, payload, expected) in [
        ("/a/b", r#"{"a":{"b":"x y"}}"#.to_owned(), "x%20y".to_owned()),
        ("/a/1", r#"{"a":["p","q"]}"#.to_owned(), "q".to_owned()),
        ("/1", r#"{"1":true}"#.to_owned(), "true".to_owned()),
        ("/a~1b/~0", r#"{"a/b":{"~":7}}"#.to_owned(), "7".to_owned()),
        ("/n", r#"{"n":12345678}"#.to_owned(), "12345678".to_owned()),
        ("/k", format!(r#"{{"k":"{long}"}}"#), sha1(&long)),
        ("/n", r#"{"n":9007199254740993}"#.to_owned(), "9007199254740993".to_owned()),
    ] {
        scene.begin(&[&["RPUSH", "q", &payload]]).await;
        let reply = step(&mut scene, &[], 1, &key(pointer, Some(1), None)).await;
        assert_eq!(payloads(&reply.jobs), [payload.as_str()]);
        let found = scene.dump().await;
        assert_eq!(found[":places"], format!("hash  =1, {expected}=1"), "{pointer}");
    }
    for (pointer, payload) in [("/a", "17"), ("/a", "[]"), ("/a", r#"{"a":null}"#), ("/a", r#"{"a":{}}"#)] {
        scene.begin(&[&["RPUSH", "q", payload]]).await;
        let reply = step(&mut scene, &[], 1, &key(pointer, Some(1), None)).await;
        assert!(!reply.jobs[0].slot.enveloped, "{payload} has no key at {pointer}");
    }
}

#[tokio::test]
async fn a_claim_looks_past_a_thousand_parked_jobs() {
    let mut scene = Scene::new().await;
    let limits = key("/tenant", Some(1), None);
    let mut jobs: Vec<String> = (0..1000).map(|nth| of("a", nth)).collect();
    jobs.push(of("b", 0));
    let mut push = vec!["RPUSH", "q"];
    push.extend(jobs.iter().map(String::as_str));
    scene.begin(&[&push]).await;
    let mut claimed = Vec::new();
    for _ in 0..8 {
        let reply = step(&mut scene, &[], 2, &limits).await;
        claimed.extend(payloads(&reply.jobs));
        if !reply.more {
            break;
        }
    }
    assert_eq!(claimed, [jobs[0].as_str(), jobs[1000].as_str()]);
    assert_eq!(scene.dump().await[":parked"], "hash  =999, a=999");
    let ids: std::collections::BTreeSet<String> = {
        let all: Vec<String> = redis::cmd("LRANGE")
            .arg("{q}:sandhog:parked:a")
            .arg(0)
            .arg(-1)
            .query_async(&mut scene.plain)
            .await
            .unwrap();
        all.iter().map(|envelope| envelope.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(ids.len(), 999, "each has an id of its own");
}

#[tokio::test]
async fn the_last_in_first_out_queue_has_limits_too() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "q", "a", "b", "c"]]).await;
    let limits = fleet(1);
    let (host, order) = (scene.host.clone(), Order::Lifo);
    let turn = Turn { claim: 4, order, limits: &limits, ..turn(&host, &[]) };
    assert_eq!(payloads(&scene.store.turn(&turn).await.unwrap().jobs), ["c"]);
}

pub fn sha1(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}

#[tokio::test]
async fn a_rate_starts_jobs_again_after_the_clock_was_set_back() {
    let mut scene = Scene::new().await;
    let limits = QueueLimits { rate: Some(Rate { count: 100, per: SECOND }), ..QueueLimits::default() };
    scene.begin(&[&["RPUSH", "q", "a", "b", "c"]]).await;
    let ahead = (scene.now_ms().await + 600_000) * 1_000;
    scene.send(&["SET", ":rate", &ahead.to_string(), "PX", "600000"]).await;
    let (mut found, begun) = (Vec::new(), std::time::Instant::now());
    while found.len() < 3 && begun.elapsed() < SECOND * 60 {
        found.extend(payloads(&step(&mut scene, &[], 8, &limits).await.jobs));
    }
    assert_eq!(found, ["a", "b", "c"]);
}

/// The rate of a key held back a job while Redis' clock was an hour ahead; `parked` jobs of the key wait behind it.
async fn ahead_by_an_hour(limits: &QueueLimits, parked: u32) {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    let now = scene.now_ms().await;
    let then = now + 3_600_000;
    let in_order = if parked > 0 { " !key=a" } else { "" };
    let late = format!("1 late 0 0 {now}{in_order} !rated=1\n{}", of("a", 0));
    scene.send(&["ZADD", ":delayed", &then.to_string(), &late]).await;
    // A producer intended this delay.
    let meant = format!("1 meant 0 0 {now}\n{}", of("b", 0));
    scene.send(&["ZADD", ":delayed", &(then + 60_000).to_string(), &meant]).await;
    scene.send(&["SET", ":rate:a", &((then + 1_000) * 1_000).to_string(), "PX", "3601000"]).await;
    if parked > 0 {
        scene.send(&["HSET", ":places", "a", "1", " ", "1"]).await;
    }
    for nth in 1..=parked {
        let job = format!("1 parked-{nth} 0 0 {now} !key=a\n{}", of("a", nth));
        scene.send(&["RPUSH", ":parked:a", &job]).await;
        scene.send(&["HINCRBY", ":parked", "a", "1"]).await;
        scene.send(&["HINCRBY", ":parked", " ", "1"]).await;
    }
    let (mut found, mut ended) = (Vec::new(), Vec::new());
    let begun = std::time::Instant::now();
    while found.len() <= parked as usize {
        let reply = step(&mut scene, &ended, 8, limits).await;
        assert!(reply.jobs.iter().all(|job| job.header.note("!rated").is_none()));
        ended = slots(&reply.jobs);
        found.extend(payloads(&reply.jobs));
        assert!(begun.elapsed() < crate::support::host::PATIENCE, "{found:?} after {:?}", begun.elapsed());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(found, (0..=parked).map(|nth| of("a", nth)).collect::<Vec<_>>());
    let reply = step(&mut scene, &ended, 8, limits).await;
    assert!(
        reply.next_due_ms.unwrap() <= reply.now_ms + 60_000,
        "a claim searches for late jobs each minute"
    );
    assert!(scene.dump().await[":delayed"].contains("meant"));
}

#[tokio::test]
async fn a_job_that_the_rate_of_its_key_delayed_by_a_clock_ahead_runs_when_the_clock_is_right() {
    ahead_by_an_hour(&key("/tenant", None, Some(5)), 0).await;
}

#[tokio::test]
async fn jobs_in_order_behind_a_job_delayed_by_a_clock_ahead_run_when_the_clock_is_right() {
    ahead_by_an_hour(&key("/tenant", Some(1), Some(5)), 3).await;
}

#[tokio::test]
async fn many_ends_after_a_raised_limit_make_a_bounded_number_of_jobs_ready_at_once() {
    let mut scene = Scene::new().await;
    let limits = key("header:t", Some(8), None);
    scene.begin(&[&["HSET", ":places", " ", "8"], &["HSET", ":parked", " ", "2048"]]).await;
    let mut acks = Vec::new();
    for nth in 0..512 {
        let name = format!("k{nth}");
        let job = |id: &str| format!("1 {id}-{nth} 0 0 5 t={name} !key={name}\nx");
        let parked = ["a", "b", "c", "d"].map(job);
        scene.send(&["HSET", ":inflight:HOST", &format!("e{nth}"), &job("run")]).await;
        scene.send(&["HSET", ":places", &name, "1"]).await;
        scene.send(&["HSET", ":parked", &name, "4"]).await;
        let list = format!(":parked:{name}");
        scene.send(&["RPUSH", &list, &parked[0], &parked[1], &parked[2], &parked[3]]).await;
        acks.push(Slot { seq: nth, enveloped: true });
    }
    scene.next_seq = 1_000;
    step(&mut scene, &acks, 0, &limits).await;
    let ready: u64 = redis::cmd("LLEN").arg("{q}:sandhog:ready").query_async(&mut scene.plain).await.unwrap();
    assert!((512..=768).contains(&ready), "each key has at least one, and the others follow: {ready}");
    let mut done = 0;
    acks.clear();
    for _ in 0..200 {
        let reply = step(&mut scene, &acks, 512, &limits).await;
        done += reply.jobs.len();
        acks = slots(&reply.jobs);
        if acks.is_empty() && !reply.more {
            break;
        }
    }
    assert_eq!(done, 2_048, "the next claims give the others their slots");
    let found = scene.dump().await;
    assert!(!found.contains_key(":parked") && !found.contains_key(":owed"), "{:?}", found.keys());
}
