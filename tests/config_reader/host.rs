//! Config readers beside workers in a whole host: what jobs see, through reloads and broken versions.

use std::collections::BTreeMap;
use std::time::Instant;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;

use super::{SOON, guests};
use crate::support::example;
use crate::support::host::{Plugins, stop, until};
use crate::support::redis::TestRedis;

const TELLER: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"ask\"\n\
                      [grants]\nqueue.push = [\"seen\"]\nconfig = [\"site\"]\n";
const SITE: &str = "kind = \"config-reader\"\n[grants]\nkv.read = [\"config:*\"]\n";

/// What a job sees that is pushed now.
async fn seen(plain: &mut MultiplexedConnection) -> String {
    let _: u64 = plain.rpush("ask", "").await.unwrap();
    let (_, seen): (String, String) = plain.blpop("seen", 10.0).await.unwrap();
    seen
}

/// Pushes jobs until one sees this; it must be soon.
async fn until_seen(plain: &mut MultiplexedConnection, expected: &str) {
    let started = Instant::now();
    loop {
        let now = seen(plain).await;
        if now == expected {
            return;
        }
        assert!(started.elapsed() < SOON, "jobs still see `{now}`, not `{expected}`");
    }
}

async fn host(plugins: &Plugins, redis: &TestRedis) -> (Host, MultiplexedConnection) {
    (plugins.serve(&redis.url(), "h").await, redis.plain().await)
}

/// A host whose jobs see the title that a reader takes from `config:title`: "first".
async fn titled() -> (TestRedis, Plugins, Host, MultiplexedConnection) {
    let redis = TestRedis::start();
    let _: () = redis.plain().await.set("config:title", "first").await.unwrap();
    let plugins =
        Plugins::new().with("site", &guests::title(), SITE).with("teller", &guests::teller(), TELLER);
    let (host, mut plain) = host(&plugins, &redis).await;
    assert_eq!(seen(&mut plain).await, "first");
    (redis, plugins, host, plain)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_job_already_sees_the_settings_and_later_ones_their_changes() {
    let (_redis, _plugins, host, mut plain) = titled().await;
    for title in ["second", "third"] {
        let _: () = plain.set("config:title", title).await.unwrap();
        until_seen(&mut plain, title).await;
    }
    // The reader fails: jobs go on with the last good settings.
    let _: () = plain.del("config:title").await.unwrap();
    let _: () = plain.set("config:other", "x").await.unwrap();
    for _ in 0..20 {
        assert_eq!(seen(&mut plain).await, "third");
    }
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_reader_and_a_changed_one_come_by_reload() {
    let (_redis, plugins, host, mut plain) = titled().await;

    plugins.put("site", b"not a component", SITE);
    let problems = host.reload().await.unwrap_err().to_string();
    assert!(problems.contains("site"), "{problems}");
    let _: () = plain.set("config:title", "second").await.unwrap();
    until_seen(&mut plain, "second").await;

    // A static setting of the worker is replaced by the same reload that takes the grant away.
    plugins.put("site", &guests::title(), SITE);
    plugins.put("teller", &guests::teller(), &format!("{TELLER}[config]\nsize = \"1\"\n"));
    host.reload().await.unwrap();
    assert_eq!(seen(&mut plain).await, "second");
    let without = TELLER.replace("config = [\"site\"]\n", "");
    plugins.put("teller", &guests::teller(), &format!("{without}[config]\n\"site.title\" = \"static\"\n"));
    host.reload().await.unwrap();
    until_seen(&mut plain, "static").await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_reader_whose_first_answer_fails_does_not_take_over() {
    let (_redis, plugins, host, mut plain) = titled().await;
    let version = |host: &Host| host.plugins().into_iter().find(|plugin| plugin.name == "site").unwrap();
    let before = version(&host).release;
    // It may not read what it reads.
    let blind = "kind = \"config-reader\"\n[grants]\nkv.read = [\"nothing:*\"]\n";
    plugins.put("site", &guests::title(), blind);
    let refused = host.reload().await.unwrap_err().to_string();
    assert!(
        refused.contains("gives no settings: ") && refused.contains("the previous version keeps running"),
        "{refused}"
    );
    assert_eq!((version(&host).release, version(&host).refusal.is_some()), (before, true));
    let _: () = plain.set("config:title", "second").await.unwrap();
    until_seen(&mut plain, "second").await;
    plugins.put("site", &guests::title(), &format!("# again\n{SITE}"));
    host.reload().await.unwrap();
    assert_eq!(version(&host).refusal, None);
    let _: () = plain.set("config:title", "third").await.unwrap();
    until_seen(&mut plain, "third").await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_removed_takes_its_settings_with_it() {
    let (_redis, plugins, host, mut plain) = titled().await;
    plugins.remove("site");
    // The grant names nobody now, which is told; the worker goes on.
    let _ = host.reload().await;
    until_seen(&mut plain, "none").await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_reader_follows_keys_and_listings_and_publishes() {
    let redis = TestRedis::start();
    let plugins = Plugins::new().with(
        "site-settings",
        &example::component("site-settings"),
        &example::manifest("site-settings"),
    );
    // A host serves queues; this one has nothing to do.
    let idle = TELLER.replace("config = [\"site\"]\n", "");
    let plugins = plugins.with("teller", &guests::teller(), &idle);
    let (host, mut plain) = host(&plugins, &redis).await;
    let field = async |plain: &mut MultiplexedConnection, name: &str| {
        plain.hget::<_, _, Option<String>>("site-settings", name).await.unwrap()
    };
    until("defaults are published", async || {
        field(&mut plain.clone(), "greeting").await.as_deref() == Some("hello, world")
    })
    .await;
    let started = Instant::now();
    let _: () = plain.set("keyname", "Anna").await.unwrap();
    let _: () = plain.set("config:greeting", "good day").await.unwrap();
    let _: () = plain.set("config:colour", "red").await.unwrap();
    until("the changes are published", async || {
        let plain = &mut plain.clone();
        let greeting = field(plain, "greeting").await;
        greeting.as_deref() == Some("good day, Anna")
            && field(plain, "colour").await.as_deref() == Some("red")
    })
    .await;
    assert!(started.elapsed() < SOON, "changes were found by the slow poll only");
    // A bad value holds back the good one beside it, until it is good as well.
    let pairs = [("config:currency", "nonsense"), ("config:colour", "blue")];
    let _: () = plain.mset(&pairs).await.unwrap();
    let _: () = plain.set("config:currency", "SEK").await.unwrap();
    until("the good settings are published", async || {
        let all: BTreeMap<String, String> = plain.clone().hgetall("site-settings").await.unwrap();
        let (colour, currency) = (all["colour"].as_str(), all["currency"].as_str());
        assert!(colour != "blue" || currency == "SEK", "a bad answer was published: {all:?}");
        colour == "blue"
    })
    .await;
    stop(host).await;
}
