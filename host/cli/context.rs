//! What every subcommand starts from: the global flags, the settings they lead to, a connection, and where to
//! write. Settings are resolved when first needed, so commands that need none work without any.

use std::path::PathBuf;
use std::time::Duration;

use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};

use crate::cli::error::{Outcome, Shape};
use crate::cli::output::Output;

/// Flags of every subcommand.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Redis to work with: `redis://`, `rediss://` or `unix://`; goes before settings and environment.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) redis: Option<String>,
    /// The settings file; `sandhog.toml` of this folder, if there is one, when not given.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints one JSON document instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What a subcommand gets.
pub(crate) struct Context {
    /// The flags.
    pub(crate) global: Global,
    /// Where results go.
    pub(crate) out: Output,
}

impl Context {
    /// Takes the flags; reads nothing yet.
    pub(crate) fn new(global: Global) -> Self {
        let out = Output::new(global.json);
        Self { global, out }
    }

    /// A connection that has proved to work.
    pub(crate) async fn link(&self) -> Outcome<Link> {
        let url = self.global.redis.as_deref().unwrap_or("redis://127.0.0.1:6379");
        let address = Address::parse(url, TlsFiles::default()).refuse()?;
        connect(&address, Duration::from_secs(5)).await
    }

    /// Redis time in milliseconds: ages are told by the clock that wrote them.
    pub(crate) async fn redis_now_ms(&self, link: &Link) -> Outcome<u64> {
        let (seconds, micros): (u64, u64) = link.query(&redis::cmd("TIME")).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    /// Says something about the work to a person: on standard error, and not when a program reads.
    pub(crate) fn note(&self, line: &str) {
        if !self.out.is_json() {
            // Nobody is left to tell when standard error is closed.
            let _ = std::io::Write::write_all(&mut anstream::stderr(), format!("{line}\n").as_bytes());
        }
    }
}

/// Connects, or says what to do.
async fn connect(address: &Address, deadline: Duration) -> Outcome<Link> {
    let link = Link::new(address, "cli", deadline, Tracking::Off).refuse()?;
    link.connect()
        .await
        .refuse()
        .hint("start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`")?;
    Ok(link)
}
