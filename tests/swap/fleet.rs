//! Versions that come through Redis: three hosts on one, deploys that race, are cut off, or are refused by some.

use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use sandhog::app::Host;
use sandhog::config::public_key::PublicKey;
use sandhog::config::settings::{PluginsFrom, Settings};
use sandhog::job::lease::Leases;
use sandhog::plugin::depot::Depot;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::{Digest, Release, Wanted};

use super::{manifest, stamp, stamped};
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::process::{HostProcess, SETTINGS};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// Told of changes, hosts need no poll.
const NO_POLL: Duration = Duration::from_secs(3600);

pub fn name() -> PluginName {
    PluginName::new("edition").unwrap()
}

pub fn settings(plugins: &Plugins, redis: &TestRedis, host: &str) -> Settings {
    let mut settings = plugins.settings(&redis.url(), host);
    settings.plugins.source = PluginsFrom::Redis;
    settings.plugins.poll = NO_POLL;
    settings
}

/// A folder with version `n`, for the program.
fn program(redis: &TestRedis, n: u32) -> Program {
    let program = Program::with(redis);
    program.file("edition.wasm", stamped(&stamp(n)));
    program.file("edition.toml", manifest(n, ""));
    program
}

/// Deploys version `n` as the command does.
async fn deploy(redis: &TestRedis, n: u32) -> Result<Wanted, String> {
    let depot = Depot::new(redis.link());
    let component = stamped(&stamp(n));
    let release = Release { component: Digest::of(&component), manifest: manifest(n, ""), signature: None };
    let put = depot.put(&release, &component, |_| {}).await;
    put.map_err(|error| error.to_string())?;
    let wanted = depot.want(&name(), &release.id(), &release.component, "a test").await;
    wanted.map_err(|error| error.to_string())
}

/// Waits until every host of the registry has told that it runs this.
pub async fn all_run(redis: &TestRedis, hosts: usize, wanted: &Wanted) {
    let leases = Leases::new(redis.link());
    until("every host runs it", async || {
        let rows = leases.list().await.unwrap_or_default();
        let run = rows.iter().filter(|row| {
            let reports = &row.info.plugins;
            row.expires_in_ms > 0 && reports.iter().any(|report| report.release == wanted.release.as_str())
        });
        run.count() == hosts
    })
    .await;
}

/// What jobs tell that are pushed now.
pub async fn told(plain: &mut MultiplexedConnection) -> Vec<String> {
    let _: () = plain.del("q:receipts").await.unwrap();
    let _: u64 = plain.rpush("q", (0..30).collect::<Vec<u32>>()).await.unwrap();
    until("the jobs are done", async || plain.llen::<_, usize>("q:receipts").await.unwrap() == 30).await;
    let receipts: Vec<String> = plain.lrange("q:receipts", 0, -1).await.unwrap();
    let mut told: Vec<String> =
        receipts.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    told.sort_unstable();
    told.dedup();
    told
}

