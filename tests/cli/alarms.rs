//! What hosts log as a warning, and what not: an operator who sees false alarms on the first day reads none on the tenth.

use rustix::process::Signal;

use crate::support::guest;
use crate::support::program::{Program, Running};
use crate::support::redis::TestRedis;

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\n";

fn with_plugins(program: &Program, count: usize) {
    for nth in 0..count {
        program.file(&format!("plugins/p{nth}.wasm"), guest::worker("", "", "(i32.const 0)"));
        program.file(&format!("plugins/p{nth}.toml"), MANIFEST.replace("orders", &format!("queue-{nth}")));
    }
}

fn log_of(mut host: Running) -> String {
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    host.stderr()
}

#[test]
fn dev_does_not_warn_about_its_own_redis_and_default_limits() {
    let program = Program::alone();
    with_plugins(&program, 3);
    let mut host = program.start(&["dev"]);
    host.wait_for("all plugins are loaded");
    host.wait_for("Ctrl-C");
    let log = log_of(host);
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn a_redis_that_keeps_nothing_is_a_warning_for_run() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_plugins(&program, 1);
    let mut host = program.start(&["run"]);
    host.wait_for("all plugins are loaded");
    assert!(log_of(host).contains("persistence is off"));
}

#[test]
fn a_host_of_the_fleet_needs_no_plugin_folder() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.file("sandhog.toml", "[plugins]\nsource = \"redis\"\ndir = \"nowhere\"\n");
    let mut host = program.start(&["run"]);
    host.wait_for("waiting for a deploy");
    host.wait_for("joined");
    let log = log_of(host);
    assert!(!log.contains("nowhere"), "{log}");
}

#[test]
fn the_memory_that_guests_can_use_is_told_once_at_the_start() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_plugins(&program, 5);
    let mut host = program.start(&["run"]);
    host.wait_for("all plugins are loaded");
    host.wait_for("so much memory at the most");
    let log = log_of(host);
    assert_eq!(log.matches("so much memory at the most").count(), 1, "{log}");
}

#[test]
fn a_missing_folder_is_one_error_and_no_warning() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let told = program.transcript(&["run", "--plugins", "nope"]);
    assert_eq!(told.matches("nope").count(), 2, "the command line and the error: {told}");
    assert!(told.contains("cannot read the plugin folder") && !told.contains("WARN"), "{told}");
}

#[test]
fn a_broken_file_says_what_is_served_instead() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_plugins(&program, 2);
    let mut host = program.start(&["run"]);
    host.wait_for("all plugins are loaded");
    program.file("plugins/p0.toml", "kind = \"worker\"\n[[consume]]\nqueue = \"queue-0\"\nmax_atempts = 1\n");
    host.signal(Signal::HUP);
    host.wait_for("did you mean `max_attempts`?");
    host.wait_for("the former version is still served, with its manifest");
    log_of(host);
    // After a restart, from what the host has kept.
    let mut host = program.start(&["run"]);
    host.wait_for("the last good version is served with its manifest, because what is offered is refused");
    let log = log_of(host);
    assert!(log.contains("did you mean `max_attempts`?"), "{log}");
    assert!(!log.contains("plugin was loaded plugin=\"p0\""), "{log}");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_refused_unless_the_host_keeps_nothing() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_plugins(&program, 1);
    program.file("state", "a file");
    program.file("sandhog.toml", "[host]\nstate_dir = \"state\"\n");
    let told = program.transcript(&["run"]);
    assert!(told.contains("sandhog: cannot write to `state_dir` (`"), "{told}");
    assert!(told.contains("set `host.stateless = true`") && told.ends_with("--- exit code 2\n"), "{told}");
    program.file("sandhog.toml", "[host]\nstate_dir = \"state\"\nstateless = true\n");
    let mut host = program.start(&["run"]);
    host.wait_for("all plugins are loaded");
    let log = log_of(host);
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.iter().all(|line| line.contains("persistence is off")), "{warnings:?}");
    assert_eq!(std::fs::read_to_string(program.folder().join("state")).unwrap(), "a file");
}

#[test]
fn on_a_terminal_log_lines_are_short() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_plugins(&program, 1);
    let told = program.on_terminal(&["run", "--redis", "redis://127.0.0.1:1", "--start-wait", "1s"]);
    let plain = anstream::adapter::strip_str(&told).to_string();
    let line = plain.lines().find(|line| line.contains("WARN") || line.contains("INFO")).unwrap();
    let time = line.split_whitespace().next().unwrap();
    assert!(time.len() == 8 && time.matches(':').count() == 2, "the time of day: {line}");
    assert!(!line.contains("sandhog::"), "no target: {line}");
}
