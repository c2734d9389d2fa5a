//! push, queues, jobs and hosts against a real Redis.

use insta::assert_snapshot;
use redis::{Commands as _, Connection};
use serde_json::json;

use crate::support::program::{Program, transcript};
use crate::support::redis::TestRedis;

fn plain(redis: &TestRedis) -> Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// Buries a job by hand, an hour ago.
fn bury(redis: &mut Connection, id: &str, reason: &str, payload: &[u8]) {
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(redis).unwrap();
    let at_ms = (seconds - 3605) * 1000;
    let mut envelope = format!("1 {id} 5 0 {at_ms} trace=abc !reason={reason}\n").into_bytes();
    envelope.extend_from_slice(payload);
    let () = redis.zadd("{orders}:sandhog:dead", envelope, at_ms).unwrap();
}

/// Three jobs that wait, one that is delayed, one that is dead.
fn seed(redis: &TestRedis, program: &Program) {
    let mut connection = plain(redis);
    let () = connection.rpush("orders", &["one", "two", "three"]).unwrap();
    bury(&mut connection, "job-1", "malformed%20order", b"\xff\x00bad");
    program.output(&["push", "orders", "later", "--delay", "1d", "--header", "trace=abc"]);
}

#[test]
fn a_push_without_options_is_a_plain_entry_of_the_list() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let first = program.transcript(&["push", "orders", "{\"id\":1}"]);
    assert_snapshot!(first, @r#"
    $ sandhog push orders {"id":1}
    pushed to `orders`, 1 waiting
    --- stderr
    no host has served the queue `orders`
    --- exit code 0
    "#);
    program.output_of(&["push", "orders", "-"], b"\0binary\xff\n");
    program.output(&["push", "orders", ""]);
    program.output(&["push", "orders", "urgent", "--front"]);
    let entries: Vec<Vec<u8>> = plain(&redis).lrange("orders", 0, -1).unwrap();
    assert_eq!(entries, [&b"urgent"[..], b"{\"id\":1}", b"\0binary\xff\n", b""]);
    let keys: Vec<String> = plain(&redis).keys("*").unwrap();
    assert_eq!(keys, ["orders"]);
}

#[test]
fn a_file_is_pushed_line_by_line() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut lines: Vec<u8> = (0..2500).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    lines.extend_from_slice(b"\n\xff\x00\r\nlast");
    program.file("orders.txt", lines);
    assert_snapshot!(program.session(&[
        &["push", "orders", "--file", "orders.txt"],
        &["push", "orders", "--file", "orders.txt", "--json"],
        &["push", "orders", "--file", "missing.txt"],
        &["push", "orders", "--file", "."],
    ]), @r#"
    $ sandhog push orders --file orders.txt
    pushed 2,502 jobs to `orders`; skipped 1 empty line
    --- exit code 0

    $ sandhog push orders --file orders.txt --json
    {
      "empty_lines": 1,
      "jobs": 2502,
      "outcome": "pushed",
      "queue": "orders"
    }
    --- exit code 0

    $ sandhog push orders --file missing.txt
    --- stderr
    sandhog: cannot read `missing.txt`: No such file or directory (os error 2)
    --- exit code 2

    $ sandhog push orders --file .
    --- stderr
    sandhog: cannot read `.`: it is a folder
    --- exit code 2
    "#);
    let from_stdin = program.output_of(&["push", "other", "--file", "-"], b"a\nb");
    assert_snapshot!(transcript(&["push", "other", "--file", "-"], &from_stdin), @r#"
    $ sandhog push other --file -
    pushed 2 jobs to `other`
    --- exit code 0
    "#);
    let mut redis = plain(&redis);
    let entries: Vec<Vec<u8>> = redis.lrange("orders", 0, 2501).unwrap();
    let expected = (0..2500).map(|n| n.to_string().into_bytes());
    assert!(entries.into_iter().eq(expected.chain([b"\xff\x00\r".to_vec(), b"last".to_vec()])));
    assert_eq!(redis.llen::<_, u64>("orders").unwrap(), 2 * 2502);
    assert_eq!(redis.lrange::<_, Vec<String>>("other", 0, -1).unwrap(), ["a", "b"]);
}

#[test]
fn delays_and_unique_keys_are_told() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["push", "orders", "later", "--delay", "1h", "--header", "trace=abc"],
            &["push", "orders", "once", "--unique", "order:7:10m"],
            &["push", "orders", "once", "--unique", "order:7:10m"],
            &["push", "orders", "once", "--unique", "order:7", "--json"],
        ]), @r#"
        $ sandhog push orders later --delay 1h --header trace=abc
        pushed to `orders` with a delay: job `[JOB]`
        --- stderr
        no host has served the queue `orders`
        --- exit code 0

        $ sandhog push orders once --unique order:7:10m
        pushed to `orders`, 1 waiting
        --- stderr
        no host has served the queue `orders`
        --- exit code 0

        $ sandhog push orders once --unique order:7:10m
        not pushed to `orders`: a job with this unique key is alive
        --- stderr
        no host has served the queue `orders`
        --- exit code 0

        $ sandhog push orders once --unique order:7 --json
        {
          "outcome": "duplicate",
          "queue": "orders"
        }
        --- exit code 0
        "#);
    });
}

