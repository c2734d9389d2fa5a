//! Names that people mistype or shorten: commands, queues, plugins and ids; and tables that show them on narrow terminals.

use redis::Commands as _;
use rustix::process::Signal;
use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::{example, guest};

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\n";
const IDS: [&str; 3] =
    ["web-1.0000000a.0199aa5b1c00-17", "web-1.0000000a.0199aa5b1c00-18", "worker-9.0000000b.0199aa5b1c00-1"];

fn connect(redis: &TestRedis) -> redis::Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// Delayed jobs with these ids.
fn delay(program: &Program, ids: &[&str]) {
    for id in ids {
        let payload = format!("{{\"customer\": \"ada lovelace\", \"of\": \"{id}\"}}");
        program.json(&["push", "orders", &payload, "--delay", "1h", "--id", id]);
    }
}

fn stderr(program: &Program, arguments: &[&str]) -> String {
    String::from_utf8(program.output(arguments).stderr).unwrap()
}

#[test]
fn a_mistyped_command_gets_the_nearest_one() {
    let program = Program::alone();
    for (arguments, hint) in [
        (&["nwe"][..], "did you mean `sandhog new`?"),
        (&["jobs", "lst", "orders"], "did you mean `sandhog jobs list`?"),
        (&["plugins", "puase"], "did you mean `sandhog plugins pause`?"),
        (&["metrics"], "`sandhog --help` lists the commands"),
    ] {
        let told = stderr(&program, arguments);
        assert!(told.ends_with(&format!("hint: {hint}\n")), "{arguments:?}: {told}");
    }
}

#[test]
fn help_names_a_subcommand_and_lists_its_own_options_first() {
    let program = Program::alone();
    let help = |arguments: &[&str]| String::from_utf8(program.output(arguments).stdout).unwrap();
    assert_eq!(help(&["help", "queues"]), help(&["queues", "--help"]));
    assert_eq!(help(&["help", "jobs", "list"]), help(&["jobs", "list", "--help"]));
    let told = help(&["help", "queues"]);
    let at = |text: &str| told.find(text).unwrap_or_else(|| panic!("no `{text}` in:\n{told}"));
    assert!(at("--watch") < at("Global options:") && at("Global options:") < at("--redis <URL>"), "{told}");
}

#[test]
fn queues_that_nobody_serves_are_questioned_with_the_nearest_name() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let _: u64 = connect(&redis).sadd("sandhog:queues", "orders").unwrap();
    let question = "no host has served the queue `oders`; did you mean `orders`?\n";
    for arguments in [
        &["queues", "oders"][..],
        &["jobs", "list", "oders"],
        &["push", "oders", "x"],
        &["schedule", "add", "nightly", "--queue", "oders", "--every", "1h"],
    ] {
        let told = stderr(&program, arguments);
        assert!(told.contains(question), "{arguments:?}: {told}");
    }
    assert_eq!(stderr(&program, &["push", "orders", "x"]), "");
    assert_eq!(
        stderr(&program, &["queues", "quite-another"]),
        "no host has served the queue `quite-another`\n"
    );
}

#[test]
fn plugins_that_nobody_serves_are_questioned_with_the_nearest_name() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.file("plugins/mailer.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/mailer.toml", MANIFEST);
    let mut host = program.start(&["run"]);
    host.wait_for("all plugins are loaded");
    for arguments in
        [&["plugins", "pause", "maler"][..], &["plugins", "resume", "maler"], &["rollback", "maler"]]
    {
        let told = stderr(&program, arguments);
        assert!(told.contains("did you mean `mailer`?"), "{arguments:?}: {told}");
    }
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0));
}

#[test]
fn a_job_is_named_by_a_part_of_its_id() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    delay(&program, &IDS);
    let shown = |id: &str| program.json(&["jobs", "show", "orders", id])["id"].clone();
    assert_eq!(shown(IDS[0]), json!(IDS[0]));
    assert_eq!(shown("worker"), json!(IDS[2]), "a beginning that only one id has");
    assert_eq!(shown("web-1…c00-18"), json!(IDS[1]));
    assert_eq!(shown("web-1...c00-18"), json!(IDS[1]), "as people type it");
    let told = stderr(&program, &["jobs", "show", "orders", "web"]);
    assert!(told.contains("2 jobs have an id like `web…`") && told.contains(IDS[1]), "{told}");
    let told = stderr(&program, &["jobs", "discard", "orders", "web-1…nothing"]);
    assert!(told.contains("there is no job `web-1…nothing` in queue `orders`"), "{told}");
    program.output(&["jobs", "discard", "orders", "web-1…c00-17"]);
    program.output(&["jobs", "cancel", "orders", "worke…c00-1"]);
    let left = program.json(&["jobs", "list", "orders"]);
    assert_eq!(left["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(left["jobs"][0]["id"], IDS[1]);
    // A beginning alone changes nothing: it may fit a job that comes later.
    program.output(&["jobs", "discard", "orders", "web"]);
    assert_eq!(program.json(&["jobs", "list", "orders"])["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn tables_fit_the_terminal_unless_they_are_to_be_wide() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.file("plugins/noop.wasm", example::component("noop"));
    program
        .file("plugins/noop.toml", MANIFEST.replace("orders", "a-queue-with-a-rather-long-name-of-its-own"));
    let mut host = program.start(&["run", "--name", "a-host-with-a-rather-long-name"]);
    host.wait_for("all plugins are loaded");
    delay(&program, &IDS);
    let widest = |told: &str| told.lines().map(|line| line.trim_end().width()).max().unwrap_or(0);
    for columns in [80, 100, 120] {
        for arguments in [&["jobs", "list", "orders"][..], &["hosts"], &["queues"], &["plugins"]] {
            let told = program.on_terminal_of(columns, arguments);
            let plain = anstream::adapter::strip_str(&told).to_string();
            assert!(widest(&plain) <= columns, "{arguments:?} on {columns} columns:\n{plain}");
        }
    }
    let told = program.on_terminal_of(80, &["jobs", "list", "orders"]);
    assert!(told.contains("web-1…c00-17") && told.contains('…'), "{told}");
    let told = program.on_terminal_of(80, &["jobs", "list", "orders", "--wide"]);
    assert!(told.contains(IDS[0]), "{told}");
    let piped = String::from_utf8(program.output(&["jobs", "list", "orders"]).stdout).unwrap();
    assert!(piped.contains(IDS[0]), "programs get whole cells: {piped}");
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0));
}

#[test]
fn queues_are_watched_until_a_signal() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let _: u64 = connect(&redis).sadd("sandhog:queues", "orders").unwrap();
    let mut watching = program.start(&["queues", "--watch"]);
    watching.wait_for("orders        0");
    let _: u64 = connect(&redis).rpush("orders", "x").unwrap();
    watching.wait_for("orders        1");
    watching.signal(Signal::INT);
    assert_eq!(watching.wait(), Some(0), "{}", watching.stderr());
}
