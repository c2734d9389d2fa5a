//! Changes of jobs that fit a filter: exact structures in Redis before and after.

use sandhog::job::filter::Filter;
use sandhog::job::inspect::Place;
use sandhog::job::name::JobId;
use sandhog::job::store::StoreError;
use sandhog::job::walk::{self, Change};

use crate::jobs::{Scene, queue};

const DEAD: &[&str] =
    &["ZADD", ":dead", "1", "1 a 3 1 5 !reason=x\np\nq", "2", "junk", "3", "1 b 1 3 5 !unique=k\nqq"];
const DEAD_BYTES: &[&str] = &["HSET", ":stats", "dead_bytes", "49"];
const DELAYED: &[&str] = &["ZADD", ":delayed", "7e12", "1 c 2 1 5\nr", "8e12", "1 d 2 1 5 !unique=k\nq"];
const READY: &[&str] = &["RPUSH", ":ready", "1 e 0 0 5\nq", "1 f 0 0 5 !unique=k\n", "1 g 0 0 5\nq"];
const LIST: &[&str] = &["RPUSH", "q", "1 a 0 0 5\nq", "same", "other", "same", "q"];
const INFLIGHT: &[&str] =
    &["HSET", ":inflight:HOST", "512", "q", "3", "i1", "e600", "1 i3 1 0 5 !unique=k\nq", "f1", "q"];
const UNIQUE: &[&str] = &["SET", ":unique:k", "d"];
const EVERYWHERE: &[&[&str]] = &[DEAD, DEAD_BYTES, DELAYED, READY, LIST, INFLIGHT, UNIQUE];

fn text(text: &str) -> Filter {
    Filter { text: Some(text.to_owned()), ..Filter::default() }
}

fn ids(ids: &[&str]) -> Filter {
    Filter { ids: ids.iter().map(|id| JobId::new(*id).unwrap()).collect(), ..Filter::default() }
}

async fn apply(
    scene: &Scene,
    places: &[Place],
    filter: &Filter,
    change: Change<'_>,
) -> Result<u64, StoreError> {
    walk::change(&scene.link, &queue(), places, filter, change, |_, _, _| ())
        .await
        .map(|changed| changed.jobs)
}

/// What differs after the change: keys with what they hold, or nothing where a key is gone.
async fn differences(scene: &mut Scene, before: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    let after = scene.dump().await;
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let told = |key: &String| match after.get(key) {
        None => format!("{key} gone"),
        Some(_) if key.starts_with(":word:") => format!("{key} is there"),
        Some(value) => format!("{key} {value}"),
    };
    changed.map(told).collect()
}

/// What is done where, to how many, and what differs afterwards.
type Case<'a> = (&'a str, &'a [Place], Filter, Change<'a>, u64, &'a [&'a str]);