#[test]
fn a_key_of_another_type_is_named() {
    let redis = TestRedis::start();
    let () = plain(&redis).set("orders", "a string").unwrap();
    let program = Program::with(&redis);
    assert_snapshot!(program.session(&[
        &["push", "orders", "x"],
        &["queues", "orders"],
        &["jobs", "list", "orders"],
    ]), @r#"
    $ sandhog push orders x
    --- stderr
    sandhog: the key `orders` holds another type than Sandhog keeps there
    --- exit code 1

    $ sandhog queues orders
    --- stderr
    no host has served the queue `orders`
    sandhog: the key `orders` holds another type than Sandhog keeps there
    --- exit code 1

    $ sandhog jobs list orders
    --- stderr
    sandhog: the key `orders` holds another type than Sandhog keeps there
    --- exit code 1
    "#);
}

#[test]
fn queues_are_counted_held_and_resumed() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    seed(&redis, &program);
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["queues"],
            &["queues", "orders", "empty"],
            &["queues", "orders", "--pause"],
            &["queues", "orders", "--resume"],
            &["hosts"],
        ]), @r#"
        $ sandhog queues
        --- stderr
        no host has served a queue on this Redis yet; name a queue to see it all the same
        --- exit code 0

        $ sandhog queues orders empty
        queue   waiting  ready  in flight  delayed  dead  done  retried  state
        empty         0      0          0        0     0     0        0
        orders        3      0          0        1     1     0        0
        --- stderr
        no host has served the queue `orders`
        no host has served the queue `empty`
        --- exit code 0

        $ sandhog queues orders --pause
        queue   waiting  ready  in flight  delayed  dead  done  retried  state
        orders        3      0          0        1     1     0        0  paused
        --- stderr
        no host has served the queue `orders`
        --- exit code 0

        $ sandhog queues orders --resume
        queue   waiting  ready  in flight  delayed  dead  done  retried  state
        orders        3      0          0        1     1     0        0
        --- stderr
        no host has served the queue `orders`
        --- exit code 0

        $ sandhog hosts
        --- stderr
        no host is registered on this Redis
        --- exit code 0
        "#);
    });
}

#[test]
fn jobs_are_shown_where_they_are() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    seed(&redis, &program);
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["jobs", "list", "orders", "--limit", "2"],
            &["jobs", "list", "orders", "--place", "waiting", "--limit", "2", "--cursor", "2"],
            &["jobs", "list", "orders", "--cursor", "2"],
            &["jobs", "list", "empty"],
            &["jobs", "show", "orders", "job-1"],
            &["jobs", "show", "orders", "job-2"],
        ]), @r#"
        $ sandhog jobs list orders --limit 2
        place    id                                     attempts  when          size  payload       reason
        waiting  -                                             0                 3 B  one
        waiting  -                                             0                 3 B  two
        delayed  [JOB]         0  due in 23 h    5 B  later
        dead     job-1                                         5  died 1 h ago   5 B  \xff\u{0}bad  malformed order
        --- stderr
        more waiting jobs: add `--place waiting --cursor 2`
        --- exit code 0

        $ sandhog jobs list orders --place waiting --limit 2 --cursor 2
        place    id  attempts  when  size  payload  reason
        waiting  -          0         5 B  three
        --- exit code 0

        $ sandhog jobs list orders --cursor 2
        --- stderr
        sandhog: a cursor belongs to one place
        hint: add `--place`
        --- exit code 2

        $ sandhog jobs list empty
        --- stderr
        no host has served the queue `empty`
        no jobs
        --- exit code 0

        $ sandhog jobs show orders job-1
        id          job-1
        place       dead  died 1 h ago
        attempts    5
        crashes     0
        first seen  1 h ago
        reason      malformed order
        trace       abc
        payload     5 B  \xff\u{0}bad
        --- exit code 0

        $ sandhog jobs show orders job-2
        --- stderr
        sandhog: there is no job `job-2` in queue `orders`
        hint: it may be done; jobs that wait in the plain list have no id yet
        --- exit code 1
        "#);
    });
    assert_eq!(program.output(&["jobs", "show", "orders", "job-1", "--payload"]).stdout, b"\xff\x00bad");
}

