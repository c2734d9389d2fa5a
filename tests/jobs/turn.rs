//! Claiming and acknowledging, together as a feeder does it.

use std::sync::Arc;
use std::time::Duration;

use sandhog::job::store::{Delivery, JobStore, Order, StoreError, Turn, TurnReply};
use sandhog::storage::link::Tracking;
use sandhog::storage::wake::Wake;
use tokio::sync::Notify;

use super::{EPOCH, ROOMY, Scene, bare, enveloped, header, payloads, queue, turn};

const FIFO: (Order, Delivery) = (Order::Fifo, Delivery::AtLeastOnce);

type Expected = &'static [(&'static str, &'static str)];
type Seeds = &'static [&'static [&'static str]];
/// What is there before, how and how many are claimed, their payloads in order, what is there after.
type Case = (&'static str, Seeds, (Order, Delivery), u32, &'static [&'static str], Expected);

const FIVE: &[&str] = &["RPUSH", "q", "a", "b", "c", "d", "e"];
const READY: &[&str] = &["RPUSH", ":ready", "1 r1 1 0 5\nx", "1 r2 0 1 5\ny", "1 r3 0 0 5\nz"];
const DUE: &[&str] =
    &["ZADD", ":delayed", "10", "1 d1 2 0 5\nu", "20", "1 d2 2 0 5\nv", "7e12", "1 d3 0 0 5\nw"];
const CLAIMS: &[Case] = &[
    ("nothing there", &[], FIFO, 4, &[], &[]),
    (
        "oldest first",
        &[FIVE],
        FIFO,
        2,
        &["a", "b"],
        &[(":inflight:HOST", "hash 0=a, 1=b"), (":stats", "hash claimed=2"), ("q", "list c, d, e")],
    ),
    (
        "newest first",
        &[FIVE],
        (Order::Lifo, Delivery::AtLeastOnce),
        2,
        &["e", "d"],
        &[(":inflight:HOST", "hash 0=e, 1=d"), (":stats", "hash claimed=2"), ("q", "list a, b, c")],
    ),
    (
        "more than there is",
        &[FIVE],
        FIFO,
        512,
        &["a", "b", "c", "d", "e"],
        &[(":inflight:HOST", "hash 0=a, 1=b, 2=c, 3=d, 4=e"), (":stats", "hash claimed=5")],
    ),
    (
        "at most once leaves no record",
        &[FIVE],
        (Order::Fifo, Delivery::AtMostOnce),
        4,
        &["a", "b", "c", "d"],
        &[(":stats", "hash claimed=4"), ("q", "list e")],
    ),
    (
        "half from ready while the list has jobs",
        &[FIVE, READY],
        FIFO,
        4,
        &["x", "y", "a", "b"],
        &[
            (":inflight:HOST", "hash 2=a, 3=b, e0=1 r1 1 0 5\\nx, e1=1 r2 0 1 5\\ny"),
            (":ready", "list 1 r3 0 0 5\\nz"),
            (":stats", "hash claimed=4"),
            ("q", "list c, d, e"),
        ],
    ),
    (
        "all from ready and delayed when the list has few",
        &[&["RPUSH", "q", "a"], READY, DUE],
        FIFO,
        6,
        &["u", "v", "x", "y", "z", "a"],
        &[
            (":delayed", "zset 1 d3 0 0 5\\nw@7000000000000"),
            (
                ":inflight:HOST",
                "hash 5=a, e0=1 d1 2 0 5\\nu, e1=1 d2 2 0 5\\nv, e2=1 r1 1 0 5\\nx, e3=1 r2 0 1 5\\ny, e4=1 r3 0 0 5\\nz",
            ),
            (":stats", "hash claimed=6"),
        ],
    ),
    (
        "due ones share the half with ready",
        &[FIVE, DUE],
        FIFO,
        2,
        &["u", "a"],
        &[
            (":delayed", "zset 1 d2 2 0 5\\nv@20, 1 d3 0 0 5\\nw@7000000000000"),
            (":inflight:HOST", "hash 1=a, e0=1 d1 2 0 5\\nu"),
            (":stats", "hash claimed=2"),
            ("q", "list b, c, d, e"),
        ],
    ),
    ("not even looked", &[FIVE], FIFO, 0, &[], &[("q", "list a, b, c, d, e")]),
];

#[tokio::test]
async fn claims_take_from_the_right_place_in_the_right_order() {
    let mut scene = Scene::new().await;
    for (case, seeds, (order, delivery), claim, jobs, after) in CLAIMS {
        scene.begin(seeds).await;
        let reply = scene.turn(&[], *claim, *order, *delivery).await.unwrap();
        assert_eq!(payloads(&reply.jobs), *jobs, "{case}");
        let seqs: Vec<u64> = reply.jobs.iter().map(|job| job.slot.seq).collect();
        assert_eq!(seqs, (0..jobs.len() as u64).collect::<Vec<_>>(), "{case}");
        assert_eq!(reply.next_seq, jobs.len() as u64, "{case}");
        scene.expect(case, after).await;
    }
}

#[tokio::test]
async fn a_claim_tells_what_is_known_of_each_job() {
    let mut scene = Scene::new().await;
    scene
        .begin(&[&["RPUSH", ":ready", "1 r1 3 1 5 who=me%20too !reason=x\nenv\n"], &["RPUSH", "q", "raw"]])
        .await;
    let reply = scene.claim(10).await.unwrap();
    let [first, second] = &reply.jobs[..] else { panic!("{reply:?}") };
    assert_eq!((first.slot, first.payload.as_slice()), (enveloped(0), &b"env\n"[..]));
    assert_eq!(first.header, header("r1", 3, 1, &[("who", "me too"), ("!reason", "x")]));
    assert_eq!((second.slot, second.payload.as_slice()), (bare(1), &b"raw"[..]));
    assert_eq!(second.header.id.as_str(), format!("{}-1", scene.host));
    assert_eq!((second.header.first_seen_ms, second.header.attempts), (EPOCH, 0));
}

#[tokio::test]
async fn sequence_numbers_follow_redis_time() {
    let mut scene = Scene::new().await;
    let now_ms = scene.now_ms().await as u64;
    scene.host = sandhog::job::name::HostId::new("h", 1, now_ms - 60_000).unwrap();
    scene.begin(&[&["RPUSH", "q", "a", "b"]]).await;
    let reply = scene.claim(1).await.unwrap();
    let seq = reply.jobs[0].slot.seq;
    assert!((60_000 * 512..70_000 * 512).contains(&seq), "{seq}");
    assert_eq!(reply.jobs[0].header.first_seen_ms, reply.now_ms, "the time of the claim");
    // A host that gave numbers faster than time goes on after its last one.
    scene.next_seq = u64::from(u32::MAX) * 512;
    let reply = scene.claim(1).await.unwrap();
    assert_eq!(reply.jobs[0].slot.seq, u64::from(u32::MAX) * 512);
    let slots = scene.store.inflight(&scene.host).await.unwrap();
    assert_eq!(slots, [bare(seq), bare(u64::from(u32::MAX) * 512)], "numbers are stored exactly");
}

#[tokio::test]
async fn acknowledging_ends_jobs_and_counts_late_ones() {
    let mut scene = Scene::new().await;
    let unique: &[&str] = &["SET", ":unique:k k", "r1"];
    scene
        .begin(&[
            &[
                "HSET",
                ":inflight:HOST",
                "0",
                "a",
                "1",
                "b",
                "e2",
                "1 r1 0 0 5 !unique=k%20k\nx",
                "e3",
                "1 r2 0 0 5\ny",
            ],
            unique,
            &["SET", ":unique:other", "r2"],
            &["RPUSH", "q", "c"],
        ])
        .await;
    let acks = [bare(0), enveloped(2), bare(7), enveloped(3), enveloped(1)];
    scene.next_seq = 9;
    let reply = scene.turn(&acks, 4, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    assert_eq!((reply.settled, payloads(&reply.jobs)), (3, vec!["c".to_owned()]));
    let after = [
        (":inflight:HOST", "hash 1=b, 9=c"),
        (":stats", "hash claimed=1, completed=3, late=2"),
        (":unique:other", "string r2"),
    ];
    scene.expect("acks and a claim", &after).await;

    let reply = scene.turn(&[bare(1), bare(9)], 0, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    assert_eq!((reply.settled, reply.next_seq), (2, 10));
    scene
        .expect(
            "acks alone",
            &[(":stats", "hash claimed=1, completed=5, late=2"), (":unique:other", "string r2")],
        )
        .await;
}

#[tokio::test]
async fn a_unique_key_of_another_job_is_left_alone() {
    let mut scene = Scene::new().await;
    let record: &[&str] = &["HSET", ":inflight:HOST", "e2", "1 r1 0 0 5 !unique=k\nx"];
    scene.begin(&[record, &["SET", ":unique:k", "r9"]]).await;
    scene.turn(&[enveloped(2)], 0, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    scene.expect("ack", &[(":stats", "hash completed=1"), (":unique:k", "string r9")]).await;
}

#[tokio::test]
async fn at_most_once_lets_go_of_unique_keys_at_the_claim() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", ":ready", "1 r1 0 0 5 !unique=k\nx"], &["SET", ":unique:k", "r1"]]).await;
    let reply = scene.turn(&[], 1, Order::Fifo, Delivery::AtMostOnce).await.unwrap();
    assert_eq!(payloads(&reply.jobs), ["x"]);
    scene.expect("claimed is done", &[(":stats", "hash claimed=1")]).await;
}

#[tokio::test]
async fn thousands_of_acknowledgements_fit_into_one_turn() {
    let mut scene = Scene::new().await;
    let mut slots = Vec::new();
    for seq in 0..9_000_u64 {
        scene.send(&["HSET", ":inflight:HOST", &seq.to_string(), "p"]).await;
        slots.push(bare(seq));
    }
    let reply = scene.turn(&slots, 0, Order::Fifo, Delivery::AtLeastOnce).await.unwrap();
    assert_eq!(reply.settled, 9_000);
    scene.expect("all gone", &[(":stats", "hash completed=9000")]).await;
}

#[tokio::test]
async fn without_a_lease_acks_are_taken_and_claims_refused() {
    let mut scene = Scene::new().await;
    for (case, score) in [("expired", Some("1000")), ("not registered", None)] {
        scene.begin(&[&["HSET", ":inflight:HOST", "0", "a"], &["RPUSH", "q", "b"]]).await;
        match score {
            Some(score) => scene.send(&["ZADD", "sandhog:hosts", score, "HOST"]).await,
            None => scene.send(&["DEL", "sandhog:hosts"]).await,
        };
        let refused = scene.turn(&[bare(0)], 5, Order::Fifo, Delivery::AtLeastOnce).await;
        assert_eq!(refused, Err(StoreError::NoLease), "{case}");
        scene.expect(case, &[(":stats", "hash completed=1"), ("q", "list b")]).await;
    }
}

/// What is there before, how many are claimed, and what the reply says: more, paused, next due.
type Reply = (&'static str, Seeds, u32, bool, bool, Option<u64>);

#[tokio::test]
async fn the_reply_tells_what_to_wait_for() {
    let mut scene = Scene::new().await;
    let cases: &[Reply] = &[
        ("empty", &[], 2, false, false, None),
        ("list left", &[&["RPUSH", "q", "a", "b", "c"]], 2, true, false, None),
        ("exactly taken: nobody looked", &[&["RPUSH", "q", "a", "b"]], 2, true, false, None),
        ("all taken", &[&["RPUSH", "q", "a"]], 2, false, false, None),
        (
            "delayed later",
            &[&["ZADD", ":delayed", "7e12", "1 d 0 0 5\n"]],
            2,
            false,
            false,
            Some(7_000_000_000_000),
        ),
        (
            "one due, one later",
            &[&["ZADD", ":delayed", "7", "1 d 0 0 5\n", "7e12", "1 e 0 0 5\n"]],
            2,
            false,
            false,
            Some(7_000_000_000_000),
        ),
        ("paused", &[&["SET", ":paused", "1"], &["RPUSH", "q", "a"]], 2, true, true, None),
        ("paused, only ready", &[&["SET", ":paused", "1"], &["RPUSH", ":ready", "a"]], 2, true, true, None),
        ("a due time no number holds", &[&["ZADD", ":delayed", "inf", "1 d 0 0 5\n"]], 2, false, false, None),
    ];
    for (case, seeds, claim, more, paused, next_due_ms) in cases {
        scene.begin(seeds).await;
        let now_ms = scene.now_ms().await as u64;
        let reply = scene.claim(*claim).await.unwrap();
        assert_eq!((reply.more, reply.paused, reply.next_due_ms), (*more, *paused, *next_due_ms), "{case}");
        assert!((now_ms..now_ms + 5_000).contains(&reply.now_ms), "{case}");
        if *paused {
            assert_eq!(reply.jobs, [], "{case}");
        }
    }
}

#[tokio::test]
async fn an_empty_claim_is_woken_by_every_way_work_can_come() {
    let mut scene = Scene::new().await;
    let wake = Arc::new(Wake::default());
    let signal = Arc::new(Notify::new());
    let store = JobStore::new(scene.redis.tracking_link(Tracking::Keys(wake.clone())), queue(), ROOMY);
    let keys = store.keys().clone();
    for key in [&keys.list, &keys.ready, &keys.delayed, &keys.paused] {
        wake.watch_key(key, &signal);
    }
    let host = scene.host.clone();
    let turn = Turn { claim: 8, ..turn(&host, &[]) };
    for push in [
        &["RPUSH", "q", "a"][..],
        &["RPUSH", ":ready", "1 r 0 0 5\n"],
        &["ZADD", ":delayed", "7e12", "1 d 0 0 5\n"],
        &["SET", ":paused", "1"],
        &["DEL", ":paused"],
    ] {
        // What is there is taken; then the claim finds nothing more and arms the wake.
        while !store.turn(&turn).await.unwrap().jobs.is_empty() {}
        // What came before this point does not count.
        let mut waiting = Box::pin(signal.notified());
        while futures_util::FutureExt::now_or_never(waiting.as_mut()).is_some() {
            waiting = Box::pin(signal.notified());
        }
        scene.send(push).await;
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap_or_else(|_| panic!("{push:?}"));
    }
}

#[tokio::test]
async fn a_busy_queue_does_not_ask_to_be_told_of_its_own_work() {
    let mut scene = Scene::new().await;
    let wake = Arc::new(Wake::default());
    let signal = Arc::new(Notify::new());
    let store = JobStore::new(scene.redis.tracking_link(Tracking::Keys(wake.clone())), queue(), ROOMY);
    let keys = store.keys().clone();
    let host = scene.host.clone();
    for key in [&keys.inflight(&host), &keys.stats, "sandhog:hosts"] {
        wake.watch_key(key, &signal);
    }
    scene.begin(&[&["RPUSH", "q", "a", "b", "c", "d"]]).await;
    let acks = [bare(0), bare(1)];
    let turn = |acks, next_seq| Turn { claim: 2, next_seq, ..turn(&host, acks) };
    let signalled = || futures_util::FutureExt::now_or_never(Box::pin(signal.notified())).is_some();
    // The flush told everybody.
    store.turn(&turn(&[], 0)).await.unwrap();
    while signalled() {}
    let TurnReply { jobs, settled, .. } = store.turn(&turn(&acks, 2)).await.unwrap();
    assert_eq!((jobs.len(), settled), (2, 2));
    scene.send(&["ZADD", "sandhog:hosts", "7e12", "HOST"]).await;
    // Any message would stand before this answer on the same connection.
    store.inflight(&super::host(9)).await.unwrap();
    assert!(!signalled(), "a key was read that nobody waits for");
}
