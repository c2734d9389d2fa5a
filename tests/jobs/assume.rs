//! What a run took for granted, looked at again when it commits.

use sandhog::job::change::{Changes, Expiry, Page, Seen};
use sandhog::job::commit::Verdict;
use sha1_smol::Sha1;

use super::Scene;
use super::commit::{assuming, set};

/// What there is, what is assumed of it, and all that breaks it.
type Case<'a> = (&'a [&'a str], Seen, &'a [&'a [&'a str]]);

fn long(byte: u8) -> Vec<u8> {
    vec![byte; 257]
}

#[tokio::test]
async fn every_assumption_is_looked_at_before_anything_is_written() {
    let mut scene = Scene::new().await;
    let of = |entries: &[&str]| entries.iter().map(|entry| entry.as_bytes().to_vec()).collect();
    let range = |start, stop, entries: &[&str]| Seen::Range { start, stop, entries: of(entries) };
    let value = |bytes: &[u8]| Seen::Value(bytes.to_vec());
    let sha1 = |bytes: &[u8]| Sha1::from(bytes).digest().to_string();
    let as_long = |bytes: &[u8]| Seen::Long { length: bytes.len() as u64, sha1: sha1(bytes) };
    let (z, y) = ("z".repeat(257), "y".repeat(257));
    let text: &[&str] = &["SET", "k", "v"];
    let empty: &[&str] = &["SET", "k", ""];
    let lengthy: &[&str] = &["SET", "k", &z];
    let list: &[&str] = &["RPUSH", "k", "a", "bc", "d"];
    let at: &[&str] = &["SET", "k", "v", "PXAT", "7000000000000"];
    let none: &[&str] = &["DEL", "k"];
    let cases: &[Case] = &[
        (none, Seen::Absent, &[text, empty, list]),
        (text, Seen::Present, &[none]),
        (list, Seen::Present, &[none]),
        (text, value(b"v"), &[none, empty, lengthy, list, &["SET", "k", "v2"], &["SET", "k", "w"]]),
        (empty, value(b""), &[none, text, list]),
        (&["SET", "k", "12"], value(b"12"), &[&["SET", "k", "13"], &["SET", "k", "120"]]),
        (lengthy, value(&long(b'z')), &[none, text, list, &["SET", "k", &y], &["APPEND", "k", "z"]]),
        (lengthy, as_long(&long(b'z')), &[none, &["SET", "k", &y], &["SETRANGE", "k", "256", "y"]]),
        (text, as_long(b"v"), &[&["SET", "k", "w"]]),
        (at, Seen::Expires(7_000_000_000_000), &[none, text, &["PEXPIREAT", "k", "7000000000001"]]),
        (list, Seen::Expires(-1), &[none, &["PEXPIREAT", "k", "7000000000000"]]),
        (none, Seen::Expires(-2), &[text]),
        (none, Seen::Length(0), &[text, list]),
        (list, Seen::Length(3), &[none, text, &["LPUSH", "k", "x"], &["LPOP", "k"]]),
        (list, range(0, 1, &["a", "bc"]), &[none, text, &["LPUSH", "k", "a"], &["LSET", "k", "1", "cb"]]),
        (list, range(-2, -1, &["bc", "d"]), &[&["RPOP", "k"], &["RPUSH", "k", "d"]]),
        (list, range(0, 8, &["a", "bc", "d"]), &[&["RPUSH", "k", "x"]]),
        // More entries than one command reads, and as many bytes in other entries.
        (
            &["RPUSH", "k", "1", "2", "3", "4", "5", "6"],
            range(0, 5, &["1", "2", "3", "4", "5", "6"]),
            &[&["LSET", "k", "5", "7"], &["RPOP", "k"], &["LSET", "k", "0", "12"]],
        ),
        (
            &["RPUSH", "k", "1", "2", "3", "4", "5", "6"],
            range(-5, -1, &["2", "3", "4", "5", "6"]),
            &[&["LSET", "k", "1", "7"], &["RPOP", "k"]],
        ),
        // The same bytes, otherwise divided.
        (&["RPUSH", "k", "ab", "c"], range(0, 1, &["ab", "c"]), &[&["RPUSH", "k", "a", "bc"]]),
        (none, range(0, 5, &[]), &[text, list]),
    ];
    for (seed, seen, breaks) in cases {
        let changes =
            || Changes { writes: vec![set("w", b"", Expiry::Never)], ..assuming("k", seen.clone()) };
        scene.begin(&[seed]).await;
        assert_eq!(scene.commit_one(changes()).await, Verdict::Done, "{seed:?} {seen:?}");
        for broken in *breaks {
            // Some replace what is there, some change it.
            let replaces = ["SET", "RPUSH"].contains(&broken[0]) && broken[2] != "x" && broken[2] != "d";
            scene.begin(&[seed, if replaces { none } else { &["PING"] }, broken]).await;
            let before = scene.dump().await;
            let conflict = Verdict::Conflict("k".to_owned());
            assert_eq!(scene.commit_one(changes()).await, conflict, "{seed:?} {broken:?} {seen:?}");
            let mut after = scene.dump().await;
            assert_eq!(after.remove(":inflight:HOST").unwrap(), "hash 1=a");
            assert_eq!(after.remove(":stats").unwrap(), "hash conflicts=1");
            assert_eq!(after, before, "{broken:?}");
        }
    }
}

