//! The control thread: connects, loads, serves, and stops in order. Order of a stop, and why:
//!
//! 1. stop claiming: nothing new comes in;
//! 2. let jobs finish until the drain deadline, or a second stop signal: jobs that end in time are settled; a host that
//!    holds no jobs does not wait for a Redis that is away;
//! 3. hand back the rest, attempt not counted: feeders end when nothing is left in their hands;
//! 4. stop reaper, scheduler, safety poll and config readers: nobody needs them any more;
//! 5. forget the host in the registry: nothing is left to be reaped, but for what a failover has brought back;
//! 6. stop the lease thread last: until here the jobs had to stay ours.

mod joined;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::joined::holds_of_joined;
use self::tell::Untold;
use super::served::Served;
use super::start_wait::StartWait;
use super::users::Users;
use super::{Command, Options, StartError, Started, seat};
use crate::config::problem::Problems;
use crate::config::seat::Seat;
use crate::config::settings::{PluginsFrom, Settings};
use crate::job::hold::Holds;
use crate::job::lease::{HostInfo, Leases};
use crate::job::report::PluginReport;
use crate::job::store::DeadLimits;
use crate::panics::named;
use crate::plugin::watch::FolderWatch;
use crate::storage::link::{Link, Tracking};
use crate::storage::primary::Primary;
use crate::storage::server;
use crate::storage::wake::Wake;
use crate::worker::executor::{Executor, ExecutorHandle};
use crate::worker::feeder::{FeederParts, Phase};
use crate::worker::heal::Healer;
use crate::worker::membership::{LeaseThread, Membership};
use crate::worker::reaper::Reaper;
use crate::worker::scheduler::Scheduler;
use crate::worker::{holds, poll, search};

/// What the holder of the host may order.
pub(super) struct Orders {
    pub(super) phase: watch::Sender<Phase>,
    pub(super) requests: mpsc::Receiver<Command>,
}

