//! A host that starts before its Redis: what it waits for, how long, and what it refuses immediately. A host that starts
//! before its plugins are compiled: `cold`.

mod cold;
mod rights;

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cmd;
use rustix::process::Signal;

use crate::support::guest;
use crate::support::program::{Program, Running, transcript};
use crate::support::redis::TestRedis;
use crate::support::server::{PortServer, balancer};

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"jobs\"\n";
const WAITS: &str = "Redis is not ready: waiting";
const GOES_ON: &str = "Redis is ready: starting";

/// A folder with a worker for `jobs`, and a Redis in its environment.
fn with_a_plugin(url: &str) -> Program {
    let program = Program::with_url(url);
    program.file("plugins/noop.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/noop.toml", MANIFEST);
    program
}

/// Starts a host that has to wait for this cause, applies the remedy, and stops the host.
async fn waits_for(url: &str, cause: &str, remedy: impl AsyncFnOnce()) {
    let program = with_a_plugin(url);
    let mut host = program.start(&["run", "--start-wait", "10m"]);
    host.wait_for(WAITS);
    assert!(host.stderr().contains(cause), "not `{cause}`:\n{}", host.stderr());
    remedy().await;
    host.wait_for("joined");
    let log = host.stderr();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((lines(WAITS), lines(GOES_ON), lines("Redis refuses")), (1, 1, 0), "{log}");
    stop(&mut host);
}

fn stop(host: &mut Running) {
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
}

