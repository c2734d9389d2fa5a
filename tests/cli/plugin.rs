//! check, plugins, invoke and componentize.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::{example, guest};

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\ntimeout = \"200ms\"\n";

/// A worker that completes every job.
fn good() -> Vec<u8> {
    guest::worker("", "", "(i32.const 0)")
}

#[test]
fn check_says_what_loading_would() {
    let program = Program::alone();
    program.file("good.wasm", good());
    program.file("good.toml", MANIFEST);
    program.file("core.wasm", wat::parse_str("(module)").unwrap());
    program.file("core.toml", MANIFEST);
    program.file("bad.wasm", "(component)");
    program
        .file("bad.toml", "kind = \"wroker\"\n\n[[consume]]\nqeue = \"orders\"\n\n[instances]\nreuse = 4\n");
    program.file("reader.toml", "kind = \"config-reader\"\n");
    program.file("trap.wasm", guest::worker("", "(func $boom unreachable) (start $boom)", "(i32.const 0)"));
    program.file("trap.toml", MANIFEST);
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["check", "good.wasm"],
            &["check", "core.wasm"],
            &["check", "bad.wasm"],
            &["check", "trap.wasm"],
            &["check", "good.wasm", "--manifest", "reader.toml"],
            &["check", "missing.wasm"],
            &["check", "nowhere/"],
        ]), @r#"
        $ sandhog check good.wasm
        plugin  kind    version       queues  state
        good    worker  [VERSION]  orders  ok
        --- exit code 0

        $ sandhog check core.wasm
        core.wasm: is a core module, not a component; make a component of it: `sandhog componentize CORE.wasm -o COMPONENT.wasm`
        --- stderr
        sandhog: plugin `core` would be refused
        --- exit code 2

        $ sandhog check bad.wasm
        bad.toml:1: `kind` is "wroker"; it must be "worker" or "config-reader"; did you mean "worker"?
        bad.toml:4: unknown field `consume.qeue`; did you mean `queue`?
        bad.toml:7: `instances.reuse` above 1 is not yet supported; write 1 or leave it out
        --- stderr
        sandhog: plugin `bad` would be refused
        --- exit code 2

        $ sandhog check trap.wasm
        trap.wasm: cannot start: trapped: wasm `unreachable` instruction executed
        --- stderr
        sandhog: plugin `trap` would be refused
        --- exit code 2

        $ sandhog check good.wasm --manifest reader.toml
        good.wasm: is a worker (it exports `sandhog:worker/handler@0.1.0`), but the manifest says `kind = "config-reader"`
        --- stderr
        sandhog: plugin `good` would be refused
        --- exit code 2

        $ sandhog check missing.wasm
        missing.toml: cannot read the manifest: No such file or directory (os error 2)
        missing.wasm: cannot read the component: No such file or directory (os error 2)
        --- stderr
        sandhog: plugin `missing` would be refused
        --- exit code 2

        $ sandhog check nowhere/
        nowhere.toml: cannot read the manifest: No such file or directory (os error 2)
        nowhere/: cannot read the component: No such file or directory (os error 2)
        --- stderr
        sandhog: plugin `nowhere` would be refused
        --- exit code 2
        "#);
    });
}

