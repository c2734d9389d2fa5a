//! Guests that, within their limits, make the commit of a run costly for Redis. What is measured is the longest command
//! in Redis' slow log, in units of a script that hashes eight mebibytes on the same server; none of ours takes as long.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::example;
use crate::support::host::{Plugins, stop, until};
use crate::support::redis::TestRedis;

const UNIT: &str = "
redis.call('SET', KEYS[1], string.rep('x', 1048576))
for _ = 1, 8 do redis.sha1hex(redis.call('GET', KEYS[1])) end
redis.call('DEL', KEYS[1])";
/// A machine that is busy may stop Redis within a command. The faults that this is about take a hundred units.
const UNITS_MAX: u64 = 3;

fn plugins(isolation: &str) -> Plugins {
    let manifest = format!(
        "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nmax_attempts = 1\ntimeout = \"60s\"\n\
         [effects]\nisolation = \"{isolation}\"\n\
         [grants]\nkv = {{ read = [\"*\"], write = [\"*\"] }}\nqueue = {{ push = [\"*\"], pop = [\"*\"] }}\n"
    );
    Plugins::new().with("probe", &example::component("probe"), &manifest)
}

/// The longest command since the log was emptied, in microseconds, and what it was.
async fn longest(plain: &mut MultiplexedConnection) -> (u64, String) {
    type Row = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let rows: Vec<Row> = redis::cmd("SLOWLOG").arg("GET").arg(100_000).query_async(plain).await.unwrap();
    let text = |words: &[Vec<u8>]| {
        let words = words.iter().take(6).map(|word| String::from_utf8_lossy(&word[..word.len().min(40)]));
        words.collect::<Vec<_>>().join(" ")
    };
    rows.into_iter().map(|row| (row.2, text(&row.3))).max().unwrap_or_default()
}

async fn forget(plain: &mut MultiplexedConnection) {
    let () = redis::cmd("SLOWLOG").arg("RESET").query_async(plain).await.unwrap();
}

/// Entries of a mebibyte in the list `heavy`: to put all of them back in one script takes five units.
const HEAVY_ENTRIES: usize = 64;

/// Runs a job with these lines beside two keys of a mebibyte, one of 100 MiB, a list of large entries and 20,000 short
/// keys. Redis must not have been blocked. Returns why the job is dead, if it is.
async fn run(isolation: &str, lines: &[String]) -> Option<String> {
    let redis = TestRedis::start_with(&["--slowlog-max-len", "100000"]);
    let mut plain = redis.plain().await;
    for key in ["a", "b"] {
        let () = plain.set(key, vec![b'x'; 1 << 20]).await.unwrap();
    }
    for _ in 0..HEAVY_ENTRIES {
        let _: u64 = plain.rpush("heavy", vec![b'x'; 1 << 20]).await.unwrap();
    }
    let _: u64 = plain.setrange("giant", 100 << 20, "x").await.unwrap();
    let short: Vec<(String, &str)> = (0..20_000).map(|nth| (format!("short:{nth}"), "x")).collect();
    let () = plain.mset(&short).await.unwrap();
    let () = redis::cmd("EVAL").arg(UNIT).arg(1).arg("unit").query_async(&mut plain).await.unwrap();
    let unit_us = longest(&mut plain).await.0;
    forget(&mut plain).await;
    let host = plugins(isolation).serve(&redis.url(), "h").await;
    let payload = format!("report none\n{}\nkv.set done yes", lines.join("\n"));
    let _: u64 = plain.rpush("jobs", payload).await.unwrap();
    until("the job has ended", async || {
        plain.exists::<_, bool>("done").await.unwrap()
            || plain.zcard::<_, u64>("{jobs}:sandhog:dead").await.unwrap() == 1
    })
    .await;
    let (took_us, what) = longest(&mut plain).await;
    let dead: Vec<String> = plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
    stop(host).await;
    assert!(took_us < UNITS_MAX * unit_us, "{took_us} us, and a unit took {unit_us} us: {what}");
    dead.into_iter().next()
}

/// So many of these lines in turn.
fn in_turn(count: usize, lines: &[&str]) -> Vec<String> {
    lines.iter().cycle().take(count).map(|line| (*line).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_of_two_large_values_in_turn_do_not_block_redis() {
    let lines = ["kv.compare-and-swap a other new", "kv.compare-and-swap b other new"];
    run("read-committed", &in_turn(900, &lines)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_two_large_values_in_turn_do_not_block_redis() {
    run("serializable", &in_turn(900, &["kv.get a", "kv.get b"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_long_to_be_read_does_not_block_redis() {
    run("serializable", &in_turn(20, &["kv.get giant", "kv.compare-and-swap giant other new"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_listing_from_invented_cursors_do_not_block_redis() {
    let lines: Vec<String> = (1..3_000_u64).map(|nth| format!("kv.list-keys none: {}", nth << 3)).collect();
    run("serializable", &lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serializable_run_lists_twenty_thousand_keys() {
    let list = "kv.list-all short:".to_owned();
    let dead = run("serializable", &[list.clone(), "bury $results".to_owned()]).await.unwrap();
    assert!(dead.contains("kv.list-all:%20ok"), "{}", &dead[..dead.len().min(400)]);
    assert_eq!(run("serializable", &[list]).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_entries_that_go_back_after_a_failed_run_do_not_block_redis() {
    let mut lines = in_turn(HEAVY_ENTRIES, &["queue.pop heavy front"]);
    lines.push("bury $results".to_owned());
    let dead = run("read-committed", &lines).await.unwrap();
    assert!(dead.contains("queue.pop:%20ok%20some%20bytes:1048576"), "{}", &dead[..dead.len().min(400)]);
}

/// Each would be within its own bound: together they were 30 ms in one script.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_a_run_read_and_values_that_it_writes_share_one_bound() {
    let mut lines = in_turn(2, &["kv.get a", "kv.get b"]);
    lines.extend((0..4).map(|nth| format!("kv.set written:{nth} rep:1000000:61")));
    lines.push("bury $results".to_owned());
    let dead = run("serializable", &lines).await.unwrap();
    let refused = "kv.set:%20ok;%20kv.set:%20ok;%20kv.set:%20err%20quota%20\"effect-bytes\"";
    assert!(dead.contains(refused), "{}", &dead[dead.len().saturating_sub(400)..]);
}

/// Redis frees the list in its background thread. The test counts such lists, because the time to free one grows with
/// its length.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_that_is_set_to_a_text_does_not_block_redis() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for _ in 0..200 {
        let _: u64 = plain.rpush("long", vec![b'x'; 16 << 10]).await.unwrap();
    }
    let host = plugins("read-committed").serve(&redis.url(), "h").await;
    let _: u64 = plain.rpush("jobs", "report none\nkv.set long text").await.unwrap();
    let mut text = plain.clone();
    until("the text is set", async || text.get::<_, String>("long").await.is_ok_and(|text| text == "text"))
        .await;
    until("the list was freed in the background", async || {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut plain).await.unwrap();
        info.lines().any(|line| line.strip_prefix("lazyfreed_objects:").is_some_and(|count| count != "0"))
    })
    .await;
    stop(host).await;
}
