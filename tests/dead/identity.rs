//! What operators do to jobs that have the same id, or the same unique key.

use insta::assert_snapshot;
use redis::{Commands as _, Connection};
use serde_json::json;

use super::{DEAD, bury, plain};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const READY: &str = "{orders}:sandhog:ready";

/// Buries five jobs with one id, and payloads that differ by `n` or are all equal.
fn bury_five(redis: &mut Connection, payload: impl Fn(u32) -> String) {
    for n in 0..5 {
        // Hosts make equal records different with this note.
        let notes = format!("!plugin=orders !reason=boom !n=17-{n}");
        bury(redis, "order-7", 100, &notes, payload(n).as_bytes());
    }
}

/// Payloads of dead jobs, in order.
fn dead_payloads(redis: &mut Connection) -> Vec<String> {
    let records: Vec<String> = redis.zrange(DEAD, 0, -1).unwrap();
    let mut payloads: Vec<String> =
        records.iter().map(|record| record.split_once('\n').unwrap().1.to_owned()).collect();
    payloads.sort();
    payloads
}

#[test]
fn exported_and_discarded_jobs_with_one_id_are_all_imported() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    for (case, payload) in [("different", true), ("equal", false)] {
        let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
        bury_five(&mut connection, |n| if payload { format!("payload {n}") } else { "payload".to_owned() });
        let before = dead_payloads(&mut connection);
        let exported = program.output(&["jobs", "export", "orders"]).stdout;
        program.file("five.jsonl", exported);
        program.output(&["jobs", "discard", "orders", "--all", "--yes"]);
        let import = || program.json(&["jobs", "import", "orders", "five.jsonl"]);
        let imported = |imported, present| json!({ "queue": "orders", "imported": imported, "present": present, "duplicates": 0 });
        assert_eq!(import(), imported(5, 0), "{case}");
        assert_eq!(dead_payloads(&mut connection), before, "{case}");
        assert_eq!(import(), imported(0, 5), "{case}: the same file again adds nothing");
        // One of them is gone, one is ready and one is parked: only the first is missing.
        let records: Vec<String> = connection.zrange(DEAD, 0, -1).unwrap();
        let () = connection.zrem(DEAD, &records[1]).unwrap();
        let () = connection.zrem(DEAD, &records[2]).unwrap();
        let lives = records[2].replacen(" 5 1 ", " 0 0 ", 1);
        let () = connection.rpush(READY, lives).unwrap();
        let () = connection.zrem(DEAD, &records[3]).unwrap();
        let parked = records[3].replacen(" 5 1 ", " 0 0 ", 1).replacen(" !n=", " !key=a !n=", 1);
        let () = connection.rpush("{orders}:sandhog:parked:a", parked).unwrap();
        let () = connection.hset_multiple("{orders}:sandhog:parked", &[("a", 1), (" ", 1)]).unwrap();
        assert_eq!(import(), imported(1, 4), "{case}");
    }
}

#[test]
fn long_payloads_of_jobs_with_one_id_are_distinguished() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    bury_five(&mut connection, |n| format!("{}{n}", "long ".repeat(1000)));
    program.file("five.jsonl", program.output(&["jobs", "export", "orders"]).stdout);
    let records: Vec<String> = connection.zrange(DEAD, 0, -1).unwrap();
    let () = connection.zrem(DEAD, &records[1]).unwrap();
    let imported = program.json(&["jobs", "import", "orders", "five.jsonl"]);
    assert_eq!(imported, json!({ "queue": "orders", "imported": 1, "present": 4, "duplicates": 0 }));
    assert_eq!(dead_payloads(&mut connection).len(), 5);
}

#[test]
fn an_id_selects_every_job_that_has_it() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    let seed = |connection: &mut Connection| {
        let () = redis::cmd("FLUSHALL").query(connection).unwrap();
        bury_five(connection, |n| format!("payload {n}"));
        let () = connection
            .zadd("{orders}:sandhog:delayed", "1 order-7 1 0 5\nlater", 7_000_000_000_000_u64)
            .unwrap();
        bury(connection, "order-8", 100, "a=b", b"other");
    };
    seed(&mut connection);
    assert_snapshot!(program.session(&[
        &["jobs", "requeue", "orders", "order-7", "--payload", "new"],
        &["jobs", "requeue", "orders", "order-7", "--text", "payload 3", "--payload", "new"],
        &["jobs", "requeue", "orders", "order-7", "order-7"],
        &["jobs", "discard", "orders", "order-7", "order-9"],
    ]), @r"
    $ sandhog jobs requeue orders order-7 --payload new
    --- stderr
    sandhog: 6 jobs have this id; a payload replaces that of one job
    hint: choose one of them with `--text`, `--since` or `--until`
    --- exit code 2

    $ sandhog jobs requeue orders order-7 --text payload 3 --payload new
    requeued 1 job
    --- exit code 0

    $ sandhog jobs requeue orders order-7 order-7
    requeued 5 jobs
    --- exit code 0

    $ sandhog jobs discard orders order-7 order-9
    discarded 6 jobs
    --- stderr
    sandhog: 1 job was not discarded
    hint: it may be done, running, or waiting in the plain list; check with `sandhog jobs show`
    --- exit code 1
    ");
    assert_eq!(dead_payloads(&mut connection), ["other"]);
    seed(&mut connection);
    let () = connection.rpush(READY, "1 order-7 0 0 5\nready").unwrap();
    assert_eq!(program.json(&["jobs", "cancel", "orders", "order-7"])["cancelled"], 7);
    assert_eq!(dead_payloads(&mut connection), ["other"]);
}

