//! Every kind of effect with the connection cut at the first command, then the second, and so on: whatever command
//! or answer is lost, each effect is there once.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::{Host, Options};

use crate::support::example;
use crate::support::faults::{Cut, Proxy};
use crate::support::guest::program;
use crate::support::host::{Plugins, stop, until};
use crate::support::redis::TestRedis;

/// Jobs of one scenario, each with every kind of effect.
const JOBS: usize = 2;
/// More commands than the scenario has: it must run untouched long before.
const COMMANDS_MAX: u64 = 800;
/// The ledger's worker; what it writes is in `guest-examples/rust/chaos-ledger/src/book.rs`.
const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "ledger"
concurrency = 2
max_attempts = 1000
backoff = { base = "5ms", factor = 1.0, max = "5ms", jitter = 0.5 }
[[consume]]
queue = "ledger-follow"
concurrency = 2
max_attempts = 1000
backoff = { base = "5ms", factor = 1.0, max = "5ms", jitter = 0.5 }
[grants]
kv.read = ["ledger:*"]
kv.write = ["ledger:*"]
queue.push = ["ledger-*"]
queue.pop = ["ledger-tickets"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_lost_anywhere_loses_and_doubles_no_effect() {
    cut_everywhere(Cut::Before, MANIFEST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_anywhere_loses_and_doubles_no_effect() {
    cut_everywhere(Cut::After, MANIFEST).await;
}

/// With a limit of the whole fleet, a host commits before it claims, so a lost commit is present when the host settles.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_lost_under_a_limit_of_the_fleet_loses_no_effect() {
    cut_everywhere(
        Cut::Before,
        &MANIFEST.replace("concurrency = 2", "concurrency = 2\nfleet_concurrency = 2"),
    )
    .await;
}

async fn cut_everywhere(cut: Cut, manifest: &str) {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let component = example::component("chaos-ledger");
    let plugins = Plugins::new().with("ledger", &component, manifest);
    for at in 1..COMMANDS_MAX {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
        let proxy = Proxy::start(&redis.socket(), at, cut);
        let mut settings = plugins.settings(&proxy.url(), "h");
        settings.host.threads = 1;
        settings.ceilings.instances = 16;
        settings.redis.timeout = Duration::from_secs(5);
        let options = Options::new(settings, program());
        push(&mut plain).await;
        let host = match Host::start(options.clone()).await {
            Ok(host) => host,
            Err(_) => Host::start(options).await.unwrap(),
        };
        let what = format!("{cut:?} at {at}");
        until(&format!("all is settled, {what}"), async || is_settled(&mut plain).await).await;
        check(&mut plain, &what).await;
        stop(host).await;
        if !proxy.has_cut() {
            assert!(at > 60, "the scenario has more than {at} commands");
            return;
        }
    }
    panic!("the scenario did not end untouched within {COMMANDS_MAX} commands");
}

async fn push(plain: &mut MultiplexedConnection) {
    let mut pipe = redis::pipe();
    pipe.rpush("ledger-tickets", &["t1", "t2", "t3", "t4"]).ignore();
    for n in 1..=JOBS {
        let end = if n % 2 == 0 { "back" } else { "front" };
        pipe.set(format!("ledger:todo:{n}"), "x").ignore();
        pipe.rpush("ledger", format!("{n} {n}00 seq=a swap=b ticket={end} once=1")).ignore();
    }
    let _: () = pipe.query_async(plain).await.unwrap();
}

/// Whether nothing waits, runs or is held by a run, and every follower has run.
async fn is_settled(plain: &mut MultiplexedConnection) -> bool {
    let followed: usize = plain.llen("ledger-follow-receipts").await.unwrap();
    let keys: Vec<String> = plain.keys("*").await.unwrap();
    let busy = |key: &String| {
        let place = key.rsplit_once(":sandhog:").map(|(_, place)| place);
        let is_companion =
            place.is_some_and(|place| !["stats", "vacant"].contains(&place) && !place.starts_with("unique:"));
        key == "ledger" || key == "ledger-follow" || is_companion
    };
    followed >= JOBS && !keys.iter().any(busy)
}

async fn check(plain: &mut MultiplexedConnection, what: &str) {
    let violations: Vec<String> = plain.lrange("ledger-violations", 0, -1).await.unwrap();
    assert!(violations.is_empty(), "{what}: {violations:?}");
    let sum: usize = (1..=JOBS).map(|n| n * 100).sum();
    assert_eq!(plain.get::<_, usize>("ledger:balance").await.unwrap(), sum, "{what}");
    for sequence in ["ledger:seq:a", "ledger:swap:b"] {
        assert_eq!(plain.get::<_, usize>(sequence).await.unwrap(), JOBS, "{what}: {sequence}");
    }
    let each: BTreeSet<String> = (1..=JOBS).map(|n| n.to_string()).collect();
    let exactly = |found: Vec<String>, name: &str| {
        assert_eq!(found.len(), JOBS, "{what}: {name} {found:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), each, "{what}: {name}");
    };
    let receipts: Vec<String> = plain.lrange("ledger-receipts", 0, -1).await.unwrap();
    let word = |receipt: &String, name: &str| {
        let found = receipt.split(' ').find_map(|word| word.strip_prefix(name));
        found.unwrap_or_else(|| panic!("{what}: no {name} in {receipt}")).to_owned()
    };
    exactly(
        receipts.iter().map(|receipt| receipt.split(' ').next().unwrap().to_owned()).collect(),
        "receipts",
    );
    exactly(receipts.iter().map(|receipt| word(receipt, "seq:a=")).collect(), "numbers");
    exactly(receipts.iter().map(|receipt| word(receipt, "swap:b=")).collect(), "swapped numbers");
    exactly(plain.lrange("ledger-follow-receipts", 0, -1).await.unwrap(), "followers");
    let mut tickets: Vec<String> = receipts.iter().map(|receipt| word(receipt, "ticket=")).collect();
    tickets.extend(plain.lrange::<_, Vec<String>>("ledger-tickets", 0, -1).await.unwrap());
    tickets.sort();
    assert_eq!(tickets, ["t1", "t2", "t3", "t4"], "{what}");
    assert_eq!(plain.llen::<_, usize>("ledger-audit").await.unwrap(), 2 * JOBS, "{what}");
}