/// Waits until the server answers a PING with this beginning.
async fn until_ping_answers(redis: &TestRedis, beginning: &str) {
    let begun = Instant::now();
    loop {
        let client = redis::Client::open(redis.url()).unwrap();
        let said = match client.get_connection() {
            Ok(mut connection) => cmd("PING").query::<String>(&mut connection),
            Err(error) => Err(error),
        };
        if said.as_ref().err().and_then(|error| error.code()) == Some(beginning) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not say {beginning}: {said:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn set(plain: &mut MultiplexedConnection, name: &str, value: &str) {
    let _: () = cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(plain).await.unwrap();
}

#[tokio::test]
async fn a_host_waits_for_a_redis_that_starts_late() {
    let mut redis = TestRedis::start();
    redis.kill();
    // The socket file still exists, but nobody listens.
    waits_for(&redis.url(), "Connection refused", async || redis.restart()).await;
}

#[tokio::test]
async fn a_host_waits_for_a_redis_that_loads_its_data() {
    let mut redis = TestRedis::start_with(&["--enable-debug-command", "yes"]);
    let mut plain = redis.plain().await;
    let _: () = cmd("DEBUG").arg("POPULATE").arg(20_000).query_async(&mut plain).await.unwrap();
    let _: () = cmd("SAVE").query_async(&mut plain).await.unwrap();
    redis.kill();
    // Loading takes a minute until the delay is removed; Redis answers in between.
    redis.begin_again(&["--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"]);
    until_ping_answers(&redis, "LOADING").await;
    waits_for(&redis.url(), "LOADING", async || set(&mut redis.plain().await, "key-load-delay", "0").await)
        .await;
}

#[tokio::test]
async fn a_host_waits_for_a_redis_without_enough_replicas() {
    let redis = TestRedis::start_with(&["--min-replicas-to-write", "1"]);
    let remedy = async || set(&mut redis.plain().await, "min-replicas-to-write", "0").await;
    waits_for(&redis.url(), "NOREPLICAS", remedy).await;
}

#[tokio::test]
async fn a_host_waits_for_a_redis_that_runs_a_long_script() {
    let redis = TestRedis::start_with(&["--busy-reply-threshold", "50"]);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut busy = client.get_connection().unwrap();
    let script = std::thread::spawn(move || {
        let ended: Result<(), _> = cmd("EVAL").arg("while true do end").arg(0).query(&mut busy);
        ended.unwrap_err()
    });
    until_ping_answers(&redis, "BUSY").await;
    waits_for(&redis.url(), "BUSY", async || {
        let _: () = cmd("SCRIPT").arg("KILL").query(&mut client.get_connection().unwrap()).unwrap();
    })
    .await;
    script.join().unwrap();
}

#[tokio::test]
async fn a_host_waits_while_its_address_leads_to_a_replica() {
    for stale in ["yes", "no"] {
        let redis = TestRedis::start_with(&["--replica-serve-stale-data", stale]);
        // No server listens at this address, so the link to the primary is down.
        let mut plain = redis.plain().await;
        let _: () = cmd("REPLICAOF").arg("127.0.0.1").arg(1).query_async(&mut plain).await.unwrap();
        let remedy = async || {
            let _: () = cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut plain.clone()).await.unwrap();
        };
        waits_for(&redis.url(), "it is a replica, and a host needs the primary", remedy).await;
    }
}

#[test]
fn a_start_at_a_replica_fails_with_that_reason() {
    for stale in ["yes", "no"] {
        let redis =
            PortServer::start(&["--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", stale]);
        let said = with_a_plugin(&redis.url()).transcript(&["run", "--start-wait", "300ms"]);
        assert!(said.contains("it is a replica, and a host needs the primary"), "{said}");
        assert!(said.contains("hint: this Redis is a replica") && said.contains("exit code 2"), "{said}");
    }
}

#[tokio::test]
async fn a_host_waits_if_only_some_connections_are_cut() {
    // One cut, and cuts of the first connection and of probes.
    for cuts in 1..=4 {
        let server = PortServer::start(&[]);
        let program = with_a_plugin(&balancer(server.port, cuts));
        let mut host = program.start(&["run", "--start-wait", "10m"]);
        host.wait_for("joined");
        assert!(host.stderr().contains(WAITS), "{}", host.stderr());
        stop(&mut host);
    }
}

#[test]
fn a_start_fails_with_the_reason_after_start_wait() {
    let program = with_a_plugin("redis://127.0.0.1:1");
    let output = program.output(&["run", "--start-wait", "300ms"]);
    let said = transcript(&[], &output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.matches(WAITS).count(), 1, "{said}");
    let end = "sandhog: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)\n\
               hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`\n";
    assert!(said.contains(end), "{said}");
    for (text, problem) in [
        ("soon", "--start-wait: is \"soon\", which is not a duration; write a number and a unit"),
        ("30", "--start-wait: is \"30\", which has no unit; write `30s` or `30ms`"),
        ("2days", "--start-wait: is longer than a day"),
        ("-1s", "--start-wait: is \"-1s\", which is negative; write a number and a unit"),
    ] {
        let said = program.transcript(&["run", "--start-wait", text]);
        assert!(said.contains(problem) && said.contains("exit code 2"), "{said}");
    }
}

#[test]
fn a_wrong_plugin_folder_is_refused_before_redis_is_waited_for() {
    let program = Program::with_url("redis://127.0.0.1:1");
    std::fs::create_dir(program.folder().join("empty")).unwrap();
    for (folder, error) in
        [("missing", "missing: cannot read the plugin folder"), ("empty", "no plugins in `empty`")]
    {
        let said = program.transcript(&["run", "--plugins", folder, "--start-wait", "10m"]);
        assert!(said.contains(error) && said.contains("exit code 2") && !said.contains(WAITS), "{said}");
    }
}

#[tokio::test]
async fn permanent_errors_are_refused_immediately() {
    let redis = TestRedis::start();
    let mut acl = cmd("ACL");
    acl.arg("SETUSER").arg("anna").arg(&["on", ">s3cret", "~*", "&*", "+@all"]);
    let _: () = acl.query_async(&mut redis.plain().await).await.unwrap();
    let url = redis.url();
    for (url, reason) in [
        (format!("{url}?user=anna&pass=wrong"), "WRONGPASS"),
        (format!("{url}?db=99"), "DB index is out of range"),
        ("redis://h?foo=bar".to_owned(), "unknown parameter"),
    ] {
        let program = with_a_plugin(&url);
        let output = program.output(&["run", "--start-wait", "10m"]);
        let said = transcript(&[], &output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason) && !said.contains(WAITS), "{said}");
    }
}
