//! The task behind one config reader: runs it at load and whenever something it read has changed, and keeps or
//! publishes what it answers. What workers see of it is in `snapshot`.

mod listing;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use self::listing::{Extended, Listing};
use super::load::Loaded;
use super::name::PluginName;
use super::snapshot::{Settings, Snapshots};
use crate::capability::plan::Plan;
use crate::sandbox::load::Version;
use crate::sandbox::{ConfigReport, RunContext};
use crate::storage::address::AddressError;
use crate::storage::fault::Fault;
use crate::storage::link::{Link, Tracking};
use crate::storage::primary::Primary;
use crate::storage::script::Script;
use crate::storage::user::PluginUser;
use crate::storage::wake::Wake;

/// Least time from the start of one run to the start of the next: at most 20 a second.
const RUN_EVERY_MIN: Duration = Duration::from_millis(50);
/// How often it runs although nothing is known to have changed.
const SAFETY_POLL: Duration = Duration::from_secs(30);
/// As `SAFETY_POLL`, where Redis does not tell of changes, and after a first fault.
const QUICK_POLL: Duration = Duration::from_secs(1);
/// Runs in a row that listed what was not watched before; beyond them the watch counts as not working.
const EXTENDED_RUNS_MAX: u32 = 3;

static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script/publish.lua")));

/// One version of one config reader, ready to be run. A new version gets a task of its own when this one has
/// ended, and goes on from the same snapshot.
pub struct ConfigReader {
    name: PluginName,
    version: Arc<Version>,
    publish: Option<String>,
    /// The host's connection for the hash, where the guest's reads travel as another user.
    publisher: Link,
    /// Its own Redis user, held as long as it reads.
    _user: Option<Arc<PluginUser>>,
    snapshots: Arc<Snapshots>,
    context: RunContext,
    /// Given when anything it read may have changed.
    signal: Arc<Notify>,
    listing: Listing,
    generations: watch::Receiver<u64>,
    /// Whether the last good answer stands in the hash, as far as known.
    published: bool,
    failed_runs: u32,
    extended_runs: u32,
}

impl ConfigReader {
    /// Prepares the task; it connects when it runs. If the plugin has its own user, the guest reads as that user;
    /// what the host does for it (writing the hash, watching listed prefixes for changes) uses the host's user.
    pub fn new(loaded: &Loaded, primary: &Primary, snapshots: Arc<Snapshots>) -> Result<Self, AddressError> {
        let Loaded { name, manifest, version, user } = loaded.clone();
        let signal = Arc::new(Notify::new());
        let wake = Arc::new(Wake::default());
        // Only this reader reads on this connection, so whatever Redis tells on it counts. Watching each key
        // once it is known would leave a gap between the read and the watch.
        wake.watch_prefix("", &signal);
        let tracking = Tracking::Keys(wake);
        let (link, publisher) = match &user {
            Some(user) => {
                let publisher = primary.link("config-publish", Tracking::Off)?;
                (user.watch("config", tracking)?, publisher)
            }
            None => {
                let link = primary.link("config", tracking)?;
                (link.clone(), link)
            }
        };
        snapshots.enter(&name);
        let generations = link.generations();
        let context = RunContext {
            link,
            settings: Arc::new(BTreeMap::new()),
            timeout: manifest.read_timeout,
            plan: Plan::Immediate,
            foresight: None,
            board: None,
        };
        Ok(Self {
            name,
            version,
            publish: manifest.publish.clone(),
            publisher,
            _user: user,
            snapshots,
            context,
            listing: Listing::new(primary, &signal),
            signal,
            generations,
            published: false,
            failed_runs: 0,
            extended_runs: 0,
        })
    }

