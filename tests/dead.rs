//! Dead jobs, as an operator goes about them: groups, searches, edits, files. The scripts beneath are in
//! `dead/change`.

mod change;
mod file;
mod identity;

use insta::assert_snapshot;
use redis::{Commands as _, Connection};
use serde_json::json;

use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// The queue's dead jobs.
const DEAD: &str = "{orders}:sandhog:dead";

pub fn plain(redis: &TestRedis) -> Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// Buries a job by hand, so many seconds ago.
pub fn bury(redis: &mut Connection, id: &str, seconds_ago: u64, notes: &str, payload: &[u8]) {
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query(redis).unwrap();
    let at_ms = (seconds - seconds_ago) * 1000;
    let mut envelope = format!("1 {id} 5 1 {at_ms} trace=abc {notes}\n").into_bytes();
    envelope.extend_from_slice(payload);
    let () = redis.zadd(DEAD, envelope, at_ms).unwrap();
}

/// Three failures of one kind, one of another, one more of another plugin.
fn seed(redis: &TestRedis) -> Connection {
    let mut connection = plain(redis);
    for (n, seconds_ago) in [(1, 7205), (2, 3605), (3, 65)] {
        let notes = format!("!plugin=orders !version=aaaa01 !reason=order%20{n}%20of%20'u{n}'%20is%20gone");
        bury(&mut connection, &format!("job-{n}"), seconds_ago, &notes, format!("{{\"id\":{n}}}").as_bytes());
    }
    let notes = "!plugin=orders !version=bbbb02 !reason=out%20of%20memory";
    bury(&mut connection, "job-4", 3605, notes, b"\xff\x00big");
    bury(&mut connection, "job-5", 65, "!plugin=mailer !reason=boom", b"mail");
    connection
}

#[test]
fn failures_are_grouped_by_what_they_have_in_common() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    let mut filters = program.filters();
    filters.add_filter(r"\b\d{13}\b", "[MS]");
    filters.bind(|| {
        assert_snapshot!(program.session(&[
            &["jobs", "groups", "orders"],
            &["jobs", "groups", "orders", "--plugin", "mailer", "--json"],
            &["jobs", "groups", "empty"],
        ]), @r#"
        $ sandhog jobs groups orders
        fingerprint   jobs  first      last       example  failure
        [VERSION]     3  2 h ago    [TIME] ago  job-3    order # of "…" is gone
        [VERSION]     1  [TIME] ago  [TIME] ago  job-5    boom
        [VERSION]     1  1 h ago    1 h ago    job-4    out of memory
        --- exit code 0

        $ sandhog jobs groups orders --plugin mailer --json
        {
          "groups": [
            {
              "example": {
                "id": "job-5",
                "reason": "boom"
              },
              "failure": "boom",
              "fingerprint": "[VERSION]",
              "first_ms": [MS],
              "jobs": 1,
              "last_ms": [MS]
            }
          ],
          "other_jobs": 0,
          "queue": "orders"
        }
        --- exit code 0

        $ sandhog jobs groups empty
        --- stderr
        no dead jobs
        --- exit code 0
        "#);
    });
    let fingerprint = program.json(&["jobs", "groups", "orders"])["groups"][0]["fingerprint"].clone();
    let fingerprint = fingerprint.as_str().unwrap();
    let of_group = &["--fingerprint", fingerprint];
    let arguments = |verb| [&["jobs", verb, "orders"][..], of_group, &["--yes"]].concat();
    assert_eq!(
        program.json(&[&["jobs", "requeue", "orders"][..], of_group, &["--dry-run"]].concat()),
        json!({ "queue": "orders", "dry_run": true, "matched": 3 })
    );
    assert_eq!(connection.zcard::<_, u64>(DEAD).unwrap(), 5, "a dry run changes nothing");
    assert_eq!(program.json(&arguments("discard")), json!({ "queue": "orders", "discarded": 3 }));
    assert_eq!(connection.zcard::<_, u64>(DEAD).unwrap(), 2);
}

#[test]
fn jobs_are_found_by_what_is_in_them() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    let ids = |flags: &[&str]| {
        let found = program.json(&[&["jobs", "list", "orders", "--place", "dead"][..], flags].concat());
        let jobs = found["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (flags, expected) in [
        (&["--text", "\"id\":2"][..], "job-2"),
        (&["--text", "is gone"], "job-3 job-2 job-1"),
        (&["--text", "nowhere"], ""),
        (&["--version", "bbbb"], "job-4"),
        (&["--plugin", "mailer"], "job-5"),
        (&["--since", "2m"], "job-5 job-3"),
        (&["--until", "2m", "--since", "90m"], "job-4 job-2"),
        (&["--until", "2m", "--plugin", "orders", "--text", "of 'u1'"], "job-1"),
    ] {
        assert_eq!(ids(flags), expected, "{flags:?}");
    }
    for n in 0..250 {
        bury(&mut connection, &format!("more-{n:03}"), 300 - n, "!reason=more", b"x");
    }
    // Page by page, over pages of Redis that hold none of them.
    let page =
        program.json(&["jobs", "list", "orders", "--place", "dead", "--text", "is gone", "--limit", "2"]);
    let cursor = page["next"]["dead"].as_str().unwrap();
    assert_eq!(ids(&["--text", "is gone", "--cursor", cursor]), "job-1");
}

