//! What every subcommand starts from: the global flags, the settings they lead to, a connection, and where to
//! write. Settings are resolved when first needed, so commands that need none work without any.

use std::path::PathBuf;

use sandhog::config::problem::{Problems, SHOWN_MAX};
use sandhog::config::settings::{Overrides, Settings};
use sandhog::panics;
use sandhog::storage::link::{Link, Tracking};
use sandhog::storage::server;
use sandhog::telemetry::{self, Reader};

use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::hint;
use crate::cli::output::{self, Output};

/// Where `--help` lists them: after the options of the command itself.
const HEADING: &str = "Global options";

/// Flags of every subcommand.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Redis to work with: `redis://`, `rediss://` or `unix://`; goes before settings and environment.
    #[arg(long, global = true, value_name = "URL", help_heading = HEADING)]
    pub(crate) redis: Option<String>,
    /// The settings file; `sandhog.toml` of this folder, if there is one, when not given.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub(crate) config: Option<PathBuf>,
    /// Prints one JSON document instead of text.
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) json: bool,
    /// Shows tables whole: they are not cut to the width of the terminal.
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) wide: bool,
}

/// What a subcommand gets.
pub(crate) struct Context {
    /// The flags.
    pub(crate) global: Global,
    /// Where results go.
    pub(crate) out: Output,
    /// Whether this process has bounds of memory and time (`confined`).
    pub(crate) is_confined: bool,
}

impl Context {
    /// Takes the flags; reads nothing yet.
    pub(crate) fn new(global: Global, is_confined: bool) -> Self {
        let out = Output::new(global.json, global.wide);
        Self { global, out, is_confined }
    }

    /// The settings, with what the global flags say.
    pub(crate) fn settings(&self) -> Outcome<Settings> {
        self.settings_with(Overrides::default())
    }

    /// The settings, with what flags say; the global ones are added here.
    pub(crate) fn settings_with(&self, flags: Overrides) -> Outcome<Settings> {
        let flags = Overrides { redis_url: flags.redis_url.or_else(|| self.global.redis.clone()), ..flags };
        Settings::resolve(&flags, self.global.config.as_deref())
            .map_err(|problems| refusal("the settings are not valid", &problems))
    }

    /// A connection that has proved to work.
    pub(crate) async fn link(&self) -> Outcome<Link> {
        connect(&self.settings()?).await
    }

    /// Redis time in milliseconds: ages are told by the clock that wrote them.
    pub(crate) async fn redis_now_ms(&self, link: &Link) -> Outcome<u64> {
        let (seconds, micros): (u64, u64) = link.query(&redis::cmd("TIME")).await?;
        Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000))
    }

    /// Says something about the work to a person: on standard error, and not when a program reads.
    pub(crate) fn note(&self, line: &str) {
        if !self.out.is_json() {
            output::stderr(&format!("{line}\n"));
        }
    }
}

/// Connects, or says what to do.
pub(crate) async fn connect(settings: &Settings) -> Outcome<Link> {
    let redis = &settings.redis;
    let link = Link::new(&redis.address, "cli", redis.timeout, Tracking::Off).refuse()?;
    match server::examine_mode(&link).await {
        Ok(usable) => usable.map(|()| link).map_err(Failure::refused),
        Err(fault) => Err(hint::no_redis(&redis.address, fault).await),
    }
}

/// Prepares this process to run hosts: sets up logging as the settings say, makes every panic end the process, and
/// logs warnings about unwise settings.
pub(crate) fn start_logging(settings: &Settings, reader: Reader) -> Outcome {
    telemetry::init(&settings.log, reader).refuse()?;
    panics::end_process(|unlogged| {
        unlogged.into_iter().for_each(|message| output::stderr(&format!("sandhog: {message}\n")));
        telemetry::flush();
    });
    warn(settings);
    Ok(())
}

/// Logs what is odd about the settings.
pub(crate) fn warn(settings: &Settings) {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
}

/// One problem is the error itself; several stand below it.
pub(crate) fn refusal(what: &str, problems: &Problems) -> Failure {
    match problems.list.as_slice() {
        [only] => Failure::refused(only.to_string()),
        list => {
            // The last problem only counts the others.
            let number = match list.len() {
                ..=SHOWN_MAX => list.len().to_string(),
                _ => format!("more than {SHOWN_MAX}"),
            };
            Failure::refused(format!("{what}: {number} problems"))
                .with_details(list.iter().map(ToString::to_string).collect())
        }
    }
}
