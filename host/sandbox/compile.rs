//! Compiling, which a hostile component may make expensive or crash: it happens in a child process with bounds of
//! its own, and the result is kept in a folder. `child` is the child's side, `cache` the folder, and `line` decides
//! which compilation is next. Only `artefact` maps compiled code without further checks.

mod artefact;
mod cache;
pub mod child;
pub mod line;

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::load::{LoadError, NotLoaded};
use super::profile::Profile;
use artefact::Artefact;
pub use cache::CacheSettings;
use cache::{Cache, Found};
use child::{Bound, ExitCode, address_space};
use line::{Claim, Line, QUICK, Turn};

/// Wall clock of a compilation, as a multiple of the processor time it may take: guests may have the cores meanwhile.
const WALL_FACTOR: u32 = 10;
/// Threads of a compiler. Each costs it address space, and guests need the cores too.
const THREADS_MAX: usize = 4;
/// First and longest pause between two looks at a child that compiles.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));
/// Longest reason taken from a compiler.
const REASON_BYTES_MAX: u64 = 4 * 1024;

/// What a compiler says that dies for want of memory: Rust's own words, and Cranelift's.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of ", "out of memory"];

/// Raise the bound, if it is too low for what is meant to run.
const MORE_MEMORY: &str = "to allow more, raise `compile.memory` in the host's settings";
const MORE_TIME: &str = "to allow more, raise `compile.time` in the host's settings";
/// The hint if the limit that the host inherited is lower than its own setting.
const MORE_INHERITED: &str = "the host was started with this limit: raise it (`ulimit -d`, `-v`, `-t`, `-f`)";

