//! Places of keys that no job holds are found and given to parked jobs: in rounds of one call and of many, with jobs that
//! move meanwhile, and in queues whose keys no longer have a limit.

use sandhog::job::heal::{HEAL_BYTES_MAX, Heal, Healed};
use sandhog::job::lease::Death;
use sandhog::job::limit::{KeyLimits, KeySource, QueueLimits};
use sandhog::job::settle::Fate;
use sandhog::job::store::{Delivery, StoreError, Turn, TurnReply};

use super::{Scene, enveloped, header, host, payloads, turn};

/// At most this many jobs with the same header `t`.
pub fn per_key(concurrency: u32) -> QueueLimits {
    let source = KeySource::Header("t".to_owned());
    let key = Some(KeyLimits { source, concurrency: Some(concurrency), rate: None, in_order: true });
    QueueLimits { key, ..QueueLimits::default() }
}

/// A job with a key, and perhaps with a place.
pub fn job(id: &str, place: bool) -> String {
    let place = if place { " !key=a" } else { "" };
    format!("1 {id} 0 0 5 t=a{place}\n{id}")
}

impl Scene {
    pub async fn heal(&mut self, key_concurrency: u32) -> Healed {
        self.heal_part(key_concurrency, 1_000).await
    }

    pub async fn heal_part(&mut self, key_concurrency: u32, records_max: u32) -> Healed {
        let host = self.host.clone();
        let heal = Heal { host: &host, key_concurrency, gap_ms: 0, records_max, bytes_max: HEAL_BYTES_MAX };
        self.store.heal(&self.link, &heal).await.unwrap()
    }

    pub async fn limited(&mut self, claim: u32, limits: &QueueLimits) -> TurnReply {
        let (host, next_seq) = (self.host.clone(), self.next_seq);
        let reply = self.store.turn(&Turn { claim, next_seq, limits, ..turn(&host, &[]) }).await.unwrap();
        self.next_seq = reply.next_seq;
        reply
    }

    /// Empties the database, adds parked jobs of the key `a`, and sets how many slots are in use.
    pub async fn seed_parked(&mut self, parked: &[&str], places: &str) {
        let jobs: Vec<String> = parked.iter().map(|id| job(id, true)).collect();
        let mut push = vec!["RPUSH", ":parked:a"];
        push.extend(jobs.iter().map(String::as_str));
        let count = parked.len().to_string();
        self.begin(&[&push, &["HSET", ":parked", " ", &count, "a", &count]]).await;
        self.send(&["HSET", ":places", " ", "1", "a", places]).await;
    }
}

const fn healed(freed: u64, keys: u64) -> Healed {
    Healed { more: false, freed, keys }
}

#[tokio::test]
async fn a_place_whose_job_was_deleted_by_hand_is_given_to_the_next_one() {
    let mut scene = Scene::new().await;
    let limits = per_key(1);
    for (at, gone) in [("in flight", ":inflight:HOST"), ("ready", ":ready"), ("delayed", ":delayed")] {
        let jobs = ["one", "two", "three"].map(|id| job(id, false));
        scene.begin(&[&["RPUSH", ":ready", &jobs[0], &jobs[1], &jobs[2]]]).await;
        let first = scene.limited(4, &limits).await.jobs.remove(0);
        match at {
            "ready" => drop(scene.settle(first.slot, &first.header, Fate::Release).await),
            "delayed" => {
                drop(scene.settle(first.slot, &first.header, Fate::Retry { delay_ms: 60_000 }).await)
            }
            _ => {}
        }
        assert_eq!(scene.heal(1).await, healed(0, 0), "{at}: it is there");
        scene.send(&["DEL", gone]).await;
        assert!(scene.limited(4, &limits).await.jobs.is_empty(), "{at}");
        assert_eq!(scene.heal(1).await, healed(1, 1), "{at}");
        let found = scene.dump().await;
        assert_eq!((&*found[":places"], &*found[":parked"]), ("hash  =1, a=1", "hash  =1, a=1"), "{at}");
        assert_eq!(payloads(&scene.limited(4, &limits).await.jobs), ["two"], "{at}");
        assert_eq!(scene.heal(1).await, healed(0, 0), "{at}");
    }
}

