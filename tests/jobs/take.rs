//! Entries that runs pop: taken, put back, taken back from dead hosts.

use sandhog::job::change::Taken;
use sandhog::job::lease::{Death, HostInfo, Leases};
use sandhog::job::name::QueueName;
use sandhog::job::store::{Reaped, StoreError};
use sandhog::job::take::{End, TakeReply, put_back, put_back_forgotten, take};

use super::commit::taken;
use super::{Scene, bare, payloads};

/// The host's lease ended long ago.
const EXPIRED: &[&str] = &["ZADD", "sandhog:hosts", "1000", "HOST"];

impl Scene {
    /// Takes an entry of `p` as number `n`.
    async fn take(&mut self, end: End, n: u64) -> Result<TakeReply, StoreError> {
        let taken = Taken::new(QueueName::new("p").unwrap(), end, n);
        take(&self.link, &self.host, &taken, end, 10).await
    }

    async fn put_back(&mut self, fields: &[&str]) -> Result<(), StoreError> {
        let fields: Vec<Taken> = fields.iter().map(|field| taken("p", field)).collect();
        put_back(&self.link, &self.host, &fields).await
    }

    async fn about(&mut self) -> Option<String> {
        self.dump_all().await.remove("sandhog:host:HOST")
    }
}

fn entry(text: &str) -> TakeReply {
    TakeReply::Entry(text.as_bytes().to_vec())
}

#[tokio::test]
async fn an_entry_moves_into_a_record_of_the_host() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "p", "a", "b", "c"], &["HSET", "{p}:sandhog:inflight:HOST", "1", "job"]]).await;
    assert_eq!(scene.take(End::Front, 1).await, Ok(entry("a")));
    assert_eq!(scene.take(End::Back, 2).await, Ok(entry("c")));
    let after = [("p", "list b"), ("{p}:sandhog:inflight:HOST", "hash 1=job, b2=c, f1=a")];
    scene.expect("taken", &after).await;
    assert_eq!(scene.about().await.as_deref(), Some("hash pop:p="));
    // Its answer was lost: said again, it finds what it took.
    assert_eq!(scene.take(End::Front, 1).await, Ok(entry("a")));
    scene.expect("taken once", &after).await;
    assert_eq!(scene.take(End::Front, 3).await, Ok(entry("b")));
    assert_eq!(scene.take(End::Front, 4).await, Ok(TakeReply::Empty));
}

#[tokio::test]
async fn what_cannot_be_taken_stays_where_it_is() {
    let mut scene = Scene::new().await;
    let list: &[&str] = &["RPUSH", "p", "longer than ten", "", "longer than any"];
    for (seeds, end, expected) in [
        (&[list][..], End::Front, Ok(TakeReply::TooLong(15))),
        (&[list], End::Back, Ok(TakeReply::TooLong(15))),
        (&[], End::Back, Ok(TakeReply::Empty)),
        (&[list, EXPIRED], End::Front, Err(StoreError::NoLease)),
        (&[list, &["DEL", "sandhog:hosts"]], End::Front, Err(StoreError::NoLease)),
    ] {
        scene.begin(seeds).await;
        let before = scene.dump_all().await;
        assert_eq!(scene.take(end, 1).await, expected);
        assert_eq!(scene.dump_all().await, before, "{expected:?}");
    }
    let host = scene.host.to_string();
    let inflight = format!("{{p}}:sandhog:inflight:{host}");
    for key in ["p", &inflight, "sandhog:hosts", &format!("sandhog:host:{host}")] {
        scene.begin(&[&["RPUSH", "p", "a"], &["DEL", key], &["SET", key, "x"]]).await;
        let before = scene.dump_all().await;
        assert_eq!(scene.take(End::Front, 1).await, Err(StoreError::WrongType(key.to_owned())));
        assert_eq!(scene.dump_all().await, before, "{key}");
    }
    // What a user could not put back is not taken from it.
    for denied in ["-lpush", "-rpush", "-lpop"] {
        scene.begin(&[&["RPUSH", "p", "a"]]).await;
        let before = scene.dump_all().await;
        let link = scene.user(&["+@all", "~*", denied]).await;
        let refused = take(&link, &scene.host, &taken("p", "f1"), End::Front, 10).await;
        assert!(matches!(&refused, Err(StoreError::Fault(f)) if f.is_code("NOPERM")), "{refused:?}");
        assert_eq!(scene.dump_all().await, before, "{denied}");
    }
}

