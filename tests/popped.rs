//! A host that popped from very many lists and died: its jobs come back before any of these lists is read, and no command
//! names more than a few thousand keys.

use futures_util::StreamExt as _;
use redis::AsyncCommands as _;

use crate::support::example;
use crate::support::host::{Plugins, stop, until};
use crate::support::redis::TestRedis;

/// A host of an older version, which recorded every list that its runs ever popped from.
const DEAD: &str = "old.00000001.000000000001";
const LISTS: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_dead_host_come_back_before_the_lists_it_popped_from() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let about = format!("sandhog:host:{DEAD}");
    let _: () = plain.hset(&about, "queues", "[\"orders\"]").await.unwrap();
    // The names of these lists sort before the queue's.
    for first in (0..LISTS).step_by(1_000) {
        let notes: Vec<(String, &str)> =
            (first..first + 1_000).map(|nth| (format!("pop:inbox:{nth}"), "")).collect();
        let _: () = plain.hset_multiple(&about, &notes).await.unwrap();
    }
    let _: () = plain
        .hset(format!("{{orders}}:sandhog:inflight:{DEAD}"), "7", "report none\nqueue.push seen 1")
        .await
        .unwrap();
    let _: () = plain.hset(format!("{{inbox:17}}:sandhog:inflight:{DEAD}"), "f1", "letter").await.unwrap();
    let _: () = plain.zadd("sandhog:hosts", DEAD, 1).await.unwrap();

    let client = redis::Client::open(redis.url()).unwrap();
    let mut monitor = client.get_async_monitor().await.unwrap().into_on_message::<String>();
    let manifest = "kind = \"worker\"\neffects.mode = \"immediate\"\n[[consume]]\nqueue = \"orders\"\n\
                    [grants]\nqueue.push = [\"*\"]\n";
    let plugins = Plugins::new().with("probe", &example::component("probe"), manifest);
    let host = plugins.serve(&redis.url(), "new").await;
    until("the job has run", async || plain.llen::<_, usize>("seen").await.unwrap() == 1).await;
    until("the dead host is forgotten", async || !plain.exists::<_, bool>(&about).await.unwrap()).await;
    assert_eq!(plain.lrange::<_, Vec<String>>("inbox:17", 0, -1).await.unwrap(), ["letter"]);
    assert_eq!(plain.zscore::<_, _, Option<f64>>("sandhog:hosts", DEAD).await.unwrap(), None);
    stop(host).await;

    let _: () = redis::cmd("PING").arg("the end").query_async(&mut plain).await.unwrap();
    let (mut reaped, mut looked, mut longest) = (None, None, 0);
    let mut nth = 0;
    while let Some(line) = monitor.next().await {
        if line.contains("\"the end\"") {
            break;
        }
        nth += 1;
        // The text of a script.
        if line.contains("\"LOAD\"") {
            continue;
        }
        longest = longest.max(line.matches(":sandhog:inflight:").count());
        if line.contains("EVALSHA") && line.contains(&format!("{{orders}}:sandhog:inflight:{DEAD}")) {
            reaped.get_or_insert(nth);
        }
        // Not the search for jobs of hosts that are not registered, which goes on beside this.
        if line.contains("{inbox:") && line.contains(":sandhog:ready") || line.contains("\"HSCAN\"") {
            looked.get_or_insert(nth);
        }
    }
    assert!(
        reaped.is_some() && looked.is_some() && reaped < looked,
        "jobs at {reaped:?}, lists at {looked:?}"
    );
    assert!((100..4_096).contains(&longest), "{longest} keys in one command");
}
