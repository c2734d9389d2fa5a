//! An audit of slots while jobs move: it misses no job, and counts no job twice.

use sandhog::job::limit::{KeyLimits, QueueLimits, Rate};
use sandhog::job::settle::Fate;

use super::heal::{job, per_key};
use super::limits::SECOND;
use super::{Scene, enveloped, header, payloads};

/// One job of a key at a time, and one start per key in an hour.
fn one_an_hour() -> QueueLimits {
    let mut limits = per_key(1);
    let rate = Some(Rate { count: 1, per: SECOND * 3_600 });
    limits.key = limits.key.map(|key| KeyLimits { rate, ..key });
    limits
}

#[tokio::test]
async fn a_job_that_waits_for_its_rate_during_an_audit_keeps_its_slot() {
    let mut scene = Scene::new().await;
    // A small sorted set is read by one call.
    scene.send(&["CONFIG", "SET", "zset-max-listpack-entries", "0"]).await;
    let limits = one_an_hour();
    for from in ["ready", "delayed"] {
        let mut moved_in_the_middle = 0;
        for calls_before in 0..16 {
            scene.seed_parked(&["p1", "p2"], "1").await;
            let now_ms = scene.now_ms().await;
            scene.send(&["SET", ":rate:a", &format!("{}000", now_ms + 3_600_000)]).await;
            let holder = job("holder", true);
            match from {
                "ready" => drop(scene.send(&["RPUSH", ":ready", &holder]).await),
                _ => drop(scene.send(&["ZADD", ":delayed", "1", &holder]).await),
            }
            for nth in 0..20 {
                let other = job(&format!("o{nth}"), false).replace("t=a", "t=b");
                scene.send(&["RPUSH", ":ready", &other]).await;
                scene.send(&["ZADD", ":delayed", &(now_ms + 3_600_000).to_string(), &other]).await;
            }
            let mut more = true;
            for _ in 0..calls_before {
                more = more && scene.heal_part(1, 3).await.more;
            }
            moved_in_the_middle += u32::from(more && calls_before > 0);
            scene.limited(1, &limits).await;
            while more {
                let part = scene.heal_part(1, 3).await;
                assert_eq!((part.freed, part.keys), (0, 0), "from {from} after {calls_before} calls");
                more = part.more;
            }
            let found = scene.dump().await;
            assert!(found[":places"].contains("a=1"), "from {from} after {calls_before} calls: {found:?}");
            assert_eq!(found[":parked"], "hash  =2, a=2", "from {from} after {calls_before} calls");
            let delayed = &found[":delayed"];
            assert!(delayed.contains("holder") && delayed.contains("!rated=1"), "from {from}: {delayed}");
        }
        assert!(moved_in_the_middle > 2, "{from}: {moved_in_the_middle}");
    }
}

#[tokio::test]
async fn a_key_with_more_running_jobs_than_slots_is_back_to_its_limit_after_a_round_of_several_calls() {
    let mut scene = Scene::new().await;
    scene.seed_parked(&["p1", "p2"], "1").await;
    for (field, id) in [("e0", "i0"), ("e1", "i1")] {
        scene.send(&["HSET", ":inflight:HOST", field, &job(id, true)]).await;
    }
    for nth in 0..20 {
        scene.send(&["HSET", ":inflight:HOST", &format!("e{}", 10 + nth), "1 o 0 0 5\no"]).await;
    }
    let mut calls = 0;
    while scene.heal_part(1, 3).await.more {
        calls += 1;
        assert!(calls < 100, "the round does not end");
    }
    assert!(calls > 2, "only {calls} calls");
    assert_eq!(scene.dump().await[":places"], "hash  =1, a=2");
    let notes = [("t", "a"), ("!key", "a")];
    assert_eq!(scene.settle(enveloped(0), &header("i0", 0, 0, &notes), Fate::Complete).await, Ok(true));
    assert_eq!(scene.dump().await[":parked"], "hash  =2, a=2", "the other one still runs");
    assert_eq!(scene.settle(enveloped(1), &header("i1", 0, 0, &notes), Fate::Complete).await, Ok(true));
    assert_eq!(scene.dump().await[":parked"], "hash  =1, a=1");
}

#[tokio::test]
async fn a_job_that_is_counted_twice_does_not_raise_the_count_of_slots_in_use() {
    let mut scene = Scene::new().await;
    let mut claimed_in_the_middle = 0;
    for calls_before in 0..16 {
        scene.seed_parked(&["p1"], "1").await;
        scene.send(&["RPUSH", ":ready", &job("w", true)]).await;
        for nth in 0..20 {
            scene.send(&["HSET", ":inflight:HOST", &format!("e{nth}"), "1 o 0 0 5\no"]).await;
        }
        let mut more = true;
        for _ in 0..calls_before {
            more = more && scene.heal_part(1, 3).await.more;
        }
        claimed_in_the_middle += u32::from(more && calls_before > 0);
        scene.next_seq = 1_000;
        assert_eq!(payloads(&scene.limited(1, &per_key(1)).await.jobs), ["w"]);
        while more {
            let part = scene.heal_part(1, 3).await;
            assert_eq!((part.freed, part.keys), (0, 0), "after {calls_before} calls");
            more = part.more;
        }
        assert_eq!(scene.dump().await[":places"], "hash  =1, a=1", "after {calls_before} calls");
    }
    assert!(claimed_in_the_middle > 2, "{claimed_in_the_middle}");
}
