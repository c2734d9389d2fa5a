//! What operators do to jobs that do not run.

use sandhog::job::edit::{self, Which, pause, resume};
use sandhog::job::inspect::Place;
use sandhog::job::name::{JobId, QueueName};
use sandhog::job::store::StoreError;
use sandhog::storage::link::Link;

use super::{Scene, queue};

const DEAD: &[&str] =
    &["ZADD", ":dead", "1", "1 a 3 1 5 !reason=x\np\nq", "2", "junk", "3", "1 b 1 3 5 !unique=k\n"];
const DEAD_BYTES: &[&str] = &["HSET", ":stats", "dead_bytes", "46"];
const DELAYED: &[&str] = &["ZADD", ":delayed", "7e12", "1 c 2 1 5\nr", "8e12", "1 d 2 1 5 !unique=k\n"];
const READY: &[&str] = &["RPUSH", ":ready", "1 e 0 0 5\n", "1 f 0 0 5 !unique=k\n"];
const UNIQUE: &[&str] = &["SET", ":unique:k", "d"];
const LIST: &[&str] = &["RPUSH", "q", "1 a 0 0 5\n"];

type Expected<'a> = &'a [(&'a str, &'a str)];

/// How many were requeued.
async fn requeue(link: &Link, queue: &QueueName, which: &Which<'_>, limit: u64) -> Result<u64, StoreError> {
    edit::requeue(link, queue, which, limit, |_| ()).await.map(|changed| changed.jobs)
}

/// How many were discarded.
async fn discard(link: &Link, queue: &QueueName, which: &Which<'_>, limit: u64) -> Result<u64, StoreError> {
    edit::discard(link, queue, which, limit, |_| ()).await.map(|changed| changed.jobs)
}

fn ids(ids: &[&str]) -> Vec<JobId> {
    ids.iter().map(|id| JobId::new(*id).unwrap()).collect()
}

#[tokio::test]
async fn requeued_jobs_are_ready_and_dead_ones_begin_anew() {
    let mut scene = Scene::new().await;
    let mixed = ids(&["d", "a", "nobody", "e"]);
    let cases: &[(&str, Which<'_>, u64, u64, Expected<'_>)] = &[
        (
            "all dead",
            Which::All(Place::Dead),
            9,
            3,
            &[
                (":delayed", "zset 1 c 2 1 5\\nr@7000000000000, 1 d 2 1 5 !unique=k\\n@8000000000000"),
                (":ready", "list 1 a 0 0 5 !reason=x\\np\\nq, junk, 1 b 0 0 5 !unique=k !own=U-1\\n"),
                (":stats", "hash dead_bytes=0"),
                (":unique:k", "string b U-1"),
                ("q", "list 1 a 0 0 5\\n"),
            ],
        ),
        (
            "as many as wanted",
            Which::All(Place::Dead),
            1,
            1,
            &[
                (":dead", "zset junk@2, 1 b 1 3 5 !unique=k\\n@3"),
                (":delayed", "zset 1 c 2 1 5\\nr@7000000000000, 1 d 2 1 5 !unique=k\\n@8000000000000"),
                (":ready", "list 1 a 0 0 5 !reason=x\\np\\nq"),
                (":stats", "hash dead_bytes=23"),
                ("q", "list 1 a 0 0 5\\n"),
            ],
        ),
        (
            "all delayed keep their counters",
            Which::All(Place::Delayed),
            9,
            2,
            &[
                (":dead", "zset 1 a 3 1 5 !reason=x\\np\\nq@1, junk@2, 1 b 1 3 5 !unique=k\\n@3"),
                (":ready", "list 1 c 2 1 5\\nr, 1 d 2 1 5 !unique=k\\n"),
                (":stats", "hash dead_bytes=46"),
                ("q", "list 1 a 0 0 5\\n"),
            ],
        ),
        (
            "some by id, wherever they are",
            Which::Ids(&mixed),
            9,
            2,
            &[
                (":dead", "zset junk@2, 1 b 1 3 5 !unique=k\\n@3"),
                (":delayed", "zset 1 c 2 1 5\\nr@7000000000000"),
                (":ready", "list 1 a 0 0 5 !reason=x\\np\\nq, 1 d 2 1 5 !unique=k\\n"),
                (":stats", "hash dead_bytes=23"),
                ("q", "list 1 a 0 0 5\\n"),
            ],
        ),
    ];
    for (case, which, limit, moved, after) in cases {
        scene.begin(&[DEAD, DEAD_BYTES, DELAYED, LIST]).await;
        assert_eq!(requeue(&scene.link, &queue(), which, *limit).await, Ok(*moved), "{case}");
        scene.expect(case, after).await;
    }
    let before = scene.dump().await;
    for which in
        [Which::All(Place::Ready), Which::All(Place::Waiting), Which::All(Place::Inflight), Which::Ids(&[])]
    {
        assert_eq!(requeue(&scene.link, &queue(), &which, 9).await, Ok(0));
    }
    assert_eq!(scene.dump().await, before);
}

