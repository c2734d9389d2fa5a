//! Putting jobs into a queue, plainly and with options.

use std::time::Duration;

use sandhog::job::envelope::{HEADER_MADE_BYTES_MAX, Header};
use sandhog::job::push::{PushOptions, Pushed, push, push_many};
use sandhog::job::store::StoreError;

use super::{Scene, payloads, queue};

const MINUTE: Duration = Duration::from_secs(60);

fn unique(key: &str) -> PushOptions {
    PushOptions { unique: Some((key.to_owned(), MINUTE)), ..PushOptions::default() }
}

/// The database, with ids of pushed jobs written as `ID`.
async fn dump(scene: &mut Scene) -> Vec<String> {
    let mut rows = Vec::new();
    for (key, value) in scene.dump().await {
        let mut value = value;
        while let Some(at) = value.find("push-") {
            value.replace_range(at..at + 37, "ID");
        }
        rows.push(format!("{key} {value}"));
    }
    rows
}

#[tokio::test]
async fn a_plain_push_is_the_bytes_at_the_end_of_the_list() {
    let mut scene = Scene::new().await;
    let front = PushOptions { front: true, ..PushOptions::default() };
    assert_eq!(push(&scene.link, &queue(), b"a\0\n", &PushOptions::default()).await, Ok(Pushed::Waiting(1)));
    assert_eq!(push(&scene.link, &queue(), b"", &PushOptions::default()).await, Ok(Pushed::Waiting(2)));
    assert_eq!(push(&scene.link, &queue(), b"first", &front).await, Ok(Pushed::Waiting(3)));
    scene.expect("plain", &[("q", "list first, a\\x00\\n, ")]).await;
}

#[tokio::test]
async fn options_make_an_envelope_where_it_belongs() {
    let mut scene = Scene::new().await;
    let headers = vec![("trace id".to_owned(), "a=b".to_owned())];
    let delayed = PushOptions { delay: Some(MINUTE), headers: headers.clone(), ..unique("k") };
    let cases = [
        (
            "headers",
            PushOptions { headers: headers.clone(), ..PushOptions::default() },
            &[":ready list 1 first 0 0 5\\n, 1 ID 0 0 T trace%20id=a%3db\\npay"][..],
        ),
        (
            "front",
            PushOptions { headers, front: true, ..PushOptions::default() },
            &[":ready list 1 ID 0 0 T trace%20id=a%3db\\npay, 1 first 0 0 5\\n"],
        ),
        (
            "unique",
            unique("a key"),
            &[
                ":ready list 1 first 0 0 5\\n, 1 ID 0 0 T !unique=a%20key !kept=60000 !own=U-1\\npay",
                ":unique:a key string ID U-1",
            ],
        ),
        (
            "delayed",
            delayed,
            &[
                ":delayed zset 1 ID 0 0 T trace%20id=a%3db !unique=k !kept=60000 !own=U-1\\npay@T+60",
                ":ready list 1 first 0 0 5\\n",
                ":unique:k string ID U-1",
            ],
        ),
    ];
    for (case, options, after) in cases {
        scene.begin(&[&["RPUSH", ":ready", "1 first 0 0 5\n"]]).await;
        let pushed = push(&scene.link, &queue(), b"pay", &options).await.unwrap();
        assert_eq!(matches!(pushed, Pushed::Delayed(_)), case == "delayed", "{case}: {pushed:?}");
        assert_eq!(dump(&mut scene).await, after, "{case}");
    }
}

