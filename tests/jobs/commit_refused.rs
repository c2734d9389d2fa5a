//! Commits that Redis would refuse half-way, were they not refused before their first write: nothing is changed
//! then, to the byte.

use std::collections::BTreeMap;

use redis::{Value, cmd};
use sandhog::job::change::{Assumption, Changes, Expiry, Page, Seen, Write};
use sandhog::job::commit::{Commit, Verdict, Why};
use sandhog::job::store::StoreError;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::fault::Fault;
use sandhog::storage::link::{Link, Tracking};

use super::commit::{add, assuming, pop, push, push_job, set, taken, writes};
use super::{Scene, bare};

pub fn refused(key: &str, why: Why) -> Verdict {
    let key = key.strip_prefix(':').map_or(key.to_owned(), |key| format!("{{q}}:sandhog:{key}"));
    Verdict::Refused { key, why }
}

fn expire(key: &str, expiry: Expiry) -> Write {
    Write::Expire { key: key.to_owned(), expiry }
}

impl Scene {
    /// Every key but the counters, to the byte, and when it expires.
    async fn exact(&mut self) -> BTreeMap<Vec<u8>, (Vec<u8>, i64)> {
        let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query_async(&mut self.plain).await.unwrap();
        let mut all = BTreeMap::new();
        for key in keys.into_iter().filter(|key| key != b"{q}:sandhog:stats") {
            let mut look = redis::pipe();
            look.cmd("DUMP").arg(&key).cmd("PEXPIRETIME").arg(&key);
            all.insert(key, look.query_async(&mut self.plain).await.unwrap());
        }
        all
    }

    /// Commits job 1 over `link`, among writes that would do; nothing may change.
    async fn refuse(&mut self, link: &Link, case: &str, mut changes: Changes, expected: &Verdict) {
        changes.writes.insert(0, set("app:first", b"1", Expiry::Never));
        changes.writes.push(add("app:last", 1, Expiry::Keep));
        self.send(&["HSET", ":inflight:HOST", "1", "a"]).await;
        let before = self.exact().await;
        let commit = Commit { slot: bare(1), others: &[], changes: &changes };
        let verdicts = self.store.commit(link, &self.host, &[commit]).await;
        assert_eq!(verdicts.as_deref(), Ok(std::slice::from_ref(expected)), "{case}");
        assert_eq!(self.exact().await, before, "{case}");
    }