#[tokio::test]
async fn places_equal_the_jobs_that_hold_them_in_every_state() {
    let mut scene = Scene::new().await;
    let other = host(2);
    for (places, most, freed, keys, after) in [
        ("9", 4, 0, 1, "hash  =1, a=4"),
        ("4", 4, 0, 0, "hash  =1, a=4"),
        ("1", 4, 0, 1, "hash  =1, a=4"),
        ("9", 6, 2, 1, "hash  =1, a=6"),
        ("4", 5, 1, 0, "hash  =1, a=5"),
        ("spoiled", 9, 3, 1, "hash  =1, a=7"),
    ] {
        scene.seed_parked(&["p1", "p2", "p3"], places).await;
        scene.send(&["ZADD", "sandhog:hosts", "1", other.as_str()]).await;
        for (key, id) in [(":inflight:HOST", "i1"), (&*format!(":inflight:{other}"), "i2")] {
            scene.send(&["HSET", key, "3", "bare", "e5", &job(id, true), "e6", &job("none", false)]).await;
        }
        scene.send(&["RPUSH", ":ready", &job("none", false), &job("r1", true)]).await;
        scene.send(&["ZADD", ":delayed", "5", &job("d1", true), "6", &job("none", false)]).await;
        assert_eq!(scene.heal(most).await, healed(freed, keys), "{places} of {most}");
        assert_eq!(scene.dump().await[":places"], after, "{places} of {most}");
    }
}

#[tokio::test]
async fn very_many_keys_take_several_rounds() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["HSET", ":parked", " ", "1000"], &["HSET", ":places", " ", "1"]]).await;
    for key in 0..1_000 {
        let name = format!("k{key}");
        scene.send(&["HSET", ":parked", &name, "1"]).await;
        scene.send(&["RPUSH", &format!(":parked:{name}"), &format!("1 {name} 0 0 5 !key={name}\nx")]).await;
        scene.send(&["HSET", ":places", &name, "1"]).await;
    }
    let host = scene.host.clone();
    let all = scene.store.heal_all(&scene.link, &host, 1, 60_000).await;
    assert_eq!(all, Ok(healed(1_000, 1_000)));
    let found = scene.dump().await;
    assert!(!found.contains_key(":parked") && found[":ready"].matches("!key=").count() == 1_000);
}

#[tokio::test]
async fn counts_of_parked_jobs_are_those_of_their_lists() {
    let mut scene = Scene::new().await;
    scene.seed_parked(&["p1", "p2", "p3"], "1").await;
    scene.send(&["HSET", ":parked", " ", "9", "a", "7", "gone", "2"]).await;
    scene.send(&["RPUSH", ":ready", &job("r1", true)]).await;
    assert_eq!(scene.heal(1).await, healed(0, 0));
    assert_eq!(scene.dump().await[":parked"], "hash  =3, a=3");
    scene.send(&["DEL", ":parked:a"]).await;
    assert_eq!(scene.heal(1).await, healed(0, 0));
    assert!(!scene.dump().await.contains_key(":parked"));
}

/// Ten jobs with places and thirty without, in every state.
async fn seed_forty_jobs(scene: &mut Scene, places: &str) {
    scene.seed_parked(&["p1", "p2"], places).await;
    for nth in 0..10 {
        let (with, without) = (job(&format!("w{nth}"), true), job(&format!("o{nth}"), false));
        let score = nth.to_string();
        match nth % 3 {
            0 => drop(scene.send(&["HSET", ":inflight:HOST", &format!("e{nth}"), &with]).await),
            1 => drop(scene.send(&["RPUSH", ":ready", &with]).await),
            _ => drop(scene.send(&["ZADD", ":delayed", &score, &with]).await),
        }
        scene.send(&["HSET", ":inflight:HOST", &format!("e{}", 100 + nth), &without]).await;
        scene.send(&["RPUSH", ":ready", &without]).await;
        scene.send(&["ZADD", ":delayed", &score, &without]).await;
    }
}

#[tokio::test]
async fn a_round_of_many_small_calls_finds_the_same() {
    let mut scene = Scene::new().await;
    for (places, freed, keys, after) in
        [("10", 0, 0, "hash  =1, a=10"), ("12", 0, 1, "hash  =1, a=10"), ("8", 0, 1, "hash  =1, a=10")]
    {
        seed_forty_jobs(&mut scene, places).await;
        let (mut sum, mut calls) = (Healed::default(), 0);
        loop {
            let part = scene.heal_part(10, 5).await;
            (sum.freed, sum.keys, calls) = (sum.freed + part.freed, sum.keys + part.keys, calls + 1);
            if !part.more {
                break;
            }
            assert!(calls < 100, "the round does not end");
        }
        assert!(calls >= 5, "only {calls} calls");
        assert_eq!(sum, healed(freed, keys), "{places}");
        assert_eq!(scene.dump().await[":places"], after, "{places}");
    }
}

