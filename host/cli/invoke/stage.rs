//! What runs of `invoke` need: the plugin, its job, the keys, a Redis. All that is in files is read for each run, as it is
//! then; the rest stays from one run to the next.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sandhog::config::settings::{Overrides, Settings};
use sandhog::job::change::Changes;
use sandhog::job::commit::{Verdict, Why, apply};
use sandhog::plugin::load::{Loaded, load};
use sandhog::plugin::manifest::{Kind, Manifest};
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::engine::Sandbox;
use sandhog::sandbox::{CacheSettings, Compiling};
use sandhog::storage::link::Link;
use sandhog::telemetry::Heard;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::report::{Effects, Fate, Run};
use super::{Args, attempt, before, effect, repeat};
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::test::held::Held;
use crate::cli::{cache, check, progress};

/// Longest payload read from a file.
const PAYLOAD_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// What is compiled while files are watched, all together.
const COMPILED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a file of keys says; anything else that a case has is not for us.
#[derive(Debug, Deserialize)]
struct Start {
    before: BTreeMap<String, Held>,
}

/// What stays from one run to the next.
pub(super) struct Stage<'a> {
    pub(super) args: &'a Args,
    pub(super) context: &'a Context,
    settings: Settings,
    heard: Heard,
    pair: Pair,
    sandbox: Sandbox,
    /// A payload that can be read only once.
    read: Option<Vec<u8>>,
    /// None before it is needed.
    link: Option<Link>,
    private: Option<PrivateRedis>,
    _cache: Option<TempDir>,
}

/// What the files say.
pub(super) struct Ready {
    loaded: Loaded,
    payloads: Vec<Vec<u8>>,
    start: Option<Start>,
}

impl<'a> Stage<'a> {
    /// Takes the flags, and reads nothing but a payload that is in no file.
    pub(super) fn new(args: &'a Args, context: &'a Context) -> Outcome<Self> {
        refuse(args, context)?;
        let settings = context.settings()?;
        let heard = Heard::beside(&settings.log).refuse()?;
        context::warn(&settings);
        let pair = Pair::of(&args.component, args.manifest.as_deref()).map_err(refusal)?;
        let (sandbox, cache) = sandbox(args, &settings)?;
        let once = args.payload_file.as_deref().filter(|file| is_read_once(file));
        let read = if args.watch { once.map(payload).transpose()? } else { None };
        let (link, private) = (None, None);
        Ok(Self { args, context, settings, heard, pair, sandbox, read, link, private, _cache: cache })
    }

    /// The files that decide what a run does.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let payload = self.args.payload_file.as_ref().filter(|_| self.read.is_none());
        let files =
            [Some(&self.pair.component), Some(&self.pair.manifest), payload, self.args.before.as_ref()];
        files.into_iter().flatten().cloned().collect()
    }

    /// Reads the files, and compiles.
    pub(super) async fn ready(&self) -> Outcome<Ready> {
        let start = self.args.before.as_deref().map(start).transpose()?;
        // Whoever runs it here by hand needs nobody to vouch for it.
        let source = self.pair.read(&self.settings.ceilings, &[]).map_err(refusal)?;
        fits(self.args, &source.manifest)?;
        let sandbox = self.sandbox.clone();
        let bar = progress::compiling(&source, &sandbox);
        let (done, loaded) = oneshot::channel();
        // A thread of nobody's: who is told to end does not wait for a compiler.
        std::thread::Builder::new()
            .name("sandhog-load".to_owned())
            .spawn(move || done.send(load(source, &sandbox)))
            .context("cannot start a thread")
            .refuse()?;
        let loaded = loaded.await.context("the component makes the host panic; please report this")?;
        drop(bar);
        let loaded = loaded.map_err(refusal)?;
        let payloads = match (&self.read, &self.args.payload_file) {
            (Some(read), _) => vec![read.clone()],
            (None, Some(file)) => vec![payload(file)?],
            (None, None) => self.args.payload.iter().map(|payload| payload.clone().into_bytes()).collect(),
        };
        Ok(Ready { loaded, payloads, start })
    }

    /// Connects to a Redis, which is started if it is to be a private one; once.
    pub(super) async fn connect(&mut self) -> Outcome {
        if self.link.is_some() {
            return Ok(());
        }
        if self.context.global.redis.is_none() {
            self.private = Some(PrivateRedis::start(Reach::Socket).await?);
        }
        let redis_url = self.private.as_ref().map(PrivateRedis::url);
        let settings = self.context.settings_with(Overrides { redis_url, ..Overrides::default() })?;
        self.link = Some(context::connect(&settings).await?);
        Ok(())
    }

    /// A run, or as many as are wanted, and what the first would change.
    pub(super) async fn run(&self, ready: &Ready) -> Outcome<Run> {
        let Ready { loaded, payloads, .. } = ready;
        let link = self.link.as_ref().ok_or_else(|| Failure::failed("there is no Redis"))?;
        self.set(link, ready).await?;
        self.heard.take();
        let mut kept = None;
        let (mut run, changes) = attempt(self.args, loaded, link, payloads, &mut kept).await?;
        run.said = self.heard.take();
        repeat(self.args, loaded, link, payloads, &mut kept, &self.heard, &mut run).await?;
        if let Some(changes) = changes {
            let keys: Vec<&str> = changes.writes.iter().map(|write| effect::name(write).1).collect();
            let before = before::look(link, &keys).await?;
            let now_ms = self.context.redis_now_ms(link).await?;
            let fate = match (self.private.is_some(), self.args.commit) {
                (true, _) => Fate::Shown,
                (false, false) => Fate::Held,
                (false, true) => commit(link, &changes).await?,
            };
            run.effects = Some(Effects { changes, before, fate, now_ms });
        }
        Ok(run)
    }

    /// Puts into the private Redis what it is to hold, and nothing else.
    async fn set(&self, link: &Link, ready: &Ready) -> Outcome {
        if self.private.is_none() {
            return Ok(());
        }
        link.query::<()>(&redis::cmd("FLUSHALL")).await?;
        for (key, held) in ready.start.iter().flat_map(|start| &start.before) {
            held.put(link, key).await?;
        }
        for (key, value) in &self.args.set {
            link.query::<()>(redis::cmd("SET").arg(key).arg(value)).await?;
        }
        Ok(())
    }
}

