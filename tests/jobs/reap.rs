//! Taking back what a dead host had in flight; finding again what a living one owns.

use sandhog::job::lease::{Death, Leases, Renewal};
use sandhog::job::store::{Claimed, JobStore, Reaped, StoreError};

use super::{DeadLimits, Scene, bare, enveloped, header, payloads, queue};

/// The host's lease ended long ago.
const EXPIRED: &[&str] = &["ZADD", "sandhog:hosts", "1000", "HOST"];

fn reaped(moved: u64, buried: u64, left: u64) -> Reaped {
    Reaped { moved, buried, left, alive: false }
}

#[tokio::test]
async fn records_of_a_dead_host_are_ready_again_in_their_order() {
    let mut scene = Scene::new().await;
    let records: &[&str] = &[
        "HSET",
        ":inflight:HOST",
        "1000",
        "later",
        "7",
        "a\nb",
        "e9",
        "1 id 2 1 5 k=v !reason=x\nc\nd",
        "e10",
        "no envelope",
        "strange",
        "1 x 0 0 5\nfield",
    ];
    scene.begin(&[EXPIRED, records, &["RPUSH", ":ready", "1 r 0 0 5\n"]]).await;
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(5, 0, 0)));
    let ready = concat!(
        "list 1 r 0 0 5\\n, ",
        "1 HOST-0 0 1 4000000000000\\n1 x 0 0 5\\nfield, ",
        "1 HOST-7 0 1 4000000000000\\na\\nb, ",
        "1 id 2 2 5 k=v !reason=x\\nc\\nd, ",
        "1 HOST-10 0 1 4000000000000\\nno envelope, ",
        "1 HOST-1000 0 1 4000000000001\\nlater",
    );
    scene.expect("reaped", &[(":ready", ready), (":stats", "hash reaped=5")]).await;
    assert_eq!(
        scene.store.reap(&scene.host, Death::Expired, 3).await,
        Ok(reaped(0, 0, 0)),
        "a second call changes nothing"
    );
    // What was reaped is claimed with the id and the time its first claim gave it.
    let other = super::host(2);
    scene.host = other;
    scene.send(&["ZADD", "sandhog:hosts", "8e12", "HOST"]).await;
    let jobs = scene.claim(10).await.unwrap().jobs;
    assert_eq!(jobs[2].header.id.as_str(), "h.00000001.03a352944000-7");
    assert_eq!((jobs[2].header.crashes, jobs[5].header.first_seen_ms), (1, super::EPOCH + 1));
}

#[tokio::test]
async fn a_living_host_keeps_its_records() {
    let mut scene = Scene::new().await;
    let record: &[&str] = &["HSET", ":inflight:HOST", "7", "a"];
    scene.begin(&[record]).await;
    let alive = Reaped { alive: true, ..Reaped::default() };
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(alive));
    scene.expect("alive", &[(":inflight:HOST", "hash 7=a")]).await;

    assert_eq!(scene.store.reap(&scene.host, Death::Certain, 3).await, Ok(reaped(1, 0, 0)), "by force");

    // Jobs that this process itself gives back count no crash.
    scene.begin(&[&["HSET", ":inflight:HOST", "7", "a", "e8", "1 id 2 1 5 k=v\nb"]]).await;
    assert_eq!(scene.store.reap(&scene.host, Death::Alive, 1).await, Ok(reaped(2, 0, 0)));
    let after = [
        (":ready", "list 1 HOST-7 0 0 4000000000000\\na, 1 id 2 1 5 k=v\\nb"),
        (":stats", "hash released=2"),
    ];
    scene.expect("without a crash", &after).await;

    scene.begin(&[record, &["ZREM", "sandhog:hosts", "HOST"]]).await;
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(1, 0, 0)), "not registered");
}

#[tokio::test]
async fn a_job_whose_hosts_keep_dying_is_buried() {
    let mut scene = Scene::new().await;
    let records: &[&str] =
        &["HSET", ":inflight:HOST", "7", "first", "e8", "1 id 4 2 5 !unique=k !reason=old k=v\npoison"];
    let limits = DeadLimits { count: 1, ..super::ROOMY };
    scene.store = JobStore::new(scene.link.clone(), queue(), limits);
    scene
        .begin(&[
            EXPIRED,
            records,
            &["SET", ":unique:k", "id"],
            &["ZADD", ":dead", "1", "1 o 0 0 5\n"],
            &["HSET", ":stats", "dead_bytes", "10"],
        ])
        .await;
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(1, 1, 0)));
    let dead = "1 id 4 3 5 !unique=k k=v !reason=its%20host%20died%203%20times%20while%20it%20ran\\npoison";
    let after = [
        (":dead", &*format!("zset {dead}@T")),
        (":ready", "list 1 HOST-7 0 1 4000000000000\\nfirst"),
        (":stats", &*format!("hash buried=1, dead_bytes={}, dead_dropped=1, reaped=2", dead.len() - 1)),
    ];
    scene.expect("poison", &after).await;
    let (rows, _) =
        sandhog::job::inspect::list(&scene.link, &queue(), sandhog::job::inspect::Place::Dead, None, 9)
            .await
            .unwrap();
    assert_eq!(rows[0].reason.as_deref(), Some("its host died 3 times while it ran"));
}