#[tokio::test]
async fn discarded_jobs_are_gone_with_their_unique_keys() {
    let mut scene = Scene::new().await;
    let mixed = ids(&["b", "d", "e", "a"]);
    let delayed = (":delayed", "zset 1 c 2 1 5\\nr@7000000000000, 1 d 2 1 5 !unique=k\\n@8000000000000");
    let dead = (":dead", "zset 1 a 3 1 5 !reason=x\\np\\nq@1, junk@2, 1 b 1 3 5 !unique=k\\n@3");
    let ready = (":ready", "list 1 e 0 0 5\\n, 1 f 0 0 5 !unique=k\\n");
    let list = ("q", "list 1 a 0 0 5\\n");
    let unique = (":unique:k", "string d");
    let cases: &[(&str, Which<'_>, u64, Expected<'_>)] = &[
        (
            "dead",
            Which::All(Place::Dead),
            3,
            &[delayed, ready, (":stats", "hash dead_bytes=0, discarded=3"), unique, list],
        ),
        (
            "delayed",
            Which::All(Place::Delayed),
            2,
            &[dead, ready, (":stats", "hash dead_bytes=46, discarded=2"), list],
        ),
        (
            "ready",
            Which::All(Place::Ready),
            2,
            &[dead, delayed, (":stats", "hash dead_bytes=46, discarded=2"), unique, list],
        ),
        (
            "some by id",
            Which::Ids(&mixed),
            4,
            &[
                (":dead", "zset junk@2"),
                (":delayed", "zset 1 c 2 1 5\\nr@7000000000000"),
                (":ready", "list 1 f 0 0 5 !unique=k\\n"),
                (":stats", "hash dead_bytes=3, discarded=4"),
                list,
            ],
        ),
    ];
    for (case, which, gone, after) in cases {
        scene.begin(&[DEAD, DEAD_BYTES, DELAYED, READY, UNIQUE, LIST]).await;
        assert_eq!(discard(&scene.link, &queue(), which, 9).await, Ok(*gone), "{case}");
        scene.expect(case, after).await;
    }
    assert_eq!(discard(&scene.link, &queue(), &Which::All(Place::Waiting), 9).await, Ok(0), "not ours");
}

#[tokio::test]
async fn more_than_a_page_is_walked_to_its_end() {
    let mut scene = Scene::new().await;
    for change in ["requeue", "discard"] {
        scene.begin(&[]).await;
        for n in 0..350 {
            scene.send(&["ZADD", ":dead", &n.to_string(), &format!("1 j{n} 0 0 5\n")]).await;
        }
        let some = ids(&["j349", "j100", "j7"]);
        let (link, queue) = (&scene.link, &queue());
        let counts = match change {
            "requeue" => [
                requeue(link, queue, &Which::Ids(&some), 9).await,
                requeue(link, queue, &Which::All(Place::Dead), 150).await,
                requeue(link, queue, &Which::All(Place::Dead), 1_000).await,
            ],
            _ => [
                discard(link, queue, &Which::Ids(&some), 9).await,
                discard(link, queue, &Which::All(Place::Dead), 150).await,
                discard(link, queue, &Which::All(Place::Dead), 1_000).await,
            ],
        };
        assert_eq!(counts, [Ok(3), Ok(150), Ok(197)], "{change}");
    }
}

#[tokio::test]
async fn a_held_queue_gives_nothing_until_it_is_resumed() {
    let mut scene = Scene::new().await;
    scene.begin(&[LIST]).await;
    pause(&scene.link, &queue()).await.unwrap();
    let reply = scene.claim(1).await.unwrap();
    assert_eq!((reply.jobs.len(), reply.paused), (0, true));
    assert_eq!(resume(&scene.link, &queue()).await, Ok(true));
    assert_eq!(resume(&scene.link, &queue()).await, Ok(false));
    assert_eq!(scene.claim(1).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn wrong_types_are_named_and_nothing_moves() {
    let mut scene = Scene::new().await;
    for (key, seeds) in [("ready", [DEAD, DELAYED]), ("stats", [DEAD, DELAYED]), ("dead", [READY, DELAYED])] {
        let key = format!("{{q}}:sandhog:{key}");
        scene.begin(&seeds).await;
        scene.send(&["SET", &key, "x"]).await;
        let before = scene.dump().await;
        let refused = Err(StoreError::WrongType(key.clone()));
        assert_eq!(requeue(&scene.link, &queue(), &Which::All(Place::Dead), 9).await, refused, "{key}");
        if key.ends_with("ready") {
            assert_eq!(discard(&scene.link, &queue(), &Which::All(Place::Ready), 9).await, refused, "{key}");
        } else {
            assert_eq!(discard(&scene.link, &queue(), &Which::All(Place::Dead), 9).await, refused, "{key}");
        }
        assert_eq!(scene.dump().await, before, "{key}");
    }
}
