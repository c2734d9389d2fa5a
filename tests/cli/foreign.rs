//! Text of guests and producers in the output of commands: on a terminal and in JSON, it must not control the terminal
//! or hide text.

use redis::{Commands as _, Connection};
use sandhog::escape::is_unsafe;
use serde_json::Value;

use crate::support::example;
use crate::support::host::{Plugins, stop};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// Turns the direction of text, sets the clipboard, clears the screen, hides text, and begins a new line.
const HOSTILE: &str = "\u{202e}\u{1b}]52;c;QUJD\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{2066}\u{200f}\u{61c}\u{2028}\u{200b}\u{feff}\
    \u{e0041}\u{1b}[1A\r\nforged";
/// How it begins on a terminal.
const SHOWN: &str = "\\u{202e}\\u{1b}]52;c;QUJD\\u{7}\\u{1b}[2J\\u{9b}31m";
/// What reaches a terminal with `--raw`.
const RAW: &str = "\u{202e}\u{1b}]52;c;QUJD\u{7}\u{1b}[2J";
const QUEUE: &str = "evil\u{1b}[2J\u{202e}\u{e0041}";
/// What the program prints itself; the last one replaces the line that shows what is being compiled.
const STYLES: [&str; 6] = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m", "\r\x1b[2K"];

const PROBE: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nmax_attempts = 1\n[grants]\nkv.read = [\"*\"]\n\
    kv.write = [\"*\"]\nqueue.push = [\"*\"]\n";

/// Every part of a text in another form.
fn escaped<T>(parts: impl Iterator<Item = T>, form: impl FnMut(T) -> String) -> String {
    parts.map(form).collect::<Vec<_>>().concat()
}

/// The hostile text as a word of the probe's scripts.
fn word() -> String {
    format!("hex:{}", escaped(HOSTILE.bytes(), |byte| format!("{byte:02x}")))
}

/// Fails if the text has a character that a terminal does not print, or a line that the hostile text began.
#[track_caller]
fn assert_harmless(seen: &str, arguments: &[&str]) {
    let mut plain = seen.replace("\r\n", "\n");
    for style in STYLES {
        plain = plain.replace(style, "");
    }
    let found: Vec<char> = plain.chars().filter(|c| is_unsafe(*c) && *c != '\n').collect();
    assert!(found.is_empty(), "{arguments:?}: {found:?} in {plain:?}");
    assert!(!plain.lines().any(|line| line.starts_with("forged")), "{arguments:?}: {plain:?}");
}

/// Runs a command on a terminal, for a pipe, and for a program that reads JSON; everything it prints is harmless, and the
/// terminal shows something of the hostile text.
#[track_caller]
fn check(program: &Program, arguments: &[&str]) {
    let terminal = program.on_terminal(arguments);
    assert_harmless(&terminal, arguments);
    assert!(terminal.contains("\\u{202e}"), "{arguments:?} shows none of it: {terminal:?}");
    check_piped(program, arguments);
}

/// Runs a command for a pipe, and for a program that reads JSON; everything it prints is harmless.
#[track_caller]
fn check_piped(program: &Program, arguments: &[&str]) {
    for more in [&[][..], &["--json"]] {
        let arguments = [arguments, more].concat();
        let output = program.output(&arguments);
        assert_harmless(std::str::from_utf8(&output.stdout).unwrap(), &arguments);
        assert_harmless(std::str::from_utf8(&output.stderr).unwrap(), &arguments);
    }
}

/// Strings of a document, keys included.
fn has_text(document: &Value, text: &str) -> bool {
    match document {
        Value::String(found) => found.contains(text),
        Value::Array(list) => list.iter().any(|value| has_text(value, text)),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.contains(text) || has_text(value, text))
        }
        _ => false,
    }
}

/// Jobs, a host, a swap and a refusal, all with hostile text wherever text may be.
fn seed(redis: &TestRedis) -> Connection {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let () = connection.rpush(QUEUE, HOSTILE).unwrap();
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let at_ms = (seconds - 60) * 1000;
    let note = escaped(HOSTILE.bytes(), |byte| format!("%{byte:02x}"));
    let record =
        format!("1 job-1 5 0 {at_ms} {note}={note} !reason={note} !trace={note} !plugin={note}\n{HOSTILE}");
    let () = connection.zadd("{orders}:sandhog:dead", record, at_ms).unwrap();
    let host = "h.00000001.000000000001";
    let () = connection.zadd("sandhog:hosts", host, (seconds + 600) * 1000).unwrap();
    let report = serde_json::json!([{
        "name": HOSTILE, "kind": HOSTILE, "version": HOSTILE, "queues": [HOSTILE], "versions": [], "refusal": HOSTILE,
    }]);
    let about = [
        ("pid", "1".to_owned()),
        ("lease_ms", "600000".to_owned()),
        ("version", HOSTILE.to_owned()),
        ("plugins", report.to_string()),
    ];
    let () = connection.hset_multiple(format!("sandhog:host:{host}"), &about).unwrap();
    connection
}

