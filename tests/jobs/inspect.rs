//! Looking at jobs, which changes nothing.

use sandhog::job::inspect::{JobRow, Place, QueueCounts, counts, list, show};
use sandhog::job::name::{HostId, JobId};
use sandhog::job::store::StoreError;

use super::{EPOCH, Scene, queue};

const EVERYWHERE: &[&[&str]] = &[
    &["RPUSH", "q", "w1", "1 fake 0 0 5\nw2", "w3"],
    &["RPUSH", ":ready", "1 r1 0 2 5 k=v\nready"],
    &["ZADD", ":delayed", "7e12", "1 d1 2 0 5 !reason=no%20luck\ndelayed"],
    &["ZADD", ":dead", "10", "1 x1 3 0 5 !reason=a\ndead", "20", "junk", "30", "1 x3 3 0 5\n"],
    &["HSET", ":inflight:HOST", "512", "i2", "3", "i1", "e600", "1 i3 1 0 5\ninflight"],
    &["HSET", ":stats", "claimed", "9", "spoiled", "x"],
];

async fn rows(scene: &Scene, place: Place) -> Vec<JobRow> {
    list(&scene.link, &queue(), place, None, 100).await.unwrap().0
}

fn id(row: &JobRow) -> Option<&str> {
    row.id.as_ref().map(JobId::as_str)
}

#[tokio::test]
async fn counts_tell_how_many_are_where() {
    let mut scene = Scene::new().await;
    assert_eq!(counts(&scene.link, &queue()).await, Ok(QueueCounts::default()));
    scene.begin(EVERYWHERE).await;
    scene.send(&["SET", ":paused", "1"]).await;
    let expected = QueueCounts {
        parked: 0,
        waiting: 3,
        ready: 1,
        inflight: 3,
        delayed: 1,
        dead: 3,
        paused: true,
        stats: [("claimed".to_owned(), 9)].into(),
    };
    assert_eq!(counts(&scene.link, &queue()).await, Ok(expected));
}

#[tokio::test]
async fn rows_tell_what_is_known_of_each_job() {
    let mut scene = Scene::new().await;
    scene.begin(EVERYWHERE).await;
    let before = scene.dump_all().await;

    let waiting = rows(&scene, Place::Waiting).await;
    assert_eq!((waiting.len(), id(&waiting[1]), waiting[1].payload_bytes), (3, None, 15), "{waiting:?}");
    assert_eq!(waiting[1].preview, b"1 fake 0 0 5\nw2", "a producer's bytes are never an envelope");

    let ready = &rows(&scene, Place::Ready).await[0];
    assert_eq!((id(ready), ready.crashes, ready.first_seen_ms, ready.at_ms), (Some("r1"), 2, Some(5), None));
    assert_eq!((ready.preview.as_slice(), ready.payload_bytes), (&b"ready"[..], 5));
    assert_eq!(ready.notes, [("k".to_owned(), "v".to_owned())]);

    let delayed = &rows(&scene, Place::Delayed).await[0];
    assert_eq!((delayed.at_ms, delayed.attempts), (Some(7_000_000_000_000), 2));
    assert_eq!(delayed.reason.as_deref(), Some("no luck"));

    let dead = rows(&scene, Place::Dead).await;
    assert_eq!(
        dead.iter().map(id).collect::<Vec<_>>(),
        [Some("x3"), None, Some("x1")],
        "the last to die first"
    );
    assert_eq!((dead[1].preview.as_slice(), dead[1].at_ms), (&b"junk"[..], Some(20)));

    let inflight = rows(&scene, Place::Inflight).await;
    let host = scene.host.as_str();
    let ids: Vec<_> = inflight.iter().map(|row| id(row).unwrap().to_owned()).collect();
    assert_eq!(ids, [format!("{host}-3"), format!("{host}-512"), "i3".to_owned()]);
    assert_eq!(inflight[1].first_seen_ms, Some(EPOCH + 1));
    assert!(inflight.iter().all(|row| row.host.as_deref() == Some(host)));
    assert_eq!(inflight[2].preview, b"inflight");

    assert_eq!(scene.dump_all().await, before, "looking changes nothing");
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    for n in 0..25 {
        let text = format!("1 j{n} 0 0 5\n");
        scene.send(&["RPUSH", ":ready", &text]).await;
        scene.send(&["RPUSH", "q", &n.to_string()]).await;
        scene.send(&["ZADD", ":dead", &n.to_string(), &text]).await;
        scene.send(&["ZADD", ":delayed", &n.to_string(), &text]).await;
        // Two hosts, so that pages cross from one to the other.
        scene.host = super::host(n % 2 + 1);
        scene.send(&["ZADD", "sandhog:hosts", "8e12", "HOST"]).await;
        scene.send(&["HSET", ":inflight:HOST", &format!("e{n}"), &text]).await;
    }
    for place in [Place::Waiting, Place::Ready, Place::Inflight, Place::Delayed, Place::Dead] {
        for count in [0, 1, 7, 25, 26] {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let (rows, next) = list(&scene.link, &queue(), place, cursor, count).await.unwrap();
                assert!(rows.len() <= count.max(1) as usize);
                seen.extend(rows.iter().map(|row| {
                    id(row)
                        .map_or_else(|| format!("j{}", String::from_utf8_lossy(&row.preview)), str::to_owned)
                }));
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            seen.sort();
            let mut expected: Vec<_> = (0..25).map(|n| format!("j{n}")).collect();
            expected.sort();
            assert_eq!(seen, expected, "{place:?} by {count}");
        }
    }
}