pub fn of(n: u32) -> Vec<String> {
    vec![format!("{n:08} {n:08}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_take_what_is_deployed_and_go_back() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    let mut plain = redis.plain().await;
    let mut hosts: Vec<Host> = Vec::new();
    for host in ["a", "b"] {
        hosts.push(serve(settings(&plugins, &redis, host)).await);
    }
    let first = program(&redis, 1);
    let deployed = first.output(&["deploy", "edition.wasm", "--wait"]);
    let text = String::from_utf8(deployed.stdout).unwrap() + &String::from_utf8(deployed.stderr).unwrap();
    assert!(deployed.status.success() && text.contains("2 hosts took it within"), "{text}");
    assert_eq!(told(&mut plain).await, of(1));
    // One that comes later takes it at its start.
    hosts.push(serve(settings(&plugins, &redis, "c")).await);
    assert_eq!(hosts[2].plugins()[0].version, hosts[0].plugins()[0].version);
    let told_of =
        program(&redis, 2).json(&["deploy", "edition.wasm", "--wait", "--canary", "share=1,for=1ms"]);
    assert_eq!(told_of["number"], 2);
    let version = Digest::of(&stamped(&stamp(2))).as_str().to_owned();
    until("the canary takes all", async || hosts.iter().all(|host| host.plugins()[0].version == version))
        .await;
    assert_eq!(told(&mut plain).await, of(2));
    let history = first.json(&["plugins", "--history"]);
    let told_of: Vec<&str> = history["swaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["swap"]["what"].as_str().unwrap())
        .collect();
    let count = |what: &str| told_of.iter().filter(|told| **told == what).count();
    assert_eq!((count("loaded"), count("canary"), count("promoted")), (2, 3, 3), "{told_of:?}");
    assert!(first.transcript(&["plugins", "--history"]).contains("promoted"));
    let plugins_of = first.json(&["plugins", "--plugins", "."]);
    let edition = &plugins_of["plugins"][0];
    assert_eq!(edition["hosts"].as_array().unwrap().len(), 3, "{edition}");
    for (_, report) in edition["served"].as_object().unwrap() {
        let current = &report["versions"][0];
        assert_eq!((&current["version"], &current["state"]), (&version.clone().into(), &"current".into()));
    }
    let table = first.transcript(&["plugins", "--plugins", "."]);
    assert!(table.contains("100 %") && table.contains("current"), "{table}");
    let back = first.output(&["rollback", "edition", "--wait"]);
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    assert_eq!(told(&mut plain).await, of(1));
    for host in hosts {
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_some_refuse_fails_with_their_reasons() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    let open = serve(settings(&plugins, &redis, "open")).await;
    let mut strict = settings(&plugins, &redis, "strict");
    strict.plugins.trusted_keys = vec![PublicKey::parse(&format!("ed25519:{}", "07".repeat(32))).unwrap()];
    let strict = serve(strict).await;
    let output = program(&redis, 1).output(&["deploy", "edition.wasm", "--wait"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("1 host of 2 did not take it") && text.contains("strict."), "{text}");
    assert!(text.contains("deploy 1 of `edition`: is not signed"), "{text}");
    // The fleet is told first.
    let refusal = || open.plugins().first().map(|plugin| plugin.refusal.clone());
    until("it says so itself", async || refusal().is_some()).await;
    assert_eq!(refusal(), Some(None));
    let seen = program(&redis, 2).on_terminal(&["deploy", "edition.wasm", "--wait"]);
    let line = |host: &str, words: &str| {
        seen.split(host).any(|rest| rest.split_once(' ').is_some_and(|(_id, rest)| rest.starts_with(words)))
    };
    assert!(line("open.", "took it after") && line("strict.", "refuses it after"), "{seen}");
    stop(open).await;
    stop(strict).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_deploys_that_race_the_last_one_wins_everywhere() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    let mut hosts = Vec::new();
    for host in ["a", "b", "c"] {
        hosts.push(serve(settings(&plugins, &redis, host)).await);
    }
    let all = futures_util::future::join_all((1..=12).map(|n| deploy(&redis, n))).await;
    let last = all.into_iter().map(Result::unwrap).max_by_key(|wanted| wanted.number).unwrap();
    assert_eq!(last.number, 12);
    all_run(&redis, 3, &last).await;
    // The fleet is told first.
    let runs = |host: &Host| host.plugins().first().is_some_and(|own| own.version == last.component.as_str());
    until("every host says so itself", async || hosts.iter().all(runs)).await;
    for host in hosts {
        stop(host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deployed_wins_over_a_file_of_the_same_name() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    plugins.put("edition", &stamped(&stamp(7)), &manifest(7, ""));
    let mut settings = settings(&plugins, &redis, "h");
    settings.plugins.source = PluginsFrom::Both;
    let (host, mut plain) = (serve(settings).await, redis.plain().await);
    assert_eq!(told(&mut plain).await, of(7));
    let wanted = deploy(&redis, 1).await.unwrap();
    all_run(&redis, 1, &wanted).await;
    assert_eq!(told(&mut plain).await, of(1));
    plugins.put("edition", &stamped(&stamp(8)), &manifest(8, ""));
    host.reload().await.unwrap();
    assert_eq!(told(&mut plain).await, of(1), "the file does not matter any more");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_killed_during_deploys_run_the_wanted_version_afterwards() {
    let (redis, plugins) = (TestRedis::start(), Plugins::new());
    let mut plain = redis.plain().await;
    let settings = format!("{SETTINGS}\n[plugins]\nsource = \"redis\"\npoll = \"1s\"\n");
    let mut hosts = Vec::new();
    for host in ["a", "b", "c"] {
        hosts.push(HostProcess::start_with(&plugins, &redis.url(), host, &mut plain, &settings).await);
    }
    for n in 1..=4 {
        let wanted = deploy(&redis, n).await.unwrap();
        // Somewhere between learning of it and serving it.
        let killed = hosts.remove(0);
        killed.signal(Signal::KILL);
        drop(killed);
        let again = ["a", "b", "c"][(n as usize - 1) % 3];
        hosts.push(HostProcess::start_with(&plugins, &redis.url(), again, &mut plain, &settings).await);
        all_run(&redis, 3, &wanted).await;
        assert_eq!(told(&mut plain).await, of(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_during_a_deploy_leaves_the_old_version_or_the_new() {
    let (mut redis, plugins) =
        (TestRedis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]), Plugins::new());
    let host = serve(settings(&plugins, &redis, "h")).await;
    let wanted = deploy(&redis, 1).await.unwrap();
    all_run(&redis, 1, &wanted).await;
    for n in 2..=4 {
        let link = redis.link();
        let depot = Depot::new(link);
        let component = stamped(&stamp(n));
        let release =
            Release { component: Digest::of(&component), manifest: manifest(n, ""), signature: None };
        // After the component, before or while it becomes what is wanted.
        depot.put(&release, &component, |_| {}).await.unwrap();
        let plugin = name();
        let (id, digest) = (release.id(), release.component.clone());
        let want = depot.want(&plugin, &id, &digest, "a test");
        let (wanted, ()) = tokio::join!(want, async { redis.kill() });
        redis.restart();
        let stands = Depot::new(redis.link()).wanted().await.unwrap().entries.remove(&name()).unwrap();
        if let Ok(wanted) = wanted {
            assert_eq!(stands, wanted, "what was answered stands");
        }
        all_run(&redis, 1, &stands).await;
        let wanted = deploy(&redis, n).await.unwrap();
        all_run(&redis, 1, &wanted).await;
    }
    stop(host).await;
}
