//! The log of a host that cannot reach Redis: it has the cause once, not a line for each attempt.

use std::os::unix::net::UnixListener;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, cmd};

use crate::support::example;
use crate::support::host::{Plugins, until};
use crate::support::process::{HostProcess, SETTINGS};
use crate::support::redis::TestRedis;

const UNREACHABLE: &str = "cannot reach Redis; trying again";
const BACK: &str = "Redis is back";

const GREETER: &str = r#"
kind = "worker"
[[consume]]
queue = "names"
[grants]
kv.write = ["greeted:*"]
queue.push = ["greetings"]
"#;

fn plugins() -> Plugins {
    Plugins::new().with("greeter", &example::component("greeter"), GREETER)
}

/// A host that has run a job, so all of its links have been connected.
async fn busy(plugins: &Plugins, redis: &TestRedis, plain: &mut MultiplexedConnection) -> HostProcess {
    let host = HostProcess::start(plugins, &redis.url(), "h", plain).await;
    let _: u64 = plain.rpush("names", "ada").await.unwrap();
    until("a job is done", async || plain.llen::<_, u64>("greetings").await.unwrap() > 0).await;
    host
}

fn times(host: &HostProcess, text: &str) -> usize {
    host.log().matches(text).count()
}

/// A number of the section of INFO.
async fn figure(plain: &mut MultiplexedConnection, section: &str, name: &str) -> u64 {
    let info: String = cmd("INFO").arg(section).query_async(plain).await.unwrap();
    let found = info.lines().find_map(|line| line.strip_prefix(name));
    found.map_or(0, |number| number.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_logged_once_with_its_cause_and_again_when_the_cause_changes() {
    let plugins = plugins();
    let mut redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = busy(&plugins, &redis, &mut plain).await;
    assert_eq!(times(&host, BACK), 0, "the first connection is no return\n{}", host.log());
    redis.kill();
    until("it is logged", async || host.log().contains("Connection refused")).await;
    assert!(host.log().contains("start a Redis there"), "{}", host.log());
    // A connection that was under way while Redis ended was closed before others were refused.
    let before = times(&host, UNREACHABLE);
    assert!(before <= 2, "{}", host.log());
    // Like a proxy whose server is away.
    std::fs::remove_file(redis.socket()).unwrap();
    let proxy = UnixListener::bind(redis.socket()).unwrap();
    proxy.set_nonblocking(true).unwrap();
    let mut attempts = 0;
    until("it has tried many times", async || {
        while proxy.accept().is_ok() {
            attempts += 1;
        }
        attempts >= 20
    })
    .await;
    until("the new cause is logged", async || times(&host, UNREACHABLE) == before + 1).await;
    assert!(host.log().contains("closed the connection"), "{}", host.log());
    drop(proxy);
    std::fs::remove_file(redis.socket()).unwrap();
    redis.restart();
    until("it is connected again", async || times(&host, BACK) > 0).await;
    let mut plain = redis.plain().await;
    let _: u64 = plain.rpush("names", "bob").await.unwrap();
    until("it works", async || plain.llen::<_, u64>("greetings").await.unwrap() > 0).await;
    let log = host.log();
    // For a moment, the socket file may be missing after the proxy has gone.
    assert!((before + 1..=before + 2).contains(&times(&host, UNREACHABLE)), "{log}");
    assert_eq!(times(&host, BACK), 1, "{log}");
    assert_eq!(times(&host, "Redis was restarted or replaced"), 1, "{log}");
    assert!(times(&host, "lost the connection to Redis") <= 1, "{log}");
    assert_eq!(times(&host, "could not publish"), 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_loaded_while_redis_is_away_is_served_when_it_is_back() {
    let plugins = plugins();
    let mut redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = busy(&plugins, &redis, &mut plain).await;
    redis.kill();
    until("it is logged", async || times(&host, UNREACHABLE) > 0).await;
    plugins.put("other", &example::component("greeter"), &GREETER.replace("\"names\"", "\"others\""));
    until("it is loaded", async || times(&host, "plugin was loaded") == 2).await;
    redis.restart();
    let mut plain = redis.plain().await;
    let _: u64 = plain.rpush("others", "bob").await.unwrap();
    until("its job is claimed", async || plain.llen::<_, u64>("others").await.unwrap() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_changed_is_named_with_the_remedy() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let host = busy(&plugins, &redis, &mut plain).await;
    let set = async |plain: &mut MultiplexedConnection, password: &str| {
        let mut set = cmd("CONFIG");
        let _: () = set.arg("SET").arg("requirepass").arg(password).query_async(plain).await.unwrap();
    };
    set(&mut plain, "new").await;
    let mut kill = cmd("CLIENT");
    let _: u64 = kill.arg("KILL").arg("TYPE").arg("normal").query_async(&mut plain).await.unwrap();
    until("it is logged", async || times(&host, UNREACHABLE) > 0).await;
    assert!(host.log().contains("NOAUTH"), "{}", host.log());
    assert!(host.log().contains("this Redis requires a password"), "{}", host.log());
    set(&mut plain, "").await;
    until("it is connected again", async || times(&host, BACK) > 0).await;
    assert_eq!(times(&host, UNREACHABLE), 1, "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_still_loads_its_data_is_not_back() {
    let plugins = plugins();
    let mut redis = TestRedis::start_with(&["--enable-debug-command", "yes"]);
    let mut plain = redis.plain().await;
    let host = busy(&plugins, &redis, &mut plain).await;
    let _: () = cmd("DEBUG").arg("POPULATE").arg(20_000).query_async(&mut plain).await.unwrap();
    let _: () = cmd("SAVE").query_async(&mut plain).await.unwrap();
    redis.kill();
    // Loading takes a minute until the delay is removed; Redis answers in between.
    redis.begin_again(&["--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"]);
    until("the cause is logged", async || host.log().contains("LOADING")).await;
    assert_eq!(times(&host, BACK), 0, "{}", host.log());
    let mut set = cmd("CONFIG");
    set.arg("SET").arg("key-load-delay").arg("0");
    let _: () = set.query_async(&mut redis.plain().await).await.unwrap();
    until("it is connected again", async || times(&host, BACK) == 1).await;
    assert!(times(&host, UNREACHABLE) <= 2, "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_that_redis_closes_are_replaced_without_a_warning() {
    let (redis, plugins) = (TestRedis::start_with(&["--timeout", "1"]), plugins());
    let mut plain = redis.plain().await;
    // The host renews its lease and polls for dead hosts less often than Redis closes idle connections.
    let settings = SETTINGS.replace("\"2s\"", "\"60s\"").replace("200ms", "60s");
    let host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, &settings).await;
    let name = "total_connections_received:";
    let before = figure(&mut plain, "stats", name).await;
    until("connections were closed", async || figure(&mut plain, "stats", name).await >= before + 4).await;
    for text in ["lost the connection", UNREACHABLE, BACK] {
        assert_eq!(times(&host, text), 0, "{}", host.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_lasts_is_not_logged_each_second() {
    let (redis, plugins) = (TestRedis::start(), plugins());
    let mut plain = redis.plain().await;
    let host = busy(&plugins, &redis, &mut plain).await;
    let mut acl = cmd("ACL");
    acl.arg("SETUSER").arg("default").arg("resetkeys").arg("~sandhog:*").arg("~names");
    let _: () = acl.query_async(&mut plain).await.unwrap();
    let _: u64 = plain.rpush("names", "bob").await.unwrap();
    until("it was refused many times", async || {
        let name = "errorstat_NOPERM:count=";
        figure(&mut plain, "errorstats", name).await >= 8 && times(&host, "Redis refuses") > 0
    })
    .await;
    assert!(times(&host, "Redis refuses") <= 3, "{}", host.log());
}
