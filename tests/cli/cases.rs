//! test: cases from files, against what a plugin really does.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::example;
use crate::support::program::Program;

/// A folder with an example beside its manifest, and cases.
fn with(name: &str, manifest: &str, cases: &[(&str, &str)]) -> Program {
    let program = Program::alone();
    program.file(&format!("{name}.wasm"), example::component(name));
    program.file(&format!("{name}.toml"), manifest);
    std::fs::create_dir(program.folder().join("cases")).unwrap();
    for (case, text) in cases {
        program.file(&format!("cases/{case}.toml"), format!("component = \"../{name}.wasm\"\n{text}"));
    }
    program
}

fn orders(cases: &[(&str, &str)]) -> Program {
    with("orders", &example::manifest("orders"), cases)
}

const GOOD: &str = r#"
payload = '{"id": "A-1", "customer": "ada", "amount_cents": 1250}'
id = "job-7"
settings = { "site-settings.currency" = "CHF" }
[before]
"total:ada" = "5"
"untouched" = { base64 = "AP8=" }
receipts = ["old"]
[expect.after]
"order:seen:A-1" = { text = "job-7", ttl = "7d" }
"total:ada" = "1255"
"total:all" = "1250"
"orders:count" = "1"
receipts = ["old", { json = { amount_cents = 1250, order = "A-1", customer = "ada", currency = "CHF", greeting = "hello" } }]
"#;

#[test]
fn cases_that_hold_pass() {
    let program = orders(&[
        ("good", GOOD),
        (
            "again",
            "payload = '{\"id\": \"A-1\", \"customer\": \"ada\", \"amount_cents\": 1}'\n[before]\n\"order:seen:A-1\" = \"x\"\n\
             [expect]\nlog = [\"`A-1` was booked before\"]\n[expect.after]\n\"orders:duplicates\" = \"1\"",
        ),
        (
            "no-order",
            "payload_base64 = \"/w==\"\n[expect]\noutcome = \"buried\"\nreason = \"malformed order: *\"",
        ),
        (
            "too-much",
            "payload = '{\"id\": \"A\", \"customer\": \"b\", \"amount_cents\": 9}'\n[settings]\n\
             \"site-settings.max_amount_cents\" = \"8\"\n[expect]\noutcome = \"retry\"\n\
             reason = \"amount 9 is above the maximum of 8 for now\"",
        ),
    ]);
    assert_eq!(
        program.output(&["test", "cases"]).status.code(),
        Some(0),
        "{}",
        program.transcript(&["test", "cases"])
    );
    let document = program.json(&["test", "cases", "cases/good.toml", "--filter", "goo"]);
    assert_eq!((&document["passed"], &document["failed"]), (&json!(2), &json!(0)));
    assert_eq!(
        (&document["cases"][0]["case"], &document["cases"][0]["differences"]),
        (&json!("good"), &json!([]))
    );
}

/// Cases that do not hold, each for another reason.
fn wrong() -> Program {
    orders(&[
        (
            "wrong",
            "payload = '{\"id\": \"A-1\", \"customer\": \"ada\", \"amount_cents\": 1250}'\n[before]\n\"total:ada\" = \"5\"\n\
             [expect]\nlog = [\"hello\"]\nresult = \"r\"\n[expect.after]\n\"total:ada\" = \"1250\"\n\
             \"orders:count\" = { text = \"1\", ttl = \"1h\" }\nnever = \"x\"\n\"order:seen:A-1\" = false\n\
             [expect.jobs]\nmails = [{ payload = \"a\", delay = \"5s\" }]",
        ),
        ("end", "payload = ''\n[expect]\noutcome = \"retry\""),
        ("reason", "payload = ''\n[expect]\noutcome = \"buried\"\nreason = \"other\""),
        (
            "forgotten",
            "payload = '{\"id\": \"A\", \"customer\": \"b\", \"amount_cents\": 9}'\n[before]\nreceipts = [\"a\", \"b\"]",
        ),
    ])
}

