//! Settings and the log through `wasi:config` and `wasi:logging`, and config readers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands;
use sandhog::capability::grant::Grants;
use sandhog::sandbox::{Kind, Outcome, RunContext, Terms, Version};

use crate::support::guest::{all_grants, context, job, load, no_redis, reader, run, sandbox, terms, worker};
use crate::support::log::capture;
use crate::support::redis::TestRedis;
use crate::support::view::patterns;

fn settings(pairs: &[(&str, &str)]) -> Arc<BTreeMap<String, String>> {
    Arc::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// A worker that buries each job with the setting named by its payload.
fn teller() -> Vec<u8> {
    worker(
        r#"(import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))"#,
        r#"(data (i32.const 2000) "no such setting")"#,
        "(call $get (local.get $payload) (local.get $length) (i32.const 1000))
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (if (i32.load8_u (i32.const 1004))
            (then (i32.store (i32.const 16) (i32.load (i32.const 1008)))
                  (i32.store (i32.const 20) (i32.load (i32.const 1012))))
            (else (i32.store (i32.const 16) (i32.const 2000)) (i32.store (i32.const 20) (i32.const 15))))
        i32.const 0",
    )
}

#[tokio::test]
async fn settings_come_from_the_snapshot_and_under_it_from_the_manifest() {
    let config = settings(&[("size", "320"), ("both", "static")]);
    let version = sandbox().load(Terms { config, ..terms() }, &teller()).unwrap();
    let snapshot = settings(&[("site.name", "Sandhog"), ("both", "snapshot"), ("empty", "")]);
    let context = RunContext { settings: snapshot, ..context(no_redis()) };
    for (name, expected) in [
        ("size", "320"),
        ("site.name", "Sandhog"),
        ("both", "snapshot"),
        ("empty", ""),
        ("absent", "no such setting"),
    ] {
        let outcome = version.run_job(job(name.as_bytes()), &context).await.outcome;
        assert_eq!(outcome, Outcome::Buried(expected.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn all_settings_come_sorted_by_name() {
    // Buries with the name of the last of three.
    let component = worker(
        r#"(import "wasi:config/store@0.2.0-rc.1" "get-all" (func $all (param i32)))"#,
        "",
        "(call $all (i32.const 1000))
        (if (i32.ne (i32.load (i32.const 1008)) (i32.const 3)) (then unreachable))
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 16) (i32.load offset=32 (i32.load (i32.const 1004))))
        (i32.store (i32.const 20) (i32.load offset=36 (i32.load (i32.const 1004))))
        i32.const 0",
    );
    let version = sandbox()
        .load(Terms { config: settings(&[("zoo", "1"), ("b", "2")]), ..terms() }, &component)
        .unwrap();
    let context = RunContext { settings: settings(&[("a.x", "1"), ("b", "3")]), ..context(no_redis()) };
    assert_eq!(version.run_job(job(b""), &context).await.outcome, Outcome::Buried("zoo".to_owned()));
}

#[tokio::test]
async fn log_lines_carry_level_context_and_job() {
    let captured = capture();
    let version = load(&worker(
        r#"(import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 1000) "part\nhello\1bthere")"#,
        "(local $level i32)
        (loop $l
            (call $log (local.get $level) (i32.const 1000) (i32.const 4) (i32.const 1005) (i32.const 11))
            (local.set $level (i32.add (local.get $level) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $level) (i32.const 6)))) i32.const 0",
    ));
    assert_eq!(run(&version).await.outcome, Outcome::Done);
    let rest = format!(
        r#"plugin=test version={} job=job-1 context="part" text="hello\\u{{1b}}there""#,
        version.short_digest()
    );
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "ERROR"];
    assert_eq!(captured.guest_lines(), levels.map(|level| format!("{level} guest: {rest}")));
}

/// A reader that answers the value of `keyname` as the setting `name`, having also read and listed others.
fn site() -> Vec<u8> {
    reader(
        r#"(import "sandhog:worker/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
        (import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))
        (import "sandhog:worker/kv@0.1.0" "list-keys" (func $list (param i32 i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 2000) "keynamesomekey:config:")"#,
        "(call $exists (i32.const 2007) (i32.const 7) (i32.const 1000))
        (call $list (i32.const 2015) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000))
        (call $get (i32.const 2000) (i32.const 7) (i32.const 1000))
        (if (i32.eqz (i32.load8_u (i32.const 1004))) (then
            (i32.store8 (i32.const 0) (i32.const 1))
            (i32.store (i32.const 4) (i32.const 2000)) (i32.store (i32.const 8) (i32.const 7))
            (return (i32.const 0))))
        (i32.store (i32.const 3000) (i32.const 2003)) (i32.store (i32.const 3004) (i32.const 4))
        (i32.store (i32.const 3008) (i32.load (i32.const 1008)))
        (i32.store (i32.const 3012) (i32.load (i32.const 1012)))
        (i32.store (i32.const 4) (i32.const 3000)) (i32.store (i32.const 8) (i32.const 1))
        i32.const 0",
    )
}

