//! A job's whole way through a host in this process: from a plain push to its end.

use redis::AsyncCommands;

use crate::support::guest::worker;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::redis::TestRedis;

const NOOP: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\n";

fn noop() -> Vec<u8> {
    worker("", "", "(i32.const 0)")
}

#[tokio::test]
async fn a_plain_push_is_run_and_completed() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("noop", &noop(), NOOP);
    let host = plugins.serve(&redis.url(), "h").await;
    for n in 0..1000 {
        let _: u64 = plain.rpush("jobs", format!("job {n}")).await.unwrap();
    }
    until("all jobs are completed", async || count(&host, "jobs", |c| &c.completed) == 1000).await;
    assert_eq!(plain.llen::<_, u64>("jobs").await.unwrap(), 0);
    stop(host).await;
    let keys: Vec<String> = plain.keys("*").await.unwrap();
    assert_eq!(keys, ["{jobs}:sandhog:stats", "sandhog:queues"].map(String::from));
}
