//! `deploy` and `rollback` if hosts have trusted keys: what they sign, and what they do not sign again.

use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::guest;
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\n";

/// A folder with a signed plugin, and settings that require the signature.
fn program(redis: &TestRedis) -> (Program, String) {
    let program = Program::with(redis);
    program.file("thumbs.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("thumbs.toml", MANIFEST);
    let key = program.json(&["keygen"])["public_key"].as_str().unwrap().to_owned();
    program.file("sandhog.toml", format!("[plugins]\ntrusted_keys = [\"{key}\"]\n"));
    program.json(&["sign", "thumbs.wasm"]);
    (program, key)
}

#[tokio::test]
async fn what_is_deployed_and_rolled_back_is_signed_and_what_others_wrote_is_not() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let (program, key) = program(&redis);
    let mut releases = Vec::new();
    for number in 1..=2 {
        program.file("thumbs.toml", format!("{MANIFEST}timeout = \"{number}s\"\n"));
        let told = program.json(&["deploy", "thumbs.wasm"]);
        assert_eq!(told["number"], number);
        releases.push(told["release"].clone());
        let entry: String = plain.hget("sandhog:plugins", "thumbs").await.unwrap();
        let entry: Value = serde_json::from_str(&entry).unwrap();
        assert!(entry["signed"]["signature"].as_str().unwrap().starts_with(&format!("{key} ")), "{entry}");
    }
    // An attacker adds a former version.
    let mut forged: Value =
        serde_json::from_str(&plain.hget::<_, _, String>("sandhog:plugins", "thumbs").await.unwrap())
            .unwrap();
    forged["release"] = json!("f".repeat(64));
    let _: () = plain.lpush("sandhog:plugins:thumbs:history", forged.to_string()).await.unwrap();
    let refused = program.session(&[&["rollback", "thumbs", "--to", "ffff"]]);
    assert!(refused.contains("no version that is remembered begins with `ffff`"), "{refused}");
    assert!(refused.contains("; not signed by a trusted key"), "{refused}");
    let back = program.json(&["rollback", "thumbs"]);
    assert_eq!((&back["number"], &back["release"]), (&json!(3), &releases[0]));
    let entry: String = plain.hget("sandhog:plugins", "thumbs").await.unwrap();
    assert!(entry.contains(&key), "{entry}");
}

#[tokio::test]
async fn without_a_trusted_key_nothing_is_deployed() {
    let redis = TestRedis::start();
    let (program, _) = program(&redis);
    program.json(&["keygen", "-o", "foreign.key"]);
    std::fs::rename(program.folder().join("sandhog.key"), program.folder().join("own.key")).unwrap();
    let missing = program.session(&[&["deploy", "thumbs.wasm"]]);
    assert!(missing.contains("cannot read the key `sandhog.key`"), "{missing}");
    let foreign = program.session(&[&["deploy", "thumbs.wasm", "--key", "foreign.key"]]);
    assert!(foreign.contains("the key `foreign.key` (ed25519:"), "{foreign}");
    assert!(foreign.contains("is not one of `plugins.trusted_keys`"), "{foreign}");
    assert!(!redis.plain().await.exists::<_, bool>("sandhog:plugins").await.unwrap());
    assert_eq!(program.json(&["deploy", "thumbs.wasm", "--key", "own.key"])["number"], 1);
    let missing = program.session(&[&["rollback", "thumbs"]]);
    assert!(missing.contains("cannot read the key `sandhog.key`"), "{missing}");
}
