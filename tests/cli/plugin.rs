//! check, plugins, componentize and snapshot.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::guest;
use crate::support::program::Program;

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
        .file("bad.toml", "kind = \"wroker\"\n\n[[consume]]\nqeue = \"orders\"\n\n[instances]\nreuse = 0\n");
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
        bad.toml:7: `instances.reuse` is 0; it must be at least 1
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
fn check_takes_several_components() {
    let program = Program::alone();
    program.file("one.wasm", good());
    program.file("one.toml", MANIFEST);
    program.file("two.wasm", "(component)");
    program.file("two.toml", MANIFEST);
    std::fs::create_dir(program.folder().join("plugins")).unwrap();
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["check", "one.wasm", "two.wasm"],
            &["check", "one.wasm", "two.wasm", "--manifest", "one.toml"],
            &["check", "one.wasm", "plugins"],
        ]), @r#"
        $ sandhog check one.wasm two.wasm
        plugin  kind    version       queues  state
        one     worker  [VERSION]  orders  ok
        two.wasm: is a text file, not a WebAssembly component
        --- stderr
        sandhog: 1 of 2 plugins would be refused
        --- exit code 2

        $ sandhog check one.wasm two.wasm --manifest one.toml
        --- stderr
        sandhog: `--manifest` goes with one component, not with several
        --- exit code 2

        $ sandhog check one.wasm plugins
        --- stderr
        sandhog: `plugins` is a folder: check it alone, or name its components
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
        hosts were not asked: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)
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
    hosts were not asked: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)
    no plugins in `empty`
    --- exit code 0
    "#);
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
    hint: say what it is for, for example `--world queue-worker`, or build it with bindings that embed it
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

#[test]
fn snapshot_makes_what_check_accepts() {
    let program = Program::alone();
    program.file("good.wasm", good());
    program.file("build/.good.wasm", good());
    // Its manifest lies beside it.
    program.file("reader.wasm", guest::reader("", "", "(i32.const 0)"));
    program.file("reader.toml", "kind = \"config-reader\"\n");
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["snapshot", "good.wasm", "-o", "start.wasm"],
            &["snapshot", "good.wasm", "-o", "warm.wasm", "--payload", "1", "--payload", "2", "--set", "a=b"],
            &["snapshot", "build/.good.wasm", "-o", "build/good.wasm"],
            &["snapshot", "reader.wasm", "-o", "settings.wasm"],
        ]), @r#"
        $ sandhog snapshot good.wasm -o start.wasm
        --- stderr
        wrote `start.wasm`, 1.6 KiB
        --- exit code 0

        $ sandhog snapshot good.wasm -o warm.wasm --payload 1 --payload 2 --set a=b
        --- stderr
        wrote `warm.wasm`, 1.7 KiB
        --- exit code 0

        $ sandhog snapshot build/.good.wasm -o build/good.wasm
        --- stderr
        wrote `build/good.wasm`, 1.6 KiB
        --- exit code 0

        $ sandhog snapshot reader.wasm -o settings.wasm
        --- stderr
        wrote `settings.wasm`, 960 B
        --- exit code 0
        "#);
    });
    program.file("start.toml", MANIFEST);
    program.file("warm.toml", MANIFEST);
    program.file("settings.toml", "kind = \"config-reader\"\n");
    for made in ["start.wasm", "warm.wasm", "settings.wasm"] {
        program.json(&["check", made]);
    }
}

#[test]
fn snapshot_says_why_there_is_none() {
    let program = Program::alone();
    program.file("core.wasm", wat::parse_str("(module)").unwrap());
    program.file("text.wasm", "some text");
    program.file("good.wasm", good());
    program.file("reader.wasm", guest::reader("", "", "(i32.const 0)"));
    program.file("reader.toml", "kind = \"config-reader\"\n");
    program.file("bad.wasm", good());
    program.file("bad.toml", "kind = \"config-reader\"\n");
    program.file(
        "picky.wasm",
        guest::worker("", "", "(if (local.get $length) (then unreachable)) (i32.const 0)"),
    );
    assert_snapshot!(program.session(&[
        &["snapshot", "reader.wasm", "-o", "out.wasm", "--payload", "1"],
        &["snapshot", "bad.wasm", "-o", "out.wasm"],
        &["snapshot", "picky.wasm", "-o", "out.wasm", "--payload", "1"],
        &["snapshot", "core.wasm", "-o", "out.wasm"],
        &["snapshot", "text.wasm", "-o", "out.wasm"],
        &["snapshot", "missing.wasm", "-o", "out.wasm"],
        &["snapshot", "good.wasm", "-o", "out.wasm", "--manifest", "missing.toml"],
        &["snapshot", "good.wasm", "-o", "out.wasm", "--set", "a=b"],
        &["snapshot", "good.wasm", "-o", "out.wasm", "--payload", "1", "--set", "a=b", "--redis", "unix:///none"],
        &["snapshot", "good.wasm", "-o", "out.wasm", "--payload", "1", "--redis", "unix:///none/redis.sock"],
    ]), @r#"
    $ sandhog snapshot reader.wasm -o out.wasm --payload 1
    --- stderr
    sandhog: a config reader takes no payload
    --- exit code 2

    $ sandhog snapshot bad.wasm -o out.wasm
    --- stderr
    sandhog: `bad.wasm` is a worker (it exports `sandhog:worker/handler@0.1.0`), but the manifest says `kind = "config-reader"`
    --- exit code 2

    $ sandhog snapshot picky.wasm -o out.wasm --payload 1
    --- stderr
    sandhog: `picky.wasm` does not complete job 1: trapped: wasm `unreachable` instruction executed
    --- exit code 2

    $ sandhog snapshot core.wasm -o out.wasm
    --- stderr
    sandhog: `core.wasm` is a core module, not a component
    hint: make a component of it: `sandhog componentize CORE.wasm -o COMPONENT.wasm`
    --- exit code 2

    $ sandhog snapshot text.wasm -o out.wasm
    --- stderr
    sandhog: `text.wasm` is a text file, not a WebAssembly component
    --- exit code 2

    $ sandhog snapshot missing.wasm -o out.wasm
    --- stderr
    sandhog: cannot read `missing.wasm`: No such file or directory (os error 2)
    --- exit code 2

    $ sandhog snapshot good.wasm -o out.wasm --manifest missing.toml
    --- stderr
    sandhog: missing.toml: cannot read the manifest: No such file or directory (os error 2)
    --- exit code 2

    $ sandhog snapshot good.wasm -o out.wasm --set a=b
    --- stderr
    sandhog: the following required arguments were not provided: --payload <BYTES>
    hint: usage: `sandhog snapshot --output <FILE> --payload <BYTES> --set <KEY=VALUE> <COMPONENT>`
    --- exit code 2

    $ sandhog snapshot good.wasm -o out.wasm --payload 1 --set a=b --redis unix:///none
    --- stderr
    sandhog: `--set` is for the private Redis: nothing is set on one of yours
    --- exit code 2

    $ sandhog snapshot good.wasm -o out.wasm --payload 1 --redis unix:///none/redis.sock
    --- stderr
    sandhog: cannot reach Redis at `unix:///none/redis.sock?db=0`: No such file or directory (os error 2)
    hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`
    --- exit code 2
    "#);
    assert!(!program.folder().join("out.wasm").exists());
}