#[test]
fn check_of_a_folder_sees_the_plugins_together() {
    let program = Program::alone();
    program.file("plugins/one.wasm", good());
    program.file("plugins/one.toml", MANIFEST);
    program.file("plugins/two.wasm", good());
    program.file("plugins/two.toml", MANIFEST);
    program.file("plugins/three.toml", MANIFEST);
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["check", "plugins"],
            &["check", "plugins", "--manifest", "x.toml"],
            &["plugins", "--redis", "redis://127.0.0.1:1"],
        ]), @r#"
        $ sandhog check plugins
        plugin  kind    version       queues  state
        one     worker  [VERSION]  orders  ok
        plugins/two.toml:4: queue `orders` is served by plugin `one` already
        plugins/three.toml: has no component; put `three.wasm` beside it
        --- stderr
        sandhog: 1 of 2 plugins would be refused
        --- exit code 2

        $ sandhog check plugins --manifest x.toml
        --- stderr
        sandhog: `--manifest` goes with one component, not with a folder
        --- exit code 2

        $ sandhog plugins --redis redis://127.0.0.1:1
        plugin  kind    version       queues  hosts  state
        one     worker  [VERSION]  orders      0  ok
        two     worker  [VERSION]  orders      0  1 problem
        plugins/two.toml:4: queue `orders` is served by plugin `one` already
        plugins/three.toml: has no component; put `three.wasm` beside it
        --- stderr
        hosts were not asked: cannot reach Redis at `redis://127.0.0.1:1/0`
        --- exit code 0
        "#);
    });
    let output = program.output(&["check", "plugins", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["ok"]), (Some(2), &json!(false)));
    assert_eq!(document["plugins"][0]["ok"], true);
    std::fs::create_dir(program.folder().join("empty")).unwrap();
    assert_snapshot!(program.session(&[&["check", "empty"], &["plugins", "--plugins", "empty", "--redis", "redis://127.0.0.1:1"]]), @r#"
    $ sandhog check empty
    --- stderr
    sandhog: no plugins in `empty`
    --- exit code 2

    $ sandhog plugins --plugins empty --redis redis://127.0.0.1:1
    --- stderr
    hosts were not asked: cannot reach Redis at `redis://127.0.0.1:1/0`
    no plugins in `empty`
    --- exit code 0
    "#);
}

#[test]
fn invoke_tells_how_a_run_ended() {
    let program = Program::alone();
    program.file("good.wasm", good());
    program.file("good.toml", MANIFEST);
    program.file("trap.wasm", guest::worker("", "", "unreachable"));
    program.file("trap.toml", MANIFEST);
    program.file("spin.wasm", guest::worker("", "", "(loop $again (br $again)) (i32.const 0)"));
    program.file("spin.toml", MANIFEST);
    let mut filters = program.filters();
    filters.add_filter(r"\S+ \S+ to run", "[TIME] to run");
    filters.bind(|| {
        assert_snapshot!(program.session(&[
            &["invoke", "good.wasm", "--payload", "{}"],
            &["invoke", "trap.wasm", "--payload", "{}"],
            &["invoke", "spin.wasm", "--payload", "{}"],
            &["invoke", "good.wasm"],
            &["invoke", "good.wasm", "--payload-file", "missing"],
            &["invoke", "good.wasm", "--payload", "x", "--queue", "others"],
        ]), @r#"
        $ sandhog invoke good.wasm --payload {}
        plugin     good [VERSION]
        outcome    done
        time       [TIME] to compile and [TIME] to run
        memory     256 KiB at the most
        calls      0 calls, 0 effects, 0 denied

        nothing was written
        --- exit code 0

        $ sandhog invoke trap.wasm --payload {}
        plugin     trap [VERSION]
        outcome    trapped
        reason     trapped: wasm `unreachable` instruction executed
                   guest!handle
        time       [TIME] to compile and [TIME] to run
        memory     256 KiB at the most
        calls      0 calls, 0 effects, 0 denied

        nothing was written
        --- stderr
        sandhog: the run ended: trapped: wasm `unreachable` instruction executed
        --- exit code 1

        $ sandhog invoke spin.wasm --payload {}
        plugin     spin [VERSION]
        outcome    timed-out
        reason     timed out
        time       [TIME] to compile and [TIME] to run
        memory     256 KiB at the most
        calls      0 calls, 0 effects, 0 denied

        nothing was written
        --- stderr
        sandhog: the run ended: timed out
        --- exit code 1

        $ sandhog invoke good.wasm
        --- stderr
        sandhog: a worker needs a job: give `--payload` or `--payload-file`
        --- exit code 2

        $ sandhog invoke good.wasm --payload-file missing
        --- stderr
        sandhog: cannot read `missing`: No such file or directory (os error 2)
        --- exit code 2

        $ sandhog invoke good.wasm --payload x --queue others
        --- stderr
        sandhog: the manifest has no queue `others`
        --- exit code 2
        "#);
    });
}

#[test]
fn invoke_writes_to_a_real_redis_only_when_told_to() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.file("good.wasm", good());
    program.file("good.toml", MANIFEST);
    let url = redis.url();
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["invoke", "good.wasm", "--payload", "x", "--redis", "redis://127.0.0.1:1"],
            &["invoke", "good.wasm", "--payload", "x", "--commit"],
        ]), @r#"
        $ sandhog invoke good.wasm --payload x --redis redis://127.0.0.1:1
        --- stderr
        sandhog: a run on your Redis changes it: effects are immediate
        hint: add `--commit` if that is wanted; leave `--redis` out for a private server
        --- exit code 2

        $ sandhog invoke good.wasm --payload x --commit
        --- stderr
        sandhog: `--commit` needs `--redis URL`: name the server that is written to
        --- exit code 2
        "#);
    });
    let done = program.json(&["invoke", "good.wasm", "--payload", "x", "--commit", "--redis", &url]);
    assert_eq!((&done["outcome"], &done["changes"]), (&json!("done"), &json!(null)));
}

