//! keygen, sign and deploy.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;
use serde_json::json;

use crate::support::guest;
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\n";

/// A folder with a plugin.
fn program(redis: Option<&TestRedis>) -> Program {
    let program = redis.map_or_else(Program::alone, Program::with);
    program.file("thumbs.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("thumbs.toml", MANIFEST);
    program
}

/// As those of the program, without keys and the name of this machine.
fn filters(program: &Program) -> insta::Settings {
    let mut filters = program.filters();
    filters.add_filter(r"ed25519:[0-9a-f]{64}", "[KEY]");
    filters.add_filter(r", from \S+", ", from [MACHINE]");
    filters.add_filter("/[0-9a-f]{8} is", "/[RELEASE] is");
    filters.add_filter("/[0-9a-f]{8},", "/[RELEASE],");
    filters
}

#[test]
fn a_key_is_made_once_and_kept_from_others() {
    let program = program(None);
    filters(&program).bind(|| {
        assert_snapshot!(program.session(&[
            &["keygen"],
            &["keygen"],
            &["sign", "thumbs.wasm"],
            &["sign", "thumbs.wasm", "--key", "thumbs.toml"],
            &["sign", "thumbs.wasm", "--key", "missing.key"],
            &["sign", "missing.wasm"],
        ]), @r#"
        $ sandhog keygen
        [KEY]
        --- stderr
        wrote the private key to `sandhog.key`: keep it secret, and keep a copy
        hosts take what it signs, and nothing else, with
        [plugins]
        trusted_keys = ["[KEY]"]
        --- exit code 0

        $ sandhog keygen
        --- stderr
        sandhog: `sandhog.key` is there already, and a lost key cannot be made again
        hint: name another file with `--output FILE`
        --- exit code 2

        $ sandhog sign thumbs.wasm
        --- stderr
        wrote `thumbs.wasm.sig`: [VERSION] is signed by [KEY]
        --- exit code 0

        $ sandhog sign thumbs.wasm --key thumbs.toml
        --- stderr
        others can read `thumbs.toml`; run `chmod 600 thumbs.toml`
        sandhog: `thumbs.toml` holds no private key of `sandhog keygen`
        --- exit code 2

        $ sandhog sign thumbs.wasm --key missing.key
        --- stderr
        sandhog: cannot read the key `missing.key`: No such file or directory (os error 2)
        hint: make one with `sandhog keygen`, or name it with `--key FILE`
        --- exit code 2

        $ sandhog sign missing.wasm
        --- stderr
        sandhog: cannot read `missing.wasm`: No such file or directory (os error 2)
        --- exit code 2
        "#);
    });
    let mode = std::fs::metadata(program.folder().join("sandhog.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let made = program.json(&["keygen", "-o", "second.key"]);
    assert_eq!(made["private_key_file"], "second.key");
    let signed = program.json(&["sign", "thumbs.wasm", "--key", "second.key"]);
    assert_eq!(signed["public_key"], made["public_key"]);
    // Two keys vouch for it; signing again adds nothing.
    program.json(&["sign", "thumbs.wasm", "--key", "second.key"]);
    let text = std::fs::read_to_string(program.folder().join("thumbs.wasm.sig")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(!text.contains(std::fs::read_to_string(program.folder().join("second.key")).unwrap().trim()));
}

#[test]
fn check_and_deploy_ask_for_a_signature_where_hosts_do() {
    let redis = TestRedis::start();
    let program = program(Some(&redis));
    let key = program.json(&["keygen"])["public_key"].as_str().unwrap().to_owned();
    program.json(&["keygen", "-o", "foreign.key"]);
    program.file("sandhog.toml", format!("[plugins]\ntrusted_keys = [\"{key}\"]\n"));
    let component = guest::worker("", "", "(i32.const 0)");
    let look = || program.session(&[&["check", "thumbs.wasm"], &["deploy", "thumbs.wasm"]]);
    let mut seen = vec![look()];
    program.json(&["sign", "thumbs.wasm", "--key", "foreign.key"]);
    seen.push(look());
    program.file("thumbs.wasm", guest::worker("", "", "(i32.const 1)"));
    program.json(&["sign", "thumbs.wasm"]);
    program.file("thumbs.wasm", component);
    seen.push(look());
    program.file("thumbs.wasm.sig", "hello");
    seen.push(look());
    program.json(&["sign", "thumbs.wasm"]);
    seen.push(look());
    filters(&program).bind(|| assert_snapshot!(seen.join("\n"), @r#"
    $ sandhog check thumbs.wasm
    thumbs.wasm: is not signed, but `plugins.trusted_keys` requires a signature; sign it: `sandhog sign FILE --key KEY`
    --- stderr
    sandhog: plugin `thumbs` would be refused
    --- exit code 2

    $ sandhog deploy thumbs.wasm
    --- stderr
    sandhog: thumbs.wasm: is not signed, but `plugins.trusted_keys` requires a signature; sign it: `sandhog sign FILE --key KEY`
    --- exit code 2

    $ sandhog check thumbs.wasm
    thumbs.wasm: is signed by `[KEY]`, which is not one of `plugins.trusted_keys`
    --- stderr
    sandhog: plugin `thumbs` would be refused
    --- exit code 2

    $ sandhog deploy thumbs.wasm
    --- stderr
    sandhog: thumbs.wasm: is signed by `[KEY]`, which is not one of `plugins.trusted_keys`
    --- exit code 2

    $ sandhog check thumbs.wasm
    thumbs.wasm: has a signature of `[KEY]` that is not for this component: it was changed after it was signed
    --- stderr
    sandhog: plugin `thumbs` would be refused
    --- exit code 2

    $ sandhog deploy thumbs.wasm
    --- stderr
    sandhog: thumbs.wasm: has a signature of `[KEY]` that is not for this component: it was changed after it was signed
    --- exit code 2

    $ sandhog check thumbs.wasm
    thumbs.wasm: has a signature that cannot be read: line 1 is not of the form `ed25519:KEY SIGNATURE`
    --- stderr
    sandhog: plugin `thumbs` would be refused
    --- exit code 2

    $ sandhog deploy thumbs.wasm
    --- stderr
    sandhog: thumbs.wasm: has a signature that cannot be read: line 1 is not of the form `ed25519:KEY SIGNATURE`
    --- exit code 2

    $ sandhog check thumbs.wasm
    plugin  kind    version       queues  state
    thumbs  worker  [VERSION]  orders  ok
    --- exit code 0

    $ sandhog deploy thumbs.wasm
    thumbs [VERSION]/[RELEASE] is wanted, deploy 1
    --- exit code 0
    "#));
}

#[test]
fn a_deploy_says_what_it_did() {
    let redis = TestRedis::start();
    let program = program(Some(&redis));
    program.file("bad.wasm", "text");
    program.file("bad.toml", "kind = \"worker\"\n");
    filters(&program).bind(|| {
        assert_snapshot!(program.session(&[
            &["deploy", "thumbs.wasm"],
            &["deploy", "thumbs.wasm"],
            &["deploy", "thumbs.wasm", "--plugin", "other", "--manifest", "thumbs.toml"],
            &["deploy", "thumbs.wasm", "--plugin", "Other"],
            &["deploy", "bad.wasm"],
            &["deploy", "missing.wasm"],
            &["deploy", "thumbs.wasm", "--redis", "redis://127.0.0.1:1"],
        ]), @r#"
        $ sandhog deploy thumbs.wasm
        thumbs [VERSION]/[RELEASE] is wanted, deploy 1
        --- exit code 0

        $ sandhog deploy thumbs.wasm
        thumbs [VERSION]/[RELEASE] is wanted, deploy 2
        --- stderr
        Redis had the component already
        --- exit code 0

        $ sandhog deploy thumbs.wasm --plugin other --manifest thumbs.toml
        other [VERSION]/[RELEASE] is wanted, deploy 1
        --- stderr
        Redis had the component already
        --- exit code 0

        $ sandhog deploy thumbs.wasm --plugin Other
        --- stderr
        sandhog: invalid value `Other` for `--plugin <NAME>`: a plugin name has 1 to 64 of `a`-`z`, `0`-`9`, `_` and `-`
        --- exit code 2

        $ sandhog deploy bad.wasm
        --- stderr
        sandhog: bad.toml:1: missing `consume`; a worker serves at least one queue: write `[[consume]]` and `queue = "…"`
        --- exit code 2

        $ sandhog deploy missing.wasm
        --- stderr
        sandhog: the plugin would be refused: 2 problems
          missing.toml: cannot read the manifest: No such file or directory (os error 2)
          missing.wasm: cannot read the component: No such file or directory (os error 2)
        --- exit code 2

        $ sandhog deploy thumbs.wasm --redis redis://127.0.0.1:1
        --- stderr
        sandhog: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)
        hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`
        --- exit code 2
        "#);
    });
    let told = program.json(&["deploy", "thumbs.wasm"]);
    assert_eq!(
        (&told["plugin"], &told["number"], &told["sent"]),
        (&json!("thumbs"), &json!(3), &json!(false))
    );
    assert_eq!(told["version"].as_str().unwrap().len(), 64);
}

#[test]
fn a_rollback_wants_what_was_wanted_before() {
    let redis = TestRedis::start();
    let program = program(Some(&redis));
    program.json(&["deploy", "thumbs.wasm"]);
    program.json(&["deploy", "thumbs.wasm", "--plugin", "other", "--manifest", "thumbs.toml"]);
    program.file("thumbs.toml", format!("{MANIFEST}timeout = \"1s\"\n"));
    filters(&program).bind(|| {
        assert_snapshot!(program.session(&[
            &["rollback", "never"],
            &["rollback", "other"],
            &["deploy", "thumbs.wasm"],
            &["rollback", "thumbs"],
            &["rollback", "thumbs"],
            &["rollback", "thumbs", "--to", "xyz"],
        ]), @r#"
        $ sandhog rollback never
        --- stderr
        sandhog: plugin `never` was never deployed to this fleet, and no version of it is kept in `[DIR]/.local/state/sandhog`
        hint: a host keeps what it has loaded in its state folder; `sandhog deploy` gives a version to the fleet
        --- exit code 2

        $ sandhog rollback other
        --- stderr
        sandhog: there is no former version to go back to
          deploy 1: version [VERSION], release [VERSION], from [MACHINE]
        --- exit code 2

        $ sandhog deploy thumbs.wasm
        thumbs [VERSION]/[RELEASE] is wanted, deploy 2
        --- stderr
        manifest: consume.timeout default → "1s"
        Redis had the component already
        --- exit code 0

        $ sandhog rollback thumbs
        thumbs [VERSION]/[RELEASE] is wanted instead of [VERSION]/[RELEASE], deploy 3 (as deploy 1)
        --- stderr
        manifest: consume.timeout "1s" → default
        --- exit code 0

        $ sandhog rollback thumbs
        --- stderr
        sandhog: there is no former version to go back to; `--to DIGITS` goes to a later one
          deploy 3: version [VERSION], release [VERSION], from [MACHINE]
          deploy 2: version [VERSION], release [VERSION], from [MACHINE]
          deploy 1: version [VERSION], release [VERSION], from [MACHINE]
        --- exit code 2

        $ sandhog rollback thumbs --to xyz
        --- stderr
        sandhog: no version that is remembered begins with `xyz`
          deploy 3: version [VERSION], release [VERSION], from [MACHINE]
          deploy 2: version [VERSION], release [VERSION], from [MACHINE]
          deploy 1: version [VERSION], release [VERSION], from [MACHINE]
        --- exit code 2
        "#);
    });
    // A third version, and back over both.
    program.file("thumbs.toml", format!("{MANIFEST}timeout = \"2s\"\n"));
    program.json(&["deploy", "thumbs.wasm"]);
    let told = program.json(&["rollback", "thumbs"]);
    assert_eq!((&told["number"], &told["instead_of"]["number"]), (&json!(5), &json!(4)));
    assert_eq!(told["manifest_changes"], json!(["consume.timeout \"2s\" → default"]));
}
