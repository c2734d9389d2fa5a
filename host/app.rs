//! A whole host: settings in, a running host out, and an ordered way to stop it. The parts are made and joined
//! in `control`; this is the handle that the program, tests and the bench hold.
//!
//! Threads of a host: *control* (feeders, reaper, safety poll: all that talks to Redis about jobs; no guest ever
//! runs there), *guests* (as many as `host.threads`), the *lease* keeper, and the *watch* over the plugin folder.

mod control;
mod figure;
mod folder;
mod history;
mod hosted;
mod lanes;
mod loads;
mod readers;
mod seat;
mod served;
mod start_wait;
mod state_dir;
mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::problem::Problems;
use crate::config::settings::{CompileSettings, Settings};
use crate::job::report::PluginReport;
use crate::job::store::StoreError;
use crate::panics;
use crate::sandbox::{CacheSettings, CompileLimits, Compiling, Tier};
use crate::storage::address::AddressError;
use crate::storage::fault::Fault;
use crate::worker::feeder::Phase;
use crate::worker::lane::{Lane, Observer};

/// Where compiled components are kept, in the state folder.
const CACHE_FOLDER: &str = "compiled";
/// Requests that may wait for the control thread.
const COMMANDS_MAX: usize = 16;

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Redis gave no answer.
    #[error("{0}")]
    Redis(#[from] Fault),
    /// The server cannot serve.
    #[error("{0}")]
    Server(String),
    /// Redis could not do what a start needs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not one plugin could be loaded.
    #[error("no plugin could be loaded")]
    Plugins(Problems),
    /// There is no plugin.
    #[error("no plugins in `{0}`")]
    NoPlugins(String),
    /// The engine refused its settings.
    #[error("cannot set up the sandbox: {0}")]
    Sandbox(String),
    /// The host could not write to its state folder.
    #[error(
        "cannot write to `state_dir` (`{0}`): {1}; the host keeps its seat, compiled components and former versions there"
    )]
    StateDir(String, String),
    /// A thread or a runtime could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The host was told to leave before it had started.
    #[error("stopped before it had started")]
    Stopped,
}

/// What a host is started with.
#[derive(Clone)]
pub struct Options {
    /// Everything an operator can say.
    pub settings: Settings,
    /// Told of every run.
    pub observer: Option<Observer>,
    /// This program, which compiles components with its hidden subcommand: `/proc/self/exe`, unless this process
    /// is another.
    pub program: PathBuf,
    /// Which compiler is tried first: `Tier::Optimized`, unless the user of this process wrote the components.
    pub tier: Tier,
}

impl Options {
    /// A host that only its log and Redis tell about, with the compiler for components of strangers.
    pub fn new(settings: Settings, program: PathBuf) -> Self {
        Self { settings, observer: None, program, tier: Tier::default() }
    }
}

/// How components are compiled under these settings. `make` makes the folder that keeps the results; without it
/// one that is there is used.
pub fn compiling(settings: &Settings, program: PathBuf, tier: Tier, make: bool) -> Compiling {
    let CompileSettings { memory_bytes, time, cache_bytes } = settings.compile;
    let cache = CacheSettings { folder: compiled_dir(settings), bytes_max: cache_bytes, make };
    let limits = CompileLimits { memory_bytes, time };
    Compiling { program, limits, cache: (cache_bytes > 0).then_some(cache), tier }
}

/// Where compiled components are kept under these settings.
pub fn compiled_dir(settings: &Settings) -> PathBuf {
    settings.compiled_dir.clone().unwrap_or_else(|| settings.host.state_dir.join(CACHE_FOLDER))
}

/// A running host. Dropped without `stopped`, it leaves at once and is waited for.
pub struct Host {
    phase: watch::Sender<Phase>,
    commands: mpsc::Sender<Command>,
    lanes: watch::Receiver<Vec<Arc<Lane>>>,
    plugins: watch::Receiver<Vec<PluginReport>>,
    settled: watch::Receiver<bool>,
    done: watch::Receiver<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What the control thread can be asked.
enum Command {
    /// Read the plugin folder again.
    Reload(oneshot::Sender<Result<(), Problems>>),
}

/// What the control thread tells when the host runs.
struct Started {
    lanes: watch::Receiver<Vec<Arc<Lane>>>,
    plugins: watch::Receiver<Vec<PluginReport>>,
    settled: watch::Receiver<bool>,
}

impl Host {
    /// Starts a host and returns when it serves all plugins that can be loaded.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let host = Self::start_unless(options, std::future::pending()).await?;
        let host = host.expect("nobody stopped the start");
        host.settled().await;
        Ok(host)
    }

    /// Starts a host and returns when it serves the first plugin, unless `stop` resolves first: then the host shuts down in
    /// order, and the result is `None`.
    pub async fn start_unless(
        mut options: Options,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>, StartError> {
        // Checked before the wait for Redis, because a wrong folder has nothing to do with Redis.
        folder::check(&options.settings)?;
        let temporary = state_dir::prepare(&mut options.settings)?;
        let phase = watch::Sender::new(Phase::Serving);
        let (commands, requests) = mpsc::channel(COMMANDS_MAX);
        let (ready, started) = oneshot::channel();
        let finished = watch::Sender::new(false);
        let done = finished.subscribe();
        let orders = control::Orders { phase: phase.clone(), requests };
        let body = move || {
            control::run(options, orders, ready);
            drop(temporary);
            finished.send_replace(true);
        };
        let thread = panics::thread("control", body)?;
        let started = tokio::select! {
            started = started => started,
            () = stop => {
                phase.send_replace(Phase::Leaving);
                // Fails only when the thread is gone, which is what is waited for.
                let _ = done.clone().wait_for(|done| *done).await;
                let _ = thread.join();
                return Ok(None);
            }
        };
        let started =
            started.unwrap_or_else(|_| Err(StartError::Sandbox("the control thread ended".to_owned())));
        match started {
            Ok(Started { lanes, plugins, settled }) => {
                Ok(Some(Self { phase, commands, lanes, plugins, settled, done, thread: Some(thread) }))
            }
            Err(error) => {
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// Returns when every plugin of the start is served or refused, or the host has ended.
    pub async fn settled(&self) {
        let mut settled = self.settled.clone();
        tokio::select! {
            // Fails only if the control thread has ended.
            _ = settled.wait_for(|settled| *settled) => {}
            () = self.ended() => {}
        }
    }

    /// Reads the plugin folder again. A plugin that cannot be loaded stays as it was; the answer tells why.
    pub async fn reload(&self) -> Result<(), Problems> {
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Reload(answer)).await.is_err() {
            return Ok(());
        }
        answered.await.unwrap_or(Ok(()))
    }

    /// Stops claiming, lets jobs finish until the drain deadline, hands back the rest.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Serving;
            if first {
                *phase = Phase::Draining;
            }
            first
        });
    }

    /// Hands back everything and stops at once.
    pub fn leave(&self) {
        self.phase.send_replace(Phase::Leaving);
    }

    /// Returns when the host has come to its end, by order or by itself.
    pub async fn ended(&self) {
        // Fails only when the thread is gone, which is what is waited for.
        let _ = self.done.clone().wait_for(|done| *done).await;
    }

    /// Waits for the end and for the last thread.
    pub async fn stopped(mut self) {
        self.ended().await;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// The queues served now.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.borrow().clone()
    }

    /// The plugins as they are now.
    pub fn plugins(&self) -> Vec<PluginReport> {
        self.plugins.borrow().clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.leave();
            let _ = thread.join();
        }
    }
}
