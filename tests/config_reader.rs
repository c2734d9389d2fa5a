//! Config readers against a real Redis: that they follow what they read, keep the last good answer, run no more
//! often than they may, and publish whole hashes.

pub(crate) mod guests;
mod host;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use sandhog::capability::grant::{Grants, Patterns};
use sandhog::config::settings::Ceilings;
use sandhog::plugin::load::Loaded;
use sandhog::plugin::manifest::Manifest;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::reader::ConfigReader;
use sandhog::plugin::snapshot::{ReaderStatus, SettingsView, Snapshots};
use sandhog::sandbox::{Kind, Terms};
use sandhog::storage::primary::Primary;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::guest::{sandbox, terms};
use crate::support::redis::TestRedis;

/// Far less than the safety poll of 30 s: who follows within this was told of the change.
const SOON: Duration = Duration::from_secs(5);

/// A reader that runs, and what can be seen of it.
struct Running {
    redis: TestRedis,
    plain: MultiplexedConnection,
    name: PluginName,
    snapshots: Arc<Snapshots>,
    view: Arc<SettingsView>,
    status: watch::Receiver<ReaderStatus>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a reader on a Redis that holds `keys`, and waits for its first run.
    async fn start(component: &[u8], manifest: &str, keys: &[(&str, &str)]) -> Self {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        for (key, value) in keys {
            let _: () = redis::cmd("SET").arg(key).arg(value).query_async(&mut plain).await.unwrap();
        }
        Self::start_on(redis, component, manifest).await
    }

    #[expect(clippy::disallowed_methods, reason = "the test joins the task itself")]
    async fn start_on(redis: TestRedis, component: &[u8], manifest: &str) -> Self {
        let plain = redis.plain().await;
        let name = PluginName::new("site").unwrap();
        let text = format!("kind = \"config-reader\"\n{manifest}");
        let manifest = Manifest::parse("site.toml", &text, &Ceilings::default()).unwrap();
        let grants = Grants { kv_read: Patterns::new(&["config:*"]), ..Grants::default() };
        let terms = Terms { kind: Kind::ConfigReader, grants: Arc::new(grants), ..terms() };
        let version = Arc::new(sandbox().load(terms, component).unwrap());
        let snapshots = Arc::new(Snapshots::default());
        let view = snapshots.view(&BTreeMap::new(), &["site".to_owned()]);
        let status = snapshots.watch(&name);
        let primary = Primary::at(&redis.address(), Duration::from_secs(5));
        let loaded = Loaded { name: name.clone(), manifest: Arc::new(manifest), version, user: None };
        let reader = ConfigReader::new(&loaded, &primary, snapshots.clone());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(reader.unwrap().run(stopped));
        let mut running = Self { redis, plain, name, snapshots, view, status, stop, task };
        running.until("its first run", |status| status.runs > 0).await;
        running
    }

    /// Waits until the status is as wanted.
    async fn until(&mut self, what: &str, wanted: impl FnMut(&ReaderStatus) -> bool) -> ReaderStatus {
        let waited = tokio::time::timeout(SOON, self.status.wait_for(wanted)).await;
        let status = waited.map(|status| status.expect("the snapshots are there").clone());
        status.unwrap_or_else(|_| panic!("waited for {what} in vain: {:?}", self.status.borrow()))
    }

    /// Waits until the settings are these.
    async fn until_settings(&mut self, expected: &[(&str, &str)]) -> ReaderStatus {
        let expected = map(expected);
        self.until(&format!("{expected:?}"), |status| status.settings.as_deref() == Some(&expected)).await
    }

    async fn send(&mut self, command: &[&str]) {
        let mut cmd = redis::Cmd::new();
        for word in command {
            cmd.arg(word);
        }
        let _: redis::Value = cmd.query_async(&mut self.plain).await.unwrap();
    }

    async fn hash(&mut self, key: &str) -> BTreeMap<String, String> {
        redis::cmd("HGETALL").arg(key).query_async(&mut self.plain).await.unwrap()
    }