    /// A connection of a user with these rules.
    pub async fn user(&mut self, rules: &[&str]) -> Link {
        let mut acl = cmd("ACL");
        acl.arg("SETUSER").arg("anna").arg("reset").arg("on").arg(">pass").arg(rules);
        let _: () = acl.query_async(&mut self.plain).await.unwrap();
        let url = format!("{}?user=anna&pass=pass", self.redis.url());
        let address = Address::parse(&url, TlsFiles::default()).unwrap();
        Link::new(&address, "test", std::time::Duration::from_secs(10), Tracking::Off).unwrap()
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_nothing_is_written() {
    let mut scene = Scene::new().await;
    let link = scene.link.clone();
    let (text, list, hash) = (&["SET", "k", "x"][..], &["RPUSH", "k", "1"][..], &["HSET", "k", "1", "1"][..]);
    let cases: &[(&[&str], Write)] = &[
        (list, add("k", 1, Expiry::Keep)),
        (hash, add("k", 1, Expiry::In(0))),
        (text, push("k", false, &["a"], &[], Expiry::Keep)),
        (hash, push("k", false, &[], &["a"], Expiry::In(0))),
        (text, pop(1, 0)),
        (&["SET", ":ready", "x"], push_job("j", None, None)),
        (&["RPUSH", ":delayed", "x"], push_job("j", Some(5), None)),
        (&["RPUSH", ":delayed", "x"], push_job("j", Some(5), Some("u"))),
    ];
    for (seed, write) in cases {
        scene.begin(&[seed, &["SET", "app:first", "0", "EX", "100"]]).await;
        let verdict = refused(seed[1], Why::WrongType);
        scene.refuse(&link, &format!("{write:?}"), writes([write.clone()]), &verdict).await;
    }
    for (key, by_hand) in [(":stats", "{q}:sandhog:stats"), (":inflight:HOST", "{q}:sandhog:inflight:HOST")] {
        scene.begin(&[&["SET", key, "x"]]).await;
        let before = scene.exact().await;
        let by_hand = by_hand.replace("HOST", scene.host.as_str());
        for changes in [writes([add("n", 1, Expiry::Keep)]), Changes::default()] {
            let refused = scene.commit(&[(bare(1), changes)]).await;
            assert_eq!(refused, Err(StoreError::WrongType(by_hand.clone())));
            assert_eq!(scene.exact().await, before);
        }
    }
}

#[tokio::test]
async fn what_is_no_integer_to_redis_is_none_to_a_commit() {
    let mut scene = Scene::new().await;
    let link = scene.link.clone();
    let (max, min) = ("9223372036854775807", "-9223372036854775808");
    let no_integers = [
        "",
        "007",
        "+1",
        "1.5",
        "-0",
        "-",
        " 1",
        "1 ",
        "1e3",
        "0x10",
        "one",
        "9223372036854775808",
        "00",
        "-9223372036854775809",
        "10000000000000000000",
        "99999999999999999999",
        "1\n",
        "-01",
        "nan",
        "inf",
        "111111111111111111111111111111",
    ];
    for held in no_integers {
        scene.begin(&[&["SET", "n", held]]).await;
        let verdict = refused("n", Why::NotAnInteger);
        for delta in [0, -1, i64::MAX] {
            scene.refuse(&link, held, writes([add("n", delta, Expiry::Keep)]), &verdict).await;
        }
    }
    for (held, delta) in [
        (max, 1),
        (max, i64::MAX),
        ("1", i64::MAX),
        ("9223372036000000000", 854_775_808),
        ("9223372036854775000", 808),
        ("999999999999999999", 8_223_372_036_854_775_809),
        (min, -1),
        (min, i64::MIN),
        ("-1", i64::MIN),
        ("-9223372036000000000", -854_775_809),
    ] {
        scene.begin(&[&["SET", "n", held]]).await;
        let verdict = refused("n", Why::OutOfRange);
        scene.refuse(&link, held, writes([add("n", delta, Expiry::In(0))]), &verdict).await;
    }
    for (held, delta, sum) in [
        (max, 0, max),
        (max, i64::MIN, "-1"),
        ("9223372036000000000", 854_775_807, max),
        ("1", i64::MAX - 1, max),
        (min, 0, min),
        (min, i64::MAX, "-1"),
        ("-9223372036000000000", -854_775_808, min),
        ("0", i64::MIN, min),
        ("-1", -i64::MAX, min),
    ] {
        scene.begin(&[&["SET", "n", held]]).await;
        assert_eq!(scene.commit_one(writes([add("n", delta, Expiry::Keep)])).await, Verdict::Done, "{held}");
        assert_eq!(scene.dump().await["n"], format!("string {sum}"));
    }
}

#[tokio::test]
async fn a_full_redis_takes_only_what_frees_it() {
    let mut scene = Scene::new().await;
    let jobs = || {
        let popped = Changes { taken: vec![taken("q", "f1")], ..Changes::default() };
        vec![
            (bare(1), writes([add("n", 1, Expiry::Keep)])),
            (bare(2), writes([Write::Delete { key: "d".to_owned() }])),
            (bare(3), writes([push("l", false, &[], &["a"], Expiry::Keep), expire("e", Expiry::In(0))])),
            (bare(4), popped),
            (bare(5), assuming("none", Seen::Absent)),
            (bare(6), writes([set("s", b"", Expiry::In(0)), expire("t", Expiry::In(60_000))])),
            (bare(7), writes([push_job("j", None, None)])),
        ]
    };
    let records = ["1", "a", "2", "b", "3", "c", "4", "d", "5", "e", "6", "f", "7", "g", "f1", "x"];
    let mut records = records.to_vec();
    records.splice(0..0, ["HSET", ":inflight:HOST"]);
    scene.begin(&[&records, &["MSET", "d", "1", "e", "1", "s", "1", "t", "1"]]).await;
    scene.send(&["CONFIG", "SET", "maxmemory", "1"]).await;
    use Verdict::{Done, Full};
    assert_eq!(scene.commit(&jobs()).await, Ok(vec![Full, Done, Full, Done, Done, Done, Full]));
    let after = [
        (":inflight:HOST", "hash 1=a, 3=c, 7=g"),
        (":stats", "hash commits=4, completed=4, effects=4"),
        ("e", "string 1"),
        ("t", "string 1"),
    ];
    scene.expect("full", &after).await;
    scene.send(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let late = Verdict::Late;
    let expected = vec![Done, late.clone(), Done, late.clone(), late.clone(), late, Done];
    assert_eq!(scene.commit(&jobs()).await, Ok(expected));
}

#[tokio::test]
async fn a_user_without_the_keys_or_commands_leaves_nothing_half_written() {
    let mut scene = Scene::new().await;
    let ours = ["+@all", "~{q}:sandhog:inflight:*", "~{q}:sandhog:stats", "~app:*"];
    let rules = |more: &[&'static str]| ours.iter().chain(more).copied().collect::<Vec<_>>();
    let reads = |key: &str, seen| assuming(key, seen);
    let page = Page { cursor: 0, looks: 9, enough: 9, key_bytes_max: 99, looked: 0, next: 0, keys: vec![] };
    let long = Seen::Long { length: 1, sha1: String::new() };
    let value = || Seen::Value(b"1".to_vec());
    let range = Seen::Range { start: 0, stop: 1, entries: vec![] };
    let popped = Changes { taken: vec![taken("p", "f1")], ..Changes::default() };
    let in_a_minute = Expiry::In(60_000);
    // What the user may in addition, or may not; what is tried; where it fails.
    let cases: Vec<(Vec<&str>, Changes, &str)> = vec![
        (rules(&[]), writes([set("k", b"", Expiry::Never)]), "k"),
        (rules(&[]), writes([set("k", b"", Expiry::In(0))]), "k"),
        (rules(&[]), writes([add("k", 1, Expiry::Keep)]), "k"),
        (rules(&[]), writes([Write::Delete { key: "k".to_owned() }]), "k"),
        (rules(&[]), writes([expire("k", Expiry::Never)]), "k"),
        (rules(&[]), writes([push("k", false, &[], &["a"], Expiry::Keep)]), "k"),
        (rules(&[]), writes([push("k", true, &["a"], &[], Expiry::Keep)]), "k"),
        (rules(&[]), writes([pop(1, 0)]), "k"),
        (rules(&["~k", "-rpop"]), writes([pop(1, 1)]), "k"),
        (rules(&[]), writes([push_job("j", None, None)]), ":ready"),
        (rules(&[]), writes([push_job("j", Some(5), None)]), ":delayed"),
        (rules(&["~{q}:sandhog:ready"]), writes([push_job("j", None, Some("u"))]), ":unique:u"),
        (rules(&[]), popped, "p"),
        (
            rules(&["%R~{p}:sandhog:*"]),
            Changes { taken: vec![taken("p", "f1")], ..Changes::default() },
            "p's",
        ),
        (rules(&[]), reads("k", Seen::Absent), "k"),
        (rules(&[]), reads("k", Seen::Present), "k"),
        (rules(&[]), reads("k", value()), "k"),
        (rules(&[]), reads("k", long.clone()), "k"),
        (rules(&[]), reads("k", Seen::Expires(-1)), "k"),
        (rules(&[]), reads("k", Seen::Length(1)), "k"),
        (rules(&[]), reads("k", range), "k"),
        (rules(&["-scan"]), reads("app:*", Seen::Page(page)), "app:*"),
        (rules(&["-get"]), reads("app:one", long), "app:one"),
        (rules(&["-set"]), writes([set("app:k", b"", in_a_minute)]), "app:first"),
        (rules(&["-incrby"]), writes([]), "app:last"),
        (rules(&["-getrange"]), writes([add("app:k", 1, Expiry::Keep)]), "app:k"),
        (rules(&["-unlink"]), writes([set("app:k", b"", Expiry::In(0))]), "app:k"),
        (rules(&["-unlink"]), writes([push("app:k", true, &[], &["a"], Expiry::Keep)]), "app:k"),
        (rules(&["-persist"]), writes([add("app:k", 1, Expiry::Never)]), "app:k"),
        (rules(&["-pexpire"]), writes([push("app:k", false, &[], &["a"], in_a_minute)]), "app:k"),
        (rules(&["-lpush"]), writes([push("app:k", false, &["a"], &[], Expiry::Keep)]), "app:k"),
        (rules(&["-rpush"]), writes([push("app:k", false, &["a"], &["b"], Expiry::Keep)]), "app:k"),
        (rules(&["~{q}*", "-zadd"]), writes([push_job("j", Some(5), None)]), ":delayed"),
        // May write everywhere, but not with every command.
        (vec!["+@all", "~*", "-lpush"], writes([push("k", false, &["a"], &[], Expiry::Keep)]), "k"),
        // Such a pattern covers nearly every key.
        (vec!["+@all", "~??*"], writes([set("k", b"", Expiry::Never)]), "k"),
        (rules(&["~a*"]), writes([set("k", b"", Expiry::Never)]), "k"),
    ];
    for (rules, changes, key) in cases {
        scene.begin(&[&["SET", "app:one", "1"], &["HSET", "{p}:sandhog:inflight:HOST", "f1", "x"]]).await;
        let link = scene.user(&rules).await;
        let there = format!("{{p}}:sandhog:inflight:{}", scene.host);
        let verdict = refused(if key == "p's" { &there } else { key }, Why::Permission);
        scene.refuse(&link, &format!("{rules:?} {changes:?}"), changes, &verdict).await;
    }
}

#[tokio::test]
async fn a_user_with_the_keys_of_the_job_commits() {
    let mut scene = Scene::new().await;
    scene.begin(&[&["HSET", ":inflight:HOST", "1", "a", "2", "b", "f1", "x"], &["SET", "app:v", "1"]]).await;
    let link = scene.user(&["+@all", "~{q}:sandhog:*", "~app:*"]).await;
    let mut changes = assuming("app:v", Seen::Value(b"1".to_vec()));
    changes.assumptions.push(Assumption { key: "app:k".to_owned(), seen: Seen::Absent });
    changes.taken = vec![taken("q", "f1")];
    changes.writes = vec![
        set("app:k", b"v", Expiry::In(60_000)),
        add("app:n", 1, Expiry::Never),
        push("app:l", true, &["a"], &["b"], Expiry::Keep),
        push_job("j", None, Some("u")),
    ];
    let elsewhere = writes([set("elsewhere", b"", Expiry::Never)]);
    let jobs = [(bare(2), &elsewhere), (bare(1), &changes)];
    let jobs = jobs.map(|(slot, changes)| Commit { slot, others: &[], changes });
    let verdicts = scene.store.commit(&link, &scene.host, &jobs).await;
    assert_eq!(verdicts, Ok(vec![refused("elsewhere", Why::Permission), Verdict::Done]));
    let after = [
        (":inflight:HOST", "hash 2=b"),
        (":ready", "list 1 j 0 0 T !unique=u !kept=60000 !own=U-2\\np\\nq"),
        (":stats", "hash commits=1, completed=1, effects=5"),
        (":unique:u", "string j U-2"),
        ("app:k", "string v"),
        ("app:l", "list a, b"),
        ("app:n", "string 1"),
        ("app:v", "string 1"),
    ];
    scene.expect("restricted", &after).await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_takes_none_of_a_commit() {
    let mut scene = Scene::new().await;
    for (refuse, code, relent) in [
        (["REPLICAOF", "localhost", "1"], "READONLY", ["REPLICAOF", "NO", "ONE"]),
        (
            ["CONFIG", "SET", "min-replicas-to-write=3"],
            "NOREPLICAS",
            ["CONFIG", "SET", "min-replicas-to-write=0"],
        ),
    ] {
        scene.begin(&[&["HSET", ":inflight:HOST", "1", "a"]]).await;
        let words =
            |words: [&'static str; 3]| words.into_iter().flat_map(|word| word.split('=')).collect::<Vec<_>>();
        scene.send(&words(refuse)).await;
        let before = scene.exact().await;
        let failed = scene.commit(&[(bare(1), writes([add("n", 1, Expiry::Keep)]))]).await;
        // A replica is no server to stay at: the connection is given up.
        let is_expected = |fault: &Fault| fault.is_code(code) || code == "READONLY" && fault.is_lost();
        assert!(matches!(&failed, Err(StoreError::Fault(fault)) if is_expected(fault)), "{failed:?}");
        assert_eq!(scene.exact().await, before);
        let Value::Okay = scene.send(&words(relent)).await else { panic!("{code}") };
        assert_eq!(scene.commit_one(writes([add("n", 1, Expiry::Keep)])).await, Verdict::Done);
    }
}
