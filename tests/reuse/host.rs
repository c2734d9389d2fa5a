//! Kept instances in a whole host: between jobs that come one by one, among plugins that need each other's places, and
//! through a swap.

use std::time::Duration;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use crate::support::guest::worker;
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::redis::TestRedis;

/// A worker that pushes to `runs` which run of its instance this one is, as a digit, and `mark` behind it.
fn counter(mark: char) -> Vec<u8> {
    worker(
        r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#,
        &format!(r#"(global $n (mut i32) (i32.const 48)) (data (i32.const 1000) "runs0{mark}")"#),
        "(global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.store8 (i32.const 1004) (global.get $n))
        (call $push (i32.const 1000) (i32.const 4) (i32.const 1004) (i32.const 2) (i32.const 2000))
        i32.const 0",
    )
}

fn manifest(queue: &str, reuse: u32) -> String {
    format!(
        "kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\nconcurrency = 1\n[grants]\nqueue.push = [\"runs\"]\n\
         [instances]\nreuse = {reuse}\n[limits]\nmemory = \"1MiB\"\n"
    )
}

/// Pushes a job and waits for its run; what that said.
async fn one(plain: &mut MultiplexedConnection, queue: &str) -> String {
    let before: u64 = plain.llen("runs").await.unwrap();
    let _: u64 = plain.rpush(queue, "x").await.unwrap();
    until("the job has run", async || plain.clone().llen::<_, u64>("runs").await.unwrap() > before).await;
    plain.lindex("runs", -1).await.unwrap()
}

#[tokio::test]
async fn jobs_that_come_one_by_one_find_the_instance_of_the_last() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let host = Plugins::new().with("p", &counter('a'), &manifest("q", 4)).serve(&redis.url(), "h").await;
    let mut runs = Vec::new();
    for _ in 0..9 {
        runs.push(one(&mut plain, "q").await);
    }
    assert_eq!(runs, ["1a", "2a", "3a", "4a", "1a", "2a", "3a", "4a", "1a"]);
    stop(host).await;
}

#[tokio::test]
async fn what_is_kept_makes_room_for_what_wants_to_run() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("p", &counter('a'), &manifest("q", 9)).with(
        "o",
        &counter('b'),
        &manifest("r", 9),
    );
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.ceilings.instances = 1;
    let host = serve(settings).await;
    let mut runs = Vec::new();
    for queue in ["q", "q", "r", "r", "q"] {
        // Well before what nobody uses is given back in any case.
        let run = timeout(Duration::from_secs(8), one(&mut plain, queue)).await;
        runs.push(run.expect("the other's place is free at once"));
    }
    assert_eq!(runs, ["1a", "2a", "1b", "2b", "1a"]);
    // And under load, where both want the only place all the time.
    let jobs = vec!["x"; 300];
    let _: u64 = plain.rpush("q", &jobs).await.unwrap();
    let _: u64 = plain.rpush("r", &jobs).await.unwrap();
    until("all have run", async || plain.clone().llen::<_, u64>("runs").await.unwrap() == 605).await;
    stop(host).await;
}

#[tokio::test]
async fn no_run_finds_an_instance_of_the_version_before() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("p", &counter('a'), &manifest("q", 9));
    let host = plugins.serve(&redis.url(), "h").await;
    assert_eq!([one(&mut plain, "q").await, one(&mut plain, "q").await], ["1a", "2a"]);
    plugins.put("p", &counter('b'), &manifest("q", 9));
    host.reload().await.unwrap();
    let mut runs = Vec::new();
    until("the new version runs", async || {
        runs.push(one(&mut plain.clone(), "q").await);
        runs.last().is_some_and(|run| run.ends_with('b'))
    })
    .await;
    assert_eq!(runs.last().unwrap(), "1b");
    assert_eq!(one(&mut plain, "q").await, "2b");
    stop(host).await;
}