#[test]
fn everything_that_differs_is_shown() {
    let program = wrong();
    let mut filters = program.filters();
    filters.add_filter(r"\(\S+ (µs|ms|s)\)", "([TIME])");
    filters.bind(|| {
        assert_snapshot!(program.transcript(&["test", "cases"]), @r##"
        $ sandhog test cases
        FAIL  end ([TIME])
              outcome
                expected  retry
                found     buried: malformed order: EOF while parsing a value at line 1 column 0
        FAIL  forgotten ([TIME])
              receipts
                expected  ["a", "b"], as before
                found     ["a", "b", "{"amount_cents":9,"currency":"EUR","customer":"b","greeting":"hello","order":"A"}"]
              order:seen:A
                expected  nothing, as before
                found     "invoke-1", expires in 7 d
              orders:count
                expected  nothing, as before
                found     "1"
              total:all
                expected  nothing, as before
                found     "9"
              total:b
                expected  nothing, as before
                found     "9"
        FAIL  reason ([TIME])
              reason
                expected  other
                found     malformed order: EOF while parsing a value at line 1 column 0
        FAIL  wrong ([TIME])
              result
                expected  "r"
                found     none
              log
                expected  a line with "hello"
                found     no line
              never
                expected  "x"
                found     nothing
              order:seen:A-1
                expected  nothing
                found     "invoke-1", expires in 7 d
              orders:count
                expected  "1", expires in 1 h
                found     "1"
              total:ada
                expected  "1250"
                found     "1255"
              receipts
                expected  nothing, as before
                found     ["{"amount_cents":1250,"currency":"EUR","customer":"ada","greeting":"hello","order":"A-1"}"]
              total:all
                expected  nothing, as before
                found     "1250"
              jobs of mails
                expected  "a" in 5 s
                found     none

        0 passed, 4 failed
        --- stderr
        sandhog: 4 of 4 cases failed
        --- exit code 1
        "##);
    });
    let output = program.output(&["test", "cases/end.toml", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["cases"][0]["differences"][0]["expected"], "retry");
}

#[test]
fn batch_workers_and_config_readers_have_cases_too() {
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nbatch = { size = 9 }\n[grants]\n\
                    queue.push = [\"calls\", \"receipts\"]\nkv.write = [\"k\"]\nkv.read = [\"k\"]";
    let good = "payloads = [\"ok 1\", \"bury 2\", \"set k 3\"]\n[expect]\noutcomes = [\"done\", \"buried\", \"done\"]\n\
                reasons = [\"\", \"bury 2\", \"\"]\n[expect.after]\ncalls = [\"ok 1,bury 2,set k 3\"]\nk = \"3\"\n";
    let program = with(
        "batch-probe",
        manifest,
        &[
            ("good", &format!("{good}receipts = [\"ok 1\", \"bury 2\"]")),
            ("trap", "payloads = [\"ok\", \"trap\"]\n[expect]\noutcomes = [\"trapped\", \"trapped\"]"),
            ("wrong", "payloads = [\"ok\"]\n[expect]\noutcomes = [\"retry\"]"),
        ],
    );
    let said = program.transcript(&["test", "cases"]);
    for line in ["ok    good", "ok    trap", "FAIL  wrong", "outcomes[0]", "2 passed, 1 failed"] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let settings = "[expect.settings]\ngreeting = \"hello, ada\"\nkeyname = \"ada\"\ncurrency = \"EUR\"\n";
    let program = with(
        "site-settings",
        &example::manifest("site-settings"),
        &[
            ("good", &format!("[before]\nkeyname = \"ada\"\n{settings}max_amount_cents = \"1000000\"")),
            (
                "bad",
                "[before]\n\"config:max_amount_cents\" = \"many\"\n[expect]\nreason = \"`config:max_amount_cents` is*\"",
            ),
            ("wrong", &format!("[before]\nkeyname = \"bob\"\n{settings}")),
        ],
    );
    let said = program.transcript(&["test", "cases"]);
    for line in ["ok    good", "ok    bad", "FAIL  wrong", "max_amount_cents", "2 passed, 1 failed"] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[test]
fn what_is_no_case_is_refused_in_a_line() {
    let program = orders(&[("good", GOOD)]);
    for (name, text, said) in [
        ("typo", "payload = \"x\"\n[expect]\noutcom = \"done\"", "typo.toml:3: unknown field `outcom`"),
        ("toml", "payload = ", "toml.toml:1: "),
        (
            "word",
            "component = \"c\"\n[expect]\noutcome = \"fine\"",
            "`expect.outcome` is \"fine\"; it must be one of done",
        ),
        (
            "two",
            "component = \"c\"\npayload = \"a\"\npayload_base64 = \"YQ==\"",
            "a case has one of `payload`",
        ),
        ("none", "payload = \"a\"", "names no component: write `component ="),
        ("held", "[before]\nk = 5", "a key holds a string"),
        ("both", "[before]\nk = { text = \"a\", base64 = \"YQ==\" }", "a value has one of"),
        ("ttl", "[before]\nk = { text = \"a\", ttl = \"soon\" }", "ttl.toml:2: "),
        ("misspelt", "[before]\nk = { text = \"a\", tll = \"1s\" }", "a key holds a string"),
        (
            "many",
            "component = \"c\"\npayloads = [\"a\"]\n[expect]\noutcomes = []",
            "one for each of the 1 payloads",
        ),
        ("empty", "component = \"orders.wasm\"", "case `empty`: a worker needs a job"),
        (
            "queue",
            "component = \"orders.wasm\"\npayload = \"a\"\nqueue = \"q\"",
            "the manifest has no queue `q`",
        ),
        (
            "batch",
            "component = \"orders.wasm\"\npayloads = [\"a\"]",
            "only batch workers have many `payloads`",
        ),
    ] {
        program.file(&format!("{name}.toml"), text);
        let output = program.output(&["test", &format!("{name}.toml")]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(said) && error.lines().count() <= 2, "{name}: {error}");
    }
    program.file("gone.toml", "component = \"missing.wasm\"\npayload = \"a\"");
    for (arguments, said) in [
        (&["test", "gone.toml"][..], "missing.wasm: cannot read the component"),
        (&["test", "nowhere"][..], "nowhere: cannot be read"),
        (&["test", "cases", "--filter", "zzz"], "no case has `zzz` in its name"),
        (&["test", "typo.toml", "held.toml"], "2 cases cannot be read"),
    ] {
        let output = program.output(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said), "{error}");
    }
}

/// A plugin that does what its payload says, and a case with this text.
fn probe(text: &str) -> Program {
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"probe\"\n[grants]\nkv.read = [\"*\"]\nkv.write = [\"*\"]\n";
    with("probe", manifest, &[("one", text)])
}

#[test]
fn how_long_a_key_stays_is_compared_too() {
    const RUN: &str = "payload = \"report none\\nkv.expire k 60000\"\n";
    for (rest, code) in [
        ("[before]\nk = \"v\"\n[expect.after]\nk = { text = \"v\", ttl = \"1m\" }", 0),
        ("[before]\nk = \"v\"\n[expect.after]\nk = \"v\"", 1),
        ("[before]\nk = { text = \"v\", ttl = \"7d\" }", 1),
        ("[before]\nk = { text = \"v\", ttl = \"7d\" }\n[expect.after]\nk = \"v\"", 1),
        ("[before]\nother = { text = \"v\", ttl = \"7d\" }", 0),
        ("[before]\nother = { text = \"v\", ttl = \"7d\" }\n[expect.after]\nother = \"v\"", 0),
    ] {
        let program = probe(&format!("{RUN}{rest}"));
        let output = program.output(&["test", "cases"]);
        assert_eq!(output.status.code(), Some(code), "{rest}: {}", program.transcript(&["test", "cases"]));
    }
}

#[test]
fn a_reason_may_name_the_hosts_own_keys() {
    let reason = "orders:sandhog:seen";
    let program = probe(&format!(
        "payload = \"report none\\nbury {reason}\"\n[expect]\noutcome = \"buried\"\nreason = \"{reason}\"\n"
    ));
    let output = program.output(&["test", "cases"]);
    assert_eq!(output.status.code(), Some(0), "{}", program.transcript(&["test", "cases"]));
}
