//! Compiling, which a hostile component may make expensive or crash: it happens in a child process with bounds of
//! its own, and the result is kept in a folder. `child` is the child's side, `cache` the folder, `functions` what one
//! version leaves to the next, and `line` decides which compilation is next. Only `artefact` maps compiled code without
//! further checks.

mod artefact;
mod cache;
pub mod child;
mod functions;
pub mod line;
mod process;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::bytes::digest_of;
use super::load::{LoadError, NotLoaded};
use super::profile::{Profile, Tier};
use artefact::Artefact;
pub use cache::CacheSettings;
use cache::{Cache, Found};
pub use functions::Functions;
use line::{Claim, Line, Turn};
use process::{Packed, Problem, Process};

/// Shortest component whose functions are kept for the next version: shorter ones are compiled in half a second.
const PACKED_BYTES_MIN: usize = 512 << 10;

/// How a sandbox compiles.
#[derive(Debug, Clone)]
pub struct Compiling {
    /// This program, for its hidden subcommand `compile`.
    pub program: PathBuf,
    /// What one compilation may cost.
    pub limits: CompileLimits,
    /// Where results are kept; none compiles each time.
    pub cache: Option<CacheSettings>,
    /// Which compiler is tried first.
    pub tier: Tier,
}

/// What one compilation may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Memory of the compiler.
    pub memory_bytes: u64,
    /// Processor time of all its threads together. Ten times that may pass.
    pub time: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, time: Duration::from_secs(60) }
    }
}

/// Turns components into code that this engine can run.
pub(super) struct Compiler {
    process: Process,
    /// Nothing if no folder can be used.
    cache: Option<Cache>,
    /// What else decides whether compiled code fits, besides the component.
    fingerprint: u64,
    /// Bounds the number of compilations at the same time, because each may cost as much as `limits` allows.
    line: Line,
    compiled: AtomicU64,
    /// That results cannot be kept is said once.
    complained: AtomicBool,
}

impl Compiler {
    pub(super) fn new(engine: &Engine, compiling: Compiling, line: Line, profile: Profile) -> Self {
        let Compiling { program, limits, cache, tier: _ } = compiling;
        let cache = cache.and_then(|settings| {
            Cache::open(settings).unwrap_or_else(|why| {
                tracing::warn!("{why}; every start compiles all components");
                None
            })
        });
        let (fingerprint, compiled, complained) = (fingerprint(engine), 0.into(), false.into());
        let process = Process { program, limits, profile };
        Self { process, cache, fingerprint, line, compiled, complained }
    }

