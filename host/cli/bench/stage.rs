//! What a workload plays on: a Redis, queues of names nobody else uses, a folder of plugins, and a host of
//! this very process.

use std::path::Path;

use anyhow::Context as _;
use redis::cmd;
use sandhog::app::{Host, Options};
use sandhog::config::settings::{Overrides, Settings};
use sandhog::job::key::{QUEUES, QueueKeys, SWAPS};
use sandhog::job::name::QueueName;
use sandhog::sandbox::load::COMPONENT_BYTES_MAX;
use sandhog::storage::link::Link;
use sandhog::worker::lane::Observer;
use tempfile::TempDir;

use super::Args;
use crate::cli::child;
use crate::cli::componentize;
use crate::cli::context::{self, Context};
use crate::cli::error::{Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::serve;

/// Name of the bench's own host.
const HOST: &str = "bench";

/// The stage; its folder and its Redis go away with it.
pub(super) struct Stage {
    /// A connection of the bench itself, not of the host.
    pub(super) link: Link,
    /// The queues; plugins share them.
    pub(super) queues: Vec<QueueName>,
    /// Of Redis.
    pub(super) url: String,
    settings: Settings,
    folder: TempDir,
    _redis: Option<PrivateRedis>,
}

impl Stage {
    /// Sets everything up but the host; the plugins are all `component`.
    pub(super) async fn set(
        context: &Context,
        component: &Path,
        args: &Args,
        queues: u32,
        concurrency: u32,
    ) -> Outcome<Self> {
        let redis = match &context.global.redis {
            Some(_) => None,
            None => Some(PrivateRedis::start(Reach::Socket).await?),
        };
        let url = redis.as_ref().map(PrivateRedis::url).or_else(|| context.global.redis.clone());
        let folder = tempfile::tempdir().context("cannot make a folder for the bench").refuse()?;
        let settings = context.settings_with(Overrides {
            redis_url: url.clone(),
            host_name: Some(HOST.to_owned()),
            state_dir: Some(folder.path().join("state")),
            plugins_dir: Some(folder.path().to_owned()),
            ..Overrides::default()
        })?;
        let ours = format!("sandhog-bench-{}-", std::process::id());
        let queues: Vec<QueueName> = (0..queues)
            .map(|n| QueueName::new(format!("{ours}{n}")))
            .collect::<Result<_, _>>()
            .context("cannot name the queues")?;
        let component = componentize::read(component, COMPONENT_BYTES_MAX)?;
        let share = queues.len().div_ceil(usize::try_from(args.plugins()).unwrap_or(1));
        for (nth, queues) in queues.chunks(share).enumerate() {
            let name = if nth == 0 { "bench".to_owned() } else { format!("bench-{nth}") };
            let file = |ending: &str| folder.path().join(format!("{name}.{ending}"));
            // The plugins of a host are different ones, so each is compiled and kept for itself.
            let component = if nth == 0 { component.clone() } else { variant(&component, nth as u64) };
            std::fs::write(file("wasm"), component).context("cannot write a component").refuse()?;
            std::fs::write(file("toml"), manifest(queues, &ours, concurrency, args))
                .context("cannot write a manifest")
                .refuse()?;
        }
        let link = context::connect(&settings).await?;
        Ok(Self { link, queues, url: url.unwrap_or_default(), settings, folder, _redis: redis })
    }

    /// Starts the host.
    pub(super) async fn host(&self, observer: Observer) -> Outcome<Host> {
        let options = Options::new(self.settings.clone(), child::OURSELVES.into());
        Host::start(Options { observer: Some(observer), ..options }).await.map_err(serve::refusal)
    }

    /// Lets the host keep so many dead jobs of each queue, for as long as it runs.
    pub(super) fn keep_dead(&mut self, count: u64) {
        let dead = &mut self.settings.dead;
        dead.count = dead.count.max(count);
        dead.bytes = u64::MAX;
    }

    /// The plugin folder, with `bench.wasm`.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Threads that run guests.
    pub(super) fn threads(&self) -> usize {
        self.settings.host.threads
    }

    /// Where the host keeps what it has compiled.
    pub(super) fn state(&self) -> &Path {
        &self.settings.host.state_dir
    }

    /// Stops the host and deletes what the queues left behind.
    pub(super) async fn clear(self, host: Host) -> Outcome {
        host.drain();
        host.stopped().await;
        self.sweep().await
    }

    /// Deletes what the queues left behind.
    pub(super) async fn sweep(self) -> Outcome {
        // What became of the bench's versions is nothing for a fleet to remember.
        for line in self.link.query::<Vec<String>>(cmd("LRANGE").arg(SWAPS).arg(0).arg(-1)).await? {
            if line.starts_with(&format!("[\"{HOST}.")) {
                self.link.query::<u64>(cmd("LREM").arg(SWAPS).arg(0).arg(line)).await?;
            }
        }
        for queue in &self.queues {
            let keys = QueueKeys::new(queue);
            let mut delete = cmd("UNLINK");
            delete.arg(&[keys.list, keys.ready, keys.delayed, keys.dead, keys.stats, keys.paused]);
            delete.arg(format!("{queue}:echo"));
            self.link.query::<u64>(&delete).await?;
            self.link.query::<u64>(cmd("SREM").arg(QUEUES).arg(queue.as_str())).await?;
        }
        Ok(())
    }
}

/// The same code as another version: with a custom section at its end that says `n`.
pub(super) fn variant(component: &[u8], n: u64) -> Vec<u8> {
    let mut variant = component.to_vec();
    variant.extend([0, 9, 0]);
    variant.extend(n.to_le_bytes());
    variant
}

/// The queues, and grants for every key that begins as their names do.
fn manifest(queues: &[QueueName], ours: &str, concurrency: u32, args: &Args) -> String {
    let (effects, reuse) = (args.effects.word(), args.reuse);
    let mut text = format!(
        "kind = \"worker\"\neffects.mode = \"{effects}\"\ninstances.reuse = {reuse}\n[grants]\nkv.read = [\"{ours}*\"]\n\
         kv.write = [\"{ours}*\"]\nqueue.push = [\"{ours}*\"]\n"
    );
    for queue in queues {
        text.push_str(&format!("[[consume]]\nqueue = \"{queue}\"\nconcurrency = {concurrency}\n"));
    }
    text
}
