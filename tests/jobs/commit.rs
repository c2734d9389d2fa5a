//! Ends of jobs together with their effects, many in one call. What their runs took for granted is in `assume`,
//! what is refused in `commit_refused`.

use sandhog::job::change::{Assumption, Changes, Expiry, Seen, Taken, Write};
use sandhog::job::commit::{Commit, Verdict, Why, apply};
use sandhog::job::name::{JobId, QueueName};
use sandhog::job::store::{Slot, StoreError};

use super::{Scene, bare, enveloped, queue};

/// A change and what is there afterwards.
type Case<'a> = (&'a [&'a str], Write, &'a str, &'a str);

pub fn set(key: &str, value: &[u8], expiry: Expiry) -> Write {
    Write::Set { key: key.to_owned(), value: value.to_vec(), expiry }
}

pub fn add(key: &str, delta: i64, expiry: Expiry) -> Write {
    Write::Add { key: key.to_owned(), delta, expiry }
}

pub fn push(key: &str, replaces: bool, front: &[&str], back: &[&str], expiry: Expiry) -> Write {
    let entries = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    Write::Push { key: key.to_owned(), replaces, front: entries(front), back: entries(back), expiry }
}

pub fn pop(front: u64, back: u64) -> Write {
    Write::Pop { key: "k".to_owned(), front, back }
}

pub fn push_job(id: &str, delay_ms: Option<u64>, unique: Option<&str>) -> Write {
    Write::PushJob {
        queue: queue(),
        id: JobId::new(id).unwrap(),
        payload: b"p\nq".to_vec(),
        delay_ms,
        unique: unique.map(|key| (key.to_owned(), 60_000)),
    }
}

pub fn writes(writes: impl Into<Vec<Write>>) -> Changes {
    Changes { writes: writes.into(), ..Changes::default() }
}

pub fn assuming(key: &str, seen: Seen) -> Changes {
    let assumptions = vec![Assumption { key: key.to_owned(), seen }];
    Changes { assumptions, ..Changes::default() }
}

pub fn taken(queue: &str, field: &str) -> Taken {
    Taken { queue: QueueName::new(queue).unwrap(), field: field.into() }
}

impl Scene {
    pub async fn commit(&mut self, jobs: &[(Slot, Changes)]) -> Result<Vec<Verdict>, StoreError> {
        let commits: Vec<Commit<'_>> =
            jobs.iter().map(|(slot, changes)| Commit { slot: *slot, others: &[], changes }).collect();
        self.store.commit(&self.link, &self.host, &commits).await
    }

    /// Commits the changes as those of job 1, which the host owns.
    pub async fn commit_one(&mut self, changes: Changes) -> Verdict {
        self.send(&["HSET", ":inflight:HOST", "1", "a"]).await;
        self.commit(&[(bare(1), changes)]).await.unwrap().remove(0)
    }
}

#[tokio::test]
async fn a_job_ends_with_its_effects() {
    let mut scene = Scene::new().await;
    let in_a_minute = Expiry::In(60_000);
    scene.begin(&[&["HSET", ":inflight:HOST", "1", "a", "2", "b"], &["RPUSH", "l", "m"]]).await;
    let changes = writes([
        set("s", b"v\0\n", Expiry::Never),
        add("n", -5, Expiry::Keep),
        push("l", false, &["b", "a"], &["x", "y"], Expiry::Keep),
        push("fresh", false, &[], &["z"], in_a_minute),
        push_job("ready", None, None),
        push_job("later", Some(60_000), None),
    ]);
    assert_eq!(scene.commit(&[(bare(1), changes)]).await, Ok(vec![Verdict::Done]));
    let after = [
        (":delayed", "zset 1 later 0 0 T\\np\\nq@T+60"),
        (":inflight:HOST", "hash 2=b"),
        (":ready", "list 1 ready 0 0 T\\np\\nq"),
        (":stats", "hash commits=1, completed=1, effects=6"),
        ("fresh", "list z"),
        ("l", "list a, b, m, x, y"),
        ("n", "string -5"),
        ("s", "string v\\x00\\n"),
    ];
    scene.expect("all kinds", &after).await;
}

#[tokio::test]
async fn a_key_stays_as_long_as_it_was_told_to() {
    let mut scene = Scene::new().await;
    let lasting: &[&str] = &["SET", "k", "7"];
    let expiring: &[&str] = &["SET", "k", "7", "PX", "900000"];
    let list: &[&str] = &["RPUSH", "k", "a"];
    let none: &[&str] = &["DEL", "k"];
    let (minute, gone) = (Expiry::In(60_000), Expiry::In(0));
    let expire = |expiry| Write::Expire { key: "k".to_owned(), expiry };
    let delete = || Write::Delete { key: "k".to_owned() };
    let cases: &[Case] = &[
        (none, set("k", b"", Expiry::Keep), "string ", "never"),
        (expiring, set("k", b"v", Expiry::Keep), "string v", "900"),
        (expiring, set("k", b"v", Expiry::Never), "string v", "never"),
        (list, set("k", b"v", Expiry::Never), "string v", "never"),
        (expiring, set("k", b"v", minute), "string v", "60"),
        (expiring, set("k", b"v", gone), "", "gone"),
        (none, set("k", b"v", gone), "", "gone"),
        (lasting, delete(), "", "gone"),
        (list, delete(), "", "gone"),
        (none, delete(), "", "gone"),
        (none, add("k", 4, Expiry::Keep), "string 4", "never"),
        (expiring, add("k", -8, Expiry::Keep), "string -1", "900"),
        (expiring, add("k", 1, Expiry::Never), "string 8", "never"),
        (lasting, add("k", 1, minute), "string 8", "60"),
        (lasting, add("k", 1, gone), "", "gone"),
        (expiring, expire(Expiry::Never), "string 7", "never"),
        (lasting, expire(Expiry::In(u64::MAX)), "string 7", "3155760000"),
        (lasting, set("k", b"v", Expiry::In(u64::MAX)), "string v", "3155760000"),
        (lasting, expire(minute), "string 7", "60"),
        (list, expire(minute), "list a", "60"),
        (list, expire(gone), "", "gone"),
        (none, expire(minute), "", "gone"),
        (list, push("k", false, &["b", "c"], &["d"], Expiry::Keep), "list c, b, a, d", "never"),
        (list, push("k", false, &[], &["d"], minute), "list a, d", "60"),
        (list, push("k", false, &[], &["d"], gone), "", "gone"),
        (expiring, push("k", true, &["b"], &["c"], Expiry::Keep), "list b, c", "never"),
        (list, push("k", true, &[], &["c"], minute), "list c", "60"),
        (list, pop(1, 0), "", "gone"),
        (&["RPUSH", "k", "a", "b", "c", "d"], pop(1, 2), "list b", "never"),
        (none, pop(1, 1), "", "gone"),
        (list, push("k", true, &[], &[], Expiry::Keep), "", "gone"),
    ];
    for (seed, write, content, stays) in cases {
        scene.begin(&[seed]).await;
        assert_eq!(scene.commit_one(writes([write.clone()])).await, Verdict::Done, "{write:?}");
        let mut found = scene.dump().await;
        let redis::Value::Int(left) = scene.send(&["PTTL", "k"]).await else { panic!() };
        let left = match left {
            -2 => "gone".to_owned(),
            -1 => "never".to_owned(),
            ms => format!("{}", (ms + 9_000) / 10_000 * 10),
        };
        assert_eq!(
            (&*found.remove("k").unwrap_or_default(), &*left),
            (*content, *stays),
            "{seed:?} {write:?}"
        );
        assert_eq!(found.remove(":stats").unwrap(), "hash commits=1, completed=1, effects=1");
        assert!(found.is_empty(), "{found:?}");
    }
}

#[tokio::test]
async fn the_jobs_of_a_batch_stand_and_fall_alone() {
    let mut scene = Scene::new().await;
    let records: &[&str] =
        &["HSET", ":inflight:HOST", "1", "a", "2", "b", "3", "c", "e4", "1 id 0 0 5\n", "6", "f"];
    scene.begin(&[records, &["SET", "text", "x"]]).await;
    let once = |n: u64| {
        let mut changes = assuming("mark", Seen::Absent);
        changes.writes =
            vec![set("mark", n.to_string().as_bytes(), Expiry::Never), add("sum", 1, Expiry::Keep)];
        (bare(n), changes)
    };
    let jobs = [
        once(1),
        // Sees what the first one wrote.
        once(2),
        (bare(3), writes([add("sum", 10, Expiry::Keep), add("text", 1, Expiry::Keep)])),
        (enveloped(4), writes([add("sum", 100, Expiry::Keep)])),
        (bare(5), writes([add("sum", 1_000, Expiry::Keep)])),
        (enveloped(7), writes([add("sum", 1_000, Expiry::Keep)])),
        (bare(6), Changes::default()),
    ];
    let refused = Verdict::Refused { key: "text".to_owned(), why: Why::NotAnInteger };
    let expected = vec![
        Verdict::Done,
        Verdict::Conflict("mark".to_owned()),
        refused,
        Verdict::Done,
        Verdict::Late,
        Verdict::Late,
        Verdict::Done,
    ];
    assert_eq!(scene.commit(&jobs).await, Ok(expected));
    let after = [
        (":inflight:HOST", "hash 2=b, 3=c"),
        (":stats", "hash commits=3, completed=3, conflicts=1, effects=3, late=2"),
        ("mark", "string 1"),
        ("sum", "string 101"),
        ("text", "string x"),
    ];
    scene.expect("batch", &after).await;
    // Its answer was lost: said again, what was done is late, whatever holds now.
    let again = scene.commit(&jobs[..4]).await.unwrap();
    assert!(matches!(
        &again[..],
        [Verdict::Late, Verdict::Conflict(_), Verdict::Refused { .. }, Verdict::Late]
    ));
    assert_eq!(scene.dump().await["sum"], "string 101");
    assert_eq!(scene.commit(&[]).await, Ok(vec![]));
}

#[tokio::test]
async fn what_a_run_popped_goes_with_its_job() {
    let mut scene = Scene::new().await;
    let changes =
        || Changes { taken: vec![taken("q", "f1"), taken("p", "b2")], ..writes([add("n", 1, Expiry::Keep)]) };
    let here: &[&str] = &["HSET", ":inflight:HOST", "f1", "x", "f3", "z"];
    let there: &[&str] = &["HSET", "{p}:sandhog:inflight:HOST", "b2", "y", "1", "a"];
    scene.begin(&[here, there]).await;
    assert_eq!(scene.commit_one(changes()).await, Verdict::Done);
    let after = [
        (":inflight:HOST", "hash f3=z"),
        (":stats", "hash commits=1, completed=1, effects=3"),
        ("n", "string 1"),
        ("{p}:sandhog:inflight:HOST", "hash 1=a"),
    ];
    scene.expect("popped", &after).await;
    for (missing, queue) in [((":inflight:HOST", "f1"), "q"), (("{p}:sandhog:inflight:HOST", "b2"), "p")] {
        scene.begin(&[here, there, &["HDEL", missing.0, missing.1]]).await;
        assert_eq!(scene.commit_one(changes()).await, Verdict::Conflict(queue.to_owned()));
        assert!(!scene.dump().await.contains_key("n"), "{missing:?}");
    }
}

#[tokio::test]
async fn pushed_jobs_have_their_unique_keys_to_themselves() {
    let mut scene = Scene::new().await;
    let unique = |id: &str, key: &str| writes([push_job(id, None, Some(key)), add("n", 1, Expiry::Keep)]);
    scene.begin(&[]).await;
    assert_eq!(scene.commit_one(unique("one", "a b")).await, Verdict::Done);
    let after = [
        (":ready", "list 1 one 0 0 T !unique=a%20b !kept=60000 !own=U-1\\np\\nq"),
        (":stats", "hash commits=1, completed=1, effects=2"),
        (":unique:a b", "string one U-1"),
        ("n", "string 1"),
    ];
    scene.expect("pushed", &after).await;
    let taken = Verdict::Conflict("{q}:sandhog:unique:a b".to_owned());
    assert_eq!(scene.commit_one(unique("two", "a b")).await, taken);
    assert_eq!(scene.dump().await["n"], "string 1");

    // The job that holds the key ends here, so it is free for what it pushed; another one's is not.
    for (holder, verdict) in [("own", Verdict::Done), ("other", taken)] {
        let record = "1 own 1 0 5 !unique=a%20b\nx";
        scene.begin(&[&["HSET", ":inflight:HOST", "e2", record], &["SET", ":unique:a b", holder]]).await;
        assert_eq!(scene.commit(&[(enveloped(2), unique("next", "a b"))]).await, Ok(vec![verdict]));
        let now = if holder == "own" { "next U-1" } else { holder };
        assert_eq!(scene.dump().await[":unique:a b"], format!("string {now}"));
    }
    // What another job holds is let alone, and one key of a job does not open another.
    let record = "1 own 1 0 5 !unique=k\nx";
    scene.begin(&[&["HSET", ":inflight:HOST", "e2", record], &["SET", ":unique:k", "other"]]).await;
    assert_eq!(scene.commit(&[(enveloped(2), Changes::default())]).await, Ok(vec![Verdict::Done]));
    assert_eq!(scene.dump().await[":unique:k"], "string other");
    scene.begin(&[&["HSET", ":inflight:HOST", "e2", record], &["SET", ":unique:j", "own"]]).await;
    let taken = Verdict::Conflict("{q}:sandhog:unique:j".to_owned());
    assert_eq!(scene.commit(&[(enveloped(2), unique("next", "j"))]).await, Ok(vec![taken]));
    scene.begin(&[&["HSET", ":inflight:HOST", "e2", record], &["SET", ":unique:k", "own"]]).await;
    let twice = writes([push_job("a", Some(60_000), Some("j")), push_job("b", None, Some("j"))]);
    assert_eq!(scene.commit(&[(enveloped(2), twice)]).await, Ok(vec![Verdict::Done]));
    let after = [
        (":delayed", "zset 1 a 0 0 T !unique=j !kept=60000 !own=U-1\\np\\nq@T+60"),
        (":stats", "hash commits=1, completed=1, effects=2"),
        (":unique:j", "string a U-1"),
    ];
    scene.expect("its own key is let go, and the second of two is a duplicate", &after).await;
}

#[tokio::test]
async fn many_and_large_effects() {
    let mut scene = Scene::new().await;
    let entries: Vec<Vec<u8>> = (0..2_500).map(|n| format!("{n}").into_bytes()).collect();
    let push = |key: &str, replaces| Write::Push {
        key: key.to_owned(),
        replaces,
        front: entries.clone(),
        back: entries.clone(),
        expiry: Expiry::Keep,
    };
    let large = vec![b'z'; 4 << 20];
    let mut all: Vec<Write> = (0..1_000).map(|n| push_job(&format!("j{n}"), None, None)).collect();
    all.extend([push("l", false), push("r", true), set("large", &large, Expiry::Never)]);
    scene.begin(&[&["RPUSH", "l", "middle"]]).await;
    assert_eq!(scene.commit_one(writes(all)).await, Verdict::Done);
    let found = scene.dump().await;
    let back: Vec<String> = (0..2_500).map(|n| n.to_string()).collect();
    let front: Vec<String> = back.iter().rev().cloned().collect();
    assert_eq!(found["l"], format!("list {}, middle, {}", front.join(", "), back.join(", ")));
    assert_eq!(found["r"], format!("list {}, {}", front.join(", "), back.join(", ")));
    assert_eq!((found[":ready"].matches("1 j").count(), found["large"].len()), (1_000, large.len() + 7));

    // More jobs than one call takes, by number and by bytes; of both kinds.
    let mut records = vec!["HSET".to_owned(), ":inflight:HOST".to_owned()];
    records.extend((0..300).flat_map(|n| [n.to_string(), String::new()]));
    scene.begin(&[&records.iter().map(String::as_str).collect::<Vec<_>>()]).await;
    let jobs: Vec<(Slot, Changes)> = (0..300)
        .map(|n| match n % 3 {
            0 => (bare(n), Changes::default()),
            1 => (bare(n), writes([set(&format!("s{n}"), &vec![b'z'; 50 << 10], Expiry::Never)])),
            _ => (bare(n + 1_000 * (n % 2)), writes([add("n", 1, Expiry::Keep)])),
        })
        .collect();
    let verdicts = scene.commit(&jobs).await.unwrap();
    for ((slot, _), verdict) in jobs.iter().zip(verdicts) {
        assert_eq!(verdict, if slot.seq < 300 { Verdict::Done } else { Verdict::Late }, "{slot}");
    }
    let found = scene.dump().await;
    assert_eq!((&*found["n"], found.keys().filter(|key| key.starts_with('s')).count()), ("string 50", 100));
}

#[tokio::test]
async fn forgotten_commit_scripts_are_loaded_again() {
    let mut scene = Scene::new().await;
    for round in 1..=2 {
        scene.send(&["HSET", ":inflight:HOST", "1", "a", "2", "b"]).await;
        scene.send(&["SCRIPT", "FLUSH"]).await;
        let jobs = [(bare(1), writes([add("n", 1, Expiry::Keep)])), (bare(2), Changes::default())];
        assert_eq!(scene.commit(&jobs).await, Ok(vec![Verdict::Done, Verdict::Done]));
        assert_eq!(scene.dump().await["n"], format!("string {round}"));
    }
}

#[tokio::test]
async fn changes_that_belong_to_no_job_are_applied_in_the_same_way() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    let mut changes = assuming("k", Seen::Absent);
    changes.writes =
        vec![set("k", b"v", Expiry::Never), add("n", 1, Expiry::Keep), push_job("j", None, None)];
    assert_eq!(apply(&scene.link, &changes).await, Ok(Verdict::Done));
    let after = [(":ready", "list 1 j 0 0 T\\np\\nq"), ("k", "string v"), ("n", "string 1")];
    scene.expect("applied", &after).await;
    assert_eq!(apply(&scene.link, &changes).await, Ok(Verdict::Conflict("k".to_owned())));
    assert_eq!(apply(&scene.link, &Changes::default()).await, Ok(Verdict::Done));
    scene.expect("applied once", &after).await;
}
