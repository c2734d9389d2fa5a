//! How runs end: each fate, the fence before it, the caps of the dead.

use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::store::{DeadLimits, JobStore, Order, Slot};

use super::{ROOMY, Scene, bare, enveloped, header, queue};

const BARE: &[&str] = &["HSET", ":inflight:HOST", "7", "a\nb", "8", "other"];
const ENVELOPE: &[&str] =
    &["HSET", ":inflight:HOST", "e7", "1 id 1 0 5 !reason=old !unique=k\na\nb", "8", "other"];
const UNIQUE: &[&str] = &["SET", ":unique:k", "id"];
type Expected<'a> = &'a [(&'a str, &'a str)];

/// What is there before, whether the job has a unique key, how it ends, what is there after.
type Case = (&'static str, &'static [&'static [&'static str]], Slot, bool, Fate, Expected<'static>);

const LIST: &[&str] = &["RPUSH", "q", "x"];
const READY: &[&str] = &["RPUSH", ":ready", "1 r 0 0 5\n"];
const LEFT: (&str, &str) = (":inflight:HOST", "hash 8=other");
const FATES: &[Case] = &[
    ("complete bare", &[BARE], bare(7), false, Fate::Complete, &[LEFT, (":stats", "hash completed=1")]),
    ("discard", &[ENVELOPE], enveloped(7), false, Fate::Discard, &[LEFT, (":stats", "hash discarded=1")]),
    (
        "complete lets go of the unique key",
        &[ENVELOPE, UNIQUE],
        enveloped(7),
        true,
        Fate::Complete,
        &[LEFT, (":stats", "hash completed=1")],
    ),
    (
        "complete leaves another job's unique key",
        &[ENVELOPE, &["SET", ":unique:k", "other"]],
        enveloped(7),
        true,
        Fate::Complete,
        &[LEFT, (":stats", "hash completed=1"), (":unique:k", "string other")],
    ),
    (
        "complete survives a unique key of a wrong type",
        &[ENVELOPE, &["RPUSH", ":unique:k", "id"]],
        enveloped(7),
        true,
        Fate::Complete,
        &[LEFT, (":stats", "hash completed=1"), (":unique:k", "list id")],
    ),
    (
        "retry bare",
        &[BARE],
        bare(7),
        false,
        Fate::Retry { delay_ms: 60_000 },
        &[LEFT, (":delayed", "zset 1 id 2 1 5 !reason=b%20m\\na\\nb@T+60"), (":stats", "hash retried=1")],
    ),
    (
        "retry of an envelope replaces its header and keeps the unique key",
        &[ENVELOPE, UNIQUE],
        enveloped(7),
        true,
        Fate::Retry { delay_ms: 0 },
        &[
            LEFT,
            (":delayed", "zset 1 id 2 1 5 !unique=k\\na\\nb@T"),
            (":stats", "hash retried=1"),
            (":unique:k", "string id"),
        ],
    ),
    (
        "bury",
        &[ENVELOPE, UNIQUE],
        enveloped(7),
        true,
        Fate::Bury,
        &[LEFT, (":dead", "zset 1 id 2 1 5 !unique=k\\na\\nb@T"), (":stats", "hash buried=1, dead_bytes=24")],
    ),
    (
        "release bare",
        &[BARE, READY],
        bare(7),
        false,
        Fate::Release,
        &[
            LEFT,
            (":ready", "list 1 id 2 1 5 !reason=b%20m\\na\\nb, 1 r 0 0 5\\n"),
            (":stats", "hash released=1"),
        ],
    ),
    (
        "give back bare, oldest first",
        &[BARE, LIST],
        bare(7),
        false,
        Fate::GiveBack(Order::Fifo),
        &[LEFT, (":stats", "hash released=1"), ("q", "list a\\nb, x")],
    ),
    (
        "give back bare, newest first",
        &[BARE, LIST],
        bare(7),
        false,
        Fate::GiveBack(Order::Lifo),
        &[LEFT, (":stats", "hash released=1"), ("q", "list x, a\\nb")],
    ),
    (
        "give back an envelope",
        &[ENVELOPE, LIST],
        enveloped(7),
        false,
        Fate::GiveBack(Order::Lifo),
        &[
            LEFT,
            (":ready", "list 1 id 2 1 5 !reason=b%20m\\na\\nb"),
            (":stats", "hash released=1"),
            ("q", "list x"),
        ],
    ),
];

