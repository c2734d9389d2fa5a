//! `sandhog run`: the daemon.

use std::path::PathBuf;

use sandhog::config::settings::Overrides;
use sandhog::sandbox::Tier;
use sandhog::telemetry::Reader;

use crate::cli::context::{self, Context};
use crate::cli::error::Outcome;
use crate::cli::serve::{self, Signals};

/// Serves the queues of all plugins of the folder until SIGTERM or SIGINT.
///
/// The first signal stops claiming and lets jobs finish for `host.drain`; the second leaves at once, and jobs
/// that were not finished go back with no attempt counted. Changes of the plugin folder are loaded when they have come
/// to rest (`[plugins] watch`), on SIGHUP at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The plugin folder.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// First part of the host's id; a host started again under its name takes its jobs back at once.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What is logged: a level, or a filter such as `info,guest=debug`.
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// How log lines look: `text` or `json`.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// How long to wait at start for a Redis that does not answer or is not ready, for example `2m`; `0s` does not
    /// wait.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start_wait: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let settings = context.settings_with(Overrides {
        plugins_dir: args.plugins,
        host_name: args.name,
        log_level: args.log,
        log_format: args.log_format,
        start_wait: args.start_wait,
        ..Overrides::default()
    })?;
    // Before the first log line: if the log file has reached its largest size allowed, SIGXFSZ would end the process.
    let mut signals = Signals::take()?;
    context::start_logging(&settings, Reader::Operator)?;
    match serve::start(settings, Tier::Optimized, &mut signals).await? {
        Some(host) => serve::until_stopped(&host, &mut signals).await,
        None => Ok(()),
    }
}