#[tokio::test]
async fn entries_are_put_back_so_that_the_list_looks_as_before() {
    let mut scene = Scene::new().await;
    let (front, back) = (End::Front, End::Back);
    for ends in [[front; 5], [back; 5], [front, back, back, front, back]] {
        scene.begin(&[&["RPUSH", "p", "a", "b", "c", "d", "e", "f"]]).await;
        let before = scene.dump().await;
        let mut fields = Vec::new();
        // Numbers that are not in the order of their digits.
        for (n, end) in (8..).zip(ends) {
            scene.take(end, n).await.unwrap();
            fields.push(Taken::new(QueueName::new("p").unwrap(), end, n));
        }
        // In whatever order the runs end.
        fields.rotate_left(2);
        put_back(&scene.link, &scene.host, &fields).await.unwrap();
        assert_eq!(scene.dump().await, before, "{ends:?}");
    }
    // Of several queues; what is gone, or others have taken back, is left out; the rest is untouched.
    let here: &[&str] = &["HSET", "{p}:sandhog:inflight:HOST", "f1", "x", "f3", "z", "1", "job"];
    scene.begin(&[here, &["HSET", ":inflight:HOST", "b2", "y"]]).await;
    let fields = [taken("p", "f1"), taken("q", "b2"), taken("p", "f9"), taken("r", "f1")];
    put_back(&scene.link, &scene.host, &fields).await.unwrap();
    let after = [("p", "list x"), ("q", "list y"), ("{p}:sandhog:inflight:HOST", "hash 1=job, f3=z")];
    scene.expect("some", &after).await;
    put_back(&scene.link, &scene.host, &fields).await.unwrap();
    scene.expect("a second call changes nothing", &after).await;
    assert_eq!(put_back(&scene.link, &scene.host, &[]).await, Ok(()));
}

#[tokio::test]
async fn entries_that_nobody_in_this_process_holds_any_more_are_put_back() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["RPUSH", "p", "a", "b", "c"], &["HSET", "{p}:sandhog:inflight:HOST", "e5", "job"]]).await;
    let p = QueueName::new("p").unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let record = Taken::begin(p.clone(), End::Front);
        take(&scene.link, &scene.host, &record, End::Front, 10).await.unwrap();
        held.push(record);
    }
    let forgotten = async |scene: &Scene| put_back_forgotten(&scene.link, &scene.host, &p).await.unwrap();
    assert_eq!(forgotten(&scene).await, 0);
    drop(held.remove(1));
    assert_eq!(forgotten(&scene).await, 1);
    let mut records = [format!("{}=a", held[0].field), format!("{}=c", held[1].field)];
    records.sort();
    let records = format!("hash e5=job, {}", records.join(", "));
    scene.expect("one is back", &[("p", "list b"), ("{p}:sandhog:inflight:HOST", &records)]).await;
    drop(held);
    assert_eq!(forgotten(&scene).await, 2);
}

#[tokio::test]
async fn entries_whose_list_holds_another_type_keep_their_records() {
    let mut scene = Scene::new().await;
    let records: &[&str] = &["HSET", "{p}:sandhog:inflight:HOST", "f1", "x", "b2", "y"];
    scene.begin(&[records, &["SET", "p", "text"]]).await;
    let before = scene.dump().await;
    assert_eq!(scene.put_back(&["f1", "b2"]).await, Err(StoreError::WrongType("p".to_owned())));
    assert_eq!(scene.dump().await, before);

    // A user who may not push: nothing is lost.
    scene.begin(&[records]).await;
    let before = scene.dump().await;
    let link = scene.user(&["+@all", "~*", "-rpush"]).await;
    assert!(put_back(&link, &scene.host, &[taken("p", "b2")]).await.is_err());
    assert_eq!(scene.dump().await, before);
}