#[tokio::test]
async fn each_fate_moves_the_job_to_its_place() {
    let mut scene = Scene::new().await;
    let plain = header("id", 2, 1, &[("!reason", "b m")]);
    let unique = header("id", 2, 1, &[("!unique", "k")]);
    for (case, seeds, slot, has_unique, fate, after) in FATES {
        scene.begin(seeds).await;
        let header = if *has_unique { &unique } else { &plain };
        assert_eq!(scene.settle(*slot, header, *fate).await, Ok(true), "{case}");
        scene.expect(case, after).await;
    }
}

#[tokio::test]
async fn a_late_settlement_changes_nothing() {
    let mut scene = Scene::new().await;
    let header = header("id", 1, 0, &[("!unique", "k")]);
    for fate in [
        Fate::Complete,
        Fate::Discard,
        Fate::Retry { delay_ms: 1 },
        Fate::Bury,
        Fate::Release,
        Fate::GiveBack(Order::Fifo),
    ] {
        for (seeds, left) in [
            (BARE, "hash 7=a\\nb, 8=other"),
            (ENVELOPE, "hash 8=other, e7=1 id 1 0 5 !reason=old !unique=k\\na\\nb"),
        ] {
            // A bare and an enveloped record of one number are two; here the other one is there, or none.
            let slot = if seeds == BARE { enveloped(7) } else { bare(7) };
            scene.begin(&[seeds, UNIQUE]).await;
            assert_eq!(scene.settle(slot, &header, fate).await, Ok(false), "{fate:?}");
            let after = [(":inflight:HOST", left), (":stats", "hash late=1"), (":unique:k", "string id")];
            scene.expect(&format!("{fate:?}"), &after).await;
        }
    }
}

#[tokio::test]
async fn settlements_of_one_batch_answer_each_for_itself() {
    let mut scene = Scene::new().await;
    scene
        .begin(&[
            &["HSET", ":inflight:HOST", "1", "a", "3", "c", "e4", "1 id 0 0 5\nd"],
            &["SET", ":dead", "x"],
        ])
        .await;
    let header = header("id", 1, 0, &[]);
    let settlements: Vec<Settlement> = [
        (bare(1), Fate::Bury),
        (bare(2), Fate::Complete),
        (bare(3), Fate::Release),
        (enveloped(4), Fate::Retry { delay_ms: 0 }),
    ]
    .into_iter()
    .map(|(slot, fate)| Settlement { slot, header: header.clone(), fate })
    .collect();
    let answers = scene.store.settle(&scene.host, &settlements).await.unwrap();
    let answers: Vec<String> = answers.iter().map(|answer| format!("{answer:?}")).collect();
    assert_eq!(answers, ["Err(WrongType(\"{q}:sandhog:dead\"))", "Ok(false)", "Ok(true)", "Ok(true)"]);
    let after = [
        (":dead", "string x"),
        (":delayed", "zset 1 id 1 0 5\\nd@T"),
        (":inflight:HOST", "hash 1=a"),
        (":ready", "list 1 id 1 0 5\\nc"),
        (":stats", "hash late=1, released=1, retried=1"),
    ];
    scene.expect("batch", &after).await;
    assert_eq!(scene.store.settle(&scene.host, &[]).await, Ok(vec![]));
}

#[tokio::test]
async fn many_handed_back_keep_their_order() {
    let mut scene = Scene::new().await;
    for (order, seed) in [(Order::Fifo, ["a", "b", "c", "d", "e"]), (Order::Lifo, ["e", "d", "c", "b", "a"])]
    {
        let mut push = vec!["RPUSH", "q"];
        push.extend(seed);
        scene.begin(&[&push, &["RPUSH", ":ready", "1 r1 0 0 5\n1", "1 r2 0 0 5\n2", "1 r3 0 0 5\n3"]]).await;
        let before = scene.dump().await;
        let delivery = sandhog::job::store::Delivery::AtLeastOnce;
        let jobs = scene.turn(&[], 7, order, delivery).await.unwrap().jobs;
        assert_eq!(super::payloads(&jobs), ["1", "2", "3", "a", "b", "c", "d"]);
        let back = |job: &sandhog::job::store::Claimed| Settlement {
            slot: job.slot,
            header: job.header.clone(),
            fate: Fate::GiveBack(order),
        };
        // In whatever order the runner hands them over.
        let settlements: Vec<Settlement> =
            jobs.iter().rev().skip(3).chain(jobs.iter().skip(4)).map(back).collect();
        scene.store.settle(&scene.host, &settlements).await.unwrap();
        scene.send(&["DEL", ":stats"]).await;
        assert_eq!(scene.dump().await, before, "{order:?}");
    }
}

