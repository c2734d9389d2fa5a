//! The host's settings, resolved and valid: flags before the environment, that before the file, that before the
//! defaults. The file's fields are read in `file`.

mod file;
mod pem;
mod schedule;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::env;
use super::problem::{Problem, Problems};
use super::public_key::PublicKey;
use crate::job::schedule::Schedule;
use crate::storage::address::Address;

/// The settings file that is read if it is there and no other was named.
pub const DEFAULT_FILE: &str = "sandhog.toml";
/// What recovery takes at the most beyond lease and reaping: a slow turn of the reaper.
const RECOVERY_MARGIN: Duration = Duration::from_secs(5);

/// Everything a host can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Redis is.
    pub redis: RedisSettings,
    /// This host.
    pub host: HostSettings,
    /// Folder of the plugins.
    pub plugins_dir: PathBuf,
    /// How plugins are taken from there.
    pub plugins: PluginSettings,
    /// How much is kept of dead jobs, per queue.
    pub dead: DeadSettings,
    /// What a manifest may ask for at the most.
    pub ceilings: Ceilings,
    /// What compiling a component may cost, and what is kept of it.
    pub compile: CompileSettings,
    /// The folder of compiled components; none: `compiled` in the state folder.
    pub compiled_dir: Option<PathBuf>,
    /// What is logged.
    pub log: LogSettings,
    /// Schedules by their names.
    pub schedules: Vec<(String, Schedule)>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What is allowed but unwise, each as a sentence.
    pub warnings: Vec<String>,
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// The server and how to get in.
    pub address: Address,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Whether the calls of a plugin's guests travel as a Redis user that has the plugin's grants and no more.
    pub per_plugin_users: bool,
    /// Whether the server ends with this process, so that nothing in it needs to be kept. No file can say so.
    pub is_temporary: bool,
}

/// This host.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// First part of its id.
    pub name: String,
    /// Where it keeps its seat, compiled components, former versions and accepted orders.
    pub state_dir: PathBuf,
    /// Whether it keeps none of that from one start to the next.
    pub stateless: bool,
    /// How long its jobs stay its own without a sign of life.
    pub lease: Duration,
    /// How often it looks for hosts whose lease ran out.
    pub reap_every: Duration,
    /// How long a shutdown waits for jobs that run.
    pub drain: Duration,
    /// How long a start waits for a Redis that does not answer or is not ready.
    pub start_wait: Duration,
    /// Threads that run guests.
    pub threads: usize,
    /// Runs of one job that may end with their host before the job is dead.
    pub crashes_max: u32,
}

/// How plugins are taken from their folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSettings {
    /// How changes of the folder are noticed.
    pub watch: Watch,
    /// How often the folder is looked at, whether there are events or not.
    pub poll: Duration,
    /// Where plugins come from.
    pub source: PluginsFrom,
    /// The keys that may sign components, and deploys that come through Redis. Without keys, neither needs a signature.
    pub trusted_keys: Vec<PublicKey>,
}

/// Where plugins come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginsFrom {
    /// The host's own folder.
    Folder,
    /// Redis: what was deployed to the fleet.
    Redis,
    /// Both. What was deployed to the fleet wins over files of the same name.
    Both,
}

/// How changes of the plugin folder are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// By events, and by looking for what has none.
    Events,
    /// By looking only.
    Poll,
    /// Not at all: somebody says so.
    Off,
}

/// How much is kept of dead jobs, per queue; the oldest go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadSettings {
    /// Jobs.
    pub count: u64,
    /// Time since they died.
    pub age: Duration,
    /// Their payloads together.
    pub bytes: u64,
}

/// What a manifest may ask for at the most, and the size of the pool behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Linear memory of one run, bytes.
    pub memory_bytes: u64,
    /// Largest value in or out, bytes.
    pub value_bytes: u64,
    /// Largest component, bytes.
    pub component_bytes: u64,
    /// Runs at once on this host.
    pub instances: u32,
}

/// What compiling a component may cost, and what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileSettings {
    /// Memory of the compiler, bytes.
    pub memory_bytes: u64,
    /// Processor time of the compiler.
    pub time: Duration,
    /// Compiled components kept in the state folder, bytes; with 0 none are.
    pub cache_bytes: u64,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// A level or a filter, for example `info` or `warn,guest=debug`.
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings from flags or from the environment; none leaves the setting to the next source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where Redis is.
    pub redis_url: Option<String>,
    /// First part of the host's id.
    pub host_name: Option<String>,
    /// Where the host keeps its seat.
    pub state_dir: Option<PathBuf>,
    /// Folder of the plugins.
    pub plugins_dir: Option<PathBuf>,
    /// A level or a filter.
    pub log_level: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<String>,
    /// How long a start waits for Redis, as a duration.
    pub start_wait: Option<String>,
}

impl Settings {
    /// Resolves all sources. `file` is the one the user named: that it is missing is a refusal; without it
    /// `sandhog.toml` is read if it is there.
    pub fn resolve(flags: &Overrides, file: Option<&Path>) -> Result<Self, Problems> {
        let (path, must) = (file.unwrap_or(Path::new(DEFAULT_FILE)), file.is_some());
        let raw = match file::load(path) {
            Ok(text) => Some((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must => None,
            Err(error) => {
                let text = format!("cannot read the settings file: {error}");
                return Err(Problems::one(Problem::new(path.display().to_string(), text)));
            }
        };
        let raw = raw.as_ref().map(|(path, text)| (*path, text.as_str()));
        file::resolve(flags, &env::overrides(), raw, &Machine::look())
    }

    /// Longest time until jobs of a host that died run again elsewhere.
    pub fn recovery_max(&self) -> Duration {
        self.host.lease + self.host.reap_every + RECOVERY_MARGIN
    }
}

impl Default for Ceilings {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, value_bytes: 64 << 20, component_bytes: 64 << 20, instances: 1000 }
    }
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, time: Duration::from_secs(60), cache_bytes: 1 << 30 }
    }
}

/// What defaults depend on.
#[derive(Debug, Clone)]
struct Machine {
    name: String,
    state_dir: PathBuf,
    cores: usize,
}

impl Machine {
    fn look() -> Self {
        Self { name: env::machine_name(), state_dir: env::state_dir(), cores: env::cores() }
    }
}
