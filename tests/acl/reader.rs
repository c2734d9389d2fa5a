//! Config readers with users of their own: what they read travels as that user, on a connection that is told of changes;
//! what the host does for them does not.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;

use super::paste;
use crate::config_reader::guests;
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const SITE: &str = "kind = \"config-reader\"\npublish = \"site\"\n[grants]\nkv.read = [\"config:*\"]\n";
const IDLE: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"ask\"\n[grants]\nqueue.push = [\"seen\"]\n";
/// Far less than the safety poll of 30 s: who follows within this was told of the change.
const SOON: Duration = Duration::from_secs(5);

struct Site {
    redis: TestRedis,
    plugins: Plugins,
    host: Host,
}

impl Site {
    /// A host with this reader and a worker without jobs, each with a user of its own.
    async fn start(reader: &[u8], keys: &[&str]) -> Self {
        let redis = TestRedis::start_with(&["--appendonly", "yes"]);
        for key in keys {
            let _: () = redis.plain().await.set(key, "first").await.unwrap();
        }
        let plugins = Plugins::new().with("site", reader, SITE).with("teller", &guests::teller(), IDLE);
        let mut settings = plugins.settings(&redis.url(), "h");
        settings.redis.per_plugin_users = true;
        let host = serve(settings).await;
        Self { redis, plugins, host }
    }

    /// Waits until the hash of settings is this; it must be soon.
    async fn until_published(&self, expected: &[(&str, &str)]) {
        let started = Instant::now();
        let mut plain = self.redis.plain().await;
        loop {
            let mut hash: Vec<(String, String)> = plain.hgetall("site").await.unwrap();
            hash.sort();
            if hash.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected.iter().copied()) {
                return;
            }
            assert!(started.elapsed() < SOON, "the hash is {hash:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The users made by hosts for this plugin.
async fn users(plain: &mut MultiplexedConnection, plugin: &str) -> Vec<String> {
    let all: Vec<String> = redis::cmd("ACL").arg("USERS").query_async(plain).await.unwrap();
    let part = format!(":{plugin}:");
    all.into_iter().filter(|name| name.starts_with("sandhog:") && name.contains(&part)).collect()
}

/// The users of the connections of this name.
async fn connections(plain: &mut MultiplexedConnection, name: &str) -> Vec<String> {
    let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(plain).await.unwrap();
    let field = |line: &str, field: &str| {
        let found = line.split(' ').find_map(|part| part.strip_prefix(field)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let of_name = clients.lines().filter(|line| field(line, "name") == format!("sandhog-{name}"));
    of_name.map(|line| field(line, "user")).collect()
}

/// What Redis has refused, as `what was refused`.
async fn refused(plain: &mut MultiplexedConnection) -> Vec<String> {
    let log: Vec<std::collections::HashMap<String, redis::Value>> =
        redis::cmd("ACL").arg("LOG").query_async(plain).await.unwrap();
    let object = |entry: &std::collections::HashMap<String, redis::Value>| {
        let words = ["username", "object"].map(|word| redis::from_redis_value(entry[word].clone()).unwrap());
        let [user, object]: [String; 2] = words;
        format!("{user} {object}")
    };
    log.iter().map(object).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_as_its_user_and_is_told_of_changes() {
    let site = Site::start(&guests::title(), &["config:title"]).await;
    let mut plain = site.redis.plain().await;
    site.until_published(&[("title", "first")]).await;
    for title in ["second", "third"] {
        let _: () = plain.set("config:title", title).await.unwrap();
        site.until_published(&[("title", title)]).await;
    }
    let made = users(&mut plain, "site").await;
    assert_eq!(made.len(), 1);
    assert_eq!(connections(&mut plain, "config").await, made, "the guest's reads");
    assert_eq!(connections(&mut plain, "config-publish").await, ["default"]);
    assert_eq!(refused(&mut plain).await, [""; 0], "nothing of it needs more than the user has");
    // The reader goes, and its user with it.
    site.plugins.remove("site");
    let _ = site.host.reload().await;
    until("its user is gone", async || users(&mut plain.clone(), "site").await.is_empty()).await;
    assert_eq!(users(&mut plain, "teller").await.len(), 1);
    stop(site.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_travels_as_the_user_and_new_keys_are_found_at_once() {
    let site = Site::start(&guests::listing(), &["config:a", "other:x"]).await;
    let mut plain = site.redis.plain().await;
    site.until_published(&[("config:a", "config:a")]).await;
    let _: () = plain.set("config:b", "x").await.unwrap();
    site.until_published(&[("config:a", "config:a"), ("config:b", "config:b")]).await;
    let made = users(&mut plain, "site").await;
    assert_eq!(connections(&mut plain, "config").await, made);
    // Being told of names below a prefix is the host's own.
    assert_eq!(connections(&mut plain, "config-list").await, ["default"]);
    assert_eq!(refused(&mut plain).await, [""; 0]);
    stop(site.host).await;
    assert_eq!(users(&mut plain, "").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_refuses_what_a_reader_should_not_have_been_granted() {
    let site = Site::start(&guests::title(), &["config:title"]).await;
    let mut plain = site.redis.plain().await;
    site.until_published(&[("title", "first")]).await;
    let made = users(&mut plain, "site").await;
    // As a mistake in the host would have it: its grants cover what the user may not.
    let mut narrow = redis::cmd("ACL");
    narrow
        .arg("SETUSER")
        .arg(&made[0])
        .arg("clearselectors")
        .arg("(+evalsha_ro +getrange +strlen %R~elsewhere)");
    let _: () = narrow.query_async(&mut plain).await.unwrap();
    let _: () = plain.set("config:title", "second").await.unwrap();
    let denied = format!("{} config:title", made[0]);
    until("Redis has refused the read", async || refused(&mut plain.clone()).await.contains(&denied)).await;
    site.until_published(&[("title", "first")]).await;
    // Given back, it follows again.
    let _: () = redis::cmd("ACL").arg("DELUSER").arg(&made[0]).query_async(&mut plain).await.unwrap();
    site.until_published(&[("title", "second")]).await;
    stop(site.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_when_redis_was_started_again() {
    let mut site = Site::start(&guests::title(), &["config:title"]).await;
    site.until_published(&[("title", "first")]).await;
    site.redis.kill();
    site.redis.restart();
    let mut plain = site.redis.plain().await;
    let _: () = plain.set("config:title", "second").await.unwrap();
    site.until_published(&[("title", "second")]).await;
    let made = users(&mut plain, "site").await;
    assert_eq!((made.len(), connections(&mut plain, "config").await), (1, made));
    let _: () = plain.set("config:title", "third").await.unwrap();
    site.until_published(&[("title", "third")]).await;
    stop(site.host).await;
    assert_eq!(users(&mut plain, "").await, [""; 0]);
}

#[tokio::test]
async fn the_printed_line_is_that_of_a_reader() {
    let redis = TestRedis::start();
    let program = Program::alone();
    program.file("plugins/site.toml", SITE);
    let line = String::from_utf8(program.output(&["acl", "site"]).stdout).unwrap();
    let expected = "ACL SETUSER sandhog:site reset on resetkeys resetchannels -@all +client|setname +script|load \
                    +client|tracking +ping \"(+exists +getrange +get +mget +strlen +pttl +evalsha_ro +scan \
                    %R~config:*)\"\n";
    assert_eq!(line.replace('"', ""), expected.replace('"', ""));
    paste(&redis, line.trim_end());
}