/// Time between two looks at how a version on trial does.
const JUDGE_EVERY: Duration = Duration::from_millis(50);
/// How long a loaded plugin waits for others that are being loaded.
const GATHER: Duration = Duration::from_millis(20);
/// Time after which the fleet is told of more runs.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// Longest time that stopping takes once everything was handed back.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Body of the control thread.
pub(super) fn run(options: Options, orders: Orders, ready: oneshot::Sender<Result<Started, StartError>>) {
    let started = Executor::start(options.settings.host.threads);
    let started =
        started.and_then(|guests| Ok((guests, Builder::new_current_thread().enable_all().build()?)));
    let (guests, control) = match started {
        Ok(started) => started,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    control.block_on(async {
        let parts = loop {
            let built = Parts::build(options.clone(), guests.handle(), orders.phase.subscribe()).await;
            if let Some(parts) = built.transpose() {
                break parts;
            }
        };
        match parts {
            Ok(parts) => parts.serve(orders, ready).await,
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
}

/// Awaits `step`, unless the host receives a stop signal first.
async fn unless_stopped<T>(
    phase: &watch::Receiver<Phase>,
    step: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    let mut phase = phase.clone();
    tokio::select! {
        done = step => done,
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => Err(StartError::Stopped),
    }
}

/// A host that has joined the fleet, or is about to, and serves nothing yet.
struct Parts {
    settings: Settings,
    served: Served,
    folder: FolderWatch,
    /// What the fleet was told of the plugins.
    told: Vec<PluginReport>,
    /// When the host publishes again, if the last attempt failed.
    untold: Option<Untold>,
    membership: Arc<Membership>,
    claims: Link,
    wake: Arc<Wake>,
    held: watch::Sender<Holds>,
    stop: watch::Sender<bool>,
    /// Since the host has joined.
    lease: Option<LeaseThread>,
    lease_stop: watch::Sender<bool>,
    users: Option<Users>,
    seat: Seat,
}

impl Parts {
    /// None if another host has started with the same seat at the same time.
    async fn build(
        options: Options,
        guests: ExecutorHandle,
        phase: watch::Receiver<Phase>,
    ) -> Result<Option<Self>, StartError> {
        let preparing = Self::prepare(options, guests, phase.clone());
        let (mut parts, mut start_wait) = unless_stopped(&phase, preparing).await?;
        // Only a host that can serve joins; a tenure must exist before the first feeder.
        let membership = parts.membership.clone();
        let joining = start_wait.retry(async || membership.join(None).await);
        let tenure = unless_stopped(&phase, joining).await?;
        let leases = parts.membership.leases();
        match seat::is_left(&mut parts.seat, &tenure.host, &parts.settings, leases).await {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            // From here on, the host does not depend on a single reply. Hosts that share a seat do not reclaim each
            // other's jobs.
            Err(error) => tracing::warn!(%error, "could not check whether another host has the same seat"),
        }
        tracing::info!(host = tenure.host.as_str(), "joined");
        // From here on a host that is to stop has to end its registration.
        let joined = async || holds_of_joined(&parts.claims, tenure.host.seat(), &phase).await;
        let holds = start_wait.retry(joined).await?;
        parts.held.send_replace(holds);
        parts.lease = Some(LeaseThread::start(membership, parts.lease_stop.subscribe())?);
        Ok(Some(parts))
    }

    /// All that comes before the host joins.
    async fn prepare(
        options: Options,
        guests: ExecutorHandle,
        phase: watch::Receiver<Phase>,
    ) -> Result<(Self, StartWait), StartError> {
        let settings = options.settings.clone();
        let primary = Primary::at(&settings.redis.address, settings.redis.timeout);
        let wake = Arc::new(Wake::default());
        let claims = primary.link("claims", Tracking::Keys(wake.clone()))?;
        let mut start_wait = StartWait::new(&settings.redis.address, settings.host.start_wait);
        let info = start_wait.retry(async || server::examine(&claims).await).await?;
        let info = info.map_err(StartError::Server)?;
        let about = format!("{} {}", info.kind, info.version);
        tracing::info!(redis = claims.address(), server = about, "connected");
        let persistence = info.persistence.iter().filter(|_| !settings.redis.is_temporary);
        info.warnings.iter().chain(persistence).for_each(|warning| tracing::warn!("{warning}"));

        let leases = Leases::new(primary.link("lease", Tracking::Off)?);
        let seat = start_wait.retry(async || seat::take(&settings, &leases).await).await?;
        let about = HostInfo {
            queues: Vec::new(),
            plugins: Vec::new(),
            fleet: settings.plugins.source != PluginsFrom::Folder,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            origin: seat.origin.clone(),
        };
        let host = &settings.host;
        let membership = Membership::new(leases, host.name.clone(), seat.number, host.lease, about);
        let membership = Arc::new(membership);

        let (stop, lease_stop) = (watch::Sender::new(false), watch::Sender::new(false));
        let held = watch::Sender::new(Holds::default());
        let feeders = FeederParts {
            membership: membership.clone(),
            link: claims.clone(),
            wake: wake.clone(),
            phase: phase.clone(),
            holds: held.subscribe(),
        };
        // Before it is read: a change in between is a change.
        let folder = FolderWatch::start(&settings.plugins_dir, &settings.plugins)?;
        let users = Users::new(&primary, &settings, seat.number)?;
        let mut served = Served::load(options, feeders, guests, users.clone()).await?;
        // Whoever takes back the jobs of a host looks where it told: before its first claim, so with its first word.
        membership.will_serve(served.queue_names(), served.view());
        let told = served.view();
        let parts = Self {
            settings,
            served,
            folder,
            told,
            untold: None,
            membership,
            claims,
            wake,
            held,
            stop,
            lease: None,
            lease_stop,
            users,
            seat,
        };
        Ok((parts, start_wait))
    }

    async fn serve(mut self, mut orders: Orders, ready: oneshot::Sender<Result<Started, StartError>>) {
        let (mut roles, stop) = (JoinSet::new(), self.stop.clone());
        let reaper = self.reaper();
        // What former lives of this seat held comes first: it is the oldest work there is.
        if let Err(error) = reaper.take_over().await {
            tracing::warn!(%error, "jobs of this host's former life come back when its lease ends");
        }
        roles.spawn(named("reaper", reaper.run(stop.subscribe())));
        roles.spawn(named("primary", self.claims.primary().clone().watch(stop.subscribe())));
        roles.spawn(named("scheduler", self.scheduler().run(stop.subscribe())));
        let (link, wake, held) = (self.claims.clone(), self.wake.clone(), self.held.clone());
        roles.spawn(named("holds", holds::run(link, wake, held, stop.subscribe())));
        let (link, lease) = (self.claims.clone(), self.settings.host.lease);
        roles.spawn(named("poll", poll::run(link.clone(), self.served.lanes(), stop.subscribe())));
        roles.spawn(named("search", search::run(link, lease, stop.subscribe())));
        roles.spawn(named("healer", self.healer().run(stop.subscribe())));
        roles.spawn(named("sweep", self.served.sandboxes().sweep(stop.subscribe())));
        if let Some(users) = &self.users {
            roles.spawn(named("users", users.clone().run(stop.subscribe())));
        }
        self.served.tell_loading();
        self.served.begin();
        let (lanes, plugins) = (self.served.lanes(), self.served.views());
        let started = Started { lanes, plugins, settled: self.served.settled() };
        if ready.send(Ok(started)).is_err() {
            orders.phase.send_replace(Phase::Leaving);
        }
        self.tell_history().await;
        self.follow(&mut orders).await;
        self.finish(orders, roles).await;
    }

    /// Serves what the plugin folder has and the operator orders, until the host is to stop.
    async fn follow(&mut self, orders: &mut Orders) {
        let mut phase = orders.phase.subscribe();
        // Who waits until everything that is being loaded has been taken in.
        let mut waiting: Vec<oneshot::Sender<Result<(), Problems>>> = Vec::new();
        let mut count = tokio::time::interval(COUNT_EVERY);
        let mut generations = self.claims.generations();
        while *phase.borrow_and_update() == Phase::Serving {
            tokio::select! {
                _ = phase.changed() => continue,
                request = orders.requests.recv() => match request {
                    Some(Command::Reload(answer)) => {
                        self.served.look(true).await;
                        waiting.push(answer);
                    }
                    // The handle is gone, and nobody else can order anything.
                    None => { orders.phase.send_replace(Phase::Leaving); }
                },
                // What is refused is in the log, and the old version goes on.
                _ = self.folder.changed() => self.served.look(false).await,
                event = self.served.next() => {
                    self.served.handle(event).await;
                    self.gather().await;
                }
                // Runs are counted all the time; an idle host has nothing new to tell.
                _ = count.tick() => {
                    if self.untold.is_none() && self.served.view() == self.told {
                        continue;
                    }
                }
                () = Untold::passed(self.untold.as_ref()) => {}
                // Redis is back.
                Ok(()) = generations.changed(), if self.untold.is_some() => self.untold = Some(Untold::due()),
                () = tokio::time::sleep(JUDGE_EVERY), if self.served.has_trials() => {
                    if !self.served.judge_trials() {
                        continue;
                    }
                }
            }
            // The host claims from a queue only after the fleet knows that this host serves it.
            if !self.tell(&mut phase).await {
                continue;
            }
            self.served.begin();
            if self.served.is_settled() {
                for answer in waiting.drain(..) {
                    let _ = answer.send(self.served.problems().into_result(()));
                }
            }
        }
    }

    /// Accepts all plugins that are loaded in the next moment, and publishes them to the fleet in one step.
    async fn gather(&mut self) {
        let until = tokio::time::Instant::now() + GATHER;
        while self.served.is_loading() {
            let Ok(event) = tokio::time::timeout_at(until, self.served.next()).await else { return };
            self.served.handle(event).await;
        }
    }

    /// The stop, in the order the module describes.
    async fn finish(mut self, orders: Orders, mut roles: JoinSet<()>) {
        self.served.stop_loading();
        let drain = self.settings.host.drain;
        tracing::info!(drain_s = drain.as_secs(), "draining: no more claims, running jobs may finish");
        let mut phase = orders.phase.subscribe();
        let impatient = async {
            let leaving = phase.wait_for(|phase| *phase == Phase::Leaving);
            let _ = tokio::time::timeout(drain, leaving).await;
            orders.phase.send_replace(Phase::Leaving);
            // Handing back takes a round trip; a Redis that does not answer is not waited for.
            tokio::time::sleep(FAREWELL_MAX).await;
        };
        let handed_back = tokio::select! {
            empty_handed = self.served.ended() => empty_handed,
            () = impatient => false,
        };
        if !handed_back {
            tracing::warn!(
                "stopped before Redis confirmed that this host holds no jobs; if it holds any, \
                 others reclaim them when its lease ends"
            );
        }
        // Before their users are deleted: a reader that lost its connection would make its user anew.
        let _ = tokio::time::timeout(FAREWELL_MAX, self.served.end_readers()).await;
        self.stop.send_replace(true);
        let goodbye = async {
            while roles.join_next().await.is_some() {}
            if handed_back {
                let _ = self.reaper().leave().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL_MAX, goodbye).await;
        self.lease_stop.send_replace(true);
        drop(self.lease);
        tracing::info!("stopped");
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler {
            membership: self.membership.clone(),
            link: self.claims.clone(),
            wake: self.wake.clone(),
            schedules: self.settings.schedules.clone(),
        }
    }

    fn healer(&self) -> Healer {
        Healer {
            membership: self.membership.clone(),
            lanes: self.served.lanes(),
            reap_every: self.settings.host.reap_every,
        }
    }

    fn reaper(&self) -> Reaper {
        let dead = dead_limits(&self.settings);
        Reaper {
            membership: self.membership.clone(),
            link: self.claims.clone(),
            period: self.settings.host.reap_every,
            crashes_max: self.settings.host.crashes_max,
            dead,
            own_queues: self.served.queues(),
        }
    }
}

/// How much is kept of dead jobs.
pub(super) fn dead_limits(settings: &Settings) -> DeadLimits {
    let dead = &settings.dead;
    let age_ms = u64::try_from(dead.age.as_millis()).unwrap_or(u64::MAX);
    DeadLimits { count: dead.count, age_ms, bytes: dead.bytes }
}