#[tokio::test]
async fn a_job_that_moves_while_a_round_is_under_way_keeps_its_place() {
    let mut scene = Scene::new().await;
    let slot = enveloped(0);
    let kept = header("w0", 1, 0, &[("t", "a"), ("!key", "a")]);
    let back = async |scene: &mut Scene| {
        let others: &[&str] = &["HDEL", ":inflight:HOST", "e100", "e101", "e102", "e103", "e104", "e105"];
        scene.send(others).await;
        scene.store.reap(&scene.host.clone(), Death::Certain, 9).await.unwrap();
    };
    for moves in ["retry", "release", "reap"] {
        let mut moved_in_the_middle = 0;
        for calls_before in 0..40 {
            seed_forty_jobs(&mut scene, "10").await;
            let mut more = true;
            for _ in 0..calls_before {
                more = more && scene.heal_part(10, 3).await.more;
            }
            moved_in_the_middle += u32::from(more && calls_before > 0);
            let moved = match moves {
                "retry" => scene.settle(slot, &kept, Fate::Retry { delay_ms: 0 }).await,
                "release" => scene.settle(slot, &kept, Fate::Release).await,
                _ => {
                    back(&mut scene).await;
                    Ok(true)
                }
            };
            assert_eq!(moved, Ok(true));
            while more {
                let part = scene.heal_part(10, 3).await;
                assert_eq!((part.freed, part.keys), (0, 0), "{moves} after {calls_before} calls");
                more = part.more;
            }
            assert_eq!(scene.dump().await[":places"], "hash  =1, a=10", "{moves} after {calls_before} calls");
        }
        assert!(moved_in_the_middle > 5, "{moves}: {moved_in_the_middle}");
    }
}

#[tokio::test]
async fn one_host_at_a_time_and_not_too_often() {
    let mut scene = Scene::new().await;
    seed_forty_jobs(&mut scene, "12").await;
    assert!(scene.heal_part(10, 3).await.more);
    let heal = |host, gap_ms| Heal {
        host,
        key_concurrency: 10,
        gap_ms,
        records_max: 1_000,
        bytes_max: HEAL_BYTES_MAX,
    };
    let (first, second) = (scene.host.clone(), host(2));
    let store = scene.store.clone();
    let link = scene.link.clone();
    assert_eq!(store.heal(&link, &heal(&second, 0)).await, Ok(Healed::default()), "the first one checks");
    assert_eq!(scene.dump().await[":places"], "hash  =1, a=12");
    assert_eq!(store.heal(&link, &heal(&first, 0)).await, Ok(healed(0, 1)));
    scene.send(&["HSET", ":places", "a", "12"]).await;
    assert_eq!(store.heal(&link, &heal(&second, 60_000)).await, Ok(Healed::default()), "just done");
    assert_eq!(store.heal(&link, &heal(&second, 0)).await, Ok(healed(0, 1)));
    // Another host continues an abandoned round.
    scene.send(&["HSET", ":places", "a", "12"]).await;
    assert!(scene.heal_part(10, 3).await.more);
    scene.send(&["HSET", ":audit", "  moment", "1"]).await;
    assert_eq!(store.heal(&link, &heal(&second, 0)).await, Ok(healed(0, 1)));
}

#[tokio::test]
async fn parked_jobs_become_ready_in_order_if_the_limit_is_removed() {
    let mut scene = Scene::new().await;
    scene.seed_parked(&["p1", "p2", "p3"], "1").await;
    scene.send(&["RPUSH", ":parked:b", "1 q1 0 0 5 !key=b t=b\nq\n !key=x"]).await;
    scene.send(&["HSET", ":parked", " ", "4", "b", "1"]).await;
    let first = scene.heal_part(0, 2).await;
    assert!(first.more && first.freed <= 2, "{first:?}");
    let mut freed = first.freed;
    while scene.dump().await.contains_key(":parked") {
        freed += scene.heal_part(0, 2).await.freed;
    }
    assert_eq!(freed, 4);
    let reply = scene.claim(9).await.unwrap();
    let mut of_a = payloads(&reply.jobs);
    of_a.retain(|payload| payload.starts_with('p'));
    assert_eq!(of_a, ["p1", "p2", "p3"]);
    assert!(reply.jobs.iter().all(|job| job.header.note("!key").is_none() && job.header.note("t").is_some()));
    assert!(reply.jobs.iter().any(|job| job.payload == b"q\n !key=x"), "payloads stay as they are");
}

#[tokio::test]
async fn at_most_once_jobs_pass_on_their_places() {
    let mut scene = Scene::new().await;
    let jobs: Vec<String> = (0..10).map(|nth| job(&nth.to_string(), false)).collect();
    let mut push = vec!["RPUSH", ":ready"];
    push.extend(jobs.iter().map(String::as_str));
    scene.begin(&[&push]).await;
    let limits = per_key(1);
    let first = scene.limited(16, &limits).await.jobs.remove(0);
    assert_eq!(scene.dump().await[":parked"], "hash  =9, a=9");
    // The manifest changes; then a run that started before it ends.
    let mut slots = vec![first.slot];
    let mut ran = Vec::new();
    loop {
        let reply = scene.turn(&slots, 16, super::Order::Fifo, Delivery::AtMostOnce).await.unwrap();
        slots.clear();
        if reply.jobs.is_empty() {
            break;
        }
        ran.extend(payloads(&reply.jobs));
    }
    assert_eq!(ran, (1..10).map(|nth| nth.to_string()).collect::<Vec<_>>());
    let found = scene.dump().await;
    assert_eq!(found[":places"], "hash  =1", "{found:?}");
    assert!(!found.contains_key(":parked"));
}

