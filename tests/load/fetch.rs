//! From a wanted release to what is loaded: what hosts of a fleet hear, what they refuse, and that they do so before
//! they fetch.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use sandhog::config::public_key::PublicKey;
use sandhog::config::settings::Ceilings;
use sandhog::plugin::depot::Depot;
use sandhog::plugin::fetch::{FetchError, fetch};
use sandhog::plugin::fleet::Fleet;
use sandhog::plugin::load::load;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::{Digest, Release, Wanted};
use sandhog::plugin::scan::Source;
use sandhog::plugin::signature::PrivateKey;
use sandhog::storage::primary::Primary;

use crate::support::guest::{no_redis, sandbox, worker};
use crate::support::redis::TestRedis;

const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\n";

struct Stage {
    redis: TestRedis,
    depot: Depot,
    ceilings: Ceilings,
    trusted: Vec<PublicKey>,
}

impl Stage {
    fn new() -> Self {
        let redis = TestRedis::start();
        let depot = Depot::new(redis.link());
        Self { redis, depot, ceilings: Ceilings::default(), trusted: Vec::new() }
    }

    async fn want(&self, component: &[u8], manifest: &str, signature: Option<String>) -> Wanted {
        let release = Release { component: Digest::of(component), manifest: manifest.to_owned(), signature };
        self.depot.put(&release, component, |_| {}).await.unwrap();
        self.depot.want(&name(), &release.id(), &release.component, "here").await.unwrap()
    }

    async fn fetch(&self, wanted: &Wanted) -> Result<Source, FetchError> {
        fetch(&self.depot, &name(), wanted, &self.ceilings, &self.trusted).await
    }

    async fn refusal(&self, wanted: &Wanted) -> String {
        match self.fetch(wanted).await.unwrap_err() {
            FetchError::Refused(problems) => problems.to_string(),
            FetchError::Fault(fault) => panic!("{fault}"),
        }
    }
}

fn name() -> PluginName {
    PluginName::new("thumbs").unwrap()
}

#[tokio::test]
async fn what_is_wanted_is_loaded_as_from_a_folder() {
    let mut stage = Stage::new();
    let component = worker("", "", "(i32.const 0)");
    let key = PrivateKey::generate().unwrap();
    let signature = key.sign(&Digest::of(&component)).to_string();
    stage.trusted = vec![key.public()];
    let wanted = stage.want(&component, MANIFEST, Some(signature)).await;
    let source = stage.fetch(&wanted).await.unwrap();
    assert_eq!((source.name.as_str(), source.text.as_str()), ("thumbs", MANIFEST));
    let loaded = load(source, sandbox()).unwrap();
    assert_eq!(loaded.version.digest(), wanted.component.as_str());
}

#[tokio::test]
async fn what_is_wrong_with_a_release_is_told_at_once_and_its_component_is_not_asked_for() {
    let mut stage = Stage::new();
    stage.trusted = vec![PrivateKey::generate().unwrap().public()];
    let wanted = stage.want(b"component", "kind = \"worker\"\n", None).await;
    // It is not even there.
    let mut plain = stage.redis.plain().await;
    let _: () = plain.del(format!("sandhog:component:{}", wanted.component)).await.unwrap();
    let refusal = stage.refusal(&wanted).await;
    let lines: Vec<&str> = refusal.lines().collect();
    assert!(lines[0].starts_with("thumbs.toml of deploy 1:1: missing `consume`"), "{refusal}");
    assert!(lines[1].starts_with("thumbs.wasm of deploy 1: is not signed"), "{refusal}");
}

#[tokio::test]
async fn what_is_not_there_too_large_or_damaged_is_refused_and_a_silent_redis_is_not_the_releases_fault() {
    let mut stage = Stage::new();
    let wanted = stage.want(&[7; 1500], MANIFEST, None).await;
    let key = format!("sandhog:component:{}", wanted.component);
    stage.ceilings.component_bytes = 1001;
    let refusal = stage.refusal(&wanted).await;
    let expected = "has 1500B; it can have 1001B at the most (`limits.component`)";
    assert_eq!(refusal, format!("thumbs.wasm of deploy 1: the component `{key}` {expected}"));
    stage.ceilings = Ceilings::default();
    let mut plain = stage.redis.plain().await;
    let _: () = plain.hset(&key, "0", vec![8; 1500]).await.unwrap();
    let refusal = stage.refusal(&wanted).await;
    assert!(refusal.ends_with("in Redis is damaged: it is another one; deploy it again"), "{refusal}");
    let _: () = plain.del(format!("sandhog:release:{}", wanted.release)).await.unwrap();
    let refusal = stage.refusal(&wanted).await;
    assert!(refusal.ends_with("is not in Redis any more; deploy it again"), "{refusal}");
    stage.depot = Depot::new(no_redis());
    assert!(matches!(stage.fetch(&wanted).await, Err(FetchError::Fault(_))));
}

#[tokio::test]
async fn a_host_hears_at_once_what_is_wanted_and_after_an_outage_what_was() {
    let mut redis = TestRedis::start_with(&["--appendonly", "yes"]);
    let depot = Depot::new(redis.link());
    let mut fleet = Fleet::new(&Primary::at(&redis.address(), Duration::from_secs(5))).unwrap();
    assert!(fleet.changed().await.is_empty());
    let stage = Stage { depot, ..Stage::new() };
    for number in 1..=3 {
        let component = [number; 10];
        let soon = tokio::time::timeout(Duration::from_secs(15), fleet.changed());
        let (heard, wanted) = tokio::join!(soon, stage.want(&component, MANIFEST, None));
        assert_eq!(heard, Ok([(name(), wanted)].into()), "half of the time between two looks is no hearing");
    }
    // Long before the next look that needs no reason.
    let quiet = tokio::time::timeout(Duration::from_millis(300), fleet.changed()).await;
    assert!(quiet.is_err(), "nothing has changed: {quiet:?}");
    redis.kill();
    let silent = tokio::time::timeout(Duration::from_millis(300), fleet.changed()).await;
    assert!(silent.is_err(), "a Redis that is away wants nothing: {silent:?}");
    redis.restart();
    let again = until_wanted(&stage, &[9; 10]).await;
    let heard = tokio::time::timeout(Duration::from_secs(20), fleet.changed()).await.unwrap();
    assert_eq!(heard, [(name(), again)].into());
}

/// Wants a component as soon as Redis is there again.
async fn until_wanted(stage: &Stage, component: &[u8]) -> Wanted {
    let release = Release { component: Digest::of(component), manifest: String::new(), signature: None };
    let started = Instant::now();
    while let Err(error) = stage.depot.put(&release, component, |_| {}).await {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.depot.want(&name(), &release.id(), &release.component, "here").await.unwrap()
}
