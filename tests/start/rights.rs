//! A host whose Redis user may not run every command, as with some providers: it works, and warns once of each missing
//! command.

use redis::{AsyncCommands as _, cmd};

use super::{stop, with_a_plugin};
use crate::support::host::until;
use crate::support::program::transcript;
use crate::support::redis::TestRedis;

const ALL_KEYS: &str = "~*";
const NEEDED_KEYS: &str = "~jobs ~{jobs}:sandhog:* ~sandhog:*";

/// A server with a user with these rules, and the URL for that user.
async fn server(rules: &str) -> (TestRedis, String) {
    let redis = TestRedis::start();
    let mut acl = cmd("ACL");
    acl.arg("SETUSER").arg("app").arg(&["on", ">pw"]);
    rules.split(' ').fold(&mut acl, |acl, rule| acl.arg(rule));
    let _: () = acl.query_async(&mut redis.plain().await).await.unwrap();
    let url = format!("{}?user=app&pass=pw", redis.url());
    (redis, url)
}

#[tokio::test]
async fn a_host_without_some_commands_works_and_warns_once_of_each() {
    for (rules, missing) in [
        ("+@all -@dangerous", &["INFO", "CONFIG GET", "CLIENT KILL"][..]),
        ("+@all -@admin -@dangerous +info", &["CONFIG GET", "CLIENT KILL"]),
        ("+@all -config", &["CONFIG GET"]),
        ("+@all -client", &["CLIENT TRACKING", "CLIENT KILL"]),
        ("+@all -script", &["SCRIPT LOAD"]),
        (
            "+@all -info -config -client -script",
            &["INFO", "CONFIG GET", "CLIENT TRACKING", "CLIENT KILL", "SCRIPT LOAD"],
        ),
        ("+@all", &[]),
    ] {
        for keys in [ALL_KEYS, NEEDED_KEYS] {
            let (redis, url) = server(&format!("{keys} {rules}")).await;
            let program = with_a_plugin(&url);
            let mut host = program.start(&["run"]);
            host.wait_for("joined");
            let mut plain = redis.plain().await;
            // The second push comes after the host has found the queue empty.
            for number in 1..=2 {
                let _: () = plain.rpush("jobs", vec!["1", "2", "3"]).await.unwrap();
                until(&format!("{rules}, {keys}: the jobs are done"), async || {
                    let done: Option<u64> = plain.hget("{jobs}:sandhog:stats", "completed").await.unwrap();
                    done == Some(3 * number)
                })
                .await;
            }
            stop(&mut host);
            let log = host.stderr();
            let told: Vec<&str> =
                log.lines().filter_map(|line| line.split("Redis refuses `").nth(1)).collect();
            let told: Vec<&str> =
                told.iter().filter_map(|line| line.split("` to this user").next()).collect();
            assert_eq!(told, missing, "{rules}, {keys}:\n{log}");
        }
    }
}

#[tokio::test]
async fn a_user_without_scripts_is_refused_with_a_hint() {
    let (_redis, url) = server("~* +@all -@scripting").await;
    let output = with_a_plugin(&url).output(&["run"]);
    let said = transcript(&[], &output);
    assert!(said.contains("NOPERM") && said.contains("hint: `sandhog acl --host` prints the line"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
}

#[tokio::test]
async fn missing_keys_of_a_queue_are_logged() {
    let (redis, url) = server("~jobs ~sandhog:* +@all").await;
    let program = with_a_plugin(&url);
    let mut host = program.start(&["run"]);
    let _: () = redis.plain().await.rpush("jobs", "1").await.unwrap();
    host.wait_for("NOPERM");
    host.wait_for("needs the keys `jobs`, `{jobs}:sandhog:*` and `sandhog:*`, and the commands that `sandhog acl --host`");
    stop(&mut host);
}

#[tokio::test]
async fn a_user_without_the_keys_of_the_fleet_is_refused_with_the_keys() {
    let (_redis, url) = server("~jobs ~{jobs}:sandhog:* +@all").await;
    let output = with_a_plugin(&url).output(&["run"]);
    let said = transcript(&[], &output);
    let keys = "and the keys `sandhog:*`, `QUEUE` and `{QUEUE}:sandhog:*` for each queue";
    assert!(said.contains("NOPERM") && said.contains(keys) && said.contains("exit code 2"), "{said}");
}

#[tokio::test]
async fn a_flushed_script_is_loaded_again_without_script_load() {
    let (redis, url) = server("~* +@all -script").await;
    let program = with_a_plugin(&url);
    let mut host = program.start(&["run"]);
    host.wait_for("joined");
    let mut plain = redis.plain().await;
    for number in 1..=3_u64 {
        let _: () = cmd("SCRIPT").arg("FLUSH").query_async(&mut plain).await.unwrap();
        let _: () = plain.rpush("jobs", "x").await.unwrap();
        until("the job is done", async || {
            let done: Option<u64> = plain.hget("{jobs}:sandhog:stats", "completed").await.unwrap();
            done == Some(number)
        })
        .await;
    }
    stop(&mut host);
}

#[tokio::test]
async fn a_server_without_the_command_script_is_served_too() {
    let redis = TestRedis::start_with(&["--rename-command", "SCRIPT", ""]);
    let program = with_a_plugin(&redis.url());
    let mut host = program.start(&["run"]);
    host.wait_for("joined");
    let mut plain = redis.plain().await;
    let _: () = plain.rpush("jobs", "x").await.unwrap();
    until("the job is done", async || {
        let done: Option<u64> = plain.hget("{jobs}:sandhog:stats", "completed").await.unwrap();
        done == Some(1)
    })
    .await;
    stop(&mut host);
    assert!(host.stderr().contains("the host loads its scripts with `EVAL_RO`"), "{}", host.stderr());
}
