//! From bytes to a version that can run: everything a component may be refused for, found before the first job.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasmtime::component::{Component, InstancePre};

use super::bytes::{check_bytes, digest_of};
use super::compile::line::{Line, Turn};
use super::engine::{Core, EngineError, Sandbox};
use super::limits::Limits;
use super::offer;
use super::outcome::Outcome;
use super::profile::{Code, Entry, Profile, ProfileChoice};
use super::store::RunState;
use super::trial::Trial;
use crate::capability::grant::Grants;
use crate::capability::view::Scope;
use crate::capability::voice::Voice;
use crate::panics;
use crate::storage::link::Link;

/// Largest component in bytes: compiling takes a multiple of it.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// How long a component may take to start.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(5);

/// What a component is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Handles jobs, one a call.
    Worker,
    /// Handles jobs, many a call.
    BatchWorker,
    /// Computes settings.
    ConfigReader,
}

/// What the operator says about a component.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The plugin's name.
    pub plugin: String,
    /// What it must be.
    pub kind: Kind,
    /// What it may touch.
    pub grants: Arc<Grants>,
    /// How much one run may use.
    pub limits: Limits,
    /// Static settings.
    pub config: Arc<BTreeMap<String, String>>,
    /// Runs of a worker in one instance: 1 for a fresh one each time.
    pub reuse: u32,
    /// How its code keeps it within its memory.
    pub profile: ProfileChoice,
}

/// Everything that is wrong with a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct LoadError {
    /// Each problem as the end of a sentence that begins with the component's name; at least one.
    pub problems: Vec<String>,
    /// What to do about it, if that is known.
    pub hint: Option<&'static str>,
}

impl From<LoadError> for NotLoaded {
    fn from(error: LoadError) -> Self {
        Self::Refused(error)
    }
}

/// Why a component that has its turn is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLoaded {
    /// The component has a problem.
    Refused(LoadError),
    /// The component needs another turn: its code is not kept (`Claim::is_kept`), or it takes long to compile and
    /// others go first (`Claim::is_long`).
    Postponed,
}

/// One exact component with the terms it runs under, ready to run. It never changes; a run keeps the one it
/// began with.
pub struct Version {
    /// What runs take, unless a trial says otherwise: `code`.
    first: Code,
    /// Of a worker whose runs are fresh and that may choose.
    pub(super) trial: Option<Arc<Trial>>,
    pub(super) scope: Arc<Scope>,
    /// Its runs need a log.
    pub(super) logs: bool,
    /// Its runs tell about their jobs.
    pub(super) tells: bool,
    /// Runs in one instance.
    pub(super) reuse: u32,
    /// How long its code took to come, and from where.
    compiled: Compiled,
    digest: String,
}

/// How the code of a version came to be here.
#[derive(Debug, Clone, Copy)]
pub struct Compiled {
    /// How long that took.
    pub took: Duration,
    /// Whether it was compiled before, and found in the cache.
    pub is_cached: bool,
}

impl Sandbox {
    /// Makes a version, or tells everything that is wrong. Compiles, and starts the component once to throw it
    /// away: this takes long and blocks.
    pub fn load(&self, terms: Terms, bytes: &[u8]) -> Result<Version, LoadError> {
        let (core, digest, begun) = (self.core(&terms, bytes)?, digest_of(bytes), Instant::now());
        let plugin = terms.plugin.as_str();
        let compile = |core: &Core| core.compiler.component(&core.engine, plugin, &digest, bytes);
        let (core, (component, is_cached)) = self.compiled_by(core, compile, |_| true)?;
        let compiled = Compiled { took: begun.elapsed(), is_cached };
        self.version(core, &component, terms, (digest, bytes), compiled)
    }

    /// The same for a caller that has a turn in the queue of loads.
    pub fn load_in(&self, terms: Terms, bytes: &[u8], turn: &Turn) -> Result<Version, NotLoaded> {
        let core = self.core(&terms, bytes).map_err(NotLoaded::Refused)?;
        let (digest, begun) = (digest_of(bytes), Instant::now());
        let compile =
            |core: &Core| core.compiler.component_in(&core.engine, &terms.plugin, &digest, bytes, turn);
        let is_refusal = |error: &NotLoaded| matches!(error, NotLoaded::Refused(_));
        let (core, (component, is_cached)) = self.compiled_by(core, compile, is_refusal)?;
        turn.has_compiled();
        let compiled = Compiled { took: begun.elapsed(), is_cached };
        let version = self.version(core, &component, terms, (digest, bytes), compiled);
        version.map_err(NotLoaded::Refused)
    }

