//! Records in Redis that were not written by a host: a read of them may fail, but must not panic or hang, and a host
//! continues to serve its other queues. `write` writes the records and `read` reads them; a fuzz target uses both, too.

mod read;
mod write;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use redis::{AsyncCommands as _, cmd};
use rustix::process::Signal;

use self::write::{KINDS, Record};
use crate::support::example;
use crate::support::host::{Plugins, until};
use crate::support::process::{HostProcess, SETTINGS};
use crate::support::program::{Program, transcript};
use crate::support::redis::TestRedis;

/// Longest time that reading all records of a case may take, on a busy machine.
const READ_MAX: Duration = Duration::from_secs(60);
/// Cases that a whole host meets.
const ROUNDS: u32 = 12;

const NUMBERS: [&str; 22] = [
    "",
    "0",
    "1",
    "-1",
    "5",
    "1.5",
    "00",
    "+1",
    " 1",
    "1e308",
    "inf",
    "-inf",
    "nan",
    "1000",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "1700000000000",
    "253402207200000",
    "9223372036854775807",
    "18446744073709550000",
    "18446744073709551615",
];
const NAMES: [&str; 18] = [
    "a",
    "p",
    "t",
    "",
    " ",
    "  ",
    "  stage",
    "jobs",
    "{jobs}",
    "nightly",
    "evil name",
    "\u{e9}\u{202e}\u{1b}[31m",
    "sandhog:hosts",
    "probe",
    "o.00000002.0000000003e8",
    "h.00000001.ffffffffffffffff",
    "h.0000000g.x",
    "schedule-nightly-1",
];
/// Patterns of records; numbers replace `#`.
const TEXTS: [&str; 23] = [
    "#",
    "1 id-1 # # #\nreport none",
    "1 id-1 # # # t=a !key=a\nreport none",
    "1 id-1 0 0 # t= !key= !unique=a !own=# !kept=# !result=#\nreport none",
    "1 id-2 1 # 5 t=%20 !rated=1 !outages=# !single=1 !reason=x%20# !n=#\nretry soon",
    "1 id-3 0 0 5 %=%\n",
    "{\"queue\":\"jobs\",\"when\":{\"every\":#},\"jitter_ms\":#}",
    "{\"queue\":\"jobs\",\"when\":{\"every\":1000},\"jitter_ms\":86400000,\"missed\":\"run-once\"}",
    "{\"queue\":\"jobs\",\"when\":{\"every\":31622400000},\"jitter_ms\":#,\"headers\":[[\"t\",\"#\"]]}",
    "{\"queue\":\"jobs\",\"when\":{\"cron\":{\"expression\":\"0 0 29 2 *\",\"timezone\":\"Europe/Berlin\"}}}",
    "[{\"name\":\"p\",\"kind\":\"worker\",\"version\":\"v\",\"release\":\"\",\"queues\":[],\"denied\":#,\"versions\":[\
     {\"state\":\"current\",\"version\":\"v\",\"share\":1,\"runs\":#,\"failures\":#,\"since_ms\":#},\
     {\"state\":\"current\",\"version\":\"v\",\"share\":1,\"runs\":#,\"failures\":#,\"since_ms\":#}]}]",
    "{\"at_ms\":#,\"plugin\":\"p\",\"what\":\"loaded\",\"version\":\"v\"}",
    "{\"release\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\
     \"component\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\
     \"number\":#,\"at_ms\":#,\"by\":\"me\"}",
    "[\"jobs\",\"a\nb\",\"sandhog:hosts\",\"{jobs}\"]",
    "#-# #-#",
    "0-#",
    "# # of them",
    "done\n#",
    "delayed",
    "ready",
    "inflight",
    "# h.00000001.0000000003e8 o",
    "#\nnightly\n#",
];