/// Two dead jobs with the unique key `k`, one dead job without a key, and a living job with `k`.
fn seed_unique(program: &Program, redis: &TestRedis) -> Connection {
    let mut connection = plain(redis);
    bury(&mut connection, "one", 100, "!unique=k !kept=60000 !own=17-1", b"first");
    bury(&mut connection, "two", 90, "!unique=k", b"second");
    bury(&mut connection, "other", 80, "a=b", b"third");
    program.output(&["push", "orders", "living", "--unique", "k:1h", "--id", "living"]);
    connection
}

#[test]
fn a_job_is_not_requeued_while_another_holds_its_unique_key() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed_unique(&program, &redis);
    assert_snapshot!(program.session(&[
        &["jobs", "requeue", "orders", "one"],
        &["jobs", "requeue", "orders", "one", "--payload", "new"],
        &["jobs", "requeue", "orders", "--text", "first", "--json"],
        &["jobs", "requeue", "orders", "--all"],
    ]), @r#"
    $ sandhog jobs requeue orders one
    requeued 0 jobs; 1 stays dead: a living job has the same unique key
    --- stderr
    sandhog: 1 job was not requeued
    hint: a living job has the same unique key; requeue it again when that one has ended
    --- exit code 1

    $ sandhog jobs requeue orders one --payload new
    requeued 0 jobs; 1 stays dead: a living job has the same unique key
    --- stderr
    sandhog: 1 job was not requeued
    hint: a living job has the same unique key; requeue it again when that one has ended
    --- exit code 1

    $ sandhog jobs requeue orders --text first --json
    {
      "duplicates": 1,
      "queue": "orders",
      "requeued": 0
    }
    --- stderr
    sandhog: 1 job was not requeued
    hint: a living job has the same unique key; requeue it again when that one has ended
    --- exit code 1

    $ sandhog jobs requeue orders --all
    requeued 1 job; 2 stay dead: a living job has the same unique key
    --- stderr
    sandhog: 2 jobs were not requeued
    hint: a living job has the same unique key; requeue it again when that one has ended
    --- exit code 1
    "#);
    assert_eq!(dead_payloads(&mut connection), ["first", "second"]);
    // The living job has ended; one of the two can be requeued, for the time that its producer set.
    program.output(&["jobs", "discard", "orders", "living"]);
    let output = program.output(&["jobs", "requeue", "orders", "--text", "s", "--json"]);
    assert_eq!(output.status.code(), Some(1), "one of them stays dead");
    let requeued: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(requeued, json!({ "queue": "orders", "requeued": 1, "duplicates": 1 }));
    let left: u64 = redis::cmd("PTTL").arg("{orders}:sandhog:unique:k").query(&mut connection).unwrap();
    assert!(left <= 60_000 || (86_000_000..=86_400_000).contains(&left), "{left}");
    let pushed = program.json(&["push", "orders", "again", "--unique", "k:1h"]);
    assert_eq!(pushed["outcome"], "duplicate");
    program.output(&["jobs", "discard", "orders", "one", "two"]);
    let pushed = program.json(&["push", "orders", "again", "--unique", "k:1h"]);
    assert_eq!(pushed["outcome"], "waiting", "the requeued job has freed the key");
}

#[test]
fn a_job_is_not_imported_while_another_holds_its_unique_key() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed_unique(&program, &redis);
    for place in ["ready", "delayed"] {
        let line = format!(
            r#"{{"place":"{place}","id":"{place}","attempts":0,"crashes":0,"first_seen_ms":5,"at_ms":7000000000000,"headers":[{{"key":"!unique","value":"k"}},{{"key":"!kept","value":"60000"}},{{"key":"!own","value":"17-1"}}],"payload":"x"}}"#
        );
        program.file(place, line);
    }
    assert_snapshot!(program.session(&[
        &["jobs", "import", "orders", "ready"],
        &["jobs", "import", "orders", "delayed", "--json"],
    ]), @r#"
    $ sandhog jobs import orders ready
    imported 0 jobs; 1 was left out: a living job has the same unique key
    --- exit code 0

    $ sandhog jobs import orders delayed --json
    {
      "duplicates": 1,
      "imported": 0,
      "present": 0,
      "queue": "orders"
    }
    --- exit code 0
    "#);
    program.output(&["jobs", "discard", "orders", "living"]);
    assert_eq!(program.json(&["jobs", "import", "orders", "delayed"])["imported"], 1);
    assert_eq!(
        program.json(&["jobs", "import", "orders", "ready"])["duplicates"],
        1,
        "the key is taken again"
    );
    let left: u64 = redis::cmd("PTTL").arg("{orders}:sandhog:unique:k").query(&mut connection).unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    program.output(&["jobs", "discard", "orders", "delayed"]);
    assert_eq!(program.json(&["jobs", "import", "orders", "ready"])["imported"], 1);
}
