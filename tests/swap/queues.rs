//! A queue that moves from one plugin to another while former versions that consume it still exist.

use redis::AsyncCommands;
use sandhog::config::settings::PluginsFrom;
use sandhog::plugin::depot::Depot;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::{Digest, Release};

use crate::support::gate::{Gate, heavy};
use crate::support::guest::worker;
use crate::support::host::{Plugins, lane, serve, stop, until};
use crate::support::redis::TestRedis;

/// Buries its job.
fn wrong() -> Vec<u8> {
    worker(
        "",
        "",
        "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1)) i32.const 0",
    )
}

/// Completes its job.
fn right() -> Vec<u8> {
    worker("", "", "i32.const 0")
}

fn manifest(queues: &[&str]) -> String {
    let queues: String = queues.iter().map(|queue| format!("[[consume]]\nqueue = \"{queue}\"\n")).collect();
    format!("kind = \"worker\"\n{queues}")
}

/// Pushes jobs to a queue and checks that all of them complete.
async fn complete(redis: &TestRedis, queue: &str, jobs: u64) {
    let mut plain = redis.plain().await;
    let _: u64 = plain.rpush(queue, (0..jobs).collect::<Vec<u64>>()).await.unwrap();
    let stats = format!("{{{queue}}}:sandhog:stats");
    until("all jobs have ended", async || {
        let ended: Vec<Option<u64>> = plain.hmget(&stats, &["completed", "buried"]).await.unwrap();
        assert_eq!(ended[1], None, "the former version of another plugin has run a job of `{queue}`");
        ended[0] == Some(jobs)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_last_good_version_takes_no_queue_of_another_plugin() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    plugins.put("a", &wrong(), &manifest(&["q", "own"]));
    stop(plugins.serve(&redis.url(), "h").await).await;

    // The queue moves to `b`, and the new manifest of `a` is broken.
    plugins.put("a", &wrong(), "kind = 1\n");
    plugins.put("b", &right(), &manifest(&["q"]));
    let host = plugins.serve(&redis.url(), "h").await;
    assert_eq!(lane(&host, "q").plugin, "b");
    assert_eq!(lane(&host, "own").plugin, "a", "it keeps its other queue");
    assert_eq!(host.lanes().len(), 2);
    complete(&redis, "q", 20).await;

    // `b` is removed, and the former files of `a` are put back.
    plugins.remove("b");
    plugins.put("a", &right(), &manifest(&["q", "own"]));
    host.reload().await.unwrap();
    assert_eq!(lane(&host, "q").plugin, "a");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_gave_a_queue_up_gets_it_back_with_the_same_files() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    plugins.put("a", &right(), &manifest(&["q", "own"]));
    let host = plugins.serve(&redis.url(), "h").await;
    // Without a restart: the version that runs becomes a former one.
    plugins.put("a", &right(), "kind = 1\n");
    plugins.put("b", &right(), &manifest(&["q"]));
    host.reload().await.unwrap_err();
    assert_eq!(lane(&host, "q").plugin, "b");
    assert_eq!(lane(&host, "own").plugin, "a");
    complete(&redis, "q", 20).await;

    plugins.remove("b");
    plugins.put("a", &right(), &manifest(&["q", "own"]));
    host.reload().await.unwrap();
    assert_eq!(lane(&host, "q").plugin, "a");
    complete(&redis, "own", 20).await;
    stop(host).await;
}

async fn deploy(redis: &TestRedis, name: &str, component: &[u8], manifest: &str) {
    let depot = Depot::new(redis.link());
    let (digest, name) = (Digest::of(component), PluginName::new(name).unwrap());
    let release = Release { component: digest, manifest: manifest.to_owned(), signature: None };
    depot.put(&release, component, |_| {}).await.unwrap();
    depot.want(&name, &release.id(), &release.component, "a test").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_version_takes_no_queue_of_another_deploy_and_two_deploys_conflict() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.plugins.source = PluginsFrom::Redis;
    deploy(&redis, "a", &wrong(), &manifest(&["q", "own"])).await;
    stop(serve(settings.clone()).await).await;

    deploy(&redis, "a", b"no component", &manifest(&["own"])).await;
    deploy(&redis, "b", &right(), &manifest(&["q"])).await;
    let host = serve(settings).await;
    assert_eq!(lane(&host, "q").plugin, "b");
    assert_eq!(lane(&host, "own").plugin, "a");
    complete(&redis, "q", 20).await;

    // `b` is not a former version: it keeps what it serves.
    deploy(&redis, "c", &right(), &manifest(&["q", "other"])).await;
    until("the deploy is refused", async || {
        let refused = host.plugins().into_iter().find(|plugin| plugin.name == "c");
        refused
            .and_then(|plugin| plugin.refusal)
            .is_some_and(|text| text.contains("served by plugin `b` already"))
    })
    .await;
    assert_eq!(lane(&host, "q").plugin, "b");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_version_waits_for_deploys_that_may_name_its_queues() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.plugins.source = PluginsFrom::Redis;
    deploy(&redis, "a", &wrong(), &manifest(&["q", "own"])).await;
    stop(serve(settings.clone()).await).await;

    // `a` is broken now; its queue moves to `b`, which takes long to compile.
    deploy(&redis, "a", b"no component", &manifest(&["own"])).await;
    deploy(&redis, "b", &heavy("b"), &manifest(&["q"])).await;
    deploy(&redis, "c", &right(), &manifest(&["c"])).await;
    let host = gate.serve(settings).await;
    complete(&redis, "c", 20).await;
    until("it is refused", async || host.plugins().iter().any(|p| p.name == "a" && p.refusal.is_some()))
        .await;
    assert_eq!(host.lanes().len(), 1, "`a` would run jobs that are meant for `b`");
    gate.open();
    complete(&redis, "q", 20).await;
    host.settled().await;
    assert_eq!(lane(&host, "q").plugin, "b");
    assert_eq!(lane(&host, "own").plugin, "a");
    stop(host).await;
}