    /// Compiles with this engine, or with the optimizing one if the baseline compiler cannot: it lacks some proposals,
    /// such as tail calls.
    fn compiled_by<T, E: From<LoadError>>(
        &self,
        core: Arc<Core>,
        compile: impl Fn(&Core) -> Result<T, E>,
        is_refusal: impl Fn(&E) -> bool,
    ) -> Result<(Arc<Core>, T), E> {
        match compile(&core) {
            Ok(done) => Ok((core, done)),
            Err(error) if core.profile == Profile::Baseline && is_refusal(&error) => {
                let core = self.engines.core(Profile::Compute).map_err(no_engine)?;
                let done = compile(&core)?;
                Ok((core, done))
            }
            Err(error) => Err(error),
        }
    }

    /// The queue of loads.
    pub fn line(&self) -> &Line {
        &self.engines.line
    }

    /// Whether the component with this digest was compiled before and its code is kept, for the engine that is tried
    /// first.
    pub fn keeps(&self, digest: &str) -> bool {
        self.engines.keeps(digest)
    }

    /// The engine for a component. Fails if checks without a compiler find a problem in the component.
    fn core(&self, terms: &Terms, bytes: &[u8]) -> Result<Arc<Core>, LoadError> {
        check_bytes(bytes)?;
        if terms.limits.memory_bytes > self.engines.pool.memory_bytes_max {
            let (wanted, most) = (terms.limits.memory_bytes, self.engines.pool.memory_bytes_max);
            return Err(problem(format!(
                "may use {wanted} bytes of memory by `limits.memory`, but this host's runs have at most {most}"
            )));
        }
        self.engines.core_for(terms.profile).map_err(no_engine)
    }

    /// Combines compiled code with its terms, and starts it once.
    fn version(
        &self,
        core: Arc<Core>,
        component: &Component,
        terms: Terms,
        (digest, bytes): (String, &[u8]),
        compiled: Compiled,
    ) -> Result<Version, LoadError> {
        let mut problems = Vec::new();
        let logs = offer::examine(&core.engine, component, terms.kind, &mut problems);
        if !problems.is_empty() {
            return Err(LoadError { problems, hint: None });
        }
        let tells = offer::tells(&core.engine, component);
        let first = Code::link(core, component, terms.kind).map_err(|error| problem(shape(&error)))?;
        let is_optimized = first.core.profile == Profile::Compute;
        let trial = is_optimized.then(|| self.trial(&terms, &digest, bytes)).flatten();
        let voice = self.voice(&terms.plugin);
        let scope = Scope {
            plugin: terms.plugin,
            version: digest[..12].to_owned(),
            grants: terms.grants,
            limits: terms.limits,
            config: terms.config,
            read_only: terms.kind == Kind::ConfigReader,
            voice,
        };
        let (scope, reuse) = (Arc::new(scope), terms.reuse);
        let version = Version { first, trial, scope, logs, tells, reuse, compiled, digest };
        version.start_once()?;
        Ok(version)
    }

    /// The voice of a plugin: that of its other versions, if there are any.
    fn voice(&self, plugin: &str) -> Arc<Voice> {
        let mut voices = self.engines.voices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(voice) = voices.get(plugin).and_then(Weak::upgrade) {
            return voice;
        }
        voices.retain(|_, voice| voice.strong_count() > 0);
        let voice = Arc::new(Voice::new(plugin));
        voices.insert(plugin.to_owned(), Arc::downgrade(&voice));
        voice
    }

    /// The trial of a worker that may choose. Where an instance serves many calls, or a call many jobs, growing its memory
    /// costs each next to nothing.
    fn trial(&self, terms: &Terms, digest: &str, bytes: &[u8]) -> Option<Arc<Trial>> {
        let is_open = terms.profile == ProfileChoice::Auto && terms.kind == Kind::Worker && terms.reuse == 1;
        is_open.then(|| Trial::new(&terms.plugin, digest, terms.kind, &self.engines, bytes)).flatten()
    }
}

impl Version {
    /// The plugin's name.
    pub fn plugin(&self) -> &str {
        &self.scope.plugin
    }

