//! check, plugins and componentize.

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