async fn check(cases: &[Case<'_>]) {
    let mut scene = Scene::new().await;
    for (case, places, filter, change, count, after) in cases {
        scene.begin(EVERYWHERE).await;
        let before = scene.dump().await;
        assert_eq!(apply(&scene, places, filter, *change).await, Ok(*count), "{case}");
        assert_eq!(differences(&mut scene, &before).await, *after, "{case}");
    }
}

const ALL: &[Place] = &[Place::Waiting, Place::Delayed, Place::Ready, Place::Dead, Place::Inflight];

#[tokio::test]
async fn exactly_what_fits_is_requeued() {
    let edited = b"new\npayload";
    check(&[
        ("counted", ALL, text("q"), Change::Count, 9, &[]),
        (
            "requeued",
            ALL,
            text("q"),
            Change::Requeue(None),
            2,
            // One stays dead: a living job holds its unique key.
            &[
                ":dead zset junk@2, 1 b 1 3 5 !unique=k\\nqq@3",
                ":delayed zset 1 c 2 1 5\\nr@7000000000000",
                ":ready list 1 e 0 0 5\\nq, 1 f 0 0 5 !unique=k\\n, 1 g 0 0 5\\nq, 1 d 2 1 5 !unique=k\\nq, \
                 1 a 0 0 5 !reason=x\\np\\nq",
                ":stats hash dead_bytes=26",
            ],
        ),
        (
            "one with another payload",
            &[Place::Dead, Place::Delayed],
            ids(&["a"]),
            Change::Requeue(Some(edited)),
            1,
            &[
                ":dead zset junk@2, 1 b 1 3 5 !unique=k\\nqq@3",
                ":ready list 1 e 0 0 5\\nq, 1 f 0 0 5 !unique=k\\n, 1 g 0 0 5\\nq, \
                 1 a 0 0 5 !reason=x\\nnew\\npayload",
                ":stats hash dead_bytes=26",
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn exactly_what_fits_is_thrown_away() {
    check(&[
        (
            "discarded, but nothing that runs",
            ALL,
            text("q"),
            Change::Discard,
            7,
            &[
                ":dead zset junk@2",
                ":delayed zset 1 c 2 1 5\\nr@7000000000000",
                ":ready list 1 f 0 0 5 !unique=k\\n",
                ":stats hash dead_bytes=4, discarded=7",
                ":unique:k gone",
                "q list same, other, same",
            ],
        ),
        (
            "cancelled wherever they are",
            &[Place::Inflight, Place::Ready, Place::Delayed, Place::Dead],
            ids(&["i3", "g", "d", "a", "nobody"]),
            Change::Cancel,
            4,
            &[
                ":dead zset junk@2, 1 b 1 3 5 !unique=k\\nqq@3",
                ":delayed zset 1 c 2 1 5\\nr@7000000000000",
                ":inflight:HOST hash 3=i1, 512=q, f1=q",
                ":ready list 1 e 0 0 5\\nq, 1 f 0 0 5 !unique=k\\n",
                ":stats hash cancelled=4, dead_bytes=26",
                ":unique:k gone",
                ":word:HOST is there",
            ],
        ),
        (
            "equal payloads, each once",
            &[Place::Waiting],
            text("same"),
            Change::Cancel,
            2,
            &[":stats hash cancelled=2, dead_bytes=49", "q list 1 a 0 0 5\\nq, other, q"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_place_of_many_pages_is_walked_to_its_end_and_keeps_its_order() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    for n in 0..1050 {
        let payload = if n % 3 == 0 { format!("yes {n}") } else { format!("no {n}") };
        scene.send(&["RPUSH", "q", &payload]).await;
        scene.send(&["RPUSH", ":ready", &format!("1 r{n} 0 0 5\n{payload}")]).await;
        scene.send(&["ZADD", ":dead", &n.to_string(), &format!("1 d{n} 0 0 5\n{payload}")]).await;
    }
    let places = [Place::Waiting, Place::Ready, Place::Dead];
    let mut told = (0, 0);
    let (queue, filter) = (queue(), text("yes"));
    let tell = |looked, total, _| told = (looked, total);
    let count = walk::change(&scene.link, &queue, &places, &filter, Change::Discard, tell).await;
    assert_eq!(count.unwrap().jobs, 3 * 350);
    assert_eq!(told, (1050, 1050));
    let expected: Vec<String> = (0..1050).filter(|n| n % 3 != 0).map(|n| format!("no {n}")).collect();
    let dump = scene.dump().await;
    assert_eq!(dump["q"], format!("list {}", expected.join(", ")));
    for key in [":ready", ":dead"] {
        assert!(!dump[key].contains("yes") && dump[key].matches("no ").count() == 700, "{key}");
    }
}

#[tokio::test]
async fn jobs_that_move_towards_the_head_meanwhile_are_found_all_the_same() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    for n in 0..1000 {
        scene.send(&["RPUSH", "q", &format!("{} {n}", if n % 10 == 0 { "yes" } else { "no" })]).await;
    }
    // A host takes from the head between any two steps, a producer adds at the tail.
    let filter = text("yes");
    let (link, queue) = (scene.link.clone(), queue());
    let plain =
        std::sync::Mutex::new(redis::Client::open(scene.redis.url()).unwrap().get_connection().unwrap());
    let churn = |_, _, _| {
        let mut plain = plain.lock().unwrap();
        let _: Vec<String> = redis::cmd("LPOP").arg("q").arg(7).query(&mut *plain).unwrap();
        let _: u64 = redis::cmd("RPUSH").arg("q").arg("no more").query(&mut *plain).unwrap();
    };
    walk::change(&link, &queue, &[Place::Waiting], &filter, Change::Cancel, churn).await.unwrap();
    let left = scene.dump().await["q"].clone();
    assert!(!left.contains("yes"), "{left}");
    assert!(left.contains("no 999") && !left.contains("sandhog:removed"), "nothing else was touched");
}

#[tokio::test]
async fn a_job_that_became_another_since_it_was_seen_is_left_alone() {
    let mut scene = Scene::new().await;
    // Equal but for their payload: the first is seen, and between the steps the second becomes another job.
    scene.begin(&[]).await;
    for n in 0..150 {
        scene.send(&["ZADD", ":dead", &n.to_string(), &format!("1 j{n} 0 0 5\nold")]).await;
    }
    let plain =
        std::sync::Mutex::new(redis::Client::open(scene.redis.url()).unwrap().get_connection().unwrap());
    let edit = |looked, _, _| {
        if looked == 100 {
            let mut plain = plain.lock().unwrap();
            let key = "{q}:sandhog:dead";
            let _: u64 = redis::cmd("ZREM").arg(key).arg("1 j3 0 0 5\nold").query(&mut *plain).unwrap();
            let _: u64 =
                redis::cmd("ZADD").arg(key).arg(3).arg("1 j3 0 0 5\nnew").query(&mut *plain).unwrap();
        }
    };
    let filter = text("old");
    let changed = walk::change(&scene.link, &queue(), &[Place::Dead], &filter, Change::Discard, edit).await;
    assert_eq!(changed.unwrap().jobs, 149);
    assert_eq!(scene.dump().await[":dead"], "zset 1 j3 0 0 5\\nnew@3");
}

#[tokio::test]
async fn wrong_types_are_named_and_nothing_moves() {
    let mut scene = Scene::new().await;
    for key in [":ready", ":stats"] {
        scene.begin(&[DEAD]).await;
        scene.send(&["SET", key, "x"]).await;
        let before = scene.dump().await;
        let refused = Err(StoreError::WrongType(format!("{{q}}:sandhog{key}")));
        assert_eq!(apply(&scene, &[Place::Dead], &text("q"), Change::Requeue(None)).await, refused, "{key}");
        assert_eq!(scene.dump().await, before, "{key}");
    }
}

#[tokio::test]
async fn two_who_requeue_the_same_job_make_it_ready_once() {
    let mut scene = Scene::new().await;
    for filter in [ids(&["a"]), text("q")] {
        scene.begin(&[DEAD, DEAD_BYTES]).await;
        let places = [Place::Dead];
        // Both look before either changes anything.
        let (one, other) = tokio::join!(
            apply(&scene, &places, &filter, Change::Requeue(Some(b"one"))),
            apply(&scene, &places, &filter, Change::Requeue(Some(b"other"))),
        );
        let changed = one.unwrap() + other.unwrap();
        let ready = scene.dump().await[":ready"].clone();
        assert_eq!(changed, ready.matches("1 ").count() as u64, "{ready}");
        assert_eq!(ready.matches("1 a 0 0 5").count(), 1, "{ready}");
    }
}
