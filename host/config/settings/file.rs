//! The fields of `sandhog.toml` with their defaults and bounds, and how flags and environment go before them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    Ceilings, CompileSettings, DeadSettings, HostSettings, LogFormat, LogSettings, Machine, Overrides,
    PluginSettings, PluginsFrom, RedisSettings, Settings, Watch, pem,
};
use crate::config::document::{Document, FILE_BYTES_MAX};
use crate::config::problem::{Problem, Problems};
use crate::config::public_key::PublicKey;
use crate::config::table::{Item, Table};
use crate::config::unit;
use crate::config::{env, log_filter};
use crate::job::name::HostId;
use crate::storage::address::{Address, TlsFiles};

const DEFAULT_URL: &str = "redis://127.0.0.1:6379";
const DEFAULT_LEVEL: &str = "info";
const START_WAIT: Duration = Duration::from_secs(30);
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const SOURCES: [(&str, PluginsFrom); 3] =
    [("folder", PluginsFrom::Folder), ("redis", PluginsFrom::Redis), ("both", PluginsFrom::Both)];
const WATCHES: [(&str, Watch); 3] = [("events", Watch::Events), ("poll", Watch::Poll), ("off", Watch::Off)];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A value from one of the sources, and which one, for the problems it may cause.
type Sourced<T> = (T, Source);

#[derive(Debug, Clone)]
enum Source {
    /// A field of the file, with its line.
    Field(usize, &'static str),
    /// An environment variable or a flag.
    Outside(&'static str),
    Default,
}

/// Reads a settings file of bounded size.
pub(super) fn load(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 256KiB"));
    }
    Ok(text)
}

/// Puts the sources together. `file` is the path and the text of the settings file.
pub(super) fn resolve(
    flags: &Overrides,
    environment: &Overrides,
    file: Option<(&Path, &str)>,
    machine: &Machine,
) -> Result<Settings, Problems> {
    let (path, text) = file.unwrap_or((Path::new(super::DEFAULT_FILE), ""));
    let origin = path.display().to_string();
    let document = Document::parse(&origin, text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut outside = Problems::default();
    let mut root = document.root();
    let over = Layers { flags, environment };

    let (redis, in_file) = redis(root.table("redis"), &over, folder, &document, &mut outside);
    let host = host(root.table("host"), &over, folder, machine, &document, &mut outside);
    let (plugins_dir, plugins) = plugins(root.table("plugins"), &over, folder);
    let dead = dead(root.table("dead"));
    let ceilings = ceilings(root.table("limits"));
    let compile = compile(root.table("compile"));
    let log = log(root.table("log"), &over, &document, &mut outside);
    let schedules = super::schedule::read(&mut root);
    root.finish();

    let mut warnings = Vec::new();
    if in_file && readable_by_others(path) {
        warnings
            .push(format!("`{origin}` holds a password and others can read it; run `chmod 600 {origin}`"));
    }
    if let Some(redis) = &redis
        && redis.timeout >= host.lease
    {
        let (timeout, lease) = (unit::show_duration(redis.timeout), unit::show_duration(host.lease));
        warnings.push(format!(
            "`redis.timeout` ({timeout}) is not shorter than `host.lease` ({lease}): one slow reply can end the lease, \
             and other hosts reclaim the jobs; shorten the timeout or lengthen the lease"
        ));
    }
    let found = document.finish().err().unwrap_or_default();
    outside.append(found);
    let Some(redis) = redis else {
        return Err(outside.into_result(()).expect_err("an address that cannot be used was reported"));
    };
    let file = file.map(|(path, _)| path.to_owned());
    outside.into_result(Settings {
        redis,
        host,
        plugins_dir,
        plugins,
        dead,
        ceilings,
        compile,
        compiled_dir: None,
        log,
        schedules,
        file,
        warnings,
    })
}

/// What goes before the file.
struct Layers<'o> {
    flags: &'o Overrides,
    environment: &'o Overrides,
}

impl Layers<'_> {
    /// The first of flag, variable and field that is given.
    fn first<T: Clone>(
        &self,
        of: impl Fn(&Overrides) -> &Option<T>,
        names: (&'static str, &'static str),
        field: Option<Sourced<T>>,
    ) -> Option<Sourced<T>> {
        let flag = of(self.flags).clone().map(|value| (value, Source::Outside(names.0)));
        let variable = || of(self.environment).clone().map(|value| (value, Source::Outside(names.1)));
        flag.or_else(variable).or(field)
    }
}

/// The field's text with its place.
fn text(
    table: &mut Table<'_>,
    name: &'static str,
    path: &'static str,
    example: &str,
) -> Option<Sourced<String>> {
    let value = table.string(name, example)?;
    Some((value, Source::Field(table.line_of(name).unwrap_or(table.line()), path)))
}

