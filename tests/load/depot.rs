//! The fleet's plugins in Redis: what comes back is what was put, or an error in one line; what is not wanted goes.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::plugin::depot::{CHUNK_BYTES, Depot, DepotError, HISTORY_MAX, Put};
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::{Digest, Release, Wanted};
use sandhog::storage::fault::Fault;

use crate::support::faults::{Cut, Proxy};
use crate::support::redis::TestRedis;

/// More than any component of these tests.
const PLENTY: u64 = 1 << 30;

struct Stage {
    redis: TestRedis,
    depot: Depot,
    plain: MultiplexedConnection,
}

impl Stage {
    async fn new() -> Self {
        let redis = TestRedis::start();
        let (depot, plain) = (Depot::new(redis.link()), redis.plain().await);
        Self { redis, depot, plain }
    }

    async fn put(&self, component: &[u8]) -> Put {
        self.depot.put(&release(component), component, |_| {}).await.unwrap()
    }

    async fn want(&self, plugin: &str, component: &[u8]) -> Result<Wanted, DepotError> {
        let release = release(component);
        self.depot.want(&name(plugin), &release.id(), &release.component, "here").await
    }

    async fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.plain.keys("*").await.unwrap();
        keys.sort();
        keys
    }

    /// Milliseconds until a key goes; none if it stays.
    async fn goes_in(&mut self, key: &str) -> Option<i64> {
        match self.plain.pttl::<_, i64>(key).await.unwrap() {
            -2 => panic!("there is no `{key}`"),
            -1 => None,
            left => Some(left),
        }
    }
}

fn name(text: &str) -> PluginName {
    PluginName::new(text).unwrap()
}

fn release(component: &[u8]) -> Release {
    Release { component: Digest::of(component), manifest: "kind = \"worker\"\n".to_owned(), signature: None }
}

/// So many bytes that differ from place to place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn key_of(component: &[u8]) -> String {
    format!("sandhog:component:{}", Digest::of(component))
}

#[tokio::test]
async fn what_is_put_comes_back_whatever_its_length() {
    let stage = Stage::new().await;
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 5_000_000] {
        let component = bytes(length);
        let mut told = Vec::new();
        let put = stage.depot.put(&release(&component), &component, |sent| told.push(sent)).await.unwrap();
        assert_eq!(put, Put::Sent, "{length}");
        assert_eq!(told.len(), length.div_ceil(CHUNK_BYTES));
        assert!(told.is_sorted() && told.last().is_none_or(|last| *last == length as u64));
        let back = stage.depot.component(&Digest::of(&component), length as u64).await.unwrap();
        assert!(back == component, "{length}");
        let id = release(&component).id();
        assert_eq!(stage.depot.release(&id).await, Ok(Some(release(&component))));
        assert_eq!(stage.put(&component).await, Put::Known);
    }
    assert_eq!(stage.depot.release(&Digest::of(b"?")).await, Ok(None));
    let missing = stage.depot.component(&Digest::of(b"?"), PLENTY).await.unwrap_err().to_string();
    assert!(missing.starts_with("there is no `sandhog:component:"), "{missing}");
}

#[tokio::test]
async fn what_is_spoiled_is_refused_and_mended_by_putting_it_again() {
    let mut stage = Stage::new().await;
    let component = bytes(2 * CHUNK_BYTES + 100);
    let (digest, key) = (Digest::of(&component), key_of(&component));
    let mut flipped = component[..CHUNK_BYTES].to_vec();
    flipped[77] ^= 1;
    let whole = component.len().to_string();
    let less = (component.len() - 1).to_string();
    for (field, value, reason) in [
        ("1", None, "chunk 1 is missing"),
        ("0", Some(&flipped[..]), "it is another one"),
        ("2", Some(b"short"), "chunk 2 has 5 bytes instead of 100"),
        ("2", Some(&component[..]), "chunk 2 has 1048676 bytes instead of 100"),
        ("bytes", Some(less.as_bytes()), "chunk 2 has 100 bytes instead of 99"),
        ("bytes", Some(b"many"), "its length is not a number"),
        ("bytes", Some(b"-1"), "its length is not a number"),
    ] {
        stage.put(&component).await;
        match value {
            Some(value) => stage.plain.hset::<_, _, _, ()>(&key, field, value).await.unwrap(),
            None => stage.plain.hdel::<_, _, ()>(&key, field).await.unwrap(),
        }
        let refused = stage.depot.component(&digest, PLENTY).await.unwrap_err().to_string();
        assert_eq!(refused, format!("`{key}` in Redis is damaged: {reason}; deploy it again"));
        assert_eq!(stage.put(&component).await, Put::Sent, "{reason}");
        assert!(stage.depot.component(&digest, PLENTY).await.unwrap() == component);
    }
    assert_eq!(stage.plain.hget::<_, _, String>(&key, "bytes").await.unwrap(), whole);

    let (id, key) = (release(&component).id(), format!("sandhog:release:{}", release(&component).id()));
    let other = serde_json::to_string(&release(b"other")).unwrap();
    for (text, reason) in [
        ("{}", "it is no release: missing field `component` at line 1 column 2"),
        (&other, "it is another release"),
        (&"x".repeat(2 << 20), "it is larger than any release"),
    ] {
        let _: () = stage.plain.set(&key, text).await.unwrap();
        let refused = stage.depot.release(&id).await.unwrap_err().to_string();
        assert_eq!(refused, format!("`{key}` in Redis is damaged: {reason}; deploy it again"));
    }
    stage.put(&component).await;
    assert_eq!(stage.depot.release(&id).await, Ok(Some(release(&component))));
}

