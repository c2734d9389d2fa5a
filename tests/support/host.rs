//! Hosts for tests: in this process, on a folder of plugins of their own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use sandhog::app::{Host, Options};
use sandhog::config::settings::{Overrides, Settings, Watch};
use sandhog::worker::counters::Counters;
use sandhog::worker::lane::Lane;
use tempfile::TempDir;

use super::guest::program;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A folder of plugins.
pub struct Plugins {
    folder: TempDir,
}

impl Plugins {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("plugins-").tempdir().unwrap() }
    }

    /// Adds or replaces a plugin.
    pub fn with(self, name: &str, component: &[u8], manifest: &str) -> Self {
        self.put(name, component, manifest);
        self
    }

    /// Adds or replaces a plugin.
    pub fn put(&self, name: &str, component: &[u8], manifest: &str) {
        std::fs::write(self.path().join(format!("{name}.wasm")), component).unwrap();
        std::fs::write(self.path().join(format!("{name}.toml")), manifest).unwrap();
    }

    /// Removes a plugin.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(format!("{name}.wasm"))).unwrap();
        std::fs::remove_file(self.path().join(format!("{name}.toml"))).unwrap();
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Settings of a host on these plugins: short leases, so that tests need not wait; and plugins that change when
    /// the test says so.
    pub fn settings(&self, redis_url: &str, host_name: &str) -> Settings {
        let flags = Overrides {
            redis_url: Some(redis_url.to_owned()),
            host_name: Some(host_name.to_owned()),
            state_dir: Some(self.path().join(".state")),
            plugins_dir: Some(self.path().to_owned()),
            ..Overrides::default()
        };
        let mut settings = Settings::resolve(&flags, None).unwrap();
        settings.host.lease = Duration::from_secs(2);
        settings.host.reap_every = Duration::from_millis(200);
        settings.host.threads = 2;
        settings.plugins.watch = Watch::Off;
        settings.ceilings.instances = 128;
        settings.ceilings.memory_bytes = 256 << 20;
        settings
    }

    /// Starts a host on these plugins.
    pub async fn serve(&self, redis_url: &str, host_name: &str) -> Host {
        serve(self.settings(redis_url, host_name)).await
    }
}

/// Starts a host.
pub async fn serve(settings: Settings) -> Host {
    Host::start(Options::new(settings, program())).await.unwrap()
}

/// Drains a host and waits for its end.
pub async fn stop(host: Host) {
    host.drain();
    host.stopped().await;
}

/// The lane of a queue.
pub fn lane(host: &Host, queue: &str) -> Arc<Lane> {
    let found = host.lanes().into_iter().find(|lane| lane.queue.as_str() == queue);
    found.unwrap_or_else(|| panic!("`{queue}` is not served"))
}

/// Reads a counter of a queue.
pub fn count(host: &Host, queue: &str, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    Counters::read(counter(&lane(host, queue).counters))
}

/// Waits until `condition` holds; panics with `what` when it takes too long.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
