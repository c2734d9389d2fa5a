//! The host's own user: the printed line is sufficient for whole hosts, and contains every command that they send.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use redis::{AsyncCommands as _, Value, cmd};
use rustix::process::Signal;

use super::paste;
use crate::support::host::until;
use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::{example, guest};

const SETTINGS: &str = "[host]\nname = \"h\"\nlease = \"2s\"\nreap_every = \"200ms\"\n\
                        [[schedule]]\nname = \"tick\"\nqueue = \"ticks\"\nevery = \"1s\"\n";

/// A folder with the examples and these settings.
fn examples(url: &str, settings: &str) -> Program {
    let program = Program::with_url(url);
    for name in ["orders", "site-settings"] {
        program.file(&format!("plugins/{name}.wasm"), example::component(name));
        program.file(&format!("plugins/{name}.toml"), example::manifest(name));
    }
    program.file("sandhog.toml", settings);
    program
}

fn line(program: &Program) -> String {
    String::from_utf8(program.output(&["acl", "--host"]).stdout).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn a_host_with_only_the_printed_rights_runs_the_examples() {
    for (per_plugin_users, database) in [(false, 0), (true, 0), (false, 3)] {
        let redis = TestRedis::start();
        let settings = format!("[redis]\nper_plugin_users = {per_plugin_users}\n{SETTINGS}");
        let url = format!("{}?db={database}&user=app&pass=s3cret", redis.url());
        let program = examples(&url, &settings);
        let line = line(&program);
        assert!(line.starts_with("ACL SETUSER app reset on resetkeys resetchannels -@all +"), "{line}");
        assert!(line.contains(" ~orders ") && line.contains(" ~{orders}:sandhog:*"), "{line}");
        assert_eq!(line.contains("+acl|setuser"), per_plugin_users, "{line}");
        paste(&redis, &line);
        let mut plain = redis.plain().await;
        let _: () = cmd("SELECT").arg(database).query_async(&mut plain).await.unwrap();
        let _: () = plain.set("keyname", "ada").await.unwrap();
        // The first process is killed, so that its successor reclaims jobs.
        let mut first = program.start(&["run"]);
        first.wait_for("joined");
        first.signal(Signal::KILL);
        first.wait();
        let mut host = program.start(&["run"]);
        host.wait_for("joined");
        for number in 0..20 {
            let order = format!("{{\"id\": \"A-{number}\", \"customer\": \"ada\", \"amount_cents\": 5}}");
            let _: () = plain.rpush("orders", order).await.unwrap();
        }
        let _: () = plain.rpush("orders", "not an order").await.unwrap();
        until("the orders are booked", async || plain.llen::<_, u64>("receipts").await.unwrap() == 20).await;
        until("the invalid order is dead or waits", async || {
            let dead: u64 = plain.zcard("{orders}:sandhog:dead").await.unwrap();
            let delayed: u64 = plain.zcard("{orders}:sandhog:delayed").await.unwrap();
            dead + delayed == 1
        })
        .await;
        until("the settings are published", async || plain.exists("site-settings").await.unwrap()).await;
        until("the schedule has fired", async || {
            let fired: (u64, u64) =
                (plain.llen("ticks").await.unwrap(), plain.llen("{ticks}:sandhog:ready").await.unwrap());
            fired.0 + fired.1 > 0
        })
        .await;
        host.signal(Signal::TERM);
        assert_eq!(host.wait(), Some(0), "{}", host.stderr());
        let denied: Vec<BTreeMap<String, Value>> =
            cmd("ACL").arg("LOG").query_async(&mut plain).await.unwrap();
        // The client library sends its name, and continues if that is refused.
        let is_ours = |entry: &&BTreeMap<String, Value>| {
            let told = |name: &str| entry.get(name).map(|value| format!("{value:?}")).unwrap_or_default();
            told("username").contains("\"app\"") && !told("object").contains("client|setinfo")
        };
        let denied: Vec<_> = denied.iter().filter(is_ours).collect();
        assert!(denied.is_empty(), "{denied:#?}\n{line}\n{}", host.stderr());
        assert!(
            !host.stderr().contains("NOPERM") && !host.stderr().contains("Redis refuses"),
            "{}",
            host.stderr()
        );
    }
}

const PATTERNS: [&str; 4] = ["kv.read", "kv.write", "queue.push", "queue.pop"];

/// A folder with a worker for `jobs` with these grants, and a second plugin with further grants.
fn granted(url: &str, settings: &str, grants: &str) -> Program {
    let program = Program::with_url(url);
    for (name, queue, grants) in [("all", "jobs", grants), ("other", "others", "kv.read = [\"r:*\"]")] {
        program.file(&format!("plugins/{name}.wasm"), guest::worker("", "", "(i32.const 0)"));
        let manifest = format!("kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\n[grants]\n{grants}\n");
        program.file(&format!("plugins/{name}.toml"), manifest);
    }
    program.file("sandhog.toml", settings);
    program
}

#[tokio::test]
async fn redis_takes_the_line_whatever_is_granted_with_a_star() {
    let redis = TestRedis::start();
    for kind in PATTERNS {
        for more in ["", ", \"r:*\""] {
            let grants = format!("{kind} = [\"*\"{more}]");
            for per_plugin_users in [false, true] {
                let settings = format!("[redis]\nper_plugin_users = {per_plugin_users}\n");
                let program = granted(&format!("{}?user=app&pass=s3cret", redis.url()), &settings, &grants);
                let line = line(&program);
                assert!(line.ends_with(" ~*"), "{line}");
                paste(&redis, &line);
                let of_plugin = String::from_utf8(program.output(&["acl", "all"]).stdout).unwrap();
                paste(&redis, of_plugin.trim_end());
            }
        }
    }
}

#[tokio::test]
async fn a_host_whose_plugins_may_use_every_key_starts_with_the_printed_rights() {
    for per_plugin_users in [false, true] {
        let redis = TestRedis::start();
        let settings = format!("[redis]\nper_plugin_users = {per_plugin_users}\n");
        let all = PATTERNS.map(|kind| format!("{kind} = [\"*\"]")).join("\n");
        let program = granted(&format!("{}?user=app&pass=s3cret", redis.url()), &settings, &all);
        paste(&redis, &line(&program));
        completes_a_job(&redis, &program, "jobs").await;
    }
}

#[tokio::test]
async fn the_printed_rights_without_script_load_are_enough() {
    let redis = TestRedis::start();
    let program = granted(&format!("{}?user=app&pass=s3cret", redis.url()), "", "kv.read = [\"s:*\"]");
    paste(&redis, &format!("{} -script|load", line(&program)));
    let log = completes_a_job(&redis, &program, "jobs").await;
    assert!(
        log.contains("Redis refuses `SCRIPT LOAD` to this user: the host loads its scripts with `EVAL_RO`"),
        "{log}"
    );
    assert!(!log.contains("NOPERM"), "{log}");
}

/// Runs a host until it has completed a job of this queue. Returns its log.
async fn completes_a_job(redis: &TestRedis, program: &Program, queue: &str) -> String {
    let mut host = program.start(&["run"]);
    host.wait_for("joined");
    let mut plain = redis.plain().await;
    let _: () = plain.rpush(queue, "x").await.unwrap();
    until("the job is completed", async || {
        let done: Option<u64> = plain.hget(format!("{{{queue}}}:sandhog:stats"), "completed").await.unwrap();
        done == Some(1)
    })
    .await;
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    host.stderr()
}

#[test]
fn all_keys_are_allowed_if_the_plugins_are_unknown() {
    let program = Program::alone();
    program.file("sandhog.toml", "[plugins]\nsource = \"redis\"\n");
    let output = program.output(&["acl", "--host"]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("ACL SETUSER sandhog-host reset on ") && line.ends_with(" ~*\n"), "{line}");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("note: the plugins are not known here, so the line allows all keys"), "{notes}");
}