/// How a sandbox compiles.
#[derive(Debug, Clone)]
pub struct Compiling {
    /// This program, for its hidden subcommand `compile`.
    pub program: PathBuf,
    /// What one compilation may cost.
    pub limits: CompileLimits,
    /// Where results are kept; none compiles each time.
    pub cache: Option<CacheSettings>,
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
    program: PathBuf,
    limits: CompileLimits,
    profile: Profile,
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

/// Why there is no compiled component: the end of a sentence that begins with its name.
type Problem = (String, Option<&'static str>);

impl Compiler {
    pub(super) fn new(engine: &Engine, compiling: Compiling, line: Line, profile: Profile) -> Self {
        let Compiling { program, limits, cache } = compiling;
        let cache = cache.and_then(|settings| {
            Cache::open(settings).unwrap_or_else(|why| {
                tracing::warn!("{why}; every start compiles all components");
                None
            })
        });
        let (fingerprint, compiled, complained) = (fingerprint(engine), 0.into(), false.into());
        Self { program, limits, profile, cache, fingerprint, line, compiled, complained }
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
        let (plugin, digest_of, length) = (plugin.to_owned(), digest.to_owned(), bytes.len() as u64);
        let mut claim = Claim { plugin, digest: digest_of, bytes: length, is_kept: false, is_long: false };
        loop {
            let turn = self.line.wait(claim.clone());
            match self.component_in(engine, digest, bytes, &turn) {
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
        let compiled = match self.compile(bytes, turn) {
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

    /// Compiles in a child process; none if others go first.
    fn compile(&self, bytes: &[u8], turn: &Turn) -> Result<Option<Artefact>, Problem> {
        let broken = |error: io::Error| (format!("cannot be compiled: no compiler: {error}"), None);
        let (mut answer, mut noise) = (memory_file().map_err(broken)?, memory_file().map_err(broken)?);
        let ended = match self.run(bytes, &answer, &noise, turn).map_err(broken)? {
            End::Exited(status) => status,
            End::Postponed => return Ok(None),
            End::TookTooLong => {
                let wall_s = (self.limits.time * WALL_FACTOR).as_secs();
                return Err((format!("cannot be compiled: not done after {wall_s} s"), Some(MORE_TIME)));
            }
        };
        if ended.success() {
            return Artefact::of_child(answer).map(Some).map_err(broken);
        }
        let (answer, noise) = (text_of(&mut answer).map_err(broken)?, text_of(&mut noise).map_err(broken)?);
        Err(self.problem(ended, answer, &noise))
    }

    /// Runs the child until it ends, or until its turn ends.
    fn run(&self, bytes: &[u8], answer: &File, noise: &File, turn: &Turn) -> io::Result<End> {
        let mut component = memory_file()?;
        component.write_all(bytes)?;
        component.rewind()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        // Files instead of pipes: nobody has to read and write at the same time, and their size is bounded.
        let mut child = Command::new(&self.program)
            .arg("compile")
            .arg(std::process::id().to_string())
            .arg(self.limits.memory_bytes.to_string())
            .arg(whole_seconds(self.limits.time).to_string())
            .arg(self.profile.word())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(component)
            .stdout(answer.try_clone()?)
            .stderr(noise.try_clone()?)
            .spawn()?;
        let ended = wait(&mut child, self.limits.time * WALL_FACTOR, turn);
        if !matches!(ended, Ok(End::Exited(_))) {
            child.kill()?;
            child.wait()?;
        }
        ended
    }

    /// What the end of a child without a result says about the component.
    fn problem(&self, ended: ExitStatus, answer: String, noise: &str) -> Problem {
        let memory_bytes = self.limits.memory_bytes;
        let hint =
            |bound: Bound, ours: &'static str| Some(if bound.is_inherited { MORE_INHERITED } else { ours });
        let memory = || {
            let data = Bound::of(Resource::Data, memory_bytes);
            let addresses = Bound::of(Resource::As, address_space(memory_bytes));
            let least = if addresses.is_inherited && addresses.most < data.most { addresses } else { data };
            let most = least.most >> 20;
            (format!("cannot be compiled: needs more than {most} MiB of memory"), hint(least, MORE_MEMORY))
        };
        let signal = ended.signal();
        match ended.code().and_then(|code| u8::try_from(code).ok()).map(ExitCode) {
            Some(ExitCode::REFUSED) => (format!("cannot be compiled: {answer}"), None),
            Some(ExitCode::OUT_OF_MEMORY) => memory(),
            _ if OUT_OF_MEMORY.iter().any(|words| noise.contains(words)) => memory(),
            _ if signal == Some(Signal::XCPU.as_raw()) => {
                let bound = Bound::of(Resource::Cpu, whole_seconds(self.limits.time));
                let most = bound.most;
                (
                    format!("cannot be compiled: needs more than {most} s of processor time"),
                    hint(bound, MORE_TIME),
                )
            }
            _ if signal == Some(Signal::XFSZ.as_raw()) => {
                let bound = Bound::of(Resource::Fsize, memory_bytes);
                let most = bound.most;
                (format!("cannot be compiled: its code has more than {most} bytes"), hint(bound, MORE_MEMORY))
            }
            _ if signal == Some(Signal::KILL.as_raw()) => {
                ("cannot be compiled: the compiler was killed (signal 9)".to_owned(), None)
            }
            _ => {
                let how = signal.map_or_else(|| ended.to_string(), |signal| format!("signal {signal}"));
                let noise = noise.trim().replace('\n', " ");
                let colon = if noise.is_empty() { "" } else { ": " };
                (format!("cannot be compiled: the compiler crashed ({how}){colon}{noise}"), None)
            }
        }
    }
}

/// A file that exists in memory only.
fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("sandhog-compile", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// How the wait for a child ended.
enum End {
    Exited(ExitStatus),
    /// The child was stopped, because others go first, or because the result is no longer wanted.
    Postponed,
    TookTooLong,
}

/// Waits for the end of a child, but not for ever.
fn wait(child: &mut Child, most: Duration, turn: &Turn) -> io::Result<End> {
    let started = Instant::now();
    let (mut pause, longest) = LOOK_EVERY;
    let mut is_quick = true;
    while started.elapsed() < most {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        if turn.is_given_up() {
            return Ok(End::Postponed);
        }
        if is_quick && started.elapsed() >= QUICK {
            is_quick = false;
            if !turn.may_go_on() {
                return Ok(End::Postponed);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
    Ok(End::TookTooLong)
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn text_of(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(REASON_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The engine's settings, as far as compiled code depends on them, and the version of this program.
fn fingerprint(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    hasher.finish()
}