    /// Components this compiler has compiled; those it found done do not count.
    pub(super) fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }

    /// Whether the component with this digest was compiled before and its code is kept. The code may still be damaged.
    pub(super) fn keeps(&self, digest: &str) -> bool {
        let path = self.cache.as_ref().map(|cache| cache.path(&self.name(digest)));
        path.is_some_and(|path| path.is_file())
    }

    /// The component, and whether it was in the cache; if not, it is compiled in its turn. `digest` is the digest of
    /// its bytes.
    pub(super) fn component(
        &self,
        engine: &Engine,
        plugin: &str,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(Component, bool), LoadError> {
        if let Some(found) = self.found(engine, &self.name(digest)) {
            return Ok((found, true));
        }
        let (plugin_of, digest_of, length) = (plugin.to_owned(), digest.to_owned(), bytes.len() as u64);
        let mut claim =
            Claim { plugin: plugin_of, digest: digest_of, bytes: length, is_kept: false, is_long: false };
        loop {
            let turn = self.line.wait(claim.clone());
            match self.component_in(engine, plugin, digest, bytes, &turn) {
                Ok(done) => return Ok(done),
                Err(NotLoaded::Refused(error)) => return Err(error),
                Err(NotLoaded::Postponed) => claim.is_long = true,
            }
        }
    }

    /// The same for a caller that has a turn.
    pub(super) fn component_in(
        &self,
        engine: &Engine,
        plugin: &str,
        digest: &str,
        bytes: &[u8],
        turn: &Turn,
    ) -> Result<(Component, bool), NotLoaded> {
        let name = self.name(digest);
        // Perhaps a caller with an earlier turn has compiled the same component.
        if let Some(found) = self.found(engine, &name) {
            return Ok((found, true));
        }
        // The claim reported that the code was kept, but it is not, or no longer.
        if !turn.may_compile() {
            return Err(NotLoaded::Postponed);
        }
        let started = Instant::now();
        let refused = |(text, hint)| NotLoaded::Refused(LoadError { problems: vec![text], hint });
        let compiled = match self.compile(plugin, bytes, turn) {
            Ok(Some(compiled)) => compiled,
            Ok(None) => return Err(NotLoaded::Postponed),
            Err(problem) => return Err(refused(problem)),
        };
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(version = &digest[..12], took_ms, "component was compiled");
        // What does not fit this engine's pool shows here, and is not worth keeping.
        let loaded = compiled
            .load(engine)
            .map_err(|error| refused((format!("cannot be compiled: {error:#}"), None)))?;
        // From the folder the code's memory can be had back and is shared with other hosts.
        let kept = self.keep(&name, &compiled).and_then(|kept| kept.load(engine).ok());
        Ok((kept.unwrap_or(loaded), false))
    }

    /// The key under which compiled code is kept.
    fn name(&self, digest: &str) -> String {
        format!("{digest}-{:016x}", self.fingerprint)
    }

    /// What the cache has under this name. What is there and cannot be used goes.
    fn found(&self, engine: &Engine, name: &str) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let why = match cache.find(name) {
            Found::Nothing => return None,
            Found::Damaged(why) => why,
            Found::Good(artefact) => match artefact.load(engine) {
                Ok(component) => return Some(component),
                Err(error) => format!("{error:#}"),
            },
        };
        if cache.discard(name) {
            let path = cache.path(name);
            tracing::warn!("`{}` cannot be used: {why}; the component is compiled again", path.display());
        }
        None
    }

    /// Puts it into the cache; none if that is not possible.
    fn keep(&self, name: &str, compiled: &Artefact) -> Option<Artefact> {
        let cache = self.cache.as_ref()?;
        cache.keep(name, compiled).unwrap_or_else(|error| {
            if !self.complained.swap(true, Ordering::Relaxed) {
                let folder = cache.folder().display();
                tracing::warn!("cannot keep compiled components in `{folder}`: {error}; they still run");
            }
            None
        })
    }

    /// Compiles, and takes functions that an earlier version of the plugin has from its pack; none if others go first.
    fn compile(&self, plugin: &str, bytes: &[u8], turn: &Turn) -> Result<Option<Artefact>, Problem> {
        let is_packed = self.process.profile == Profile::Compute && bytes.len() >= PACKED_BYTES_MIN;
        let Some(cache) = self.cache.as_ref().filter(|_| is_packed) else {
            let answer = self.process.compile(bytes, Packed::Not, turn)?;
            return Ok(answer.map(|answer| answer.code));
        };
        let name = self.pack_name(plugin);
        let pack = match cache.find(&name) {
            Found::Good(pack) => Some(pack),
            Found::Nothing => None,
            Found::Damaged(_) => {
                cache.discard(&name);
                None
            }
        };
        let mut answer = self.process.compile(bytes, Packed::With(pack.as_ref()), turn);
        if answer.is_err() && pack.is_some() {
            // Perhaps the pack is to blame. Without one, the component is compiled as any first version is.
            cache.discard(&name);
            answer = self.process.compile(bytes, Packed::With(None), turn);
        }
        let Some(answer) = answer? else { return Ok(None) };
        if let Some(functions) = &answer.functions {
            self.keep(&name, functions);
        }
        Ok(Some(answer.code))
    }

    /// The key under which the functions of a plugin are kept.
    fn pack_name(&self, plugin: &str) -> String {
        format!("functions-{}-{:016x}", &digest_of(plugin.as_bytes())[..32], self.fingerprint)
    }
}

/// The engine's settings, as far as compiled code depends on them, and the version of this program.
fn fingerprint(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    hasher.finish()
}
