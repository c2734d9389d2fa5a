//! Reads that many ask for at the same time are sent once, and no answer is older than its question.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use redis::{Pipeline, Value, cmd};
use sandhog::storage::fault::Fault;
use sandhog::storage::link::Link;
use tokio::task::JoinSet;

use crate::support::redis::TestRedis;

fn get(key: &str) -> Pipeline {
    let mut read = Pipeline::new();
    read.cmd("GET").arg(key);
    read
}

async fn read(link: &Link, key: &str) -> Result<String, Fault> {
    match link.read(get(key)).await?.remove(0)? {
        Value::BulkString(value) => Ok(String::from_utf8(value).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// How often Redis was asked for a value.
async fn gets(redis: &TestRedis) -> u64 {
    let stats: String = cmd("INFO").arg("commandstats").query_async(&mut redis.plain().await).await.unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    calls.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

async fn set(redis: &TestRedis, key: &str, value: impl ToString) {
    let set = cmd("SET").arg(key).arg(value.to_string()).query_async(&mut redis.plain().await).await;
    let () = set.unwrap();
}

#[tokio::test]
async fn a_hundred_at_once_are_sent_twice() {
    let redis = TestRedis::start();
    let link = redis.link();
    set(&redis, "a", 1).await;
    set(&redis, "b", 2).await;
    // The first goes at once, and whoever comes while it is under way goes with the second.
    for value in join_all((0..100).map(|_| read(&link, "a"))).await {
        assert_eq!(value.unwrap(), "1");
    }
    assert_eq!(gets(&redis).await, 2);
    // Others are not mixed up with them, and nothing is kept for later.
    let two = join_all(["a", "b", "b", "a"].map(|key| read(&link, key))).await;
    assert_eq!(two.into_iter().map(Result::unwrap).collect::<Vec<_>>(), ["1", "2", "2", "1"]);
    assert_eq!(gets(&redis).await, 6);
    set(&redis, "a", 3).await;
    assert_eq!(read(&link, "a").await.unwrap(), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_is_older_than_its_question() {
    let redis = TestRedis::start();
    let link = redis.link();
    set(&redis, "n", 0).await;
    let stands = Arc::new(AtomicI64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..16 {
        let (link, stands) = (link.clone(), Arc::clone(&stands));
        readers.spawn(async move {
            while stands.load(SeqCst) < 2_000 {
                let at_least = stands.load(SeqCst);
                let found: i64 = read(&link, "n").await.unwrap().parse().unwrap();
                assert!(found >= at_least, "{found} was read when {at_least} stood there already");
            }
        });
    }
    let mut plain = redis.plain().await;
    for _ in 0..2_000 {
        let n: i64 = cmd("INCR").arg("n").query_async(&mut plain).await.unwrap();
        stands.store(n, SeqCst);
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    assert!(gets(&redis).await > 100);
}

#[tokio::test]
async fn who_gives_up_takes_nobody_along() {
    let redis = TestRedis::start();
    let link = redis.link();
    set(&redis, "a", 1).await;
    let (mut first, mut second, mut third) =
        (Box::pin(read(&link, "a")), Box::pin(read(&link, "a")), Box::pin(read(&link, "a")));
    for asker in [&mut first, &mut second, &mut third] {
        assert!(asker.now_or_never().is_none());
    }
    // The first one is under way, the second has asked for the next one, which the third waits for, too.
    drop(first);
    drop(second);
    assert_eq!(third.await.unwrap(), "1");
    let mut alone = Box::pin(read(&link, "a"));
    assert!((&mut alone).now_or_never().is_none());
    drop(alone);
    assert_eq!(read(&link, "a").await.unwrap(), "1");
}

#[tokio::test]
async fn all_hear_of_a_lost_connection_and_all_can_ask_again() {
    let mut redis = TestRedis::start();
    let link = redis.link();
    set(&redis, "a", 1).await;
    assert_eq!(read(&link, "a").await.unwrap(), "1");
    redis.kill();
    for answer in join_all((0..10).map(|_| read(&link, "a"))).await {
        assert!(answer.unwrap_err().is_lost());
    }
    redis.restart();
    set(&redis, "a", 2).await;
    let begun = std::time::Instant::now();
    while read(&link, "a").await.ok().as_deref() != Some("2") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
}