#[test]
fn nothing_a_producer_wrote_controls_the_terminal_in_any_listing() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    let field = escaped(HOSTILE.chars(), |c| format!("\\U{:08X}", u32::from(c)));
    program.file("plugins/bad.toml", format!("kind = \"worker\"\n\"{field}\" = 1\n"));
    program.file("plugins/bad.wasm", "no component");
    let add = ["schedule", "add", "nightly", "--queue", QUEUE, "--every", "1h", "--payload", HOSTILE];
    assert_harmless(&program.on_terminal(&add), &add);
    for arguments in [
        &["push", QUEUE, "x"][..],
        &["push", QUEUE, "x", "--delay", "1h"],
        &["queues", QUEUE],
        &["jobs", "list", QUEUE],
        &["jobs", "list", "orders"],
        &["jobs", "show", "orders", "job-1"],
        &["jobs", "show", QUEUE, "job-1"],
        &["schedule", "list"],
        &["plugins"],
        &["hosts"],
        &["keys", "evil"],
        &["check", "plugins"],
        &["jobs", "list", "orders", HOSTILE],
        &["push", "orders", "x", "--delay", HOSTILE],
    ] {
        check(&program, arguments);
    }
    // These draw a bar on a terminal.
    check_piped(&program, &["jobs", "groups", "orders"]);
    check_piped(&program, &["jobs", "requeue", "orders", "--text", "forged", "--dry-run"]);
    check_piped(&program, &["jobs", "export", "orders"]);
    // Lines of JSON contain every byte.
    let exported = program.output(&["jobs", "export", "orders"]).stdout;
    assert_eq!(serde_json::from_slice::<Value>(&exported).unwrap()["payload"], HOSTILE);
    let () = connection.del("{orders}:sandhog:dead").unwrap();
    assert_eq!(program.output_of(&["jobs", "import", "orders", "-"], &exported).status.code(), Some(0));
    assert_eq!(program.json(&["jobs", "show", "orders", "job-1"])["payload"], HOSTILE);
}

#[test]
fn a_payload_is_bytes_for_a_program_and_escaped_on_a_terminal() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let _connection = seed(&redis);
    let show = ["jobs", "show", "orders", "job-1", "--payload"];
    assert_eq!(program.output(&show).stdout, HOSTILE.as_bytes());
    let seen = program.on_terminal(&show);
    // Its own line feed stays, so that text in lines can be read.
    assert_harmless(&seen.replace("\r\nforged", ""), &show);
    assert!(seen.starts_with(SHOWN), "{seen:?}");
    let raw = program.on_terminal(&[&show[..], &["--raw"]].concat());
    assert!(raw.contains(RAW), "{raw:?}");
    let alone = program.output(&["jobs", "show", "orders", "job-1", "--raw"]);
    assert_eq!(alone.status.code(), Some(2), "`--raw` alone says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_bytes_for_a_program_and_escaped_on_a_terminal() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let plugins = Plugins::new().with("probe", &example::component("probe"), PROBE);
    let host = plugins.serve(&redis.url(), "h").await;
    let result = format!("report none\nset-result {}", word());
    let push = ["push", "jobs", &result, "--wait", "--timeout", "20s"];
    assert_eq!(program.output(&push).stdout, HOSTILE.as_bytes());
    let seen = program.on_terminal(&push);
    assert_harmless(&seen.replace("\r\nforged", ""), &push);
    assert!(seen.starts_with(SHOWN), "{seen:?}");
    let raw = program.on_terminal(&[&push[..], &["--raw"]].concat());
    assert!(raw.contains(RAW), "{raw:?}");
    let json = program.output(&[&push[..], &["--json"]].concat()).stdout;
    assert_harmless(std::str::from_utf8(&json).unwrap(), &push);
    assert_eq!(serde_json::from_slice::<Value>(&json).unwrap()["result"], HOSTILE);
    let bury = format!("report none\nbury {}", word());
    check(&program, &["push", "jobs", &bury, "--wait", "--timeout", "20s"]);
    stop(host).await;
}

#[test]
fn nothing_a_guest_says_or_would_change_controls_the_terminal() {
    let program = Program::alone();
    program.file("probe.wasm", example::component("probe"));
    program.file("probe.toml", PROBE);
    let hostile = word();
    let script = format!(
        "report none\nlog warn {hostile} {hostile}\nkv.set {hostile} {hostile}\nqueue.push {hostile} {hostile}\n\
         set-result {hostile}"
    );
    let invoke = ["invoke", "probe.wasm", "--payload", &script];
    check(&program, &invoke);
    assert!(has_text(&program.json(&invoke), HOSTILE));
    let bury = format!("report none\nbury {hostile}");
    check(&program, &["invoke", "probe.wasm", "--payload", &bury]);
    let payload = Value::from(script.as_str());
    program.file(
        "cases/wrong.toml",
        format!("component = \"../probe.wasm\"\npayload = {payload}\n[expect]\nresult = \"other\"\n"),
    );
    check(&program, &["test", "cases"]);
}