#[tokio::test]
async fn payloads_are_cut_by_redis() {
    let mut scene = Scene::new().await;
    let large = "x".repeat(9 << 20);
    scene.begin(&[&["RPUSH", "q", &large], &["RPUSH", ":ready", &format!("1 big 0 0 5 k=v\n{large}")]]).await;
    for place in [Place::Waiting, Place::Ready] {
        let row = rows(&scene, place).await.remove(0);
        assert_eq!((row.preview.len(), row.payload_bytes), (256, 9 << 20), "{place:?}");
    }
    let (row, payload) = show(&scene.link, &queue(), &JobId::new("big").unwrap()).await.unwrap().unwrap();
    assert_eq!((payload.len(), row.preview.len(), row.payload_bytes), (8 << 20, 256, 9 << 20));
}

#[tokio::test]
async fn one_job_is_found_wherever_it_is() {
    let mut scene = Scene::new().await;
    scene.begin(EVERYWHERE).await;
    for n in 0..250 {
        scene.send(&["ZADD", ":dead", "5", &format!("1 old{n} 0 0 5\n{n}")]).await;
    }
    let claimed = JobId::claimed(&scene.host, 512);
    for (id, place, payload) in [
        ("r1", Place::Ready, "ready"),
        ("d1", Place::Delayed, "delayed"),
        ("x1", Place::Dead, "dead"),
        ("old249", Place::Dead, "249"),
        ("i3", Place::Inflight, "inflight"),
        (claimed.as_str(), Place::Inflight, "i2"),
    ] {
        let found = show(&scene.link, &queue(), &JobId::new(id).unwrap()).await.unwrap();
        let (row, whole) = found.unwrap_or_else(|| panic!("{id}"));
        assert_eq!((row.place, whole.as_slice()), (place, payload.as_bytes()), "{id}");
    }
    for id in ["fake", "nobody", "old25*", "r"] {
        assert_eq!(show(&scene.link, &queue(), &JobId::new(id).unwrap()).await, Ok(None), "{id}");
    }
}

#[tokio::test]
async fn wrong_types_are_named() {
    let mut scene = Scene::new().await;
    let of_host = format!("{{q}}:sandhog:inflight:{}", HostId::as_str(&scene.host));
    for (key, place) in [
        ("q", Place::Waiting),
        ("{q}:sandhog:ready", Place::Ready),
        ("{q}:sandhog:delayed", Place::Delayed),
        ("{q}:sandhog:dead", Place::Dead),
        (&of_host, Place::Inflight),
    ] {
        scene.begin(&[&["SET", key, "x"]]).await;
        let refused = StoreError::WrongType(key.to_owned());
        assert_eq!(list(&scene.link, &queue(), place, None, 9).await.unwrap_err(), refused);
        assert_eq!(counts(&scene.link, &queue()).await.unwrap_err(), refused);
    }
}