    /// Runs until `shutdown` is true or its sender is gone. Owns its connections; whoever started it joins it.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let started = Instant::now();
            // Nothing is written before this is done, so it can be dropped.
            let (tracked, report) = tokio::select! {
                ended = self.read() => ended,
                () = stopped(&mut shutdown) => return,
            };
            let pause = match report {
                Ok(report) => self.take(report, tracked).await,
                Err(fault) => {
                    self.failed(&fault.to_string());
                    QUICK_POLL
                }
            };
            tokio::select! {
                () = self.signal.notified() => {}
                // What was read on an earlier connection is not watched any more.
                _ = self.generations.changed() => self.published = false,
                () = sleep(pause) => {}
                () = stopped(&mut shutdown) => return,
            }
            // Changes until then lead to one run together.
            tokio::select! {
                () = sleep_until(started + RUN_EVERY_MIN) => {}
                () = stopped(&mut shutdown) => return,
            }
        }
    }

    /// One run, over connections that are known to work; tells as well whether Redis watches what it reads.
    async fn read(&mut self) -> (bool, Result<ConfigReport, Fault>) {
        let mut tracked = true;
        for link in [Some(&self.context.link), self.listing.link()].into_iter().flatten() {
            match connect(link).await {
                Ok(tracks) => tracked &= tracks,
                Err(fault) => return (false, Err(fault)),
            }
        }
        if self.generations.has_changed().unwrap_or(false) {
            self.generations.mark_unchanged();
            self.published = false;
        }
        (tracked, Ok(self.version.read_config(&self.context).await))
    }

    /// Keeps what a run answered; tells how long the answer is good if nothing is heard.
    async fn take(&mut self, report: ConfigReport, tracked: bool) -> Duration {
        let extended = self.listing.extend(&report.reads.prefixes);
        let extended = extended.expect("an address that made one link makes another");
        self.extended_runs = if extended == Extended::Not { 0 } else { self.extended_runs + 1 };
        let published = match report.settings {
            Ok(settings) => self.succeeded(settings).await,
            Err(reason) => {
                self.failed(&reason);
                return (QUICK_POLL * self.failed_runs).min(SAFETY_POLL);
            }
        };
        match extended {
            // The run began before the watch over what it listed.
            Extended::Watched if self.extended_runs <= EXTENDED_RUNS_MAX => Duration::ZERO,
            Extended::Not if tracked && published => SAFETY_POLL,
            _ => QUICK_POLL,
        }
    }

    /// Swaps a good answer in; tells whether it is published, if it is to be.
    async fn succeeded(&mut self, settings: Settings) -> bool {
        let count = settings.len();
        self.failed_runs = 0;
        let changed = self.snapshots.accept(&self.name, settings.clone());
        if changed {
            tracing::info!(plugin = %self.name, version = self.version.short_digest(), settings = count, "settings changed");
        }
        let Some(key) = self.publish.as_deref() else { return true };
        if !changed && self.published && self.is_there(key).await {
            return true;
        }
        let problem = match publish(&self.publisher, key, &settings).await {
            Ok(true) => None,
            Ok(false) => Some(format!("`{}` holds another type than a hash", key.escape_debug())),
            Err(fault) => Some(fault.to_string()),
        };
        self.published = problem.is_none();
        if let Some(problem) = &problem
            && self.snapshots.publication(&self.name, Some(problem))
        {
            tracing::warn!(plugin = %self.name, "settings are not published: {problem}");
        } else if problem.is_none() {
            self.snapshots.publication(&self.name, None);
        }
        self.published
    }

    fn failed(&mut self, reason: &str) {
        self.failed_runs = self.failed_runs.saturating_add(1);
        if self.snapshots.fail(&self.name, reason) {
            let version = self.version.short_digest();
            tracing::warn!(plugin = %self.name, version, "no new settings, the last good ones stay: {reason}");
        }
    }

    /// Whether the hash is still there; somebody may have deleted it. No answer counts as yes.
    async fn is_there(&self, key: &str) -> bool {
        let status = self.snapshots.watch(&self.name).borrow().settings.clone();
        if status.is_none_or(|settings| settings.is_empty()) {
            return true;
        }
        self.publisher.query::<bool>(cmd("EXISTS").arg(key)).await.unwrap_or(true)
    }
}

/// Makes sure of a working connection, replacing one that broke while nobody used it; answers whether it tells
/// of changes.
async fn connect(link: &Link) -> Result<bool, Fault> {
    // What it answers does not matter: if there is no answer, the connection is replaced.
    let _ = link.query::<Value>(&cmd("PING")).await;
    link.connect().await
}

/// Writes the hash in one step; false if the key holds something else.
async fn publish(link: &Link, key: &str, settings: &Settings) -> Result<bool, Fault> {
    let mut call = PUBLISH.call(&[key]);
    for (name, value) in settings {
        call.arg(name).arg(value);
    }
    PUBLISH.run(link, &call).await
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody can say it any more.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