#[tokio::test]
async fn a_length_that_is_claimed_is_not_believed() {
    let mut stage = Stage::new().await;
    let component = bytes(1001);
    stage.put(&component).await;
    let (digest, key) = (Digest::of(&component), key_of(&component));
    let refused = stage.depot.component(&digest, 1000).await.unwrap_err();
    assert_eq!(refused, DepotError::TooLarge { key: key.clone(), bytes: 1001, bytes_max: 1000 });
    let text = format!("the component `{key}` has 1001B; it can have 1kB at the most (`limits.component`)");
    assert_eq!(refused.to_string(), text);
    let _: () = stage.plain.hset(&key, "bytes", u64::MAX).await.unwrap();
    let refused = stage.depot.component(&digest, PLENTY).await.unwrap_err();
    assert!(matches!(refused, DepotError::TooLarge { bytes: u64::MAX, .. }), "{refused}");
}

#[tokio::test]
async fn wanted_is_numbered_and_its_history_bounded() {
    let mut stage = Stage::new().await;
    assert!(stage.depot.wanted().await.unwrap().entries.is_empty());
    let components: Vec<Vec<u8>> = (0..HISTORY_MAX + 3).map(|n| bytes(100 + n)).collect();
    for (n, component) in components.iter().enumerate() {
        stage.put(component).await;
        let wanted = stage.want("thumbs", component).await.unwrap();
        assert_eq!(wanted.number, n as u64 + 1);
        assert_eq!(wanted.release, release(component).id());
        assert_eq!(stage.depot.wanted().await.unwrap().entries, [(name("thumbs"), wanted)].into());
    }
    let history = stage.depot.history(&name("thumbs")).await.unwrap().entries;
    let numbers: Vec<u64> = history.iter().map(|wanted| wanted.number).collect();
    let last = components.len() as u64;
    assert_eq!(numbers, (4..=last).rev().collect::<Vec<_>>());
    // What is in the history stays, what fell out of it goes by and by.
    for (n, component) in components.iter().enumerate() {
        for key in [key_of(component), format!("sandhog:release:{}", release(component).id())] {
            assert_eq!(stage.goes_in(&key).await.is_some(), n < 3, "{n} {key}");
        }
    }
    // Back to what is remembered: it stays even when its former entry falls out.
    stage.want("thumbs", &components[3]).await.unwrap();
    assert_eq!(stage.goes_in(&key_of(&components[3])).await, None);
    // And what has gone cannot be wanted.
    let _: () = stage.plain.del(key_of(&components[0])).await.unwrap();
    let gone = stage.want("thumbs", &components[0]).await.unwrap_err();
    assert_eq!(gone, DepotError::Missing(key_of(&components[0])));
    assert_eq!(stage.depot.wanted().await.unwrap().entries[&name("thumbs")].number, last + 1);
}

#[tokio::test]
async fn a_component_that_another_plugin_runs_stays() {
    let mut stage = Stage::new().await;
    let shared = bytes(10);
    stage.put(&shared).await;
    stage.want("one", &shared).await.unwrap();
    stage.want("two", &shared).await.unwrap();
    let others: Vec<Vec<u8>> = (0..HISTORY_MAX).map(|n| bytes(100 + n)).collect();
    for plugin in ["one", "two"] {
        assert_eq!(stage.goes_in(&key_of(&shared)).await, None);
        for other in &others {
            stage.put(other).await;
            stage.want(plugin, other).await.unwrap();
        }
    }
    assert!(stage.goes_in(&key_of(&shared)).await.is_some());
}

#[tokio::test]
async fn of_two_deploys_at_once_the_higher_number_is_wanted() {
    let stage = Stage::new().await;
    let components = [bytes(600_000), bytes(700_000)];
    let one = async |depot: Depot, component: &[u8]| {
        let release = release(component);
        let mut won = Vec::new();
        for _ in 0..10 {
            depot.put(&release, component, |_| {}).await.unwrap();
            let wanted = depot.want(&name("thumbs"), &release.id(), &release.component, "x").await;
            won.push(wanted.unwrap());
        }
        won
    };
    let depots = [Depot::new(stage.redis.link()), Depot::new(stage.redis.link())];
    let [first, second] = depots;
    let (one, two) = tokio::join!(one(first, &components[0]), one(second, &components[1]));
    let mut all: Vec<Wanted> = one.into_iter().chain(two).collect();
    all.sort_by_key(|wanted| std::cmp::Reverse(wanted.number));
    let numbers: Vec<u64> = all.iter().map(|wanted| wanted.number).collect();
    assert_eq!(numbers, (1..=20).rev().collect::<Vec<_>>());
    assert_eq!(stage.depot.wanted().await.unwrap().entries[&name("thumbs")], all[0]);
    assert_eq!(stage.depot.history(&name("thumbs")).await.unwrap().entries, all);
}

