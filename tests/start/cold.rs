//! A host whose plugins are not compiled yet: it serves each plugin as soon as it is loaded, however long the others
//! take.

use futures_util::FutureExt as _;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::config::settings::PluginsFrom;
use sandhog::job::report::PluginReport;

use crate::support::gate::{Gate, heavy, weight};
use crate::support::guest::{reader, worker};
use crate::support::host::{Plugins, lane, stop, until};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const JOBS: u64 = 10;

fn quick() -> Vec<u8> {
    worker("", "", "i32.const 0")
}

fn manifest(queue: &str) -> String {
    format!("kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\n")
}

/// Pushes jobs to a queue and waits until they are completed.
async fn complete(plain: &mut MultiplexedConnection, queue: &str) {
    let stats = format!("{{{queue}}}:sandhog:stats");
    let before: Option<u64> = plain.hget(&stats, "completed").await.unwrap();
    let _: u64 = plain.rpush(queue, (0..JOBS).collect::<Vec<u64>>()).await.unwrap();
    until("all jobs are completed", async || {
        let now: Option<u64> = plain.hget(&stats, "completed").await.unwrap();
        now.unwrap_or(0) == before.unwrap_or(0) + JOBS
    })
    .await;
}

fn report(host: &Host, plugin: &str) -> PluginReport {
    let found = host.plugins().into_iter().find(|report| report.name == plugin);
    found.unwrap_or_else(|| panic!("nothing is known of `{plugin}`"))
}

/// Whether the host loads the first version of this plugin.
fn is_awaited(host: &Host, plugin: &str) -> bool {
    let report = report(host, plugin);
    report.loading && report.versions.is_empty()
}