#[tokio::test]
async fn a_unique_job_is_refused_until_the_first_one_ended() {
    let mut scene = Scene::new().await;
    let try_push = async |scene: &Scene| push(&scene.link, &queue(), b"x", &unique("k")).await.unwrap();
    assert_eq!(try_push(&scene).await, Pushed::Waiting(1));
    assert_eq!(try_push(&scene).await, Pushed::Duplicate);
    assert!(matches!(push(&scene.link, &queue(), b"x", &unique("other")).await, Ok(Pushed::Waiting(2))));
    let jobs = scene.claim(2).await.unwrap().jobs;
    assert_eq!(try_push(&scene).await, Pushed::Duplicate, "it runs");
    scene.turn(&[jobs[0].slot], 0, Default::default(), Default::default()).await.unwrap();
    assert_eq!(try_push(&scene).await, Pushed::Waiting(1), "it ended");
    // Nobody waits longer than was said.
    let left: i64 = redis::from_redis_value(scene.send(&["PTTL", ":unique:k"]).await).unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_delayed_job_is_claimed_when_it_is_due() {
    let mut scene = Scene::new().await;
    let soon = PushOptions { delay: Some(Duration::from_millis(1)), ..PushOptions::default() };
    let Pushed::Delayed(id) = push(&scene.link, &queue(), b"x", &soon).await.unwrap() else { panic!() };
    let due = std::time::Instant::now();
    let mut jobs = Vec::new();
    while jobs.is_empty() {
        assert!(due.elapsed() < Duration::from_secs(5), "never due");
        jobs = scene.claim(1).await.unwrap().jobs;
    }
    assert_eq!((&jobs[0].header.id, jobs[0].header.attempts), (&id, 0));
}

#[tokio::test]
async fn headers_that_do_not_fit_are_refused() {
    let mut scene = Scene::new().await;
    let with = |length: usize| PushOptions {
        headers: vec![("k".to_owned(), "x".repeat(length))],
        ..PushOptions::default()
    };
    let refused = push(&scene.link, &queue(), b"x", &with(HEADER_MADE_BYTES_MAX)).await;
    assert!(matches!(refused, Err(StoreError::HeaderTooLong(_))), "{refused:?}");
    scene.expect("nothing", &[]).await;
    push(&scene.link, &queue(), b"x", &with(HEADER_MADE_BYTES_MAX - 80)).await.unwrap();
    let job = scene.claim(1).await.unwrap().jobs.remove(0);
    assert_eq!(job.header.note("k").map(str::len), Some(HEADER_MADE_BYTES_MAX - 80));
}

#[tokio::test]
async fn many_are_pushed_in_order() {
    let scene = Scene::new().await;
    let mut all: Vec<Vec<u8>> = (0..2_500).map(|n| n.to_string().into_bytes()).collect();
    all.insert(3, vec![7; 3 << 20]);
    assert_eq!(push_many(&scene.link, &queue(), &all).await, Ok(2_501));
    let stored: Vec<Vec<u8>> =
        redis::cmd("LRANGE").arg("q").arg(0).arg(-1).query_async(&mut scene.plain.clone()).await.unwrap();
    assert!(stored == all);
    assert_eq!(push_many(&scene.link, &queue(), &[""; 0]).await, Ok(0));
}

#[tokio::test]
async fn wrong_types_are_named_and_nothing_is_pushed() {
    let mut scene = Scene::new().await;
    for (key, options) in [
        ("q", PushOptions::default()),
        ("{q}:sandhog:ready", unique("k")),
        ("{q}:sandhog:delayed", PushOptions { delay: Some(MINUTE), ..unique("k") }),
    ] {
        scene.begin(&[&["SET", key, "x"]]).await;
        let refused = push(&scene.link, &queue(), b"x", &options).await;
        assert_eq!(refused, Err(StoreError::WrongType(key.to_owned())));
        assert_eq!(scene.dump().await.len(), 1, "{key}");
    }
    scene.begin(&[&["SET", "q", "x"]]).await;
    let refused = push_many(&scene.link, &queue(), &["a"]).await;
    assert_eq!(refused, Err(StoreError::WrongType("q".to_owned())));
}

#[tokio::test]
async fn what_guests_must_not_fake_is_escaped() {
    let mut scene = Scene::new().await;
    let headers = vec![("a\n1 x 0 0 5 !unique".to_owned(), "b !unique=k\n".to_owned())];
    scene.begin(&[&["SET", ":unique:k", "x"]]).await;
    push(
        &scene.link,
        &queue(),
        b"p\n1 x 0 0 5 !unique=k\n",
        &PushOptions { headers: headers.clone(), ..Default::default() },
    )
    .await
    .unwrap();
    let job = scene.claim(1).await.unwrap().jobs.remove(0);
    let Header { notes, .. } = &job.header;
    assert_eq!(notes, &headers);
    assert_eq!(payloads(std::slice::from_ref(&job)), ["p\n1 x 0 0 5 !unique=k\n"]);
    scene.turn(&[job.slot], 0, Default::default(), Default::default()).await.unwrap();
    scene
        .expect("not its key", &[(":stats", "hash claimed=1, completed=1"), (":unique:k", "string x")])
        .await;
}