#[tokio::test]
async fn a_call_moves_a_bounded_number_of_records_and_bytes() {
    let mut scene = Scene::new().await;
    scene.begin(&[EXPIRED]).await;
    for from in (0..1_100).step_by(100) {
        let mut seed = vec!["HSET".to_owned(), ":inflight:HOST".to_owned()];
        for seq in from..from + 100 {
            seed.extend([seq.to_string(), format!("p{seq}")]);
        }
        scene.send(&seed.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    for expected in [reaped(500, 0, 600), reaped(500, 0, 100), reaped(100, 0, 0)] {
        assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(expected));
    }
    scene.host = super::host(2);
    scene.send(&["ZADD", "sandhog:hosts", "8e12", "HOST"]).await;
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(payloads(&scene.claim(512).await.unwrap().jobs));
    }
    assert_eq!(found, (0..1_100).map(|seq| format!("p{seq}")).collect::<Vec<_>>());

    scene.begin(&[EXPIRED]).await;
    let large = "x".repeat(768 << 10);
    for seq in ["1", "2", "3", "4"] {
        scene.send(&["HSET", ":inflight:HOST", seq, &large]).await;
    }
    assert_eq!(
        scene.store.reap(&scene.host, Death::Certain, 3).await,
        Ok(reaped(3, 0, 1)),
        "three exceed 2 MiB"
    );
}

#[tokio::test]
async fn a_claim_between_reaping_and_forgetting_is_refused() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    scene.begin(&[EXPIRED, &["RPUSH", "q", "a"]]).await;
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(0, 0, 0)));
    assert!(scene.claim(1).await.is_err(), "its lease ended");
    // It wakes up and renews before it is forgotten: then it stays.
    assert_eq!(
        leases.renew(&[&scene.host], std::time::Duration::from_secs(60)).await,
        Ok(vec![Renewal::Kept])
    );
    assert_eq!(scene.claim(1).await.unwrap().jobs.len(), 1);
    assert_eq!(leases.forget(&scene.host, false, &[]).await, Ok(false));
    assert_eq!(leases.forget(&scene.host, true, &[queue()]).await, Ok(false), "it has a record");
    scene.expect("owned", &[(":inflight:HOST", "hash 0=a"), (":stats", "hash claimed=1")]).await;
}

#[tokio::test]
async fn what_a_host_owns_is_found_again() {
    let mut scene = Scene::new().await;
    scene
        .begin(&[&[
            "HSET",
            ":inflight:HOST",
            "1000",
            "b",
            "7",
            "a\n",
            "e9",
            "1 id 2 1 5\nc\nd",
            "foreign",
            "x",
        ]])
        .await;
    let slots = scene.store.inflight(&scene.host).await.unwrap();
    assert_eq!(slots, [bare(7), enveloped(9), bare(1000)]);
    let mut asked = slots.clone();
    asked.insert(1, bare(8));
    let found = scene.store.fetch(&scene.host, &asked).await.unwrap();
    let seen = |job: &Claimed| (job.slot, String::from_utf8(job.payload.clone()).unwrap());
    let expected = [(bare(7), "a\n"), (enveloped(9), "c\nd"), (bare(1000), "b")];
    assert_eq!(found.iter().map(seen).collect::<Vec<_>>(), expected.map(|(s, p)| (s, p.to_owned())));
    assert_eq!(found[1].header, header("id", 2, 1, &[]));
    assert_eq!(found[2].header.first_seen_ms, super::EPOCH + 1);
    let nobody = super::host(9);
    assert_eq!(scene.store.inflight(&nobody).await, Ok(vec![]));
    assert_eq!(scene.store.fetch(&nobody, &slots).await, Ok(vec![]));
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_adopted_whole() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", ":ready", "1 id 2 1 5 k=v\nx"], &["RPUSH", "q", "a", "b"]]).await;
    let claimed = scene.claim(3).await.unwrap().jobs;
    let slots = scene.store.inflight(&scene.host).await.unwrap();
    assert_eq!(scene.store.fetch(&scene.host, &slots).await.unwrap(), claimed);
}

#[tokio::test]
async fn spoiled_keys_of_a_queue_do_not_matter_if_the_host_has_nothing_there() {
    let mut scene = Scene::new().await;
    for key in ["stats", "ready", "dead"] {
        let (key, short) = (format!("{{q}}:sandhog:{key}"), format!(":{key}"));
        scene.begin(&[EXPIRED, &["SET", &short, "x"]]).await;
        assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(0, 0, 0)), "{key}");
        scene.send(&["HSET", ":inflight:HOST", "7", "a"]).await;
        let refused = Err(StoreError::WrongType(key.clone()));
        assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, refused, "{key}");
        assert_eq!(scene.dump().await[":inflight:HOST"], "hash 7=a", "{key}: its job stays where it is");
    }
}