/// Refuses flags that do not go together.
fn refuse(args: &Args, context: &Context) -> Outcome {
    let is_private = context.global.redis.is_none();
    if args.commit && args.watch {
        let why =
            "each change of a file would change your Redis once more: leave out `--commit` or `--watch`";
        return Err(Failure::refused(why));
    }
    if args.commit && is_private {
        return Err(Failure::refused("`--commit` needs `--redis URL`: name the server that is changed"));
    }
    if !is_private && (!args.set.is_empty() || args.before.is_some()) {
        let flag = if args.set.is_empty() { "--before" } else { "--set" };
        let why = "is for the private Redis: nothing is set on one of yours";
        return Err(Failure::refused(format!("`{flag}` {why}")));
    }
    Ok(())
}

/// Refuses flags that the plugin has no use for.
fn fits(args: &Args, manifest: &Manifest) -> Outcome {
    let has_payload = !args.payload.is_empty() || args.payload_file.is_some();
    let why = match (manifest.kind, has_payload) {
        (Kind::Worker | Kind::BatchWorker, false) => {
            "a worker needs a job: give `--payload` or `--payload-file`"
        }
        (Kind::Worker, true) if args.payload.len() > 1 => {
            "only a batch worker takes several jobs: give one `--payload`"
        }
        (Kind::ConfigReader, true) => "a config reader takes no payload",
        _ if args.reuse && manifest.reuse < 2 => {
            "`--reuse` shows nothing: the manifest has no `[instances]` with a `reuse` above 1"
        }
        _ => return Ok(()),
    };
    Err(Failure::refused(why))
}

/// A sandbox. Watching needs a cache: without that of `run`, a folder of its own.
fn sandbox(args: &Args, settings: &Settings) -> Outcome<(Sandbox, Option<TempDir>)> {
    let compiling = cache::compiling_here(settings, cache::tier(args.optimized));
    if !args.watch || compiling.cache.as_ref().is_some_and(CacheSettings::is_usable) {
        return Ok((check::sandbox_with(settings, compiling)?, None));
    }
    let made = tempfile::Builder::new().prefix("sandhog-compiled-").tempdir();
    let made = made.context("cannot make a folder for what is compiled").refuse()?;
    let cache = CacheSettings { folder: made.path().to_owned(), bytes_max: COMPILED_BYTES_MAX, make: true };
    let compiling = Compiling { cache: Some(cache), ..compiling };
    Ok((check::sandbox_with(settings, compiling)?, Some(made)))
}

fn refusal(problems: sandhog::config::problem::Problems) -> Failure {
    context::refusal("the plugin would be refused", &problems)
}

/// Standard input, and pipes: they say what they say once. A file that is not there may come.
fn is_read_once(file: &Path) -> bool {
    file.as_os_str() == "-" || file.metadata().is_ok_and(|about| !about.is_file())
}

/// The keys that a file says are there before.
fn start(file: &Path) -> Outcome<Start> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::refused(format!("{shown}: cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].matches('\n').count() + 1;
        Failure::refused(format!("{shown}:{line}: {}", error.message().replace('\n', "; ")))
    })
}

/// Applies the changes as one step.
async fn commit(link: &Link, changes: &Changes) -> Outcome<Fate> {
    Ok(match apply(link, changes).await? {
        Verdict::Done => Fate::Made,
        Verdict::Conflict(key) => {
            Fate::Refused(format!("`{key}` is not any more what the run saw; run it again"))
        }
        Verdict::Refused { key, why } => Fate::Refused(match why {
            Why::WrongType => format!("`{key}` holds another type"),
            Why::NotAnInteger => format!("`{key}` holds no whole number"),
            Why::OutOfRange => format!("the sum at `{key}` would be out of range"),
            Why::Forbidden => format!("the plugin's own Redis user has no permission for `{key}`"),
            Why::Permission => format!("this Redis user has no permission for `{key}`"),
        }),
        Verdict::Full => Fate::Refused("Redis is at its memory limit".to_owned()),
        Verdict::Late | Verdict::Parted(_) => {
            Fate::Refused("Redis took it for a job that is gone".to_owned())
        }
    })
}

/// The bytes of the job.
fn payload(file: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|opened| opened.take(PAYLOAD_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read `{}`", file.display())).refuse()?;
    Ok(bytes)
}
