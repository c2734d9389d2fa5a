//! `sandhog schedule` as a new user tries it.

use insta::assert_snapshot;
use redis::Commands as _;

use crate::support::program::Program;
use crate::support::redis::TestRedis;

fn filters(program: &Program) -> insta::Settings {
    let mut settings = program.filters();
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", "[TIME]");
    settings
}

#[test]
fn schedules_are_added_listed_and_removed() {
    let server = TestRedis::start();
    let program = Program::with(&server);
    let mut plain = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let _: u64 = plain.sadd("sandhog:queues", &["reports", "pings"]).unwrap();
    let nightly = ["schedule", "add", "nightly", "--queue", "reports", "--cron", "0 3 * * *"];
    let session = program.session(&[
        &["schedule", "list"],
        &[&nightly[..], &["--timezone", "Europe/Berlin", "--missed", "run-once"]].concat(),
        &[&nightly[..], &["--timezone", "Europe/Berlin", "--missed", "run-once"]].concat(),
        &[&nightly[..], &["--timezone", "Asia/Tokyo"]].concat(),
        &["schedule", "add", "beat", "--queue", "pings", "--every", "366d", "--jitter", "1s"],
        &["schedule", "pause", "beat"],
        &["schedule", "list"],
        &["schedule", "resume", "beat"],
        &["schedule", "rm", "beat"],
        &["schedule", "rm", "beat"],
        &["schedule", "pause", "other"],
        &["schedule", "resume", "other"],
    ]);
    filters(&program).bind(|| {
        assert_snapshot!(session, @r#"
    $ sandhog schedule list
    --- stderr
    there is no schedule on this Redis
    --- exit code 0

    $ sandhog schedule add nightly --queue reports --cron 0 3 * * * --timezone Europe/Berlin --missed run-once
    added schedule `nightly`: 0 3 * * * Europe/Berlin
    next: [TIME], [TIME], [TIME]
    --- exit code 0

    $ sandhog schedule add nightly --queue reports --cron 0 3 * * * --timezone Europe/Berlin --missed run-once
    unchanged schedule `nightly`: 0 3 * * * Europe/Berlin
    next: [TIME], [TIME], [TIME]
    --- exit code 0

    $ sandhog schedule add nightly --queue reports --cron 0 3 * * * --timezone Asia/Tokyo
    changed schedule `nightly`: 0 3 * * * Asia/Tokyo
    next: [TIME], [TIME], [TIME]
    --- exit code 0

    $ sandhog schedule add beat --queue pings --every 366d --jitter 1s
    added schedule `beat`: every 366days
    next: [TIME], [TIME], [TIME]
    --- exit code 0

    $ sandhog schedule pause beat
    paused schedule `beat`
    --- exit code 0

    $ sandhog schedule list
    schedule  queue    when                  next                        last  from   state
    nightly   reports  0 3 * * * Asia/Tokyo  [TIME]        Redis
    beat      pings    every 366days                                           Redis  paused
    --- exit code 0

    $ sandhog schedule resume beat
    resumed schedule `beat`
    --- exit code 0

    $ sandhog schedule rm beat
    removed schedule `beat`
    --- exit code 0

    $ sandhog schedule rm beat
    --- stderr
    sandhog: there is no schedule `beat`
    --- exit code 2

    $ sandhog schedule pause other
    --- stderr
    sandhog: there is no schedule `other`
    --- exit code 2

    $ sandhog schedule resume other
    --- stderr
    sandhog: there is no schedule `other`
    --- exit code 2
    "#)
    });
}

#[test]
fn programs_read_schedules_as_json() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let add = ["schedule", "add", "nightly", "--queue", "reports", "--cron", "0 3 * * *"];
    let added = program.json(&[&add[..], &["--timezone", "Asia/Tokyo"]].concat());
    assert_eq!((&added["outcome"], added["next"].as_array().unwrap().len()), (&"added".into(), 3));
    let listed = program.json(&["schedule", "list"]);
    let nightly = &listed["schedules"][0];
    assert_eq!((&nightly["schedule"], &nightly["from"]), (&"nightly".into(), &"redis".into()));
    assert_eq!(nightly["definition"]["when"]["cron"]["timezone"], "Asia/Tokyo");
    assert!(nightly["next_ms"].as_u64().unwrap() >= nightly["next_slot_ms"].as_u64().unwrap());
    assert_eq!(program.json(&["schedule", "rm", "nightly"])["outcome"], "removed");
    assert_eq!(program.json(&["schedule", "list"])["schedules"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_wrong_is_one_line_with_its_place() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let add = ["schedule", "add", "x", "--queue", "q"];
    let with = |more: &[&'static str]| [&add[..], more].concat();
    let session = program.session(&[
        &with(&["--cron", "61 * * * *"]),
        &with(&["--cron", "0 3 * *"]),
        &with(&["--cron", "0 0 31 2 *"]),
        &with(&["--cron", "@daily", "--timezone", "Berlin"]),
        &with(&["--every", "10ms"]),
        &with(&["--every", "10s", "--missed", "twice"]),
        &with(&[]),
        &["schedule", "add", "a b", "--queue", "q", "--every", "10s"],
        &["schedule", "add", "x", "--queue", "q", "--every", "10s", "--header", "!a=b"],
    ]);
    filters(&program).bind(|| assert_snapshot!(session, @r#"
    $ sandhog schedule add x --queue q --cron 61 * * * *
    --- stderr
    sandhog: `--cron` = "61 * * * *" is no cron expression: `61` for the minute: number out of bounds
    --- exit code 2

    $ sandhog schedule add x --queue q --cron 0 3 * *
    --- stderr
    sandhog: `--cron` = "0 3 * *" is no cron expression: it has 4 fields; write five (minute, hour, day, month, day of the week), or six with the second before them
    --- exit code 2

    $ sandhog schedule add x --queue q --cron 0 0 31 2 *
    --- stderr
    sandhog: `--cron` = "0 0 31 2 *" never comes
    --- exit code 2

    $ sandhog schedule add x --queue q --cron @daily --timezone Berlin
    --- stderr
    sandhog: `--timezone` is `Berlin`, which is not a time zone; write for example `Europe/Berlin` or `UTC`
    --- exit code 2

    $ sandhog schedule add x --queue q --every 10ms
    --- stderr
    sandhog: `--every` must be from `1s` to `366d`
    --- exit code 2

    $ sandhog schedule add x --queue q --every 10s --missed twice
    --- stderr
    sandhog: invalid value `twice` for `--missed <POLICY>`: it must be `skip` or `run-once`
    --- exit code 2

    $ sandhog schedule add x --queue q
    --- stderr
    sandhog: the following required arguments were not provided: --cron <EXPRESSION>
    hint: usage: `sandhog schedule add --queue <QUEUE> --cron <EXPRESSION> <NAME>`
    --- exit code 2

    $ sandhog schedule add a b --queue q --every 10s
    --- stderr
    sandhog: a name must have 1 to 64 letters, digits, `.`, `_` and `-`
    --- exit code 2

    $ sandhog schedule add x --queue q --every 10s --header !a=b
    --- stderr
    sandhog: invalid value `!a=b` for `--header <KEY=VALUE>`: a header needs a name, and one that does not begin with `!`
    --- exit code 2
    "#));
    assert!(program.json(&["schedule", "list"])["schedules"].as_array().unwrap().is_empty());
    let full: Vec<(String, u64)> = (0..1000).map(|n| (format!("s{n}"), 9_000_000_000_000)).collect();
    let mut plain = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut fill = redis::cmd("ZADD");
    fill.arg("sandhog:schedules");
    full.iter().for_each(|(name, at)| {
        fill.arg(at).arg(name);
    });
    let () = fill.query(&mut plain).unwrap();
    let refused = program.transcript(&with(&["--every", "10s"]));
    assert!(refused.contains("there are 1000 schedules already, which is the most a fleet has"), "{refused}");
}