/// Reports a problem where the value came from; `text` goes on after the name.
fn refuse(source: &Source, text: &str, document: &Document<'_>, outside: &mut Problems) {
    match source {
        Source::Field(line, path) => document.problem(*line, || format!("`{path}` {text}")),
        Source::Outside(name) => outside.push(Problem::new(*name, text)),
        Source::Default => outside.push(Problem::new("default", text)),
    }
}

fn redis(
    mut table: Table<'_>,
    over: &Layers<'_>,
    folder: &Path,
    document: &Document<'_>,
    outside: &mut Problems,
) -> (Option<RedisSettings>, bool) {
    let field = text(&mut table, "url", "redis.url", DEFAULT_URL);
    let chosen = over.first(|o| &o.redis_url, ("--redis", env::REDIS_URL), field);
    let (url, source) = chosen.unwrap_or((DEFAULT_URL.to_owned(), Source::Default));
    let timeout = table.duration("timeout", Duration::from_millis(100)..=Duration::from_secs(300), "5s");
    let per_plugin_users = table.truth("per_plugin_users").unwrap_or(false);
    let ca = pem::authorities(&mut table, "ca", folder);
    let (cert, key) = (pem::chain(&mut table, "cert", folder), pem::key(&mut table, "key", folder));
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if table.has(one) && !table.has(other) {
            table.refuse(one, &format!("needs `redis.{other}` beside it"));
        }
    }
    if table.has("ca") && !url.starts_with("rediss://") {
        table.refuse("ca", "is for `rediss://` addresses; the address in use is another");
    }
    let address = Address::parse(&url, TlsFiles { ca, client: cert.zip(key) });
    if let Err(error) = &address {
        refuse(&source, &error.to_string(), document, outside);
    }
    table.finish();
    let timeout = timeout.unwrap_or(Duration::from_secs(5));
    let settings =
        address.ok().map(|address| RedisSettings { address, timeout, per_plugin_users, is_temporary: false });
    let secret = settings.as_ref().is_some_and(|s| s.address.has_password());
    (settings, secret && matches!(source, Source::Field(..)))
}

fn host(
    mut table: Table<'_>,
    over: &Layers<'_>,
    folder: &Path,
    machine: &Machine,
    document: &Document<'_>,
    outside: &mut Problems,
) -> HostSettings {
    let field = text(&mut table, "name", "host.name", "web1");
    let chosen = over.first(|o| &o.host_name, ("--name", env::HOST_NAME), field);
    let (name, source) = chosen.unwrap_or((machine.name.clone(), Source::Default));
    if let Err(error) = HostId::new(&name, 0, 0) {
        let shown: String = name.chars().take(80).collect();
        refuse(&source, &format!("is \"{}\": {error}", shown.escape_debug()), document, outside);
    }
    let dir = table.string("state_dir", "/var/lib/sandhog").map(|dir| (folder.join(dir), Source::Default));
    let dir = over.first(|o| &o.state_dir, ("--state-dir", env::STATE_DIR), dir);
    let stateless = table.truth("stateless");
    let lease = table.duration("lease", Duration::from_millis(500)..=Duration::from_secs(600), "15s");
    let reap_every =
        table.duration("reap_every", Duration::from_millis(100)..=Duration::from_secs(600), "5s");
    let drain = table.duration("drain", Duration::ZERO..=DAY, "30s");
    let start_wait = start_wait(&mut table, over, document, outside);
    let threads = table.integer("threads", 1..=1024_u32, 2).map_or(machine.cores, |n| n as usize);
    let crashes_max = table.integer("crashes_max", 1..=1000, 3);
    table.finish();
    HostSettings {
        name,
        state_dir: dir.map_or_else(|| machine.state_dir.clone(), |(dir, _)| dir),
        stateless: stateless.unwrap_or(false),
        lease: lease.unwrap_or(Duration::from_secs(15)),
        reap_every: reap_every.unwrap_or(Duration::from_secs(5)),
        drain: drain.unwrap_or(Duration::from_secs(30)),
        start_wait,
        threads,
        crashes_max: crashes_max.unwrap_or(3),
    }
}

/// How long a start waits for Redis, from the first source that sets it.
fn start_wait(
    table: &mut Table<'_>,
    over: &Layers<'_>,
    document: &Document<'_>,
    outside: &mut Problems,
) -> Duration {
    let field = table.duration("start_wait", Duration::ZERO..=DAY, "30s").unwrap_or(START_WAIT);
    let Some((text, source)) = over.first(|o| &o.start_wait, ("--start-wait", env::START_WAIT), None) else {
        return field;
    };
    match unit::duration(&text) {
        Ok(wait) if wait <= DAY => return wait,
        Ok(_) => refuse(&source, "is longer than a day", document, outside),
        Err(error) => {
            refuse(&source, &format!("is \"{}\", which {error}", text.escape_debug()), document, outside);
        }
    }
    field
}

