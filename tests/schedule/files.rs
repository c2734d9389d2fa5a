//! Schedules of settings files: one for all hosts that have it, changed and removed with the files.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::job::schedule::book;
use sandhog::job::schedule::{Schedule, When};

use super::{age, now_ms, plugins, rare, slot};
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::redis::TestRedis;

async fn host(plugins: &Plugins, redis: &TestRedis, name: &str, schedules: &[(&str, Schedule)]) -> Host {
    let mut settings = plugins.settings(&redis.url(), name);
    settings.schedules = schedules.iter().map(|(name, s)| ((*name).to_owned(), s.clone())).collect();
    serve(settings).await
}

async fn names(plain: &mut MultiplexedConnection) -> Vec<String> {
    let mut names: Vec<String> = plain.zrange("sandhog:schedules", 0, -1).await.unwrap();
    names.sort_unstable();
    names
}

async fn until_names(plain: &mut MultiplexedConnection, expected: &[&str]) {
    until(&format!("{expected:?} are there"), async || names(plain).await == expected).await;
}

/// What `seat`s have told.
async fn told(plain: &mut MultiplexedConnection) -> usize {
    plain.hlen("sandhog:schedules:files").await.unwrap()
}

#[tokio::test]
async fn a_schedule_lives_as_long_as_any_host_has_it() {
    let redis = TestRedis::start();
    let (mut plain, plugins) = (redis.plain().await, plugins());
    book::put(&redis.link(), "manual", &rare()).await.unwrap();
    let (a, b) = (("a", rare()), ("b", rare()));
    let one = host(&plugins, &redis, "one", &[a.clone(), b.clone()]).await;
    let two = host(&plugins, &redis, "two", &[a.clone(), b.clone()]).await;
    until("both told", async || told(&mut plain).await == 2).await;
    until_names(&mut plain, &["a", "b", "manual"]).await;
    // The first host forgets `b`: the second still has it.
    stop(one).await;
    let one = host(&plugins, &redis, "one", std::slice::from_ref(&a)).await;
    until("it told", async || {
        let files: Vec<String> = plain.hvals("sandhog:schedules:files").await.unwrap();
        files.iter().filter(|file| !file.contains("\nb")).count() == 1
    })
    .await;
    assert_eq!(names(&mut plain).await, ["a", "b", "manual"]);
    stop(two).await;
    assert_eq!(names(&mut plain).await, ["a", "b", "manual"], "a host that stops keeps what it has");
    let two = host(&plugins, &redis, "two", &[a]).await;
    until_names(&mut plain, &["a", "manual"]).await;
    assert!(!plain.exists::<_, bool>("sandhog:schedule:b").await.unwrap());
    stop(one).await;
    stop(two).await;
    // A host that is gone for good is forgotten after a day.
    let seats: Vec<String> = plain.hkeys("sandhog:schedules:files").await.unwrap();
    for seat in seats {
        let () = plain.hset("sandhog:schedules:files", seat, "1000\na").await.unwrap();
    }
    let three = host(&plugins, &redis, "three", &[]).await;
    until_names(&mut plain, &["manual"]).await;
    stop(three).await;
}

#[tokio::test]
async fn a_changed_entry_changes_the_schedule_and_pauses_stay() {
    let redis = TestRedis::start();
    let (mut plain, plugins, link) = (redis.plain().await, plugins(), redis.link());
    let one = host(&plugins, &redis, "one", &[("a", rare())]).await;
    until_names(&mut plain, &["a"]).await;
    stop(one).await;
    // What is due meanwhile goes on being due where only the payload is another.
    let at = now_ms(&mut plain).await;
    age(&mut plain, &["a".to_owned()], at).await;
    let other = Schedule { payload: "other".to_owned(), ..rare() };
    let one = host(&plugins, &redis, "one", &[("a", other)]).await;
    until("it was fired", async || slot(&mut plain, "a").await != at).await;
    let envelopes: Vec<String> = plain.lrange(super::READY, 0, -1).await.unwrap();
    assert!(envelopes.len() == 1 && envelopes[0].ends_with("\nother"), "{envelopes:?}");
    book::pause(&link, "a").await.unwrap();
    assert!(book::remove(&link, "a").await.unwrap_err().to_string().contains("settings files of hosts"));
    assert!(
        book::put(&link, "a", &rare()).await.unwrap_err().to_string().contains("settings files of hosts")
    );
    stop(one).await;
    let sooner = Schedule { when: When::Every(1000), ..rare() };
    let one = host(&plugins, &redis, "one", &[("a", sooner)]).await;
    let row = async || book::list(&link).await.unwrap().remove(0);
    until("it is changed", async || row().await.schedule.unwrap().when == When::Every(1000)).await;
    let found = row().await;
    assert!(found.paused_ms.is_some() && found.next.is_none(), "{found:?}");
    book::resume(&link, "a").await.unwrap();
    until("it fires", async || plain.llen::<_, u64>(super::READY).await.unwrap() > 1).await;
    stop(one).await;
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_told_again() {
    let redis = TestRedis::start();
    let (mut plain, plugins) = (redis.plain().await, plugins());
    let one = host(&plugins, &redis, "one", &[("a", rare())]).await;
    until_names(&mut plain, &["a"]).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
    until_names(&mut plain, &["a"]).await;
    stop(one).await;
}

#[tokio::test]
async fn an_entry_takes_the_place_of_one_that_was_added() {
    let redis = TestRedis::start();
    let (mut plain, plugins, link) = (redis.plain().await, plugins(), redis.link());
    book::put(&link, "a", &rare()).await.unwrap();
    let one = host(&plugins, &redis, "one", &[("a", rare())]).await;
    until("it is the file's", async || book::list(&link).await.unwrap()[0].of_files).await;
    assert_eq!(names(&mut plain).await, ["a"]);
    stop(one).await;
}

#[tokio::test]
async fn a_file_that_is_refused_holds_up_nothing() {
    let redis = TestRedis::start();
    let (mut plain, plugins, link) = (redis.plain().await, plugins(), redis.link());
    book::put(&link, "manual", &rare()).await.unwrap();
    let mut fill = redis::cmd("ZADD");
    fill.arg("sandhog:schedules");
    (1..1000).for_each(|n| {
        fill.arg(9_000_000_000_000_u64).arg(format!("s{n}"));
    });
    let () = fill.query_async(&mut plain).await.unwrap();
    let one = host(&plugins, &redis, "one", &[("a", rare())]).await;
    let at = now_ms(&mut plain).await;
    age(&mut plain, &["manual".to_owned()], at).await;
    until("the other one was fired", async || slot(&mut plain, "manual").await != at).await;
    assert!(!plain.exists::<_, bool>("sandhog:schedule:a").await.unwrap());
    stop(one).await;
}