    /// Waits until the hash holds this.
    async fn until_hash(&mut self, key: &str, expected: &[(&str, &str)]) {
        let started = Instant::now();
        while self.hash(key).await != map(expected) {
            assert!(started.elapsed() < SOON, "the hash is {:?}, not {expected:?}", self.hash(key).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the task; it must do so at once.
    async fn end(self) {
        self.stop.send(true).unwrap();
        let started = Instant::now();
        self.task.await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}

fn map(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_a_key_and_workers_see_it_under_its_name() {
    let mut reader = Running::start(&guests::title(), "", &[("config:title", "first")]).await;
    reader.until_settings(&[("title", "first")]).await;
    assert_eq!(*reader.view.current(), map(&[("site.title", "first")]));
    for title in ["second", "", "third"] {
        reader.send(&["SET", "config:title", title]).await;
        reader.until_settings(&[("title", title)]).await;
        assert_eq!(*reader.view.current(), map(&[("site.title", title)]));
    }
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_keeps_the_last_good_answer_until_the_key_is_good_again() {
    let mut reader = Running::start(&guests::title(), "", &[("config:title", "first")]).await;
    reader.until_settings(&[("title", "first")]).await;
    reader.send(&["DEL", "config:title"]).await;
    let status = reader.until("the failure", |status| status.failure.is_some()).await;
    assert_eq!(status.failure.as_deref(), Some("no title"));
    assert_eq!(status.settings.as_deref(), Some(&map(&[("title", "first")])));
    assert_eq!(*reader.view.current(), map(&[("site.title", "first")]));
    reader.send(&["LPUSH", "config:title", "x"]).await;
    let wrong = |status: &ReaderStatus| status.failure.as_deref() == Some("config:title");
    reader.until("the wrong type", wrong).await;
    reader.send(&["DEL", "config:title"]).await;
    reader.send(&["SET", "config:title", "again"]).await;
    let status = reader.until_settings(&[("title", "again")]).await;
    assert_eq!(status.failure, None);
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_answer_workers_see_nothing() {
    let mut reader = Running::start(&guests::title(), "", &[]).await;
    let status = reader.until("the failure", |status| status.failure.is_some()).await;
    assert_eq!((status.settings, status.since), (None, None));
    assert!(reader.view.current().is_empty());
    reader.send(&["SET", "config:title", "late"]).await;
    reader.until_settings(&[("title", "late")]).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_a_listing_and_nothing_beside_it() {
    let mut reader = Running::start(&guests::listing(), "", &[("config:a", "1"), ("other", "1")]).await;
    // The run that listed first is followed by one that the watch precedes.
    reader.until("two runs", |status| status.runs >= 2).await;
    reader.until_settings(&[("config:a", "config:a")]).await;
    let before = reader.status.borrow().runs;
    for n in 0..50 {
        reader.send(&["SET", &format!("other:{n}"), "x"]).await;
    }
    reader.send(&["SET", "config:b", "x"]).await;
    let status = reader.until_settings(&[("config:a", "config:a"), ("config:b", "config:b")]).await;
    assert_eq!(status.runs, before + 1);
    reader.send(&["DEL", "config:a"]).await;
    reader.until_settings(&[("config:b", "config:b")]).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_changes_costs_twenty_runs_a_second() {
    let mut reader = Running::start(&guests::title(), "", &[("config:title", "0")]).await;
    let before = reader.status.borrow().runs;
    let started = Instant::now();
    let mut n = 0;
    while started.elapsed() < Duration::from_millis(600) {
        n += 1;
        reader.send(&["SET", "config:title", &n.to_string()]).await;
    }
    let last = n.to_string();
    let status = reader.until_settings(&[("title", &last)]).await;
    let most = started.elapsed().as_millis() as u64 / 50 + 1;
    let runs = status.runs - before;
    assert!(n > 100, "only {n} changes were made");
    assert!((3..=most).contains(&runs), "{runs} runs for {n} changes; {most} at the most");
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_while_the_connections_were_cut_is_seen() {
    for (component, value) in [(guests::title(), "title"), (guests::listing(), "config:title")] {
        let mut reader = Running::start(&component, "", &[("config:title", "title")]).await;
        reader.until("two runs or a quiet one", |status| status.runs >= 1).await;
        for n in 0..5 {
            let (name, text) = (format!("config:title{n}"), format!("cut{n}"));
            let mut pipe = redis::pipe();
            pipe.atomic().cmd("CLIENT").arg("KILL").arg("SKIPME").arg("yes").arg("TYPE").arg("normal");
            pipe.cmd("SET").arg("config:title").arg(&text).cmd("SET").arg(&name).arg("");
            let _: redis::Value = pipe.query_async(&mut reader.plain).await.unwrap();
            let seen = |status: &ReaderStatus| {
                let settings = status.settings.as_deref();
                settings.is_some_and(|s| s.values().any(|v| *v == text) || s.contains_key(&name))
            };
            reader.until(&format!("change {n} of {value}"), seen).await;
        }
        reader.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_refuses_to_track_changes_are_found_by_asking() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut refuse = redis::cmd("ACL");
    refuse.arg("SETUSER").arg("default").arg("-client|tracking");
    let _: () = refuse.query_async(&mut plain).await.unwrap();
    let mut reader = Running::start_on(redis, &guests::title(), "").await;
    reader.send(&["SET", "config:title", "asked"]).await;
    reader.until_settings(&[("title", "asked")]).await;
    reader.send(&["SET", "config:title", "again"]).await;
    reader.until_settings(&[("title", "again")]).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_hash_is_replaced_whole() {
    let publish = "publish = \"site-settings\"";
    let keys = [("config:a", ""), ("config:b", "")];
    let mut reader = Running::start(&guests::listing(), publish, &keys).await;
    reader.until_hash("site-settings", &[("config:a", "config:a"), ("config:b", "config:b")]).await;
    reader.send(&["DEL", "config:a"]).await;
    reader.until_hash("site-settings", &[("config:b", "config:b")]).await;
    // Somebody deletes it: the next run puts it back, though the settings are the same.
    reader.send(&["DEL", "site-settings"]).await;
    reader.send(&["SET", "config:b", "other value, same listing"]).await;
    reader.until_hash("site-settings", &[("config:b", "config:b")]).await;
    reader.send(&["DEL", "config:b"]).await;
    reader.until_hash("site-settings", &[]).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_settings_are_published_in_one_step() {
    let publish = "publish = \"site-settings\"\n[limits]\nvalue = \"8MiB\"";
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let mut pipe = redis::pipe();
    let keys: Vec<String> = (0..5000).map(|n| format!("config:{n}")).collect();
    for key in &keys {
        pipe.cmd("SET").arg(key).arg("");
    }
    let _: redis::Value = pipe.query_async(&mut plain).await.unwrap();
    let mut reader = Running::start_on(redis, &guests::listing(), publish).await;
    let expected: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
    reader.until_hash("site-settings", &expected).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_is_not_overwritten_by_a_publication() {
    let publish = "publish = \"site-settings\"";
    let keys = [("config:title", "x"), ("site-settings", "mine")];
    let mut reader = Running::start(&guests::title(), publish, &keys).await;
    let status = reader.until("the problem", |status| status.unpublished.is_some()).await;
    assert_eq!(status.unpublished.as_deref(), Some("`site-settings` holds another type than a hash"));
    assert_eq!(status.settings.as_deref(), Some(&map(&[("title", "x")])));
    let kept: String = redis::cmd("GET").arg("site-settings").query_async(&mut reader.plain).await.unwrap();
    assert_eq!(kept, "mine");
    reader.send(&["DEL", "site-settings"]).await;
    reader.until_hash("site-settings", &[("title", "x")]).await;
    reader.until("the end of the problem", |status| status.unpublished.is_none()).await;
    reader.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_reader_fails_and_ends_all_the_same() {
    let mut reader = Running::start(&guests::title(), "", &[("config:title", "kept")]).await;
    reader.until_settings(&[("title", "kept")]).await;
    reader.send(&["CONFIG", "SET", "save", ""]).await;
    let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").query_async::<redis::Value>(&mut reader.plain).await;
    let status = reader.until("the failure", |status| status.failure.is_some()).await;
    let failure = status.failure.unwrap_or_default();
    assert!(failure.starts_with("cannot reach Redis at `unix://"), "{failure}");
    assert_eq!(*reader.view.current(), map(&[("site.title", "kept")]));
    assert!(Path::new(&reader.redis.socket()).parent().is_some_and(Path::exists));
    assert_eq!(reader.snapshots.all().keys().next(), Some(&reader.name));
    reader.end().await;
}
