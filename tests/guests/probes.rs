//! `probe`, `wasi-probe` and `std-probe`: that they report what happens, so that other tests can rely on them.

use redis::AsyncCommands as _;
use sandhog::sandbox::{Outcome, Terms, Version};

use super::INITIAL_MEMORY;
use crate::support::example;
use crate::support::guest::{all_grants, context, job, sandbox, terms};
use crate::support::log::capture;
use crate::support::redis::TestRedis;

fn version(name: &str) -> Version {
    sandbox().load(Terms { grants: all_grants(), ..terms() }, &example::component(name)).unwrap()
}

/// Runs a script; answers how it ended and what was pushed to `probe-results`.
async fn results(redis: &TestRedis, name: &str, script: &str) -> (Outcome, Vec<String>) {
    let report = version(name).run_job(job(script.as_bytes()), &context(redis.link())).await;
    let lines = redis.plain().await.lrange("probe-results", 0, -1).await.unwrap();
    (report.outcome, lines)
}

#[tokio::test]
async fn a_script_reports_each_call() {
    let redis = TestRedis::start();
    let script = "
        # every line a call
        kv.set greeting hello
        kv.get greeting
        kv.get nothing
        kv.set-with greeting hex:00ff if=absent
        kv.get secret:sandhog:x
        repeat 3 kv.increment n 2
        queue.push-many other a hex: b
        queue.peek other 9
        queue.push-with fresh c unique=u
        queue.push-with fresh c unique=u
        echo-to copy
        if-attempt 2 trap
        memory
        counter
        end
        the rest";
    let (outcome, lines) = results(&redis, "probe", script).await;
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(
        lines,
        [
            "kv.set: ok",
            "kv.get: ok some \"hello\"",
            "kv.get: ok none",
            "kv.set-with: ok false",
            "kv.get: err denied \"secret:sandhog:x\"",
            "repeat: 1 x ok 2, 1 x ok 4, 1 x ok 6",
            "queue.push-many: ok 3",
            "queue.peek: ok [\"a\", \"\", \"b\"]",
            "queue.push-with: ok pushed 1",
            "queue.push-with: ok duplicate",
            "echo-to: ok",
            "memory: ok 4",
            "counter: ok 1",
        ]
    );
    assert_eq!(redis.plain().await.get::<_, String>("copy").await.unwrap(), "        the rest");
}

#[tokio::test]
async fn results_before_a_trap_are_seen() {
    let redis = TestRedis::start();
    let (outcome, lines) = results(&redis, "probe", "kv.exists a\ntrap\nkv.exists b").await;
    assert_eq!(outcome.kind(), "trapped");
    assert_eq!(lines, ["kv.exists: ok false"]);
}

#[tokio::test]
async fn a_script_ends_as_it_says() {
    let redis = TestRedis::start();
    for (script, expected) in [
        ("done\ntrap", Outcome::Done),
        ("report none\nmemory\nbury $results", Outcome::Buried("memory: ok 4".into())),
        ("discard enough", Outcome::Discarded("enough".into())),
        (
            "retry busy 1500",
            Outcome::Retry { reason: "busy".into(), after: Some(std::time::Duration::from_millis(1500)) },
        ),
    ] {
        assert_eq!(results(&redis, "probe", script).await, (expected, vec![]), "{script}");
    }
}

#[tokio::test]
async fn memory_grows_only_when_the_initial_one_is_used_up() {
    let redis = TestRedis::start();
    let probe = version("probe");
    for (script, grows) in [("kv.set a rep:100000:61\nkv.get a", false), ("grow 4", true)] {
        let report = probe.run_job(job(script.as_bytes()), &context(redis.link())).await;
        assert_eq!(report.outcome, Outcome::Done, "{script}");
        assert_eq!(
            report.memory_peak_bytes > INITIAL_MEMORY,
            grows,
            "{script}: {}",
            report.memory_peak_bytes
        );
    }
    // What is freed is used again: 2,000 values of 1,000 bytes, one after the other.
    let report = probe.run_job(job(b"repeat 2000 kv.set a rep:1000:61"), &context(redis.link())).await;
    assert_eq!((report.outcome, report.memory_peak_bytes), (Outcome::Done, INITIAL_MEMORY));
}

#[tokio::test]
async fn wasi_is_there_for_who_imports_it_and_empty() {
    let redis = TestRedis::start();
    let script = "clock\nrandom\nsleep 1\nprint a line\ncomplain\nenvironment\nfolders";
    let (outcome, lines) = results(&redis, "wasi-probe", script).await;
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(
        lines,
        [
            "clock: ok true",
            "random: ok true",
            "sleep: ok",
            "print: ok 7",
            "complain: ok 1",
            "environment: ok 0",
            "folders: ok 0"
        ]
    );
}

#[tokio::test]
async fn a_component_of_std_for_wasip2_runs_as_it_is_and_is_denied_the_machine() {
    let redis = TestRedis::start();
    // What a guest must not reach is there: a file, a server on this machine.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let log = capture();
    let script = format!(
        "print all is well\ncomplain \u{1b}[31mred\nread /etc/hostname\nread Cargo.toml\nwrite /tmp/mine\nlist /\n\
         environment\narguments\ninput\nconnect {address}\nlisten 127.0.0.1:0\ndatagram 127.0.0.1:0\n\
         resolve localhost:80\nclock\nhash x\nsleep 1"
    );
    let (outcome, lines) = results(&redis, "std-probe", &script).await;
    assert_eq!(outcome, Outcome::Done);
    insta::assert_snapshot!(lines.join("\n"), @r#"
    print: ok
    complain: ok
    read: failed to find a pre-opened file descriptor through which "/etc/hostname" could be opened
    read: failed to find a pre-opened file descriptor through which "Cargo.toml" could be opened
    write: failed to find a pre-opened file descriptor through which "/tmp/mine" could be opened
    list: failed to find a pre-opened file descriptor through which "/" could be opened
    environment: ok 0
    arguments: ok 0
    input: ok 0
    connect: Permission denied (os error 2)
    listen: Permission denied (os error 2)
    datagram: Permission denied (os error 2)
    resolve: failed to lookup address information: Non-recoverable error
    clock: ok true
    hash: ok 1
    sleep: ok
    "#);
    let logged = log.guest_lines();
    let ends = [r#"context="stdout" text="all is well""#, r#"context="stderr" text="\\u{1b}[31mred""#];
    assert_eq!(logged.len(), ends.len(), "{logged:?}");
    assert!(logged.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{logged:?}");
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody has connected");
    let (outcome, _) = results(&redis, "std-probe", "exit 3").await;
    assert_eq!(outcome.reason(), "trapped: the guest called exit(1)");
}