#[tokio::test]
async fn a_page_of_keys_is_the_same_page() {
    let mut scene = Scene::new().await;
    let long_key = "p:".repeat(30);
    let seeds: Vec<String> = (0..300).map(|n| format!("p:{n}")).collect();
    let mut first = vec!["MSET", "other", "", &long_key, ""];
    first.extend(seeds.iter().flat_map(|key| [key.as_str(), ""]));
    scene.begin(&[&first, &["HSET", ":inflight:HOST", "1", "a"], &["HSET", ":stats", "commits", "0"]]).await;
    // Redis makes room for so many keys step by step, and divides them into other pages meanwhile.
    scene.send(&["EVAL", "for i = 1, 2000 do redis.call('EXISTS', 'other') end", "0"]).await;
    // All of it in three steps; one step; none, from where that ended.
    for (cursor, looks, steps) in [(0, 2_000, 9), (0, 100, 1), (1, 100, 1)] {
        let mut page = Page {
            cursor,
            looks,
            enough: 1_000,
            key_bytes_max: 20,
            looked: 0,
            next: cursor,
            keys: Vec::new(),
        };
        for _ in 0..steps {
            let mut scan = redis::cmd("SCAN");
            scan.arg(page.next).arg("MATCH").arg("p:*").arg("COUNT").arg(100);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut scene.plain).await.unwrap();
            page.keys.extend(keys.into_iter().filter(|key| key.len() <= 20));
            page.next = next;
            if next == 0 {
                break;
            }
        }
        let key = String::from_utf8(page.keys[0].clone()).unwrap();
        let seen = assuming("p:*", Seen::Page(page));
        let conflict = Verdict::Conflict("p:*".to_owned());
        assert_eq!(scene.commit_one(seen.clone()).await, Verdict::Done, "{cursor} {looks}");
        let (mut further, Seen::Page(page)) = (seen.clone(), &seen.assumptions[0].seen) else { panic!() };
        further.assumptions[0].seen = Seen::Page(Page { next: page.next ^ 1, ..page.clone() });
        assert_eq!(scene.commit_one(further).await, conflict, "{cursor} {looks}");
        scene.send(&["RENAME", &key, "aside"]).await;
        assert_eq!(scene.commit_one(seen).await, conflict, "{cursor} {looks}");
    }
}

#[tokio::test]
async fn a_page_of_keys_is_the_same_in_whatever_order_redis_lists_them() {
    let mut scene = Scene::new().await;
    let page = |keys: &[&str]| {
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let page = Page { cursor: 0, looks: 2_000, enough: 100, key_bytes_max: 20, looked: 0, next: 0, keys };
        assuming("p:*", Seen::Page(page))
    };
    scene.begin(&[&["MSET", "p:1", "", "p:2", "", "p:3", ""]]).await;
    // Each table size has an order of its own.
    for n in 0..300 {
        scene.send(&["SET", &format!("more:{n}"), ""]).await;
        assert_eq!(scene.commit_one(page(&["p:2", "p:3", "p:1"])).await, Verdict::Done, "{n}");
    }
    // During a resize SCAN tells some keys twice.
    assert_eq!(scene.commit_one(page(&["p:2", "p:3", "p:2", "p:1"])).await, Verdict::Done);
    for other in
        [&["p:1", "p:2"][..], &["p:1", "p:2", "p:4"], &["p:1", "p:2", "p:3", "p:4"], &[], &["p:1"; 3]]
    {
        let conflict = Verdict::Conflict("p:*".to_owned());
        assert_eq!(scene.commit_one(page(other)).await, conflict, "{other:?}");
    }
}