    /// SHA-256 of the component, 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The digest's first 12 digits, as logs and dead jobs name the version.
    pub fn short_digest(&self) -> &str {
        &self.scope.version
    }

    /// Worker, batch worker or config reader.
    pub fn kind(&self) -> Kind {
        match self.first.entry {
            Entry::Worker(_) => Kind::Worker,
            Entry::Batch(_) => Kind::BatchWorker,
            Entry::Reader(_) => Kind::ConfigReader,
        }
    }

    /// The code for the next run.
    pub(super) fn code(&self) -> &Code {
        self.trial.as_ref().and_then(|trial| trial.other()).unwrap_or(&self.first)
    }

    /// The engine that runs take: while that is not decided, the one they took at first.
    pub fn profile(&self) -> Profile {
        self.trial.as_ref().map_or(self.first.core.profile, |trial| trial.profile())
    }

    /// Whether it may still be changed.
    pub fn is_on_trial(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.is_open())
    }

    /// How its code came to be here.
    pub fn compiled(&self) -> Compiled {
        self.compiled
    }

    /// What its runs may use.
    pub fn limits(&self) -> &Limits {
        &self.scope.limits
    }

    /// What its runs may touch.
    pub fn grants(&self) -> &Grants {
        &self.scope.grants
    }

    /// From now on, the host enforces the plugin's `limits.write_rate`, over this connection of the host.
    pub fn keep_write_rate(&self, link: &Link) {
        self.scope.voice.keep_write_rate(link);
    }

    /// Calls of the plugin's runs that no grant covers, since it was loaded.
    pub fn denied(&self) -> u64 {
        self.scope.voice.denied()
    }

    /// Whether a line with so many bytes of the guest's words may be logged: what it says when it fails counts as much
    /// as what it logs.
    pub fn may_say(&self, bytes: usize) -> bool {
        self.scope.voice.may_say(&self.scope.version, bytes)
    }

    /// Starts the component with nothing in reach and throws it away. On a thread of its own, so that it works
    /// from within a runtime and without one.
    fn start_once(&self) -> Result<(), LoadError> {
        let pre = match &self.first.entry {
            Entry::Worker(pre) => pre.instance_pre(),
            Entry::Batch(pre) => pre.instance_pre(),
            Entry::Reader(pre) => pre.instance_pre(),
        };
        let started = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("sandhog-start".to_owned());
            let started = thread.spawn_scoped(scope, || panics::contained("start", || self.start(pre)));
            let panicked =
                || Err(problem("makes the host panic when it starts; please report this".to_owned()));
            match started.map_err(|error| problem(format!("cannot be tried: {error}")))?.join() {
                Ok(Ok(started)) => started,
                Ok(Err(_)) | Err(_) => panicked(),
            }
        });
        match started {
            Ok(Outcome::Done) => Ok(()),
            Ok(Outcome::TimedOut) => {
                Err(problem(format!("does not start within {} s", START_TIMEOUT.as_secs())))
            }
            Ok(Outcome::OutOfMemory) => Err(LoadError {
                problems: vec![format!(
                    "needs more memory to start than `limits.memory` allows ({} bytes)",
                    self.scope.limits.memory_bytes
                )],
                hint: Some("raise `limits.memory` in the manifest"),
            }),
            Ok(outcome) => Err(problem(format!("cannot start: {}", outcome.reason()))),
            Err(error) => Err(error),
        }
    }

    fn start(&self, pre: &InstancePre<RunState>) -> Result<Outcome, LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| problem(format!("cannot be tried: {error}")))?;
        let _running = self.first.core.ticker.enter();
        let mut store = self.store(&self.first.core, None, &Arc::default(), "start");
        let started =
            runtime.block_on(async { timeout(START_TIMEOUT, pre.instantiate_async(&mut store)).await });
        Ok(match started {
            Ok(Ok(_)) => Outcome::Done,
            Ok(Err(error)) => self.broke(&error, &store),
            Err(_) => Outcome::TimedOut,
        })
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Version({} {})", self.scope.plugin, self.scope.version)
    }
}

fn no_engine(error: EngineError) -> LoadError {
    problem(format!("cannot create an engine: {error}"))
}

pub(super) fn problem(text: String) -> LoadError {
    LoadError { problems: vec![text], hint: None }
}

/// An interface has the right name, but not the functions and types of this host's.
fn shape(error: &wasmtime::Error) -> String {
    format!("was made for another text of the contract: {error:#}")
}
