//! What goes on when things are not as they should be: full memory, forgotten scripts, keys of wrong types,
//! keys deleted by hand, odd payloads.

use std::time::Duration;

use sandhog::job::lease::{Death, Leases, Renewal};
use sandhog::job::push::{PushOptions, push};
use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::store::{Delivery, Order, StoreError};

use super::{Scene, bare, enveloped, header, payloads, queue};

#[tokio::test]
async fn a_wrong_type_in_any_companion_key_is_refused_before_anything_is_taken() {
    let mut scene = Scene::new().await;
    let list: &[&str] = &["RPUSH", "q", "a", "b"];
    let ready: &[&str] = &["RPUSH", ":ready", "1 r 0 0 5\nx"];
    let due: &[&str] = &["ZADD", ":delayed", "5", "1 d 0 0 5\ny"];
    for (key, seeds) in [
        ("q", [ready, due]),
        ("{q}:sandhog:ready", [list, due]),
        ("{q}:sandhog:delayed", [list, ready]),
        ("{q}:sandhog:stats", [list, ready]),
        ("sandhog:hosts", [list, ready]),
        ("{q}:sandhog:inflight:h.00000001.03a352944000", [list, ready]),
    ] {
        for wrong in [&["SET", key, "x"][..], &["SADD", key, "x"]] {
            scene.begin(&seeds).await;
            scene.send(&["DEL", key]).await;
            scene.send(wrong).await;
            let before = scene.dump_all().await;
            let refused = scene.claim(4).await;
            assert_eq!(refused, Err(StoreError::WrongType(key.to_owned())), "{wrong:?}");
            assert_eq!(scene.dump_all().await, before, "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn settling_into_a_key_of_a_wrong_type_leaves_the_job_where_it_is() {
    let mut scene = Scene::new().await;
    let header = header("id", 1, 0, &[]);
    let retry = Fate::Retry { delay_ms: 0 };
    for (key, fate) in [
        (":delayed", retry),
        (":dead", Fate::Bury),
        (":ready", Fate::Release),
        ("q", Fate::GiveBack(Order::Fifo)),
        (":stats", Fate::Complete),
        (":stats", retry),
        (":stats", Fate::Bury),
        (":stats", Fate::Release),
    ] {
        scene.begin(&[&["HSET", ":inflight:HOST", "1", "a"], &["SET", key, "x"]]).await;
        let before = scene.dump().await;
        let refused = scene.settle(bare(1), &header, fate).await;
        assert_eq!(refused, Err(StoreError::WrongType(key.replace(':', "{q}:sandhog:"))), "{fate:?}");
        assert_eq!(scene.dump().await, before, "{fate:?}");
    }
    for (key, by_hand) in
        [(":ready", "{q}:sandhog:ready"), (":dead", "{q}:sandhog:dead"), (":stats", "{q}:sandhog:stats")]
    {
        scene.begin(&[&["HSET", ":inflight:HOST", "1", "a"], &["SET", key, "x"]]).await;
        let before = scene.dump().await;
        let refused = scene.store.reap(&scene.host, Death::Certain, 3).await;
        assert_eq!(refused, Err(StoreError::WrongType(by_hand.to_owned())));
        assert_eq!(scene.dump().await, before, "{key}");
    }
}

#[tokio::test]
async fn acknowledgements_are_taken_whatever_is_wrong_with_the_claim() {
    let mut scene = Scene::new().await;
    for key in ["q", ":ready", ":delayed", ":stats"] {
        scene.begin(&[&["HSET", ":inflight:HOST", "1", "a"], &["SET", key, "x"]]).await;
        let refused = scene.turn(&[bare(1)], 4, Order::Fifo, Delivery::AtLeastOnce).await;
        assert!(matches!(refused, Err(StoreError::WrongType(_))), "{refused:?}");
        let counted = (":stats", "hash completed=1");
        let after = [counted, (key, "string x")];
        scene.expect(key, if key == ":stats" { &after[1..] } else { &after }).await;
    }
}

#[tokio::test]
async fn counters_spoiled_by_hand_stop_nothing() {
    let mut scene = Scene::new().await;
    let spoiled: &[&str] =
        &["HSET", ":stats", "claimed", "x", "completed", "x", "buried", "x", "dead_bytes", "x"];
    scene.begin(&[spoiled, &["RPUSH", "q", "a", "b"]]).await;
    let jobs = scene.claim(2).await.unwrap().jobs;
    assert_eq!(scene.settle(jobs[0].slot, &jobs[0].header, Fate::Bury).await, Ok(true));
    let reply = scene.turn(&[jobs[1].slot], 0, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    assert_eq!(reply.settled, 1);
}

#[tokio::test]
async fn a_full_redis_still_drains() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    for n in 0..20 {
        scene.send(&["RPUSH", "q", &n.to_string()]).await;
    }
    scene.send(&["RPUSH", ":ready", "1 r1 1 0 5\nx"]).await;
    scene.send(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let refused = push(&scene.link, &queue(), b"x", &PushOptions::default()).await;
    assert!(matches!(&refused, Err(StoreError::Fault(fault)) if fault.is_code("OOM")), "{refused:?}");
    let unique = PushOptions { unique: Some(("k".to_owned(), Duration::from_secs(9))), ..Default::default() };
    let refused = push(&scene.link, &queue(), b"x", &unique).await;
    assert!(matches!(&refused, Err(StoreError::Fault(fault)) if fault.is_code("OOM")), "{refused:?}");

    let jobs = scene.claim(12).await.unwrap().jobs;
    assert_eq!(jobs.len(), 12);
    let fates = [
        Fate::Complete,
        Fate::Discard,
        Fate::Retry { delay_ms: 0 },
        Fate::Bury,
        Fate::Release,
        Fate::GiveBack(Order::Fifo),
    ];
    for (job, fate) in jobs.iter().zip(fates) {
        assert_eq!(scene.settle(job.slot, &job.header, fate).await, Ok(true), "{fate:?}");
    }
    let acks: Vec<_> = jobs[6..9].iter().map(|job| job.slot).collect();
    let reply = scene.turn(&acks, 1, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    assert_eq!((reply.settled, reply.jobs.len()), (3, 1));

    let host = scene.host.clone();
    let lease = Duration::from_secs(60);
    assert_eq!(leases.renew(&[&host], lease).await, Ok(vec![Renewal::Kept]));
    let other = leases.register("other", 9, lease, &Default::default(), &[]).await.unwrap();
    assert_eq!(leases.describe(&other, &Default::default()).await, Ok(true));
    assert_eq!(leases.expired(lease, 0).await.unwrap().hosts, []);
    assert_eq!(leases.list().await.unwrap().len(), 2);
    let reaped = scene.store.reap(&host, Death::Certain, 3).await.unwrap();
    assert_eq!((reaped.moved, reaped.left), (4, 0));
    assert_eq!(leases.forget(&other, true, &[]).await, Ok(true));
    let dead = sandhog::job::edit::Which::All(sandhog::job::inspect::Place::Dead);
    let requeued = sandhog::job::edit::requeue(&scene.link, &queue(), &dead, 9, |_| ()).await.unwrap();
    assert_eq!(requeued.jobs, 1);
    assert_eq!(sandhog::job::inspect::counts(&scene.link, &queue()).await.unwrap().ready, 6);
}

#[tokio::test]
async fn scripts_that_were_forgotten_are_loaded_again() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    scene.begin(&[&["RPUSH", "q", "a", "b", "c", "d", "e"]]).await;
    let lease = Duration::from_secs(60);
    for round in 0..2 {
        scene.send(&["SCRIPT", "FLUSH"]).await;
        let jobs = scene.claim(2).await.unwrap().jobs;
        assert_eq!(jobs.len(), 2, "round {round}");
        scene.send(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(leases.renew(&[&scene.host], lease).await, Ok(vec![Renewal::Kept]));
        scene.send(&["SCRIPT", "FLUSH"]).await;
        let settlements: Vec<Settlement> = jobs
            .iter()
            .zip([Fate::Bury, Fate::Complete])
            .map(|(job, fate)| Settlement { slot: job.slot, header: job.header.clone(), fate })
            .collect();
        assert_eq!(scene.store.settle(&scene.host, &settlements).await.unwrap(), [Ok(true), Ok(true)]);
    }
    let found = scene.dump().await;
    assert_eq!(found["q"], "list e");
    assert!(found[":stats"].starts_with("hash buried=2, claimed=4, completed=2,"), "{found:?}");
}

#[tokio::test]
async fn keys_deleted_by_hand_are_facts_not_errors() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "q", "a", "b"]]).await;
    let jobs = scene.claim(2).await.unwrap().jobs;
    scene.send(&["DEL", ":inflight:HOST", ":stats"]).await;
    let reply = scene.turn(&[jobs[0].slot], 1, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    assert_eq!(reply.settled, 0);
    assert_eq!(scene.settle(jobs[1].slot, &jobs[1].header, Fate::Bury).await, Ok(false));
    scene.expect("late", &[(":stats", "hash late=2")]).await;
}

#[tokio::test]
async fn payloads_are_bytes() {
    let mut scene = Scene::new().await;
    let mut all: Vec<Vec<u8>> = vec![
        Vec::new(),
        (0..=255).collect(),
        b"1 x 0 0 5\nlooks like an envelope".to_vec(),
        b"\n".to_vec(),
        "сюрприз".as_bytes().to_vec(),
        vec![b'z'; 1 << 20],
    ];
    all.extend(vec![b"equal".to_vec(); 200]);
    // Every way a payload can go before it is claimed again.
    let fates =
        [None, Some(Fate::Release), Some(Fate::Retry { delay_ms: 0 }), Some(Fate::GiveBack(Order::Fifo))];
    for fate in fates {
        scene.begin(&[]).await;
        sandhog::job::push::push_many(&scene.link, &queue(), &all).await.unwrap();
        let mut jobs = scene.claim(512).await.unwrap().jobs;
        assert!(jobs.iter().map(|job| &job.payload).eq(&all), "{fate:?}");
        if let Some(fate) = fate {
            let settlements: Vec<Settlement> = jobs
                .iter()
                .map(|job| Settlement { slot: job.slot, header: job.header.clone(), fate })
                .collect();
            let answers = scene.store.settle(&scene.host, &settlements).await.unwrap();
            assert!(answers.iter().all(|answer| *answer == Ok(true)), "{fate:?}");
            jobs = scene.claim(512).await.unwrap().jobs;
        }
        let mut found: Vec<_> = jobs.iter().map(|job| job.payload.clone()).collect();
        let mut expected = all.clone();
        found.sort();
        expected.sort();
        assert!(found == expected, "{fate:?}");
        assert_eq!(scene.store.reap(&scene.host, Death::Certain, 3).await.unwrap().moved, all.len() as u64);
        let mut found: Vec<_> =
            scene.claim(512).await.unwrap().jobs.iter().map(|job| job.payload.clone()).collect();
        found.sort();
        assert!(found == expected, "reaped after {fate:?}");
    }
}

#[tokio::test]
async fn what_somebody_put_by_hand_into_ready_is_run_as_it_is() {
    let mut scene = Scene::new().await;
    scene
        .begin(&[&["RPUSH", ":ready", "junk\nmore"], &["ZADD", ":delayed", "1", "1 id 0 0 5 k=%zz\nx"]])
        .await;
    let jobs = scene.claim(4).await.unwrap().jobs;
    assert_eq!(payloads(&jobs), ["1 id 0 0 5 k=%zz\nx", "junk\nmore"]);
    assert_eq!(jobs[1].slot, enveloped(1));
    assert_eq!(scene.settle(jobs[1].slot, &jobs[1].header, Fate::Retry { delay_ms: 0 }).await, Ok(true));
    let again = scene.claim(4).await.unwrap().jobs.remove(0);
    assert_eq!((again.header, again.payload), (jobs[1].header.clone(), b"junk\nmore".to_vec()));
}
