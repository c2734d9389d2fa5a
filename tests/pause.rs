//! Queues, plugins and hosts that are held: no claims, at once and without polls; what runs goes on.

use std::time::Duration;

use insta::assert_snapshot;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::worker::counters::Counters;
use serde_json::json;

use crate::support::host::{Plugins, count, lane, stop, until};
use crate::support::program::Program;
use crate::support::receipts::{MANIFEST, component};
use crate::support::redis::TestRedis;

async fn receipts(plain: &mut MultiplexedConnection) -> usize {
    plain.llen("receipts").await.unwrap()
}

/// Waits until so many jobs have run.
async fn settled(plain: &mut MultiplexedConnection, expected: usize) {
    until("all jobs have run", async || receipts(plain).await == expected).await;
}

async fn push(plain: &mut MultiplexedConnection, jobs: usize) {
    let jobs: Vec<String> = (0..jobs).map(|n| format!("job {n}")).collect();
    let _: u64 = plain.rpush("jobs", jobs).await.unwrap();
}

fn claimed(host: &Host) -> u64 {
    count(host, "jobs", |c| &c.claimed)
}

/// Whether the host has heard that it is held, or no longer: it answers a change in milliseconds, and this waits far
/// longer, because nothing can be seen of a claim that does not take place.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_paused_plugin_claims_nowhere_until_it_is_resumed() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("worker", &component(), MANIFEST);
    let (one, other) = (plugins.serve(&redis.url(), "one").await, plugins.serve(&redis.url(), "other").await);
    push(&mut plain, 10).await;
    settled(&mut plain, 10).await;
    assert_snapshot!(program.session(&[
        &["plugins", "pause", "worker"],
        &["plugins", "pause", "worker"],
        &["plugins", "pause", "nobody"],
    ]), @r#"
    $ sandhog plugins pause worker
    worker is paused on all hosts; what runs goes on
    --- exit code 0

    $ sandhog plugins pause worker
    worker was paused already
    --- exit code 0

    $ sandhog plugins pause nobody
    nobody is paused on all hosts; what runs goes on
    --- stderr
    no living host serves `nobody` now; one that does will not claim for it
    --- exit code 0
    "#);
    a_while().await;
    push(&mut plain, 10).await;
    a_while().await;
    assert_eq!((receipts(&mut plain).await, plain.llen::<_, u64>("jobs").await.unwrap()), (10, 10));
    let shown = program.json(&["plugins"]);
    assert_eq!(shown["plugins"][0]["paused"], true);
    stop(one).await;
    // A host that begins now hears of it before its first claim.
    let one = plugins.serve(&redis.url(), "one").await;
    a_while().await;
    assert_eq!(claimed(&one) + receipts(&mut plain).await as u64, 10);
    assert_eq!(
        program.json(&["plugins", "resume", "worker"]),
        json!({ "plugins": [{ "plugin": "worker", "paused": false, "changed": true }] })
    );
    settled(&mut plain, 20).await;
    stop(one).await;
    stop(other).await;
}

#[tokio::test]
async fn a_drained_host_claims_no_more_and_another_one_goes_on() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("worker", &component(), MANIFEST);
    let one = plugins.serve(&redis.url(), "one").await;
    push(&mut plain, 5).await;
    settled(&mut plain, 5).await;
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["hosts", "drain", "one"],
            &["hosts", "drain", "one"],
            &["hosts", "drain", "nobody"],
        ]), @r#"
        $ sandhog hosts drain one
        [HOST] claims no more; what it runs goes on
        --- exit code 0

        $ sandhog hosts drain one
        [HOST] was drained already
        --- exit code 0

        $ sandhog hosts drain nobody
        --- stderr
        sandhog: no living host is called `nobody`; nothing was changed
        hint: `sandhog hosts` shows their names
        --- exit code 1
        "#);
    });
    a_while().await;
    let before = claimed(&one);
    push(&mut plain, 5).await;
    a_while().await;
    assert_eq!((claimed(&one), receipts(&mut plain).await), (before, 5));
    assert_eq!(program.json(&["hosts"])["hosts"][0]["drained"], true);
    let other = plugins.serve(&redis.url(), "other").await;
    settled(&mut plain, 10).await;
    assert_eq!((claimed(&one), claimed(&other)), (before, 5));
    assert_eq!(program.json(&["hosts", "resume", "one"])["hosts"][0]["changed"], true);
    stop(other).await;
    push(&mut plain, 5).await;
    settled(&mut plain, 15).await;
    // Drained, and started again: it serves again.
    program.json(&["hosts", "drain", "one"]);
    stop(one).await;
    let one = plugins.serve(&redis.url(), "one").await;
    push(&mut plain, 5).await;
    settled(&mut plain, 20).await;
    assert_eq!(program.json(&["hosts"])["hosts"][0]["drained"], false);
    stop(one).await;
}