fn reader_version(component: &[u8], grants: Arc<Grants>) -> Version {
    sandbox().load(Terms { kind: Kind::ConfigReader, grants, ..terms() }, component).unwrap()
}

#[tokio::test]
async fn a_config_reader_tells_its_settings_and_what_it_read() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let version = reader_version(&site(), all_grants());
    let report = version.read_config(&context(redis.link())).await;
    assert_eq!(report.settings, Err("keyname".to_owned()), "its own words for what is missing");
    assert_eq!(report.reads.keys.iter().collect::<Vec<_>>(), ["keyname", "somekey"]);
    assert_eq!(report.reads.prefixes.iter().collect::<Vec<_>>(), ["config:"]);
    let _: () = plain.set("keyname", "Sandhog").await.unwrap();
    let report = version.read_config(&context(redis.link())).await;
    assert_eq!(report.settings.unwrap(), *settings(&[("name", "Sandhog")]));
    assert_eq!((report.usage.calls, report.usage.denied), (3, 0));
}

#[tokio::test]
async fn a_config_reader_watches_only_what_it_may_read() {
    let redis = TestRedis::start();
    let grants = Grants { kv_read: patterns("keyname"), ..Grants::default() };
    let report = reader_version(&site(), Arc::new(grants)).read_config(&context(redis.link())).await;
    assert_eq!(report.reads.keys.iter().collect::<Vec<_>>(), ["keyname"]);
    assert_eq!((report.reads.prefixes.len(), report.usage.denied), (0, 2));
}

#[tokio::test]
async fn a_config_reader_cannot_write_whatever_it_was_granted() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let component = reader(
        r#"(import "sandhog:worker/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 2000) "key")"#,
        "(call $set (i32.const 2000) (i32.const 3) (i32.const 2000) (i32.const 3) (i32.const 1000))
        (if (i32.ne (i32.load16_u (i32.const 1000)) (i32.const 1)) (then unreachable))
        (if (i32.load8_u (i32.const 1004)) (then unreachable))
        i32.const 0",
    );
    let report = reader_version(&component, all_grants()).read_config(&context(redis.link())).await;
    assert_eq!((report.settings, report.usage.denied), (Ok(BTreeMap::new()), 1));
    assert!(!plain.exists::<_, bool>("key").await.unwrap());
}

#[tokio::test]
async fn a_config_reader_that_misbehaves_gives_a_reason() {
    let trapping = reader("", "", "unreachable");
    let looping = reader("", "", "(loop $l (br $l)) unreachable");
    for (component, expected) in
        [(trapping, "trapped: wasm `unreachable` instruction executed"), (looping, "timed out")]
    {
        let context = RunContext { timeout: Duration::from_millis(100), ..context(no_redis()) };
        let report = reader_version(&component, Arc::default()).read_config(&context).await;
        assert_eq!(report.settings, Err(expected.to_owned()));
    }
}

#[tokio::test]
async fn two_versions_of_a_plugin_complain_and_count_as_one() {
    let captured = capture();
    let denied = |filler: &str| {
        worker(
            r#"(import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))"#,
            &format!("(data (i32.const 2000) \"{filler}\")"),
            "(call $exists (i32.const 2000) (i32.const 3) (i32.const 1000)) i32.const 0",
        )
    };
    let own = || Terms { plugin: "tried".to_owned(), ..terms() };
    let versions = ["one", "two"].map(|filler| sandbox().load(own(), &denied(filler)).unwrap());
    for version in &versions {
        assert_eq!(run(version).await.usage.denied, 1);
    }
    assert_eq!(versions.map(|version| version.denied()), [2, 2]);
    let complaints = captured.lines().into_iter().filter(|line| line.contains("denied a call")).count();
    assert_eq!(complaints, 1);
}
