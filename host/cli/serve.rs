//! A host in the foreground, for `run` and `dev`: started, told what the signals say, waited for. SIGTERM and
//! SIGINT drain, a second one leaves at once, SIGHUP reads the plugin folder again.

use anyhow::Context as _;
use sandhog::app::{Host, Options, StartError};
use sandhog::config::settings::Settings;
use sandhog::job::store::StoreError;
use sandhog::sandbox::Tier;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::child;
use crate::cli::context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::hint;

/// The signals a host obeys. Taken before the host starts: from then on none of them ends the process by itself.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Never awaited. While it is handled, a write to a file of the largest size allowed (`ulimit -f`) fails instead
    /// of ending the process.
    _file_size: Signal,
    /// A SIGHUP came while nobody could obey it.
    reload_wanted: bool,
}

/// What a signal asks for.
enum Wish {
    Stop,
    Reload,
}

impl Signals {
    /// Takes the signals over.
    pub(crate) fn take() -> Outcome<Self> {
        let one = |kind| signal(kind).context("cannot take over signals").refuse();
        Ok(Self {
            terminate: one(SignalKind::terminate())?,
            interrupt: one(SignalKind::interrupt())?,
            hang_up: one(SignalKind::hangup())?,
            _file_size: one(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            reload_wanted: false,
        })
    }

    /// Waits for any of them.
    pub(crate) async fn any(&mut self) {
        self.receive().await;
    }

    async fn next(&mut self) -> Wish {
        if std::mem::take(&mut self.reload_wanted) {
            return Wish::Reload;
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }

    async fn stop(&mut self) {
        while matches!(self.receive().await, Wish::Reload) {
            self.reload_wanted = true;
        }
    }
}

/// Starts a host that compiles in this tier; none if a signal came first.
pub(crate) async fn start(settings: Settings, tier: Tier, signals: &mut Signals) -> Outcome<Option<Host>> {
    let address = settings.redis.address.clone();
    let options = Options { tier, ..Options::new(settings, child::OURSELVES.into()) };
    match Host::start_unless(options, signals.stop()).await {
        Ok(host) => Ok(host),
        Err(StartError::Redis(fault) | StartError::Store(StoreError::Fault(fault))) => {
            Err(hint::no_redis(&address, fault).await)
        }
        Err(error) => Err(refusal(error)),
    }
}

/// Serves until a signal says otherwise, then stops in order.
pub(crate) async fn until_stopped(host: &Host, signals: &mut Signals) -> Outcome {
    loop {
        let wish = tokio::select! {
            wish = signals.next() => wish,
            () = host.ended() => return Err(Failure::failed("the host ended by itself; its log tells why")),
        };
        match wish {
            Wish::Stop => break,
            // What is refused is in the log, and the old version goes on.
            Wish::Reload => drop(host.reload().await),
        }
    }
    host.drain();
    tokio::select! {
        () = host.ended() => {}
        () = signals.stop() => {
            tracing::warn!("second signal: leaving at once, jobs that run are handed back");
            host.leave();
            host.ended().await;
        }
    }
    Ok(())
}

/// A host that does not start has refused to.
pub(crate) fn refusal(error: StartError) -> Failure {
    match error {
        StartError::Plugins(problems) => context::refusal("no plugin could be loaded", &problems),
        StartError::NoPlugins(_) => Failure::refused(error.to_string())
            .with_hint("put `name.wasm` and `name.toml` there, or name another folder with `--plugins DIR`"),
        StartError::StateDir(..) => Failure::refused(error.to_string()).with_hint(
            "name a folder that it can write to (`host.state_dir`), or set `host.stateless = true`",
        ),
        error => Failure::refused(error.to_string()),
    }
}
