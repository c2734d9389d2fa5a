//! Config readers of a host: one task each, on the guest threads, and the snapshots they feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::config::settings::Settings;
use crate::plugin::load::Loaded;
use crate::plugin::name::PluginName;
use crate::plugin::reader::ConfigReader;
use crate::plugin::snapshot::Snapshots;
use crate::sandbox::Plan;
use crate::sandbox::run::RunContext;
use crate::storage::address::Address;
use crate::storage::link::{Link, Tracking};

/// Longest wait at start for the first answers, so that workers begin with settings; a reader that takes longer
/// is waited for no more.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The config readers of a host.
pub(super) struct Readers {
    snapshots: Arc<Snapshots>,
    address: Address,
    deadline: Duration,
    guests: Handle,
    tasks: JoinSet<()>,
    open: HashMap<PluginName, Open>,
}

/// How a new version of a config reader is tried.
pub(super) struct Trial {
    address: Address,
    deadline: Duration,
}

struct Open {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Readers {
    pub(super) fn new(settings: &Settings, guests: Handle) -> Self {
        Self {
            snapshots: Arc::new(Snapshots::default()),
            address: settings.redis.address.clone(),
            deadline: settings.redis.timeout,
            guests,
            tasks: JoinSet::new(),
            open: HashMap::new(),
        }
    }

    /// What readers answered.
    pub(super) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Starts a reader, or replaces its version: the new one starts when the old one has ended, and until it has
    /// a good answer the old answer stays.
    pub(super) fn open(&mut self, loaded: &Loaded) {
        let name = loaded.name.clone();
        let snapshots = self.snapshots.clone();
        let version = loaded.version.clone();
        let (address, deadline) = (&self.address, self.deadline);
        let reader =
            match ConfigReader::new(name.clone(), version, &loaded.manifest, address, deadline, snapshots) {
                Ok(reader) => reader,
                Err(error) => {
                    tracing::error!(plugin = name.as_str(), %error, "the config reader cannot connect");
                    return;
                }
            };
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let (ending, ended) = oneshot::channel::<()>();
        let former = self.open.insert(name, Open { stop, ended });
        let run = async move {
            if let Some(former) = former {
                former.stop.send_replace(true);
                let _ = former.ended.await;
            }
            reader.run(stopped).await;
            drop(ending);
        };
        self.tasks.spawn_on(run, &self.guests);
    }

    /// How a new version is tried before it takes the place of one that works.
    pub(super) fn trial(&self) -> Trial {
        Trial { address: self.address.clone(), deadline: self.deadline }
    }

    /// Ends a reader and forgets its settings.
    pub(super) fn close(&mut self, name: &PluginName) {
        if let Some(open) = self.open.remove(name) {
            open.stop.send_replace(true);
            self.snapshots.forget(name);
        }
    }

    /// Returns when every reader has answered once, well or not.
    pub(super) async fn first_answers(&self) {
        let all = async {
            for name in self.open.keys() {
                let _ = self.snapshots.watch(name).wait_for(|status| status.runs > 0).await;
            }
        };
        if tokio::time::timeout(FIRST_ANSWER_MAX, all).await.is_err() {
            tracing::warn!("a config reader has not answered yet; workers begin without its settings");
        }
    }

    /// Ends all readers.
    pub(super) async fn end(&mut self) {
        self.open.values().for_each(|open| {
            open.stop.send_replace(true);
        });
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Trial {
    /// Asks a config reader for its settings once, on the guests' threads; fails with why there are none.
    pub(super) async fn run(&self, loaded: &Loaded, guests: &Handle) -> Result<(), String> {
        let link = Link::new(&self.address, "config", self.deadline, Tracking::Off);
        let link = link.map_err(|error| error.to_string())?;
        let (version, timeout) = (loaded.version.clone(), loaded.manifest.read_timeout);
        let context = RunContext { link, settings: Arc::default(), timeout, plan: Plan::Immediate };
        let asked = guests.spawn(async move { version.read_config(&context).await.settings });
        asked.await.unwrap_or_else(|panic| Err(panic.to_string())).map(drop)
    }
}
