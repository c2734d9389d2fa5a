//! The registration of a living host while Redis loses the end of its data.

use std::time::Duration;

use redis::AsyncCommands;

use super::{host, plugins};
use crate::support::host::{stop, until};
use crate::support::redis::TestRedis;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_the_end_of_its_data_learns_again_which_queues_a_host_serves() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = host(&plugins(1), &redis, "h", Duration::from_secs(600)).await;
    let hosts: Vec<String> = plain.zrange("sandhog:hosts", 0, -1).await.unwrap();
    let about = format!("sandhog:host:{}", hosts[0]);
    let queues: String = plain.hget(&about, "queues").await.unwrap();
    assert!(queues.contains("jobs"), "{queues}");
    let _: () = plain.hset(&about, "queues", "[]").await.unwrap();
    let _: () =
        redis::cmd("CLIENT").arg("KILL").arg("SKIPME").arg("yes").query_async(&mut plain).await.unwrap();
    until("the queue is registered again", async || {
        plain.hget::<_, _, String>(&about, "queues").await.unwrap() == queues
    })
    .await;
    stop(host).await;
}