#[test]
fn programs_get_one_document() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    let () = connection.rpush("orders", &["one", "two"]).unwrap();
    bury(&mut connection, "job-1", "boom", b"\xff");
    assert_eq!(
        program.json(&["queues", "orders"]),
        json!({ "queues": [{
            "queue": "orders", "waiting": 2, "ready": 0, "inflight": 0, "delayed": 0, "dead": 1,
            "parked": 0, "paused": false, "stats": {},
        }] })
    );
    let page = program.json(&["jobs", "list", "orders", "--limit", "1"]);
    assert_eq!(page["next"], json!({ "waiting": "1" }));
    assert_eq!(page["jobs"][0]["preview"], "one");
    assert_eq!(page["jobs"][1]["id"], "job-1");
    assert_eq!(
        page["jobs"][1]["headers"],
        json!([{ "key": "trace", "value": "abc" }, { "key": "!reason", "value": "boom" }])
    );
    assert_eq!(program.json(&["jobs", "show", "orders", "job-1"])["payload"], json!({ "hex": "ff" }));
    assert_eq!(program.json(&["hosts"]), json!({ "hosts": [] }));
    assert_eq!(program.json(&["push", "orders", "x"])["waiting"], 3);
}

#[test]
fn jobs_are_requeued_and_discarded() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    for n in 0..150 {
        bury(&mut connection, &format!("job-{n}"), "boom", b"x");
    }
    assert_snapshot!(program.session(&[
        &["jobs", "requeue", "orders", "job-1", "job-2", "nobody"],
        &["jobs", "discard", "orders", "job-3"],
        &["jobs", "discard", "orders", "--all"],
        &["jobs", "requeue", "orders", "--all", "--place", "ready"],
        &["jobs", "requeue", "orders", "--all"],
        &["jobs", "discard", "orders", "--all", "--place", "ready", "--yes"],
        &["jobs", "discard", "orders", "--all", "--yes", "--json"],
    ]), @r#"
    $ sandhog jobs requeue orders job-1 job-2 nobody
    requeued 2 jobs
    --- stderr
    sandhog: 1 job was not requeued
    hint: it may be done, running, or waiting in the plain list; check with `sandhog jobs show`
    --- exit code 1

    $ sandhog jobs discard orders job-3
    discarded 1 job
    --- exit code 0

    $ sandhog jobs discard orders --all
    --- stderr
    sandhog: will not discard all jobs of a place unasked
    hint: add `--yes` where nobody can answer, or `--dry-run` to count them
    --- exit code 2

    $ sandhog jobs requeue orders --all --place ready
    --- stderr
    sandhog: ready jobs need no requeue
    --- exit code 2

    $ sandhog jobs requeue orders --all
    requeued 147 jobs
    --- exit code 0

    $ sandhog jobs discard orders --all --place ready --yes
    discarded 149 jobs
    --- exit code 0

    $ sandhog jobs discard orders --all --yes --json
    {
      "discarded": 0,
      "queue": "orders"
    }
    --- exit code 0
    "#);
    let left: Vec<String> = connection.keys("*").unwrap();
    assert_eq!(left, ["{orders}:sandhog:stats"]);
}

#[test]
fn bytes_from_outside_cannot_paint_the_terminal() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    let () = connection.rpush("evil\u{1b}[2J", b"\x1b[31mred\x07\xff\xe2\x80\xae").unwrap();
    bury(&mut connection, "job-1", "%1b%5b31mboom", b"\x1b[2J");
    for arguments in [
        &["jobs", "list", "evil\u{1b}[2J"][..],
        &["queues", "evil\u{1b}[2J"],
        &["jobs", "list", "orders"],
        &["jobs", "show", "orders", "job-1"],
        &["push", "evil\u{1b}[2J", "x"],
    ] {
        let output = program.output(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let hostile = |byte: &u8| (*byte < 0x20 && *byte != b'\n') || *byte == 0x7f;
        assert!(!output.stdout.iter().chain(&output.stderr).any(hostile), "{arguments:?}");
    }
}
