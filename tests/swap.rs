//! Versions that take each other's place while jobs run: nothing is lost, nothing runs twice, no run mixes two of them.

mod back;
mod canary;
mod fleet;
mod load;
mod queues;
mod signed;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::config::settings::Watch;
use sandhog::job::report::{PluginReport, VersionState};
use sandhog::worker::counters::Counters;

use crate::support::example;
use crate::support::host::{Plugins, lane, serve, stop, until};
use crate::support::redis::TestRedis;

/// What the guest `edition` has before the part of its code that tells versions apart.
const MARK: &[u8] = b"sandhog-edition:";

/// The guest `edition` with this stamp of eight characters.
pub fn stamped(stamp: &str) -> Vec<u8> {
    let mut component = example::component("edition");
    let at = component.windows(MARK.len()).position(|some| some == MARK).expect("the mark is in its code");
    component[at + MARK.len()..][..8].copy_from_slice(stamp.as_bytes());
    component
}

/// The stamp of version `n`.
pub fn stamp(n: u32) -> String {
    format!("{n:08}")
}

/// A manifest whose runs see the release `n`; `more` are settings, or tables that follow them.
pub fn manifest(n: u32, more: &str) -> String {
    format!(
        "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\nbackoff = {{ base = \"1ms\", max = \"5ms\" }}\n\
         max_attempts = 1000\n[grants]\nkv.write = [\"q:*\"]\nqueue.push = [\"q:*\"]\n\
         [config]\nrelease = \"{n:08}\"\n{more}\n"
    )
}

/// A host with the plugin `edition` at version 0, which changes only when it is told to.
pub struct Stage {
    _redis: TestRedis,
    pub plain: MultiplexedConnection,
    pub plugins: Plugins,
    pub host: Host,
    pushed: u64,
}

impl Stage {
    pub async fn new() -> Self {
        let (redis, plugins) = (TestRedis::start(), Plugins::new());
        plugins.put("edition", &stamped(&stamp(0)), &manifest(0, ""));
        let mut settings = plugins.settings(&redis.url(), "h");
        settings.plugins.watch = Watch::Off;
        let (host, plain) = (serve(settings).await, redis.plain().await);
        Self { _redis: redis, plain, plugins, host, pushed: 0 }
    }

    /// Ends the host and starts it again on what lies there now.
    pub async fn restart(self) -> Self {
        let Self { _redis, plain, plugins, host, pushed } = self;
        stop(host).await;
        let mut settings = plugins.settings(&_redis.url(), "h");
        settings.plugins.watch = Watch::Off;
        Self { host: serve(settings).await, _redis, plain, plugins, pushed }
    }

    /// Puts a version in the folder.
    pub fn put(&self, n: u32, more: &str) {
        self.plugins.put("edition", &stamped(&stamp(n)), &manifest(n, more));
    }

    /// Pushes so many jobs.
    pub async fn push(&mut self, count: u64) {
        let ids: Vec<String> = (self.pushed..self.pushed + count).map(|id| id.to_string()).collect();
        let _: u64 = self.plain.rpush("q", ids).await.unwrap();
        self.pushed += count;
    }

    /// Waits until so many jobs, or all of them, have completed.
    pub async fn completed(&self, count: impl Into<Option<u64>>) {
        let count = count.into().unwrap_or(self.pushed);
        let counters = lane(&self.host, "q").counters.clone();
        until("the jobs have completed", async || Counters::read(&counters.completed) >= count).await;
    }

    /// The plugin as the host sees it.
    pub fn report(&self) -> PluginReport {
        self.host.plugins().into_iter().find(|plugin| plugin.name == "edition").expect("it is served")
    }

    /// The state of the version that is on trial, or takes all.
    pub fn state(&self, digest: &str) -> Option<VersionState> {
        self.report().versions.iter().find(|version| version.version == digest).map(|version| version.state)
    }

    /// What every job's receipt says of the version that ran: each job must have one, of one version.
    pub async fn ran(&mut self) -> Vec<u32> {
        let receipts: Vec<String> = self.plain.lrange("q:receipts", 0, -1).await.unwrap();
        let mut ids: Vec<u64> = Vec::new();
        let mut versions = Vec::new();
        for receipt in &receipts {
            let [id, stamp, release] = receipt.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{receipt}")
            };
            assert_eq!(stamp, release, "a run of one version with the settings of another: {receipt}");
            ids.push(id.parse().unwrap());
            versions.push(stamp.parse().unwrap());
        }
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(0..self.pushed), "{} receipts for {} jobs", ids.len(), self.pushed);
        let sum: Option<u64> = self.plain.get("q:sum").await.unwrap();
        assert_eq!(sum.unwrap_or(0), self.pushed, "effects are there exactly once");
        versions
    }
}