fn serves(host: &Host, queue: &str) -> bool {
    host.lanes().iter().any(|lane| lane.queue.as_str() == queue)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_serves_the_plugins_that_are_ready_while_another_one_is_compiled() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut plain = redis.plain().await;
    // The slow plugin is first by name; the broken one is refused.
    plugins.put("a-slow", &heavy("a"), &manifest("slow"));
    plugins.put("b-broken", b"no component", &manifest("broken"));
    plugins.put("quick", &quick(), &manifest("quick"));
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    complete(&mut plain, "quick").await;
    assert!(is_awaited(&host, "a-slow") && !serves(&host, "slow"));
    assert!(report(&host, "b-broken").refusal.is_some());
    assert!(host.settled().now_or_never().is_none());

    let shown = || {
        let folder = plugins.path().display().to_string();
        let document = Program::with(&redis).json(&["plugins", "--plugins", &folder]);
        let all = document["plugins"].as_array().unwrap().clone();
        all.into_iter().find(|plugin| plugin["plugin"] == "a-slow").unwrap()
    };
    until("the fleet is told", async || shown()["compiling"].as_array().unwrap().len() == 1).await;
    assert_eq!(shown()["loading"].as_array().unwrap().len(), 1, "{}", shown());
    let folder = plugins.path().display().to_string();
    let table = Program::with(&redis).transcript(&["plugins", "--plugins", &folder]);
    assert!(table.contains("a-slow: being compiled on h."), "{table}");
    assert!(table.contains(" compiling\n"), "{table}");

    gate.open();
    complete(&mut plain, "slow").await;
    host.settled().await;
    assert!(!report(&host, "a-slow").loading);
    until("the fleet is told", async || shown()["loading"].as_array().unwrap().is_empty()).await;
    assert_eq!(shown()["compiling"], serde_json::json!([]));
    // The first version that a host serves is not a swap, however late it is loaded.
    let history = Program::with(&redis).json(&["plugins", "--history"]);
    assert!(history["swaps"].as_array().unwrap().is_empty(), "{history}");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_tells_which_hosts_are_still_compiling() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut settings = plugins.settings(&redis.url(), "h");
    settings.plugins.source = PluginsFrom::Redis;
    let host = gate.serve(settings).await;
    let program = Program::with(&redis);
    program.file("slow.wasm", heavy("a"));
    program.file("slow.toml", manifest("slow"));
    let deploy = |more: &[&str]| program.transcript(&[&["deploy", "slow.wasm", "--wait"], more].concat());
    until("the host compiles", async || {
        let told = deploy(&["--timeout", "500ms"]);
        assert!(told.contains("1 host of 1 did not take it"), "{told}");
        told.contains(": is still compiling it; it may still take it")
    })
    .await;
    gate.open();
    let told = deploy(&[]);
    assert!(told.contains("1 host took it within "), "{told}");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_plugins_that_take_long_to_compile_hold_up_no_other() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut plain = redis.plain().await;
    for n in 0..10 {
        plugins.put(&format!("m{n}"), &heavy(&n.to_string()), &manifest(&format!("m{n}")));
    }
    plugins.put("quick", &quick(), &manifest("quick"));
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    complete(&mut plain, "quick").await;
    assert!((0..10).all(|n| is_awaited(&host, &format!("m{n}"))));
    // A plugin that is added later does not wait for them either.
    plugins.put("later", &worker("", "(func $later)", "i32.const 0"), &manifest("later"));
    assert!(host.reload().now_or_never().is_none());
    until("it is served", async || serves(&host, "later")).await;
    complete(&mut plain, "later").await;
    assert!((0..10).all(|n| is_awaited(&host, &format!("m{n}"))));
    gate.open();
    host.settled().await;
    for n in 0..10 {
        complete(&mut plain, &format!("m{n}")).await;
    }
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_versions_of_one_plugin_that_take_long_to_compile_hold_up_no_other() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut plain = redis.plain().await;
    plugins.put("many", &quick(), &manifest("many"));
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    host.settled().await;
    for n in 0..10 {
        plugins.put("many", &heavy(&n.to_string()), &manifest("many"));
        assert!(host.reload().now_or_never().is_none());
        until("it is being loaded", async || report(&host, "many").loading).await;
    }
    plugins.put("other", &worker("", "(func $other)", "i32.const 0"), &manifest("other"));
    assert!(host.reload().now_or_never().is_none());
    until("it is served", async || serves(&host, "other")).await;
    complete(&mut plain, "other").await;
    // The former version continues meanwhile.
    complete(&mut plain, "many").await;
    let many = report(&host, "many");
    assert!(many.loading && many.versions.len() == 1, "{many:?}");
    // The next version does not wait for the compiler of a superseded version.
    plugins.put("many", &worker("", "(func $next)", "i32.const 0"), &manifest("many"));
    host.reload().await.unwrap();
    assert_ne!(report(&host, "many").version, many.version);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compiled_before_waits_for_no_compiler() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut plain = redis.plain().await;
    gate.open();
    for name in ["kept", "too"] {
        plugins.put(name, &heavy(name), &manifest(name));
    }
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    host.settled().await;
    stop(host).await;

    gate.shut();
    for name in ["a", "b", "c"] {
        plugins.put(name, &heavy(name), &manifest(name));
    }
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    for name in ["kept", "too"] {
        complete(&mut plain, name).await;
    }
    assert!(["a", "b", "c"].iter().all(|name| is_awaited(&host, name)));
    gate.open();
    host.settled().await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_its_config_reader_and_others_do_not() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    let mut plain = redis.plain().await;
    plugins.put("settings", &reader("", &weight("r"), "i32.const 0"), "kind = \"config-reader\"\n");
    let uses = format!("{}[grants]\nconfig = [\"settings\"]\n", manifest("uses"));
    plugins.put("uses", &quick(), &uses);
    plugins.put("without", &quick(), &manifest("without"));
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    complete(&mut plain, "without").await;
    until("it is loaded", async || !report(&host, "uses").versions.is_empty()).await;
    assert!(!serves(&host, "uses") && host.settled().now_or_never().is_none());
    gate.open();
    host.settled().await;
    assert_eq!(lane(&host, "uses").plugin, "uses");
    complete(&mut plain, "uses").await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_removed_while_it_is_compiled_is_not_served() {
    let (redis, plugins, gate) = (TestRedis::start(), Plugins::new(), Gate::new());
    plugins.put("gone", &heavy("g"), &manifest("gone"));
    plugins.put("quick", &quick(), &manifest("quick"));
    let host = gate.serve(plugins.settings(&redis.url(), "h")).await;
    assert!(is_awaited(&host, "gone"));
    plugins.remove("gone");
    host.reload().await.unwrap();
    host.settled().await;
    gate.open();
    assert!(host.plugins().iter().all(|plugin| plugin.name != "gone"));
    host.reload().await.unwrap();
    assert!(!serves(&host, "gone"));
    stop(host).await;
}