#[test]
fn a_payload_is_replaced_on_the_way_back() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    program.file("better.bin", b"\x00\xfebytes");
    assert_snapshot!(program.session(&[
        &["jobs", "requeue", "orders", "job-1", "--payload", "{\"id\":11}"],
        &["jobs", "requeue", "orders", "job-1", "--payload", "again"],
        &["jobs", "requeue", "orders", "job-2", "job-3", "--payload", "x"],
        &["jobs", "requeue", "orders", "--all", "--payload", "x"],
        &["jobs", "requeue", "orders", "job-4", "--payload-file", "better.bin"],
        &["jobs", "requeue", "orders", "job-5", "--payload-file", "missing.bin"],
        &["jobs", "requeue", "orders"],
    ]), @r#"
    $ sandhog jobs requeue orders job-1 --payload {"id":11}
    requeued 1 job
    --- exit code 0

    $ sandhog jobs requeue orders job-1 --payload again
    requeued 0 jobs
    --- stderr
    sandhog: 1 job was not requeued
    hint: it may be done, running, or waiting in the plain list; check with `sandhog jobs show`
    --- exit code 1

    $ sandhog jobs requeue orders job-2 job-3 --payload x
    --- stderr
    sandhog: a payload replaces that of one job
    hint: name one job
    --- exit code 2

    $ sandhog jobs requeue orders --all --payload x
    --- stderr
    sandhog: the argument `--all` cannot be used with `--payload <BYTES>`
    hint: usage: `sandhog jobs requeue --all <QUEUE> [IDS]...`
    --- exit code 2

    $ sandhog jobs requeue orders job-4 --payload-file better.bin
    requeued 1 job
    --- exit code 0

    $ sandhog jobs requeue orders job-5 --payload-file missing.bin
    --- stderr
    sandhog: cannot read `missing.bin`: No such file or directory (os error 2)
    --- exit code 2

    $ sandhog jobs requeue orders
    --- stderr
    sandhog: it is not said which jobs are meant
    hint: name them, describe them (`--text`, `--fingerprint`, …), or say `--all`
    --- exit code 2
    "#);
    let ready: Vec<Vec<u8>> = connection.lrange("{orders}:sandhog:ready", 0, -1).unwrap();
    assert_eq!(ready.len(), 2);
    let (first, second) = (String::from_utf8_lossy(&ready[0]), String::from_utf8_lossy(&ready[1]));
    assert!(first.starts_with("1 job-1 0 0 ") && first.ends_with("\n{\"id\":11}"), "{first}");
    assert!(second.starts_with("1 job-4 0 0 ") && ready[1].ends_with(b"\n\x00\xfebytes"), "{second}");
}

#[test]
fn edits_tell_what_they_would_do_and_ask_before_they_throw_away() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = seed(&redis);
    assert_snapshot!(program.session(&[
        &["jobs", "discard", "orders", "--plugin", "mailer"],
        &["jobs", "discard", "orders", "--plugin", "mailer", "--dry-run"],
        &["jobs", "discard", "orders", "job-1", "job-9", "--dry-run"],
        &["jobs", "requeue", "orders", "--all", "--dry-run"],
        &["jobs", "requeue", "orders", "--since", "yesterday"],
        &["jobs", "requeue", "orders", "--text", "gone", "--until", "30m"],
    ]), @r#"
    $ sandhog jobs discard orders --plugin mailer
    --- stderr
    sandhog: will not discard jobs that are not named unasked
    hint: add `--yes` where nobody can answer, or `--dry-run` to count them
    --- exit code 2

    $ sandhog jobs discard orders --plugin mailer --dry-run
    would discard 1 job; nothing was changed
    --- exit code 0

    $ sandhog jobs discard orders job-1 job-9 --dry-run
    would discard 1 job; nothing was changed
    --- exit code 0

    $ sandhog jobs requeue orders --all --dry-run
    would requeue 5 jobs; nothing was changed
    --- exit code 0

    $ sandhog jobs requeue orders --since yesterday
    --- stderr
    sandhog: invalid value `yesterday` for `--since <TIME>`: not a time; write for example `2h` for two hours ago, or `2026-11-23T02:00:00Z`
    --- exit code 2

    $ sandhog jobs requeue orders --text gone --until 30m
    requeued 2 jobs
    --- exit code 0
    "#);
    assert_eq!(connection.zcard::<_, u64>(DEAD).unwrap(), 3);
    assert_eq!(connection.llen::<_, u64>("{orders}:sandhog:ready").unwrap(), 2);
}

#[test]
fn an_edit_of_many_shows_how_far_it_is() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = plain(&redis);
    for n in 0..3000 {
        let payload = if n % 2 == 0 { &b"even"[..] } else { b"odd" };
        bury(&mut connection, &format!("job-{n}"), 5000 - n, "!reason=boom", payload);
    }
    let seen = program.on_terminal(&["--redis", &redis.url(), "jobs", "requeue", "orders", "--text", "even"]);
    assert!(seen.contains("jobs found"), "{seen:?}");
    assert!(seen.contains("requeued 1,500 jobs"), "{seen:?}");
    let left: Vec<Vec<u8>> = connection.zrange(DEAD, 0, -1).unwrap();
    assert!(left.len() == 1500 && left.iter().all(|record| record.ends_with(b"\nodd")));
}