#[test]
fn a_plugin_folder_that_is_missing_empty_or_invalid_allows_no_keys() {
    let program = Program::alone();
    for flags in [&["acl", "--host"][..], &["acl", "--host", "--plugins", "missing"]] {
        let said = program.transcript(flags);
        assert!(said.contains("sandhog: no plugins in `") && said.contains("exit code 2"), "{said}");
        assert!(!said.contains("ACL SETUSER"), "{said}");
    }
    program.file("plugins/broken.toml", "kind = 1\n");
    program.file("plugins/broken.wasm", "");
    program.file("sandhog.toml", "");
    let said = program.transcript(&["acl", "--host"]);
    assert!(said.contains("plugins/broken.toml:1: `kind` must be") && said.contains("exit code 2"), "{said}");
}

/// Commands in scripts and in the host's code, by their names in the source.
#[tokio::test]
async fn every_command_that_a_host_sends_is_in_the_line() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let known: Vec<String> = cmd("COMMAND").arg("LIST").query_async(&mut plain).await.unwrap();
    let known: BTreeSet<String> = known.iter().map(|name| name.to_ascii_uppercase()).collect();
    let mut sent = BTreeSet::new();
    for (file, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("host")) {
        // Commands that only operators and benchmarks send are excluded. A part of a script ends where its string does.
        let is_hosts = !file.components().any(|part| part.as_os_str() == "cli");
        let quote = if file.extension().is_some_and(|ending| ending == "lua") { "'" } else { "cmd(\"" };
        for after in text.split(quote).skip(1).filter(|_| is_hosts) {
            let word: String = after.chars().take_while(char::is_ascii_uppercase).collect();
            if known.contains(&word) && matches!(after[word.len()..].chars().next(), None | Some('"')) {
                sent.insert(word.to_ascii_lowercase());
            }
        }
    }
    assert!(sent.len() > 40 && sent.contains("zadd") && sent.contains("script"), "{sent:?}");
    let program = Program::alone();
    program.file(
        "sandhog.toml",
        "[redis]\nurl = \"redis://h/1\"\nper_plugin_users = true\n[plugins]\nsource = \"redis\"\n",
    );
    let line = line(&program);
    let allowed: BTreeSet<&str> = line
        .split(' ')
        .filter_map(|rule| rule.strip_prefix('+'))
        .map(|rule| rule.split('|').next().unwrap_or_default())
        .collect();
    // `HELLO` needs no right.
    let is_lacking = |name: &&String| !allowed.contains(name.as_str()) && name.as_str() != "hello";
    let lacking: Vec<&String> = sent.iter().filter(is_lacking).collect();
    assert!(lacking.is_empty(), "add to host/capability/acl/host.rs: {lacking:?}");
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}
