//! invoke --watch: which changes run again, what is broken meanwhile, and that its end leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::program::{Program, Running};
use crate::support::{example, guest};

/// How long it may take until something is gone.
const PATIENCE: Duration = Duration::from_secs(30);

fn order(cents: u32) -> String {
    format!(r#"{{"id":"A-1","customer":"ada","amount_cents":{cents}}}"#)
}

fn before(cents: u32) -> String {
    format!("[before]\n\"total:ada\" = \"{cents}\"\n")
}

/// The example with its files, and a folder for what is only there for a while.
fn program() -> Program {
    let program = Program::alone();
    program.file("orders.wasm", example::component("orders"));
    program.file("orders.toml", example::manifest("orders"));
    program.file("order.json", order(5));
    program.file("before.toml", before(1));
    std::fs::create_dir(program.folder().join("tmp")).unwrap();
    program
}

const WATCH: &[&str] =
    &["invoke", "orders.wasm", "--payload-file", "order.json", "--before", "before.toml", "--watch"];

fn start(program: &Program, arguments: &[&str]) -> Running {
    let mut command = program.command(arguments);
    command.env("TMPDIR", program.folder().join("tmp"));
    program.start_command(command)
}

/// Processes that this one has started.
fn children(id: u32) -> Vec<String> {
    let told = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    told.split_whitespace().map(str::to_owned).collect()
}

/// Neither a process nor a file is there any more.
#[track_caller]
fn is_clean(program: &Program, children: &[String]) {
    let started = Instant::now();
    while children.iter().any(|child| Path::new("/proc").join(child).exists()) {
        assert!(started.elapsed() < PATIENCE, "{children:?}: not all have gone");
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = std::fs::read_dir(program.folder().join("tmp")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_change_of_each_file_runs_it_again() {
    let program = program();
    let mut running = start(&program, WATCH);
    running.wait_for(
        "waiting for changes of orders.wasm, orders.toml, order.json, before.toml; Ctrl-C ends it\n",
    );
    running.wait_for("1 → 6");
    assert!(running.stdout().contains(" to compile, "), "{}", running.stdout());
    program.file("order.json", order(6));
    running.wait_for("--- changed: order.json\n");
    running.wait_for("1 → 7");
    let again = running.stdout().split("--- changed").nth(1).map(str::to_owned);
    assert!(again.is_some_and(|told| told.contains(" to take from the cache, ")), "{}", running.stdout());
    program.file("before.toml", before(10));
    running.wait_for("--- changed: before.toml\n");
    running.wait_for("10 → 16");
    program.file("orders.wasm", guest::worker("", "", "unreachable"));
    running.wait_for("--- changed: orders.wasm\n");
    running.wait_for("sandhog: the run ended: trapped: wasm `unreachable` instruction executed\n");
    // Put into place whole, as careful tools do.
    let whole = program.file("new", example::component("orders"));
    std::fs::rename(whole, program.folder().join("orders.wasm")).unwrap();
    program.file("before.toml", before(100));
    running.wait_for("100 → 106");
    program.file("orders.toml", example::manifest("orders").replace("queue = \"orders\"", "queue = \"o\""));
    running.wait_for("--- changed: orders.toml\n");
    running.signal(Signal::INT);
    assert_eq!(running.wait(), Some(0));
}

#[test]
fn what_is_broken_is_told_and_may_be_mended() {
    let program = program();
    let mut running = start(&program, WATCH);
    running.wait_for("1 → 6");
    program.file("orders.toml", "kind = ");
    running.wait_for("sandhog: orders.toml:1: a value is missing after `=`\n");
    program.file("order.json", order(7));
    program.file("orders.toml", example::manifest("orders"));
    running.wait_for("1 → 8");
    let component = example::component("orders");
    program.file("orders.wasm", &component[..component.len() / 2]);
    running.wait_for("sandhog: orders.wasm: cannot be compiled: ");
    std::fs::remove_file(program.folder().join("orders.wasm")).unwrap();
    running.wait_for("sandhog: orders.wasm: cannot read the component: No such file or directory");
    std::fs::remove_file(program.folder().join("order.json")).unwrap();
    running.wait_for("--- changed: order.json\n");
    program.file("before.toml", "[before]\n\"total:ada\" = 9\n");
    running.wait_for("sandhog: before.toml:2: a key holds ");
    program.file("before.toml", before(20));
    program.file("orders.wasm", component);
    running.wait_for("sandhog: cannot read `order.json`: ");
    program.file("order.json", order(1));
    running.wait_for("20 → 21");
}

#[test]
fn a_signal_ends_it_and_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let program = program();
        let mut running = start(&program, WATCH);
        running.wait_for("waiting for changes of ");
        let children = children(running.id());
        assert_eq!(children.len(), 1, "the private Redis");
        running.signal(signal);
        assert_eq!(running.wait(), Some(0));
        is_clean(&program, &children);
    }
}

#[test]
fn a_signal_ends_it_in_the_middle_of_a_run() {
    let program = program();
    program.file("orders.wasm", guest::worker("", "", "(loop $on (br $on)) (i32.const 0)"));
    program.file("orders.toml", "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\ntimeout = \"5m\"\n");
    let mut running = start(&program, WATCH);
    // Redis is started last before the run.
    let serves =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path().join("redis.sock").exists();
    let started = Instant::now();
    while !std::fs::read_dir(program.folder().join("tmp")).unwrap().any(serves) {
        assert!(started.elapsed() < PATIENCE, "no Redis:\n{}", running.stderr());
        std::thread::sleep(Duration::from_millis(5));
    }
    let children = children(running.id());
    running.signal(Signal::TERM);
    assert_eq!(running.wait(), Some(0));
    is_clean(&program, &children);
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let program = program();
    let mut command = program.command(WATCH);
    let mut child = command.env("TMPDIR", program.folder().join("tmp")).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let out = child.stdout.take().unwrap();
    assert!(said.next().unwrap().unwrap().starts_with("waiting for changes of "));
    let children = children(child.id());
    drop(out);
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            None => child.kill().unwrap(),
        }
    };
    assert_eq!(status.code(), Some(0));
    is_clean(&program, &children);
}