#[test]
fn invoke_shows_what_the_example_changed() {
    let program = Program::alone();
    let orders = example::path("orders").display().to_string();
    let order = r#"{"id":"A-1","customer":"ada","amount_cents":5}"#;
    let done = program.json(&["invoke", &orders, "--payload", order]);
    assert_eq!(done["outcome"], "done");
    let keys: Vec<&str> =
        done["changes"].as_array().unwrap().iter().map(|change| change["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["order:seen:A-1", "orders:count", "receipts", "total:ada", "total:all"]);
    let reader = example::path("site-settings").display().to_string();
    let read = program.json(&["invoke", &reader, "--set", "keyname=bob"]);
    assert_eq!(read["settings"]["greeting"], "hello, bob");
    let bad = program.output(&["invoke", &reader, "--set", "config:currency=euro"]);
    assert_eq!(bad.status.code(), Some(1));
}

#[test]
fn componentize_makes_what_check_accepts() {
    let program = Program::alone();
    program.file("core.wasm", wat::parse_str("(module)").unwrap());
    program.file("text.wasm", "(module)");
    program.file("good.wasm", good());
    assert_snapshot!(program.session(&[
        &["componentize", "core.wasm", "-o", "out.wasm"],
        &["componentize", "text.wasm", "-o", "out.wasm"],
        &["componentize", "good.wasm", "-o", "out.wasm"],
        &["componentize", "missing.wasm", "-o", "out.wasm"],
        &["componentize", "core.wasm"],
    ]), @r#"
    $ sandhog componentize core.wasm -o out.wasm
    --- stderr
    sandhog: cannot make a component of `core.wasm`: the module has no embedded WIT (a `component-type` section, which `wit-bindgen` writes)
    hint: build the guest with bindings for `wit/`, for example with wit-bindgen
    --- exit code 2

    $ sandhog componentize text.wasm -o out.wasm
    --- stderr
    sandhog: cannot make a component of `text.wasm`: this is text, not WebAssembly in its binary form
    --- exit code 2

    $ sandhog componentize good.wasm -o out.wasm
    --- stderr
    sandhog: cannot make a component of `good.wasm`: this is a component already, not a core module
    hint: it needs no further step: load it as it is
    --- exit code 2

    $ sandhog componentize missing.wasm -o out.wasm
    --- stderr
    sandhog: cannot read `missing.wasm`: No such file or directory (os error 2)
    --- exit code 2

    $ sandhog componentize core.wasm
    --- stderr
    sandhog: the following required arguments were not provided: --output <FILE>
    hint: usage: `sandhog componentize --output <FILE> <CORE>`
    --- exit code 2
    "#);
    assert!(!program.folder().join("out.wasm").exists());
}
