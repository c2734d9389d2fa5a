//! Config readers of a host: one task each, on the guest threads, and the snapshots they feed.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_task::Task;
use futures_util::FutureExt as _;
use futures_util::future::select_all;
use tokio::sync::watch;

use crate::panics;
use crate::plugin::load::Loaded;
use crate::plugin::name::PluginName;
use crate::plugin::reader::ConfigReader;
use crate::plugin::snapshot::Snapshots;
use crate::sandbox::Plan;
use crate::sandbox::run::RunContext;
use crate::storage::link::Tracking;
use crate::storage::primary::Primary;
use crate::worker::executor::ExecutorHandle;

/// How long workers wait for the first answer of a reader that they use, so that they begin with its settings.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The config readers of a host.
pub(super) struct Readers {
    snapshots: Arc<Snapshots>,
    primary: Primary,
    executor: ExecutorHandle,
    open: HashMap<PluginName, Open>,
}

/// How a new version of a config reader is tried.
pub(super) struct Trial {
    primary: Primary,
}

struct Open {
    since: Instant,
    /// Workers that use it wait for its first answer. Changed by `note_answers` only, so that no answer can come unseen
    /// between two looks.
    is_awaited: bool,
    stop: watch::Sender<bool>,
    task: Task<()>,
}

impl Readers {
    pub(super) fn new(primary: Primary, executor: ExecutorHandle) -> Self {
        Self { snapshots: Arc::new(Snapshots::default()), primary, executor, open: HashMap::new() }
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
        let reader = match ConfigReader::new(loaded, &self.primary, snapshots) {
            Ok(reader) => reader,
            Err(error) => {
                tracing::error!(plugin = name.as_str(), %error, "the config reader cannot connect");
                return;
            }
        };
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        let former = self.open.remove(&name);
        let task = self.executor.share(name.as_str(), 1).spawn(panics::named("config-reader", async move {
            if let Some(former) = former {
                former.end().await;
            }
            reader.run(stopped).await;
        }));
        let is_awaited = self.snapshots.watch(&name).borrow().runs == 0;
        self.open.insert(name, Open { since: Instant::now(), is_awaited, stop, task });
    }

    /// How a new version is tried before it takes the place of one that works.
    pub(super) fn trial(&self) -> Trial {
        Trial { primary: self.primary.clone() }
    }

    /// Ends a reader and forgets its settings.
    pub(super) fn close(&mut self, name: &PluginName) {
        if let Some(open) = self.open.remove(name) {
            // Ends by itself.
            open.stop.send_replace(true);
            open.task.detach();
            self.snapshots.forget(name);
        }
    }

    /// Whether workers that use this reader still wait for its first answer, which may be a failure.
    pub(super) fn is_awaited(&self, name: &PluginName) -> bool {
        self.open.get(name).is_some_and(|open| open.is_awaited)
    }

    /// Whether workers wait for the first answer of any reader.
    pub(super) fn is_any_awaited(&self) -> bool {
        self.open.values().any(|open| open.is_awaited)
    }

    /// Records which readers workers no longer wait for: they have answered, or take too long.
    pub(super) fn note_answers(&mut self) {
        for (name, open) in self.open.iter_mut().filter(|(_, open)| open.is_awaited) {
            let has_answered = self.snapshots.watch(name).borrow().runs > 0;
            let is_late = !has_answered && open.since.elapsed() >= FIRST_ANSWER_MAX;
            if is_late {
                tracing::warn!(
                    plugin = name.as_str(),
                    "the config reader has not answered yet; workers begin without its settings"
                );
            }
            open.is_awaited = !has_answered && !is_late;
        }
    }

    /// Returns when `note_answers` has something to note; never if no reader is awaited.
    pub(super) async fn answered(&self) {
        let awaited = self.open.iter().filter(|(_, open)| open.is_awaited);
        let waits = awaited.map(|(name, open)| {
            let (mut status, until) = (self.snapshots.watch(name), open.since + FIRST_ANSWER_MAX);
            Box::pin(async move {
                let _ =
                    tokio::time::timeout_at(until.into(), status.wait_for(|status| status.runs > 0)).await;
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(waits).await;
    }

    /// Ends all readers.
    pub(super) async fn end(&mut self) {
        let open: Vec<Open> = self.open.drain().map(|(_, open)| open).collect();
        for open in &open {
            open.stop.send_replace(true);
        }
        for open in open {
            open.end().await;
        }
    }
}

impl Open {
    async fn end(self) {
        self.stop.send_replace(true);
        // A reader that panicked has ended as well.
        let _ = AssertUnwindSafe(self.task).catch_unwind().await;
    }
}

impl Trial {
    /// Asks a config reader for its settings once, on the guests' threads; fails with why there are none.
    pub(super) async fn run(&self, loaded: &Loaded, executor: &ExecutorHandle) -> Result<(), String> {
        let link = match &loaded.user {
            Some(user) => user.link().clone(),
            None => self.primary.link("config", Tracking::Off).map_err(|error| error.to_string())?,
        };
        let (version, timeout) = (loaded.version.clone(), loaded.manifest.read_timeout);
        let context = RunContext {
            link,
            settings: Arc::default(),
            timeout,
            plan: Plan::Immediate,
            foresight: None,
            board: None,
        };
        let share = executor.share(loaded.name.as_str(), 1);
        let asked = async move { version.read_config(&context).await.settings };
        let answer = share.spawn(panics::contained_while("settings-trial", asked)).await;
        answer
            .unwrap_or_else(|panicked| Err(format!("reading settings failed inside the host: {panicked}")))
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::address::{Address, TlsFiles};
    use crate::worker::executor::Executor;

    #[test]
    fn an_answer_after_the_last_look_does_not_leave_workers_waiting() {
        let address = Address::parse("redis://127.0.0.1:1", TlsFiles::default()).unwrap();
        let executor = Executor::start(1).unwrap();
        let mut readers = Readers::new(Primary::at(&address, Duration::from_secs(1)), executor.handle());
        let name = PluginName::new("site").unwrap();
        let task = executor.handle().share("site", 1).spawn(async {});
        let open = Open { since: Instant::now(), is_awaited: true, stop: watch::Sender::new(false), task };
        readers.open.insert(name.clone(), open);
        readers.snapshots.enter(&name);
        readers.note_answers();
        assert!(readers.is_awaited(&name));
        // Whoever begins plugins has looked, and does not wait yet.
        readers.snapshots.fail(&name, "no settings");
        let control = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let waited = async { tokio::time::timeout(FIRST_ANSWER_MAX / 2, readers.answered()).await };
        assert!(control.block_on(waited).is_ok(), "nobody is told of the answer");
        readers.note_answers();
        assert!(!readers.is_any_awaited());
    }
}