#[test]
fn a_payload_from_standard_input_is_kept_and_each_run_is_a_line_of_json() {
    let program = program();
    let watch =
        ["invoke", "orders.wasm", "--payload-file", "-", "--before", "before.toml", "--watch", "--json"];
    let mut command = program.command(&watch);
    command.stdin(std::fs::File::open(program.folder().join("order.json")).unwrap());
    let mut running = program.start_command(command);
    running.wait_for("}\n");
    program.file("before.toml", before(2));
    running.wait_for("\"head\":\"2\"");
    // What was there for the last run is not there for the next.
    program.file("before.toml", "[before]\n");
    running.wait_for(
        "{\"before\":null,\"delta\":5,\"effect\":\"add\",\"expiry\":\"keep\",\"key\":\"total:ada\"}",
    );
    running.signal(Signal::INT);
    assert_eq!(running.wait(), Some(0));
    let told: Vec<Value> = running.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let heads = told.iter().map(|run| &run["changes"][3]["before"]["head"]);
    assert_eq!(heads.collect::<Vec<_>>(), [&json!("1"), &json!("2"), &Value::Null]);
    assert!(told.iter().all(|run| run["changes"][3]["delta"] == 5));
}

#[test]
fn it_does_not_change_a_redis_of_yours_again_and_again() {
    let program = program();
    let commit = [&WATCH[..4], &["--watch", "--commit", "--redis", "redis://127.0.0.1:1"]].concat();
    let output = program.output(&commit);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "sandhog: each change of a file would change your Redis once more: leave out `--commit` or `--watch`\n"
    );
}