fn plugins(mut table: Table<'_>, over: &Layers<'_>, folder: &Path) -> (PathBuf, PluginSettings) {
    let field = table.string("dir", "plugins").map(|dir| (folder.join(dir), Source::Default));
    let watch = table.choice("watch", &WATCHES);
    let poll = table.duration("poll", Duration::from_millis(100)..=Duration::from_secs(3600), "5s");
    let source = table.choice("source", &SOURCES);
    let trusted_keys = trusted_keys(&mut table);
    table.finish();
    let dir = over.first(|o| &o.plugins_dir, ("--plugins", env::PLUGINS_DIR), field);
    let settings = PluginSettings {
        watch: watch.unwrap_or(Watch::Events),
        poll: poll.unwrap_or(Duration::from_secs(5)),
        source: source.unwrap_or(PluginsFrom::Folder),
        trusted_keys,
    };
    (dir.map_or_else(|| PathBuf::from("plugins"), |(dir, _)| dir), settings)
}

/// The keys of a list, those left out that are none.
fn trusted_keys(table: &mut Table<'_>) -> Vec<PublicKey> {
    const NAME: &str = "trusted_keys";
    let items = table.strings(NAME, "ed25519:…").unwrap_or_default();
    if items.is_empty() && table.is_empty_list(NAME) {
        table.refuse(
            NAME,
            "is an empty list, which would trust nobody; leave it out, and no signature is needed",
        );
    }
    let read = |item: &Item| {
        let key = PublicKey::parse(&item.text);
        if key.is_none() {
            let text =
                "has an entry that is no public key; they look like `ed25519:` and 64 of `0`-`9` and `a`-`f`";
            table.refuse_at(item.line, NAME, text);
        }
        key
    };
    items.iter().filter_map(read).collect()
}

fn dead(mut table: Table<'_>) -> DeadSettings {
    let count = table.integer("count", 0..=100_000_000, 10_000);
    let age = table.duration("age", Duration::from_secs(1)..=DAY * 3650, "30d");
    let bytes = table.size("bytes", 0..=1024 * GIB, "256MiB");
    table.finish();
    DeadSettings {
        count: count.unwrap_or(10_000),
        age: age.unwrap_or(DAY * 30),
        bytes: bytes.unwrap_or(256 * MIB),
    }
}

fn ceilings(mut table: Table<'_>) -> Ceilings {
    let default = Ceilings::default();
    // A 32-bit guest has no more than 4 GiB of memory; Redis has no value above 512 MiB.
    let memory = table.size("memory", MIB..=4 * GIB, "1GiB");
    let value = table.size("value", KIB..=512 * MIB, "64MiB");
    let component = table.size("component", 64 * KIB..=GIB, "64MiB");
    let instances = table.integer("instances", 1..=100_000, 1000);
    table.finish();
    Ceilings {
        memory_bytes: memory.unwrap_or(default.memory_bytes),
        value_bytes: value.unwrap_or(default.value_bytes),
        component_bytes: component.unwrap_or(default.component_bytes),
        instances: instances.unwrap_or(default.instances),
    }
}

fn compile(mut table: Table<'_>) -> CompileSettings {
    let default = CompileSettings::default();
    // With less not even a small component can be compiled.
    let memory = table.size("memory", 64 * MIB..=64 * GIB, "1GiB");
    let time = table.duration("time", Duration::from_secs(1)..=Duration::from_secs(3600), "60s");
    let cache = table.size("cache", 0..=1024 * GIB, "1GiB");
    table.finish();
    CompileSettings {
        memory_bytes: memory.unwrap_or(default.memory_bytes),
        time: time.unwrap_or(default.time),
        cache_bytes: cache.unwrap_or(default.cache_bytes),
    }
}

fn log(
    mut table: Table<'_>,
    over: &Layers<'_>,
    document: &Document<'_>,
    outside: &mut Problems,
) -> LogSettings {
    let field = table.choice("format", &FORMATS);
    let named = over.first(|o| &o.log_format, ("--log-format", env::LOG_FORMAT), None);
    let format = match named {
        None => field.unwrap_or(LogFormat::Text),
        Some((word, source)) => {
            let found = FORMATS.iter().find(|(name, _)| *name == word);
            if found.is_none() {
                let text = format!("is \"{}\"; it must be \"text\" or \"json\"", word.escape_debug());
                refuse(&source, &text, document, outside);
            }
            found.map_or(LogFormat::Text, |(_, format)| *format)
        }
    };
    let field = text(&mut table, "level", "log.level", DEFAULT_LEVEL);
    let chosen = over.first(|o| &o.log_level, ("--log", env::LOG_LEVEL), field);
    let (level, source) = chosen.unwrap_or((DEFAULT_LEVEL.to_owned(), Source::Default));
    let read = log_filter::read(&level).inspect_err(|error| refuse(&source, error, document, outside));
    let level = read.unwrap_or_default();
    table.finish();
    LogSettings { format, level }
}

fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}
