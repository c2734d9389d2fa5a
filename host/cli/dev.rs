//! `sandhog dev`: a host to write plugins with. Redis is started for it and thrown away after; a file that
//! changes in the plugin folder is loaded at once; log lines are for eyes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sandhog::app::{Host, compiled_dir};
use sandhog::config::settings::{Overrides, Watch};
use sandhog::telemetry::Reader;
use serde_json::json;

use crate::cli::cache;
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::serve::{self, Signals};

/// How often the folder is looked at: a folder that is shared with a virtual machine may have no events.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the host waits for all plugins to be loaded before it shows the address.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Port of the private Redis, unless another program uses it.
const PORT: u16 = 6390;

/// Runs a host with a private Redis, and loads plugins anew when their files change.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The plugin folder.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Port of the private Redis on 127.0.0.1, 0 for any free one; default: 6390, or a free one if 6390 is in use.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Compile as `run` does: slower, and the code is faster.
    #[arg(long)]
    optimized: bool,
    /// What is logged: a level, or a filter such as `info,guest=debug`.
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let state = tempfile::tempdir()?;
    let redis = match (&context.global.redis, args.port) {
        (Some(_), Some(_)) => {
            let why = "`--port` is for the private Redis: leave out `--port` or `--redis`";
            return Err(Failure::refused(why));
        }
        (Some(_), None) => None,
        (None, port) => Some(private_redis(port).await?),
    };
    let mut settings = context.settings_with(Overrides {
        redis_url: redis.as_ref().map(PrivateRedis::url),
        plugins_dir: args.plugins,
        log_level: args.log,
        host_name: Some("dev".to_owned()),
        ..Overrides::default()
    })?;
    // The next start finds compiled components in the cache of `run`; everything else is for this Redis only.
    settings.compiled_dir = cache::is_ours(&settings.host.state_dir).then(|| compiled_dir(&settings));
    settings.host.state_dir = state.path().to_owned();
    settings.redis.is_temporary = redis.is_some();
    settings.plugins.watch = Watch::Events;
    settings.plugins.poll = LOOK_EVERY;
    // A person is waiting for the error, and a private Redis has already answered.
    settings.host.start_wait = Duration::ZERO;
    let mut signals = Signals::take()?;
    context::start_logging(&settings, Reader::Watcher)?;
    let folder = settings.plugins_dir.clone();
    let url = match redis.as_ref().and_then(PrivateRedis::port) {
        Some(port) => format!("redis://127.0.0.1:{port}"),
        None => settings.redis.address.to_string(),
    };
    let Some(host) = serve::start(settings, cache::tier(args.optimized), &mut signals).await? else {
        return Ok(());
    };
    // After this time the address is shown without the queues of plugins that are still being compiled.
    let _ = tokio::time::timeout(SETTLE_MAX, host.settled()).await;
    let is_second_choice =
        args.port.is_none() && redis.as_ref().and_then(PrivateRedis::port).is_some_and(|port| port != PORT);
    let instead = if is_second_choice { format!(" (port {PORT} is in use)") } else { String::new() };
    announce(context, &host, &url, &instead, &folder)?;
    serve::until_stopped(&host, &mut signals).await
}

/// Starts the Redis: on this port, or on the usual one if it is free.
async fn private_redis(port: Option<u16>) -> Outcome<PrivateRedis> {
    let started = match port {
        Some(0) => None,
        port => PrivateRedis::start_at(port.unwrap_or(PORT)).await?,
    };
    match (started, port) {
        (Some(redis), _) => Ok(redis),
        (None, None | Some(0)) => PrivateRedis::start(Reach::Port).await,
        (None, Some(port)) => Err(Failure::refused(format!("port {port} of 127.0.0.1 is in use"))
            .with_hint("name another one, or leave out `--port`")),
    }
}

/// Tells how to talk to what was started.
fn announce(context: &Context, host: &Host, url: &str, about: &str, folder: &Path) -> Outcome {
    let queues: Vec<String> = host.plugins().into_iter().flat_map(|plugin| plugin.queues).collect();
    if context.out.is_json() {
        let plugins = folder.display().to_string();
        return Ok(context.out.document(&json!({ "redis": url, "plugins": plugins, "queues": queues }))?);
    }
    context.out.line(&format!("\x1b[1mredis\x1b[0m    {url}{about}"))?;
    context.out.line(&format!("\x1b[1mplugins\x1b[0m  {} (changes are loaded at once)", folder.display()))?;
    if let Some(queue) = queues.first() {
        context.out.line(&format!("\x1b[1mtry\x1b[0m      redis-cli -u {url} rpush {queue} '{{}}'"))?;
        context.out.line(&format!("         sandhog --redis {url} jobs list {queue}"))?;
    }
    Ok(context.out.line("\x1b[1mstop\x1b[0m     Ctrl-C")?)
}
