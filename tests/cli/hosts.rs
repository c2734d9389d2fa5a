//! `hosts`: how dead, silent, drained and renamed hosts are shown.

use redis::Commands as _;
use serde_json::json;

use crate::support::program::Program;
use crate::support::redis::TestRedis;

#[test]
fn hosts_are_shown_with_their_state() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query(&mut connection).unwrap();
    let present = "renamed.00000004.000000000003";
    for (host, ends_in_s, about) in [
        ("alive.00000001.000000000001", 590, &[("pid", "1"), ("lease_ms", "600000")][..]),
        ("dead.00000001.000000000001", -7_290, &[("pid", "2"), ("lease_ms", "15000")][..]),
        ("silent.00000001.000000000001", 590, &[("pid", "3"), ("lease_ms", "600000"), ("spared", "1")][..]),
        (
            "renamed.00000004.000000000002",
            590,
            &[("pid", "4"), ("lease_ms", "600000"), ("successor", present)][..],
        ),
        (present, 590, &[("pid", "4"), ("lease_ms", "600000")][..]),
        // Redis' clock was a day ahead when it renewed its lease.
        ("ahead.00000001.000000000001", 86_400, &[("pid", "5"), ("lease_ms", "15000")][..]),
    ] {
        let () = connection.zadd("sandhog:hosts", host, (seconds + ends_in_s) * 1000).unwrap();
        let () = connection.hset_multiple(format!("sandhog:host:{host}"), about).unwrap();
    }
    let () = connection.hset("sandhog:held", "host:silent.00000001", seconds * 1000).unwrap();
    let shown = String::from_utf8(program.output(&["hosts"]).stdout).unwrap();
    let line = |host: &str| shown.lines().find(|line| line.starts_with(host)).unwrap_or_default().trim_end();
    for (host, lease, state) in [
        ("alive.", "9 min left", "0"),
        ("dead.", "expired 2 h ago", "dead"),
        ("silent.", "9 min left", "silent, drained"),
        ("renamed.00000004.000000000002", "9 min left", "former id of renamed.00000004.000000000003"),
        ("ahead.", "15 s left", "5"),
    ] {
        let line = line(host);
        assert!(line.contains(lease), "{shown}");
        // If the state is empty, the last column with text is the process id.
        let ends = if state.len() == 1 { line.ends_with(char::is_numeric) } else { line.ends_with(state) };
        assert!(ends, "{host} {state}\n{shown}");
    }
    let hosts = program.json(&["hosts"])["hosts"].clone();
    let rows = hosts.as_array().unwrap();
    let of = |pid: u64| rows.iter().filter(|row| row["pid"] == pid).collect::<Vec<_>>();
    assert_eq!((&of(2)[0]["alive"], &of(2)[0]["silent"]), (&json!(false), &json!(false)));
    assert_eq!((&of(3)[0]["alive"], &of(3)[0]["silent"]), (&json!(true), &json!(true)));
    assert_eq!((&of(4)[0]["successor"], &of(4)[1]["successor"]), (&json!(present), &json!(null)));
    assert!(of(5)[0]["expires_in_ms"].as_i64().unwrap() <= 15_000);
}