#[tokio::test]
async fn a_put_that_is_cut_off_leaves_nothing_that_counts() {
    let mut stage = Stage::new().await;
    let component = bytes(3 * CHUNK_BYTES);
    for (n, cut) in (1..100).flat_map(|n| [(n, Cut::Before), (n, Cut::After)]) {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut stage.plain).await.unwrap();
        let proxy = Proxy::start(&stage.redis.socket(), n, cut);
        let address = sandhog::storage::address::Address::parse(&proxy.url(), Default::default()).unwrap();
        let timeout = std::time::Duration::from_secs(10);
        let tracking = sandhog::storage::link::Tracking::Off;
        let link = sandhog::storage::link::Link::new(&address, "test", timeout, tracking).unwrap();
        let depot = Depot::new(link);
        let put = depot.put(&release(&component), &component, |_| {}).await;
        for key in stage.keys().await {
            assert!(stage.goes_in(&key).await.is_some(), "`{key}` stays, {cut:?} at {n}");
        }
        if !proxy.has_cut() {
            assert_eq!(put, Ok(Put::Sent));
            assert!(n > 8, "{n}: the cuts were not where the work is");
            return;
        }
        // Who tries again has it whole.
        stage.put(&component).await;
        let back = stage.depot.component(&Digest::of(&component), PLENTY).await.unwrap();
        assert!(back == component, "{cut:?} at {n}");
    }
    panic!("the put never ran untouched");
}

#[tokio::test]
async fn keys_of_another_type_memory_and_permissions_are_told_in_one_line() {
    let mut stage = Stage::new().await;
    let component = bytes(1000);
    let id = release(&component).id();
    stage.put(&component).await;
    let component_key = key_of(&component);
    let release_key = format!("sandhog:release:{id}");
    for key in ["sandhog:plugins", "sandhog:plugins:thumbs:history", &release_key, &component_key] {
        let _: () = redis::pipe()
            .cmd("RENAME")
            .arg(if stage.plain.exists(key).await.unwrap() { key } else { "nothing" })
            .arg("aside")
            .ignore()
            .query_async(&mut stage.plain)
            .await
            .unwrap_or_default();
        let _: () = stage.plain.sadd(key, "x").await.unwrap();
        let refused = stage.want("thumbs", &component).await.unwrap_err();
        assert_eq!(refused, DepotError::WrongType(key.to_owned()));
        let _: () = stage.plain.del(key).await.unwrap();
        if stage.plain.exists("aside").await.unwrap() {
            let _: () = stage.plain.rename("aside", key).await.unwrap();
        }
    }
    let _: () = stage.plain.set("sandhog:plugins", "x").await.unwrap();
    assert_eq!(stage.depot.wanted().await, Err(DepotError::WrongType("sandhog:plugins".to_owned())));
    let _: () = stage.plain.del("sandhog:plugins").await.unwrap();

    let memory = |max: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(max);
        set
    };
    let _: () = memory("1").query_async(&mut stage.plain).await.unwrap();
    let other = bytes(2000);
    let refused = stage.depot.put(&release(&other), &other, |_| {}).await.unwrap_err();
    assert!(matches!(&refused, DepotError::Fault(fault) if fault.is_code("OOM")), "{refused}");
    assert!(stage.depot.component(&Digest::of(&component), PLENTY).await.is_ok(), "reading goes on");
    let _: () = memory("0").query_async(&mut stage.plain).await.unwrap();

    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("default").arg("-eval").arg("-evalsha").arg("-script");
    let _: () = user.query_async(&mut stage.plain).await.unwrap();
    let refused = stage.depot.put(&release(&other), &other, |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, DepotError::Fault(Fault::Refused { code, .. }) if code == "NOPERM"),
        "{refused}"
    );
}

#[tokio::test]
async fn entries_that_somebody_spoiled_do_not_hide_the_others() {
    let mut stage = Stage::new().await;
    let component = bytes(10);
    stage.put(&component).await;
    for (field, text) in [("Bad Name", "{}"), ("thumbs", "not json"), ("other", "[]")] {
        let _: () = stage.plain.hset("sandhog:plugins", field, text).await.unwrap();
    }
    let good = stage.want("good", &component).await.unwrap();
    assert_eq!(stage.depot.wanted().await.unwrap().entries, [(name("good"), good.clone())].into());
    // A spoiled entry is replaced by the next deploy.
    assert_eq!(stage.want("thumbs", &component).await.unwrap().number, 1);
    assert_eq!(stage.depot.wanted().await.unwrap().entries.len(), 2);
    // Numbers go on after an entry was lost.
    let _: () = stage.plain.del("sandhog:plugins").await.unwrap();
    assert_eq!(stage.want("good", &component).await.unwrap().number, good.number + 1);
}