#[tokio::test]
async fn entries_move_at_the_memory_limit_and_with_forgotten_scripts() {
    let mut scene = Scene::new().await;
    let mut seed = vec!["RPUSH".to_owned(), "p".to_owned()];
    seed.extend((0..1_200).map(|n| n.to_string()));
    scene.begin(&[&seed.iter().map(String::as_str).collect::<Vec<_>>()]).await;
    let before = scene.dump().await;
    scene.send(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut fields = Vec::new();
    for n in 0..1_200 {
        scene.take(End::Front, n).await.unwrap();
        fields.push(format!("f{n}"));
    }
    scene.send(&["SCRIPT", "FLUSH"]).await;
    scene.put_back(&fields.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(scene.dump().await, before);
    scene.send(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(scene.take(End::Back, 1_200).await, Ok(entry("1199")));
}

#[tokio::test]
async fn what_the_runs_of_a_dead_host_had_popped_is_back_on_its_list() {
    let mut scene = Scene::new().await;
    // A queue that is popped from and served as well.
    let records: &[&str] = &[
        "HSET",
        ":inflight:HOST",
        "7",
        "job",
        "f9",
        "b",
        "b10",
        "x\ny",
        "f11",
        "c",
        "b8",
        "z",
        "e12",
        "1 id 0 1 5\nd",
    ];
    scene.begin(&[EXPIRED, records, &["RPUSH", "q", "d"]]).await;
    let reaped = |moved, left| Reaped { moved, left, ..Reaped::default() };
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(6, 0)));
    let after = [
        (":ready", "list 1 HOST-7 0 1 4000000000000\\njob, 1 id 0 2 5\\nd"),
        (":stats", "hash reaped=2"),
        ("q", "list b, c, d, x\\ny, z"),
    ];
    scene.expect("reaped", &after).await;

    scene.begin(&[EXPIRED, records, &["SET", "q", "text"]]).await;
    let before = scene.dump().await;
    assert_eq!(
        scene.store.reap(&scene.host, Death::Expired, 3).await,
        Err(StoreError::WrongType("q".to_owned()))
    );
    assert_eq!(scene.dump().await, before);
    // Without popped entries the list does not matter.
    scene.send(&["HDEL", ":inflight:HOST", "f9", "b10", "f11", "b8"]).await;
    assert_eq!(scene.store.reap(&scene.host, Death::Expired, 3).await, Ok(reaped(2, 0)));
}

#[tokio::test]
async fn popped_entries_are_taken_back_in_pages_and_keep_their_order() {
    let mut scene = Scene::new().await;
    let mut seed = vec!["HSET".to_owned(), ":inflight:HOST".to_owned(), "1".to_owned(), "job".to_owned()];
    seed.extend((0..1_100).flat_map(|n| [format!("f{n}"), format!("p{n}")]));
    scene.begin(&[EXPIRED, &seed.iter().map(String::as_str).collect::<Vec<_>>()]).await;
    for expected in [(500, 601), (500, 101), (101, 0)] {
        let reaped = scene.store.reap(&scene.host, Death::Expired, 3).await.unwrap();
        assert_eq!((reaped.moved, reaped.left), expected);
    }
    let all: Vec<String> = (0..1_100).map(|n| format!("p{n}")).collect();
    assert_eq!(scene.dump().await["q"], format!("list {}", all.join(", ")));

    scene.begin(&[EXPIRED]).await;
    let large = "x".repeat(768 << 10);
    for field in ["f1", "f2", "f3", "f4", "5"] {
        scene.send(&["HSET", ":inflight:HOST", field, &large]).await;
    }
    let reaped = scene.store.reap(&scene.host, Death::Expired, 3).await.unwrap();
    assert_eq!((reaped.moved, reaped.left), (3, 2), "three exceed 2 MiB");
}

#[tokio::test]
async fn whoever_reaps_a_host_looks_where_its_runs_popped() {
    let mut scene = Scene::new().await;
    scene.send(&["FLUSHALL"]).await;
    let leases = Leases::new(scene.link.clone());
    let info = |queues: &[&str]| HostInfo {
        queues: queues.iter().map(|q| QueueName::new(*q).unwrap()).collect(),
        ..HostInfo::default()
    };
    let lease = std::time::Duration::from_secs(60);
    scene.host = leases.register("web", 1, lease, &info(&["q"]), &[]).await.unwrap();
    for queue in ["p", "q", "a b:c"] {
        scene.send(&["RPUSH", queue, "x"]).await;
        let taken = Taken::new(QueueName::new(queue).unwrap(), End::Front, 1);
        assert_eq!(take(&scene.link, &scene.host, &taken, End::Front, 9).await, Ok(entry("x")));
    }
    // Told anew what it serves, it is still known where its runs popped.
    leases.describe(&scene.host, &info(&["q", "r"])).await.unwrap();
    let queues = leases.queues_of(&scene.host).await.unwrap();
    let mut names: Vec<&str> = queues.iter().map(QueueName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["a b:c", "p", "q", "r"]);
    assert_eq!(leases.list().await.unwrap()[0].info, info(&["q", "r"]));
    // And where what it told was deleted.
    scene.send(&["HDEL", "sandhog:host:HOST", "queues"]).await;
    assert_eq!(leases.queues_of(&scene.host).await.unwrap().len(), 4);
}

#[tokio::test]
async fn popped_entries_are_no_jobs() {
    let mut scene = Scene::new().await;
    let records: &[&str] = &["HSET", ":inflight:HOST", "2", "b", "f1", "x", "b7", "y", "1", "a"];
    scene.begin(&[records, &["RPUSH", "q", "c"], &["ZADD", "sandhog:hosts", "8e12", "other"]]).await;
    assert_eq!(scene.store.inflight(&scene.host).await, Ok(vec![bare(1), bare(2)]));
    let queue = super::queue();
    assert_eq!(sandhog::job::inspect::counts(&scene.link, &queue).await.unwrap().inflight, 2);
    let mut cursor = None;
    for expected in ["a", "b"] {
        let place = sandhog::job::inspect::Place::Inflight;
        let (rows, next) = sandhog::job::inspect::list(&scene.link, &queue, place, cursor, 1).await.unwrap();
        assert_eq!(rows[0].preview, expected.as_bytes());
        cursor = next;
    }
    assert_eq!(cursor, None);
    assert_eq!(payloads(&scene.claim(1).await.unwrap().jobs), ["c"]);
}
