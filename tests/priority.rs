//! Queues of one host: strict priorities, and weights.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::example;
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::redis::TestRedis;

/// Queues served by the probe, each with what its table says.
fn probe(queues: &[(&str, &str)]) -> Plugins {
    let mut manifest = "kind = \"worker\"\neffects.mode = \"immediate\"\n".to_owned();
    for (queue, fields) in queues {
        manifest.push_str(&format!("[[consume]]\nqueue = \"{queue}\"\nconcurrency = 4\n{fields}\n"));
    }
    manifest.push_str("[grants]\nkv = { read = [\"*\"], write = [\"*\"] }\nqueue.push = [\"*\"]\n");
    manifest.push_str("[limits]\nkv_calls = 1000000\n");
    Plugins::new().with("probe", &example::component("probe"), &manifest)
}

async fn push(plain: &mut MultiplexedConnection, queue: &str, count: usize, script: &str) {
    let _: u64 = plain.rpush(queue, vec![script; count]).await.unwrap();
}

async fn seen(plain: &mut MultiplexedConnection) -> Vec<String> {
    plain.lrange("seen", 0, -1).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_takes_no_jobs_while_one_of_a_higher_priority_has_some() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe(&[("low", ""), ("high", "priority = 10")]);
    let host = plugins.serve(&redis.url(), "h").await;
    // Both wait until all are there.
    push(&mut plain, "high", 4, "report none\nwait go").await;
    until("the places of the first queue are taken", async || {
        plain.hlen::<_, usize>("{high}:sandhog:stats").await.unwrap() > 0
            && plain.llen::<_, usize>("high").await.unwrap() == 0
    })
    .await;
    push(&mut plain, "high", 300, "report none\nqueue.push seen high").await;
    push(&mut plain, "low", 100, "report none\nqueue.push seen low").await;
    let _: () = plain.set("go", 1).await.unwrap();
    until("all have run", async || seen(&mut plain).await.len() == 400).await;
    let seen = seen(&mut plain).await;
    let last_high = seen.iter().rposition(|queue| queue == "high").unwrap();
    let before = seen[..last_high].iter().filter(|queue| *queue == "low").count();
    // Those it had taken in the moment between: no more than it can run.
    assert!(before <= 8, "{before} of the lower queue ran before the last of the higher one");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_three_times_the_weight_gets_three_times_as_much() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = probe(&[("light", ""), ("heavy", "weight = 3")]);
    for queue in ["light", "heavy"] {
        // Long enough that a run is more than its start: some hundred microseconds of a processor.
        push(&mut plain, queue, 3_000, &format!("report none\nrepeat 3000 memory\nqueue.push seen {queue}"))
            .await;
    }
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.host.threads = 1;
    let host = serve(settings).await;
    until("a thousand have run", async || seen(&mut plain).await.len() >= 1_000).await;
    let seen = seen(&mut plain).await;
    let heavy = seen[..1_000].iter().filter(|queue| *queue == "heavy").count();
    // Without weights it would be 500; runs that other work on the machine cuts short blur it (641 beside two builds).
    assert!((600..=900).contains(&heavy), "{heavy} of a thousand, not 750");
    host.leave();
    host.stopped().await;
}