#[tokio::test]
async fn an_empty_string_is_a_key() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", ":ready", "1 one 0 0 5 t=\n1", "1 two 0 0 5 t=\n2"]]).await;
    let limits = per_key(1);
    let first = scene.limited(4, &limits).await.jobs;
    assert_eq!(payloads(&first), ["1"]);
    assert!(scene.limited(4, &limits).await.jobs.is_empty(), "and nothing is refused");
    assert_eq!(scene.dump().await[":parked"], "hash  =1, =1");
    assert!(scene.settle(first[0].slot, &first[0].header, Fate::Complete).await.unwrap());
    assert_eq!(payloads(&scene.limited(4, &limits).await.jobs), ["2"]);
}

#[tokio::test]
async fn an_invalid_number_of_places_loses_no_job() {
    let mut scene = Scene::new().await;
    let (one, two) = (job("one", false), job("two", false));
    scene.begin(&[&["HSET", ":places", "a", "x"], &["RPUSH", ":ready", &one, &two]]).await;
    let jobs = scene.limited(4, &per_key(1)).await.jobs;
    assert_eq!(payloads(&jobs), ["one", "two"], "it limits nothing");
    scene.begin(&[&["HSET", ":places", "a", "1"], &["HSET", ":parked", "a", "x"]]).await;
    scene.send(&["RPUSH", ":ready", &one, &two]).await;
    assert!(scene.limited(4, &per_key(1)).await.jobs.is_empty());
    let found = scene.dump().await;
    assert!(found[":parked:a"].contains("one") && found[":parked:a"].contains("two"), "{found:?}");
    assert_eq!(scene.heal(1).await, healed(1, 1));
    assert_eq!(scene.dump().await[":parked"], "hash  =1, a=1");
}

#[tokio::test]
async fn text_for_a_number_and_foreign_fields_stop_no_claim() {
    let mut scene = Scene::new().await;
    let (one, two) = (job("one", false), job("two", false));
    for key in [":places", ":parked", ":audit", ":stats", ":inflight:HOST"] {
        for field in ["", " ", "  ", "  stage", "parked"] {
            scene.begin(&[&["HSET", key, field, "x"], &["RPUSH", ":ready", &one, &two]]).await;
            let jobs = scene.limited(4, &per_key(1)).await.jobs;
            assert_eq!(payloads(&jobs), ["one"], "{key} `{field}`");
            assert!(scene.settle(jobs[0].slot, &jobs[0].header, Fate::Complete).await.unwrap());
            assert_eq!(payloads(&scene.limited(4, &per_key(1)).await.jobs), ["two"], "{key} `{field}`");
        }
    }
}

#[tokio::test]
async fn a_round_whose_state_was_changed_by_hand_begins_anew() {
    let mut scene = Scene::new().await;
    for state in [
        ["  stage", "x", "  at", "0"],
        ["  stage", "delayed", "  at", "x"],
        ["  stage", "ready", "  at", "-5"],
        ["  stage", "ready", "a", "x"],
        ["  stage", "inflight", "  at", ""],
        ["  stage", "inflight", "  at", "x y"],
        ["  stage", "ready", "  at", "0"],
        ["  next", "x", "a", "1"],
        ["  next", "99999999999999999999", " a", "1e9"],
    ] {
        scene.seed_parked(&["p1"], "1").await;
        scene.send(&[&["HSET", ":audit", "  host", "HOST"], &state[..]].concat()).await;
        assert_eq!(scene.heal(1).await, healed(1, 1), "{state:?}");
    }
}

#[tokio::test]
async fn a_key_of_a_wrong_type_is_named() {
    let mut scene = Scene::new().await;
    let host = scene.host.clone();
    let heal = Heal { host: &host, key_concurrency: 1, gap_ms: 0, records_max: 9, bytes_max: 9 };
    for key in [":ready", ":places", ":delayed"] {
        scene.seed_parked(&["p1"], "1").await;
        scene.send(&["DEL", key]).await;
        scene.send(&["SET", key, "x"]).await;
        let refused = scene.store.heal(&scene.link, &heal).await;
        assert_eq!(refused, Err(StoreError::WrongType(format!("{{q}}:sandhog{key}"))));
    }
}