#[tokio::test]
async fn what_runs_goes_on_and_what_was_claimed_goes_back() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    // A loop holds up the others until its timeout ends it.
    let guest = crate::support::guest::worker(
        "",
        "",
        "(if (i32.eq (i32.load8_u (local.get $payload)) (i32.const 76)) (then (loop $l (br $l)))) (i32.const 0)",
    );
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\nconcurrency = 1\nmax_attempts = 1\ntimeout = \"1s\"\n";
    let plugins = Plugins::new().with("worker", &guest, manifest);
    let host = plugins.serve(&redis.url(), "web").await;
    let _: u64 = plain.rpush("jobs", vec!["warm"; 500]).await.unwrap();
    until("it is warm", async || count(&host, "jobs", |c| &c.completed) == 500).await;
    let jobs: Vec<String> = (0..20).map(|n| format!("job {n}")).collect();
    let _: u64 = plain.rpush("jobs", [&["Loop".to_owned()][..], &jobs].concat()).await.unwrap();
    until("it loops", async || claimed(&host) > 500).await;
    program.json(&["plugins", "pause", "worker"]);
    until("they are back", async || plain.llen::<_, u64>("jobs").await.unwrap() == 20).await;
    assert_eq!(
        plain.lrange::<_, Vec<String>>("jobs", 0, -1).await.unwrap(),
        jobs,
        "as they were, in their order"
    );
    until("the loop has ended by itself", async || count(&host, "jobs", |c| &c.buried) == 1).await;
    assert_eq!(count(&host, "jobs", |c| &c.completed), 500);
    program.json(&["plugins", "resume", "worker"]);
    until("they have run", async || count(&host, "jobs", |c| &c.completed) == 520).await;
    stop(host).await;
}

/// Commands that Redis has seen.
async fn commands(plain: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(plain).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn holding_costs_no_polls_though_jobs_wait_and_are_due() {
    for what in ["queue", "plugin", "host"] {
        let redis = TestRedis::start();
        let program = Program::with(&redis);
        let mut plain = redis.plain().await;
        let plugins = Plugins::new().with("worker", &component(), MANIFEST);
        let mut settings = plugins.settings(&redis.url(), "web");
        // Leases and reaping are not what is counted.
        settings.host.lease = Duration::from_secs(600);
        settings.host.reap_every = Duration::from_secs(600);
        let host = crate::support::host::serve(settings).await;
        push(&mut plain, 1).await;
        settled(&mut plain, 1).await;
        let (held, resumed): (&[&str], &[&str]) = match what {
            "queue" => (&["queues", "jobs", "--pause"], &["queues", "jobs", "--resume"]),
            "plugin" => (&["plugins", "pause", "worker"], &["plugins", "resume", "worker"]),
            _ => (&["hosts", "drain", "web"], &["hosts", "resume", "web"]),
        };
        program.output(held);
        a_while().await;
        let () = plain.zadd("{jobs}:sandhog:delayed", "1 due 1 0 5\ndue", 1).await.unwrap();
        push(&mut plain, 10).await;
        a_while().await;
        let turns = Counters::read(&lane(&host, "jobs").counters.turns);
        let before = commands(&mut plain).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let spent = commands(&mut plain).await - before;
        // The safety poll of idle queues runs at most once in 0.75 s, the scheduler polls now and then, and each of a few
        // connections is checked once or twice.
        assert!(spent <= 22, "{what}: {spent} commands in 3 s");
        assert_eq!(Counters::read(&lane(&host, "jobs").counters.turns), turns, "{what}");
        assert_eq!(receipts(&mut plain).await, 1, "{what}");
        program.output(resumed);
        settled(&mut plain, 12).await;
        stop(host).await;
    }
}
