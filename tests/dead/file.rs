//! Jobs that are exported and imported.

use insta::assert_snapshot;
use redis::Commands as _;

use super::{DEAD, bury, plain, seed};
use crate::support::program::{Program, transcript};
use crate::support::redis::TestRedis;

const OTHER: &str = "{other}:sandhog:dead";

#[test]
fn what_is_exported_and_imported_is_the_same_to_the_byte() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    let every: Vec<u8> = (0..=255).collect();
    bury(&mut connection, "every", 65, "!unique=k%0a", &every);
    bury(&mut connection, "empty", 65, "a=b", b"");
    for n in 0..1200 {
        bury(&mut connection, &format!("many-{n}"), 5000 - n, "!reason=boom", b"x");
    }
    let exported = program.output(&["jobs", "export", "orders"]);
    assert_eq!(exported.stdout.iter().filter(|byte| **byte == b'\n').count(), 1207);
    program.file("dead.jsonl", &exported.stdout);
    assert_snapshot!(program.session(&[
        &["jobs", "import", "other", "dead.jsonl"],
        &["jobs", "import", "other", "dead.jsonl"],
        &["jobs", "import", "orders", "dead.jsonl", "--json"],
    ]), @r#"
    $ sandhog jobs import other dead.jsonl
    imported 1,207 jobs
    --- exit code 0

    $ sandhog jobs import other dead.jsonl
    imported 0 jobs; 1,207 were there already
    --- exit code 0

    $ sandhog jobs import orders dead.jsonl --json
    {
      "duplicates": 0,
      "imported": 0,
      "present": 1207,
      "queue": "orders"
    }
    --- exit code 0
    "#);
    let all = |connection: &mut redis::Connection, key: &str| {
        connection.zrange_withscores::<_, Vec<(Vec<u8>, u64)>>(key, 0, -1).unwrap()
    };
    assert!(all(&mut connection, OTHER) == all(&mut connection, DEAD));
    let bytes: u64 = all(&mut connection, OTHER).iter().map(|(record, _)| record.len() as u64).sum();
    let counted: u64 = connection.hget("{other}:sandhog:stats", "dead_bytes").unwrap();
    assert_eq!(counted, bytes, "the caps know of them");
}

#[test]
fn a_job_that_lives_elsewhere_is_not_made_twice() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    let exported = program.output(&["jobs", "export", "orders", "--plugin", "orders"]).stdout;
    program.output(&["jobs", "requeue", "orders", "job-1"]);
    program.output(&["jobs", "discard", "orders", "job-2"]);
    // As if a host ran it.
    let host = "web.00000001.00000000000a";
    let () = connection.zadd("sandhog:hosts", host, 8_000_000_000_000_u64).unwrap();
    let inflight = format!("{{orders}}:sandhog:inflight:{host}");
    let records: Vec<Vec<u8>> = connection.zrange(DEAD, 0, -1).unwrap();
    let runs = records.into_iter().find(|record| record.starts_with(b"1 job-3 ")).unwrap();
    let () = connection.zrem(DEAD, &runs).unwrap();
    let runs = String::from_utf8(runs).unwrap();
    let () = connection.hset(&inflight, "e7", runs.replacen(" 5 1 ", " 0 2 ", 1)).unwrap();
    let imported = program.output_of(&["jobs", "import", "orders", "-"], &exported);
    assert_snapshot!(transcript(&["jobs", "import", "orders", "-"], &imported), @r#"
    $ sandhog jobs import orders -
    imported 1 job; 3 were there already
    --- exit code 0
    "#);
    let left = program.json(&["jobs", "list", "orders", "--place", "dead"]);
    let ids: Vec<&str> =
        left["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["job-5", "job-4", "job-2"], "the discarded job is back");
}

#[test]
fn a_bad_line_is_told_and_nothing_is_imported() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let line = |id: &str| {
        format!(
            r#"{{"place":"dead","id":"{id}","attempts":1,"crashes":0,"first_seen_ms":5,"at_ms":9,"headers":[],"payload":"x"}}"#
        )
    };
    program.file("bad.jsonl", format!("{}\n\n{}\n{{\"id\":7}}\n", line("a"), line("b")));
    program.file("binary.jsonl", [line("a").as_bytes(), b"\n\xff\n"].concat());
    program.file("twice.jsonl", format!("{}\n{}", line("a"), line("a")));
    assert_snapshot!(program.session(&[
        &["jobs", "import", "orders", "bad.jsonl"],
        &["jobs", "import", "orders", "binary.jsonl"],
        &["jobs", "import", "orders", "missing.jsonl"],
    ]), @r#"
    $ sandhog jobs import orders bad.jsonl
    --- stderr
    sandhog: `bad.jsonl`, line 4: invalid type: integer `7`, expected a string; nothing was imported
    --- exit code 2

    $ sandhog jobs import orders binary.jsonl
    --- stderr
    sandhog: `binary.jsonl`, line 2: it is not UTF-8; nothing was imported
    --- exit code 2

    $ sandhog jobs import orders missing.jsonl
    --- stderr
    sandhog: cannot read `missing.jsonl`: No such file or directory (os error 2)
    --- exit code 2
    "#);
    let keys: Vec<String> = plain(&redis).keys("*").unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    assert_snapshot!(program.transcript(&["jobs", "import", "orders", "twice.jsonl"]), @r#"
    $ sandhog jobs import orders twice.jsonl
    imported 1 job; 1 was there already
    --- exit code 0
    "#);
}

#[test]
fn delayed_and_ready_jobs_come_back_to_their_place() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    let () = connection
        .zadd("{orders}:sandhog:delayed", "1 d 1 0 5 !key=t7\nlater", 7_000_000_000_000_u64)
        .unwrap();
    let () = connection.rpush("{orders}:sandhog:ready", "1 r 0 2 5 a=b\nnow").unwrap();
    for place in ["delayed", "ready"] {
        let exported = program.output(&["jobs", "export", "orders", "--place", place]).stdout;
        program.file(place, exported);
        program.output(&["jobs", "import", "other", place]);
    }
    let delayed: Vec<(String, u64)> = connection.zrange_withscores("{other}:sandhog:delayed", 0, -1).unwrap();
    // The place among those with its key stays with the original.
    assert_eq!(delayed, [("1 d 1 0 5\nlater".to_owned(), 7_000_000_000_000)]);
    let ready: Vec<String> = connection.lrange("{other}:sandhog:ready", 0, -1).unwrap();
    assert_eq!(ready, ["1 r 0 2 5 a=b\nnow"]);
}