fn numbers() -> impl Strategy<Value = Vec<u8>> {
    select(&NUMBERS).prop_map(|number| number.as_bytes().to_vec())
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => select(&NAMES).prop_map(|name| name.as_bytes().to_vec()),
        1 => Just(vec![b'n'; 200]),
        1 => vec(any::<u8>(), 0..12),
    ]
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let template = (select(&TEXTS), vec(select(&NUMBERS), 8)).prop_map(|(text, numbers)| {
        let mut numbers = numbers.into_iter().cycle();
        let with_number = |piece: &str| format!("{}{piece}", numbers.next().unwrap_or_default());
        let mut pieces = text.split('#');
        let first = pieces.next().unwrap_or_default().to_owned();
        (first + &pieces.map(with_number).collect::<String>()).into_bytes()
    });
    let cut = |(mut text, at): (Vec<u8>, prop::sample::Index)| {
        text.truncate(at.index(text.len() + 1));
        text
    };
    let template = template.boxed();
    prop_oneof![
        6 => template.clone(),
        1 => (template, any::<prop::sample::Index>()).prop_map(cut),
        1 => vec(any::<u8>(), 0..40),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let parts = (0..KINDS, any::<u8>(), names(), numbers(), texts());
    let record =
        parts.prop_map(|(kind, which, name, number, text)| Record { kind, which, name, number, text });
    vec(record, 1..24)
}

#[test]
fn whatever_is_recorded_is_read_or_refused() {
    let redis = TestRedis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let link = redis.link();
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(records in records())| {
        runtime.block_on(async {
            link.query::<()>(&cmd("FLUSHALL")).await.unwrap();
            write::write(&link, &records).await;
            let done = tokio::time::timeout(READ_MAX, read::read(&link)).await;
            prop_assert!(done.is_ok(), "a read hangs");
            Ok(())
        })?;
    });
}

#[test]
fn a_record_of_each_kind_is_in_redis_when_it_is_read() {
    let redis = TestRedis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let link = redis.link();
        for kind in 0..KINDS {
            link.query::<()>(&cmd("FLUSHALL")).await.unwrap();
            let piece = |text: &str| text.as_bytes().to_vec();
            let (name, number, text) = (piece("a"), piece("5"), piece("1 id-1 0 0 5\nx"));
            write::write(&link, &[Record { kind, which: 0, name, number, text }]).await;
            assert!(link.query::<u64>(&cmd("DBSIZE")).await.unwrap() > 0, "kind {kind} writes nothing");
        }
    });
}

/// A queue with limits, which the records are of, and another one.
const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
timeout = "5s"
max_attempts = 2
key = "header:t"
key_concurrency = 2
[[consume]]
queue = "free"
timeout = "5s"
[grants]
kv.read = ["*"]
kv.write = ["*"]
"#;
const COMMANDS: [&[&str]; 11] = [
    &["queues", "--json"],
    &["jobs", "list", "jobs"],
    &["jobs", "list", "jobs", "--place", "dead"],
    &["jobs", "list", "jobs", "--place", "inflight", "--json"],
    &["jobs", "groups", "jobs"],
    &["jobs", "show", "jobs", "id-1"],
    &["hosts"],
    &["plugins"],
    &["plugins", "--history"],
    &["schedule", "list"],
    &["schedule", "list", "--json"],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_goes_on_whatever_is_recorded() {
    let redis = TestRedis::start();
    let (mut plain, link) = (redis.plain().await, redis.link());
    let plugins = Plugins::new().with("probe", &example::component("probe"), MANIFEST);
    let mut host = HostProcess::start_with(&plugins, &redis.url(), "h", &mut plain, SETTINGS).await;
    let program = Program::with(&redis);
    let (mut runner, strategy) = (TestRunner::default(), records());
    for round in 0..ROUNDS {
        let records = strategy.new_tree(&mut runner).unwrap().current();
        println!("round {round}: {records:?}");
        write::write(&link, &records).await;
        for arguments in COMMANDS {
            let output = program.output(arguments);
            let shown = transcript(arguments, &output);
            assert!(matches!(output.status.code(), Some(0..=2)) && !shown.contains("panicked"), "{shown}");
        }
        let job = format!("report none\nkv.set done:{round} 1");
        let _: u64 = plain.rpush("free", job).await.unwrap();
        until("the other queue is served", async || plain.exists(format!("done:{round}")).await.unwrap())
            .await;
        assert!(!host.log().contains("panicked"), "{}", host.log());
        // The host registers itself again.
        let _: () = cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
    }
    host.signal(Signal::TERM);
    assert!(host.ended().await.success(), "{}", host.log());
}
