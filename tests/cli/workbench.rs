//! invoke as a workbench: keys from a file, what the guest said, many runs, many jobs in one call.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::program::Program;
use crate::support::{example, guest};

const ORDER: &str = r#"{"id":"A-1","customer":"ada","amount_cents":5}"#;
const BATCH: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"jobs\"\nbatch = { size = 9 }\n\n[grants]\n\
                     kv.read = [\"*\"]\nkv.write = [\"*\"]\nqueue.push = [\"*\"]\n";

fn orders() -> String {
    example::path("orders").display().to_string()
}

fn batch(program: &Program, manifest: &str) -> String {
    program.file("batch.toml", manifest);
    program.file("batch.wasm", example::component("batch-probe")).display().to_string()
}

/// A function that counts far enough to be seen in any measure of time.
const COUNTS: &str = "(func $count (local $n i32) (loop $on (br_if $on (i32.lt_u
    (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50000000)))))";

/// What is said on standard error by a call that ends with 2.
fn refused(program: &Program, arguments: &[&str]) -> String {
    let output = program.output(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn invoke_starts_from_the_keys_of_a_case_and_tells_what_the_guest_says() {
    let program = Program::alone();
    let case = "payload = 'of no interest'\n[before]\n\"total:ada\" = \"7\"\nreceipts = [\"a\", { base64 = \"AP8=\" }]\n";
    program.file("case.toml", case);
    let told = program.json(&["invoke", &orders(), "--payload", ORDER, "--before", "case.toml"]);
    assert_eq!((&told["changes"][3]["before"]["head"], &told["log"]), (&json!("7"), &json!([])));
    assert_eq!(told["changes"][2]["before"]["length"], 2);

    program.file("seen.toml", "[before]\n\"order:seen:A-1\" = { text = \"x\", ttl = \"1h\" }\n");
    let again = ["invoke", &orders(), "--payload", ORDER, "--before", "seen.toml"];
    let told = program.json(&again);
    let said = json!([{ "level": "info", "text": "order `A-1` was booked before" }]);
    assert_eq!((&told["log"], &told["changes"][0]["key"]), (&said, &json!("orders:duplicates")));
    let output = program.output(&again);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(out.contains("said       info  order `A-1` was booked before\n"), "{out}");
    assert!(!err.contains("booked before"), "once is enough: {err}");
}

#[test]
fn invoke_refuses_keys_that_it_cannot_put() {
    let program = Program::alone();
    program.file("bad.toml", "\n[before]\nkey = 5\n");
    program.file("none.toml", "payload = 'x'\n");
    let with = |more: &[&str]| {
        refused(&program, &[&["invoke", &orders(), "--payload", ORDER, "--before"], more].concat())
    };
    assert!(with(&["bad.toml"]).starts_with("sandhog: bad.toml:3: a key holds a string, a list"));
    assert_eq!(with(&["none.toml"]), "sandhog: none.toml:1: missing field `before`\n");
    assert!(with(&["missing.toml"]).starts_with("sandhog: missing.toml: cannot be read: "));
    let real = with(&["none.toml", "--redis", "redis://127.0.0.1:1"]);
    assert_eq!(real, "sandhog: `--before` is for the private Redis: nothing is set on one of yours\n");
}

#[test]
fn invoke_runs_many_times_as_if_each_were_the_first() {
    let program = Program::alone();
    let many = ["invoke", &orders(), "--payload", ORDER, "--repeat", "20"];
    let told = program.json(&many);
    let repeated = &told["repeated"];
    assert_eq!((&repeated["runs"], &repeated["outcomes"]), (&json!(20), &json!({ "done": 20 })));
    let time = |name: &str| repeated["times"][name].as_f64().unwrap();
    assert!(0.0 < time("p50_ms") && time("p50_ms") <= time("p99_ms") && time("p99_ms") <= time("max_ms"));
    assert_eq!(told["changes"].as_array().map(Vec::len), Some(5));
    let calls = json!({ "kv.set-with": 1, "kv.add": 3, "queue.push": 1 });
    assert_eq!((&told["calls_by_name"], &told["calls"]), (&calls, &json!(5)), "of the first run");
    let out = String::from_utf8(program.output(&many).stdout).unwrap();
    assert!(out.contains("repeated   20 runs: p50 "), "{out}");
    let once = program.json(&many[..4]);
    assert_eq!(once["repeated"], Value::Null);

    let no_reuse = refused(&program, &[&many[..], &["--reuse"]].concat());
    assert!(no_reuse.contains("the manifest has no `[instances]` with a `reuse` above 1"), "{no_reuse}");
    let manifest = example::manifest("orders") + "\n[instances]\nreuse = 10\n";
    program.file("kept.toml", manifest);
    let kept = program.json(&[&many[..], &["--reuse", "--manifest", "kept.toml"]].concat());
    assert_eq!(kept["repeated"]["outcomes"], json!({ "done": 20 }));
    let both = program.output(&[&many[..], &["--commit", "--redis", "redis://127.0.0.1:1"]].concat());
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn invoke_gives_a_batch_worker_all_jobs_in_one_call() {
    let program = Program::alone();
    let plugin = batch(&program, BATCH);
    let mixed = ["invoke", &plugin, "--payload", "ok 1", "--payload", "bury 2", "--payload", "set k v"];
    let output = program.output(&mixed);
    let out = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["outcome", "buried"][..],
        &["invoke-1", "done"],
        &["invoke-1-2", "buried", "bury", "2"],
        &["invoke-1-3", "done"],
        &["push", "calls", "none", "→", "list", "of", "1,", "back:", "\"ok", "1,bury", "2,set", "k", "v\""],
    ] {
        assert!(rows.iter().any(|found| found == row), "{row:?}\n{out}");
    }
    assert_eq!(output.status.code(), Some(1));
    let trap = program.output(&["invoke", &plugin, "--payload", "ok 1", "--payload", "trap", "--json"]);
    let told: Value = serde_json::from_slice(&trap.stdout).unwrap();
    assert_eq!((&told["outcome"], &told["jobs"]), (&json!("trapped"), &json!([])));
    let told = program.json(&["invoke", &plugin, "--payload", "ok 1", "--payload", "ok 2", "--id", "j"]);
    let done = |id| json!({ "id": id, "outcome": "done", "reason": "" });
    assert_eq!(told["jobs"], json!([done("j"), done("j-2")]));
    let one = program.json(&["invoke", &plugin, "--payload", "ok 1"]);
    assert_eq!((&one["jobs"], &one["outcome"]), (&json!([]), &json!("done")));
    let two = ["invoke", &orders(), "--payload", ORDER, "--payload", ORDER];
    assert_eq!(
        refused(&program, &two),
        "sandhog: only a batch worker takes several jobs: give one `--payload`\n"
    );
}

#[test]
fn invoke_tells_the_start_of_an_instance_from_its_run() {
    let program = Program::alone();
    let manifest = "kind = \"worker\"\n\n[[consume]]\nqueue = \"jobs\"\n";
    let starts = guest::worker("", &format!("{COUNTS} (start $count)"), "(i32.const 0)");
    let runs = guest::worker("", COUNTS, "(call $count) (i32.const 0)");
    for (name, component) in [("starts", starts), ("runs", runs)] {
        program.file(&format!("{name}.toml"), manifest);
        program.file(&format!("{name}.wasm"), component);
    }
    let times = |component: &str, more: &[&str]| {
        let told = program.json(&[&["invoke", component, "--payload", ""], more].concat());
        let of = |name: &str| told[name].as_f64().unwrap_or_else(|| panic!("{name}: {told}"));
        let whole = told["repeated"]["times"]["p50_ms"].as_f64();
        (of("instantiate_ms"), of("run_ms"), whole)
    };
    let (started, ran, whole) = times("starts.wasm", &["--repeat", "3"]);
    assert!(started > 2.0 * ran && ran > 0.0, "{started} {ran}");
    assert!(whole > Some(2.0 * ran), "each of many runs starts an instance: {whole:?}");
    let (started, ran, _) = times("runs.wasm", &[]);
    assert!(ran > 2.0 * started && started > 0.0, "{started} {ran}");
    program.file("kept.toml", format!("{manifest}\n[instances]\nreuse = 10\n"));
    let (started, _, whole) = times("starts.wasm", &["--repeat", "3", "--reuse", "--manifest", "kept.toml"]);
    assert!(whole < Some(started / 2.0), "two of three find one that has started: {whole:?}");
}

#[test]
fn a_second_invoke_compiles_nothing_although_no_host_ever_ran() {
    let program = Program::alone();
    program.file("sandhog.toml", "[host]\nstate_dir = \"state\"\n");
    let invoke = ["invoke", &orders(), "--payload", ORDER];
    let told = program.json(&invoke);
    assert_eq!(told["from_cache"], false);
    assert!(told["compile_ms"].as_f64() > told["run_ms"].as_f64(), "{told}");
    assert_eq!(program.json(&invoke)["from_cache"], true);
    let out = String::from_utf8(program.output(&invoke).stdout).unwrap();
    assert!(out.contains(" to take from the cache, "), "{out}");
    let mode = program.folder().join("state/compiled").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn test_and_check_fill_the_cache_that_invoke_uses() {
    let filled_by = |arguments: &[&str], compiler: &[&str]| {
        let program = Program::alone();
        let case = format!("component = {:?}\npayload = '{ORDER}'\n", orders());
        program.file("cases/any.toml", case);
        program.output(arguments);
        let told = program.json(&[&["invoke", &orders(), "--payload", ORDER], compiler].concat());
        let expected = if compiler.is_empty() { "Winch" } else { "Cranelift" };
        assert_eq!(told["compiler"], expected);
        told["from_cache"] == true
    };
    let optimized = ["--optimized"];
    assert!(filled_by(&["test", "cases"], &[]));
    assert!(filled_by(&["test", "cases", "--optimized"], &optimized));
    assert!(filled_by(&["check", &orders()], &optimized));
    assert!(!filled_by(&["check", &orders()], &[]), "it compiles as a host does");
    assert!(!filled_by(&["plugins"], &[]), "nothing was compiled before");
}

#[test]
fn a_terminal_shows_what_is_being_compiled() {
    let program = Program::alone();
    let invoke = ["invoke", &orders(), "--payload", ORDER];
    let seen = program.on_terminal(&invoke);
    assert!(seen.contains("compiling orders ("), "{seen}");
    let seen = program.on_terminal(&invoke);
    assert!(!seen.contains("compiling"), "the cache has it: {seen}");
    let program = Program::alone();
    program.file("cases/any.toml", format!("component = {:?}\npayload = '{ORDER}'\n", orders()));
    let seen = program.on_terminal(&["test", "cases"]);
    assert!(seen.contains("compiling orders ("), "{seen}");
}

#[test]
fn a_state_folder_that_is_a_file_costs_time_and_nothing_else() {
    let program = Program::alone();
    program.file("state", "");
    program.file("sandhog.toml", "[host]\nstate_dir = \"state\"\n");
    let invoke = ["invoke", &orders(), "--payload", ORDER];
    assert_eq!(program.json(&invoke)["from_cache"], false);
    assert_eq!(program.json(&invoke)["from_cache"], false);
}

#[test]
fn invoke_tells_what_a_config_reader_needs() {
    let program = Program::alone();
    let reader = example::path("site-settings").display().to_string();
    let told = program.json(&["invoke", &reader]);
    assert_eq!(told["memory_peak_bytes"].as_u64().map(|bytes| bytes > 0), Some(true));
    assert!(told["instantiate_ms"].as_f64() > Some(0.0), "{told}");
    let named: u64 = told["calls_by_name"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert!(named > 0 && told["calls"].as_u64() == Some(named), "{told}");
}

#[test]
fn invoke_gives_the_guest_the_job_it_is_told() {
    let program = Program::alone();
    program.file("probe.toml", "kind = \"worker\"\n\n[[consume]]\nqueue = \"jobs\"\nmax_attempts = 9\n");
    let probe = program.file("probe.wasm", example::component("probe")).display().to_string();
    let job = [
        "--header",
        "trace=a=b",
        "--header",
        "tenant=x",
        "--attempt",
        "4",
        "--id",
        "mine",
        "--queue",
        "jobs",
    ];
    let run = ["invoke", &probe, "--payload", "report none\njob\nbury $results", "--json"];
    let output = program.output(&[&run[..], &job].concat());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = told["reason"].as_str().unwrap();
    for said in ["id=\"mine\" queue=\"jobs\"", "attempt=4/9", "trace", "a=b", "tenant"] {
        assert!(reason.contains(said), "{said}: {told}");
    }
}
