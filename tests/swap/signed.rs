//! Deploys through Redis to a host with trusted keys: anybody with write access to Redis can exchange everything except
//! the signature.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::config::settings::{PluginsFrom, Settings};
use sandhog::plugin::depot::Depot;
use sandhog::plugin::release::{Digest, Release, Wanted};
use sandhog::plugin::signature::PrivateKey;

use super::fleet::{all_run, name, of, settings, told};
use super::{manifest, stamp, stamped};
use crate::support::host::{Plugins, serve, stop, until};
use crate::support::redis::TestRedis;

/// A Redis, and the key of an operator.
struct Stage {
    redis: TestRedis,
    plugins: Plugins,
    plain: MultiplexedConnection,
    key: PrivateKey,
}

impl Stage {
    async fn new() -> Self {
        let redis = TestRedis::start();
        let plain = redis.plain().await;
        Self { plain, plugins: Plugins::new(), key: PrivateKey::generate().unwrap(), redis }
    }

    fn settings(&self) -> Settings {
        let mut settings = settings(&self.plugins, &self.redis, "h");
        settings.plugins.trusted_keys = vec![self.key.public()];
        settings
    }

    /// Version `n` with a signature for its component, and these terms.
    fn release(&self, n: u32, manifest: String) -> (Release, Vec<u8>) {
        let component = stamped(&stamp(n));
        let digest = Digest::of(&component);
        let signature = Some(self.key.sign(&digest).to_string());
        (Release { component: digest, manifest, signature }, component)
    }

    /// Deploys version `n` as the holder of the key does.
    async fn deploy(&self, n: u32) -> Wanted {
        let (release, component) = self.release(n, manifest(n, ""));
        let depot = Depot::new(self.redis.link());
        depot.put(&release, &component, |_| {}).await.unwrap();
        let (id, trusted) = (release.id(), [self.key.public()]);
        depot.want_signed(&name(), &id, &release.component, "a test", &self.key, &trusted).await.unwrap()
    }

    /// Writes an order into Redis, as anybody can.
    async fn forge(&mut self, plugin: &str, wanted: &Wanted) {
        let text = serde_json::to_string(wanted).unwrap();
        let _: () = self.plain.hset("sandhog:plugins", plugin, text).await.unwrap();
    }
}

/// Waits until the host reports a refusal with this reason.
async fn refuses(host: &Host, plugin: &str, why: &str) {
    let refusal = || host.plugins().into_iter().find(|own| own.name == plugin).and_then(|own| own.refusal);
    until(&format!("it is refused: {why}"), async || refusal().is_some_and(|text| text == why)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_were_exchanged_in_redis_are_refused_and_the_version_before_goes_on() {
    let mut stage = Stage::new().await;
    let host = serve(stage.settings()).await;
    let good = stage.deploy(1).await;
    all_run(&stage.redis, 1, &good).await;
    assert_eq!(told(&mut stage.plain).await, of(1));

    // The same component with its signature, and more rights; nothing in it is secret.
    let (release, component) = stage.release(1, manifest(1, "").replace("\"q:*\"", "\"*\""));
    Depot::new(stage.redis.link()).put(&release, &component, |_| {}).await.unwrap();
    let forged = Wanted { release: release.id(), number: 2, ..good.clone() };
    stage.forge("edition", &forged).await;
    let wrong = |number: u64, plugin: &str| {
        format!(
            "deploy {number} of `{plugin}`: has a signature of `{}` that is not for this order: the release, the number or \
             the plugin's name was changed after signing",
            stage.key.public()
        )
    };
    let (exchanged, renumbered, renamed) = (wrong(2, "edition"), wrong(3, "edition"), wrong(1, "other"));
    refuses(&host, "edition", &exchanged).await;
    assert_eq!(told(&mut stage.plain).await, of(1));

    stage.forge("edition", &Wanted { number: 3, ..good.clone() }).await;
    refuses(&host, "edition", &renumbered).await;
    stage.forge("edition", &Wanted { number: 4, signed: None, ..forged }).await;
    let unsigned = "deploy 4 of `edition`: is not signed, but `plugins.trusted_keys` requires a signature; deploy it with \
                    `sandhog deploy FILE --key KEY`";
    refuses(&host, "edition", unsigned).await;
    stage.forge("other", &good).await;
    refuses(&host, "other", &renamed).await;
    let other = host.plugins().into_iter().find(|plugin| plugin.name == "other").unwrap();
    assert_eq!(other.version, "", "it is not served");
    assert_eq!(told(&mut stage.plain).await, of(1));

    // Forged entries do not prevent the holder of the key from deploying.
    let next = stage.deploy(2).await;
    assert_eq!(next.number, 5);
    all_run(&stage.redis, 1, &next).await;
    assert_eq!(told(&mut stage.plain).await, of(2));
    let own = || host.plugins().into_iter().find(|plugin| plugin.name == "edition").unwrap();
    assert_eq!(own().refusal, None);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_order_with_its_signature_is_no_way_back_but_a_new_one_is() {
    let mut stage = Stage::new().await;
    let host = serve(stage.settings()).await;
    let first = stage.deploy(1).await;
    all_run(&stage.redis, 1, &first).await;
    let second = stage.deploy(2).await;
    all_run(&stage.redis, 1, &second).await;
    stage.forge("edition", &first).await;
    let is_old = |host: &Host| {
        let own = host.plugins().into_iter().find(|plugin| plugin.name == "edition");
        let refusal = own.and_then(|own| own.refusal).unwrap_or_default();
        refusal.starts_with("deploy 1 of `edition`: was signed ")
            && refusal.contains(" before the latest one that this host has accepted")
    };
    until("the former order is refused", async || is_old(&host)).await;
    assert_eq!(told(&mut stage.plain).await, of(2));
    // The host remembers the accepted order, and the good version.
    stop(host).await;
    let host = serve(stage.settings()).await;
    until("the former order is refused after a restart", async || is_old(&host)).await;
    assert_eq!(told(&mut stage.plain).await, of(2));
    let back = stage.deploy(1).await;
    all_run(&stage.redis, 1, &back).await;
    assert_eq!(told(&mut stage.plain).await, of(1));
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_accepted_does_not_hide_the_file_in_the_plugin_folder() {
    let mut stage = Stage::new().await;
    let component = stamped(&stamp(7));
    stage.plugins.put("edition", &component, &manifest(7, ""));
    let signature = stage.key.sign(&Digest::of(&component)).to_string();
    std::fs::write(stage.plugins.path().join("edition.wasm.sig"), signature).unwrap();
    let unsigned = Wanted { signed: None, ..stage.deploy(1).await };
    stage.forge("edition", &unsigned).await;
    let mut settings = stage.settings();
    settings.plugins.source = PluginsFrom::Both;
    let host = serve(settings).await;
    assert_eq!(told(&mut stage.plain).await, of(7));
    let own = host.plugins().into_iter().find(|plugin| plugin.name == "edition").unwrap();
    assert!(own.refusal.is_some_and(|why| why.contains("is not signed")), "the order is shown");
    let signed = stage.deploy(1).await;
    all_run(&stage.redis, 1, &signed).await;
    assert_eq!(told(&mut stage.plain).await, of(1));
    stop(host).await;
}