#[tokio::test]
async fn what_ran_goes_back_with_its_id() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "q", "a", "b"]]).await;
    let job = scene.claim(1).await.unwrap().jobs.remove(0);
    scene.settle(job.slot, &job.header, Fate::Release).await.unwrap();
    let again = scene.claim(1).await.unwrap().jobs.remove(0);
    assert_eq!((again.header, again.payload), (job.header, job.payload));
}

#[tokio::test]
async fn the_dead_are_capped_by_count_age_and_bytes() {
    let redis = crate::support::redis::TestRedis::start();
    let mut scene = Scene::on(redis, ROOMY).await;
    let old: &[&str] = &["ZADD", ":dead", "1", "1 o1 0 0 5\nx", "2", "1 o2 0 0 5\nx", "3", "1 o3 0 0 5\nx"];
    let bytes: &[&str] = &["HSET", ":stats", "dead_bytes", "36"];
    let no_age = DeadLimits { age_ms: 8_000_000_000_000, ..ROOMY };
    let cases: &[(&str, DeadLimits, Expected)] = &[
        (
            "within all caps",
            no_age,
            &[
                (":dead", "zset 1 o1 0 0 5\\nx@1, 1 o2 0 0 5\\nx@2, 1 o3 0 0 5\\nx@3, 1 id 0 0 5\\na@T"),
                (":stats", "hash buried=1, dead_bytes=48"),
            ],
        ),
        (
            "count",
            DeadLimits { count: 2, ..no_age },
            &[
                (":dead", "zset 1 o3 0 0 5\\nx@3, 1 id 0 0 5\\na@T"),
                (":stats", "hash buried=1, dead_bytes=24, dead_dropped=2"),
            ],
        ),
        (
            "age",
            ROOMY,
            &[(":dead", "zset 1 id 0 0 5\\na@T"), (":stats", "hash buried=1, dead_bytes=12, dead_dropped=3")],
        ),
        (
            "bytes",
            DeadLimits { bytes: 40, ..no_age },
            &[
                (":dead", "zset 1 o2 0 0 5\\nx@2, 1 o3 0 0 5\\nx@3, 1 id 0 0 5\\na@T"),
                (":stats", "hash buried=1, dead_bytes=36, dead_dropped=1"),
            ],
        ),
        (
            "none are kept",
            DeadLimits { count: 0, ..no_age },
            &[(":stats", "hash buried=1, dead_bytes=0, dead_dropped=4")],
        ),
    ];
    for (case, limits, after) in cases {
        scene.begin(&[old, bytes, &["HSET", ":inflight:HOST", "1", "a"]]).await;
        scene.store = JobStore::new(scene.link.clone(), queue(), *limits);
        assert_eq!(scene.settle(bare(1), &header("id", 0, 0, &[]), Fate::Bury).await, Ok(true), "{case}");
        scene.expect(case, after).await;
    }
}

#[tokio::test]
async fn trimming_is_bounded_and_goes_on() {
    let mut scene = Scene::new().await;
    let mut seed = vec!["ZADD".to_owned(), ":dead".to_owned()];
    for n in 0..250 {
        seed.extend([n.to_string(), format!("1 o{n} 0 0 5\n")]);
    }
    let seed: Vec<&str> = seed.iter().map(String::as_str).collect();
    scene.begin(&[&seed]).await;
    let mut dropped = Vec::new();
    for _ in 0..4 {
        dropped.push(scene.store.trim().await.unwrap());
    }
    assert_eq!(dropped, [100, 100, 50, 0]);
    scene.expect("all too old", &[(":stats", "hash dead_bytes=0, dead_dropped=250")]).await;
}
