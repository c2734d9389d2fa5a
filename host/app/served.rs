//! What a host serves: its plugins, and a lane with its feeder for every queue they consume. Start-up and every later
//! change are one path: look at what is offered (`served/look`), load what is new, exchange what differs, drain what is
//! gone.

mod look;
mod orders;
mod queues;
mod settle;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::figure::{self, Figure};
use super::history::History;
use super::hosted::{Claim, Hosted, Verdict};
use super::lanes::Lanes;
use super::loads::{Ended, Loads};
use super::readers::Readers;
use super::users::Users;
use super::{Options, StartError};
use crate::config::problem::{Problem, Problems};
use crate::config::settings::{PluginsFrom, Settings};
use crate::job::name::QueueName;
use crate::job::report::{PluginReport, SwapKind};
use crate::plugin::fleet::{AllWanted, Fleet};
use crate::plugin::load::Loaded;
use crate::plugin::manifest::Kind;
use crate::plugin::name::PluginName;
use crate::plugin::order::Orders;
use crate::plugin::release::Digest;
use crate::plugin::shelf::{Shelf, Standing};
use crate::sandbox::engine::{PoolSettings, Sandbox};
use crate::storage::address::AddressError;
use crate::storage::primary::Primary;
use crate::worker::executor::ExecutorHandle;
use crate::worker::feeder::FeederParts;
use crate::worker::lane::Lane;
use crate::worker::sandboxes::Sandboxes;
use orders::BadOrder;
use queues::Offered;

/// Sandboxes beyond those of jobs: for config readers and for trying out what is loaded.
const SPARE_INSTANCES: u32 = 16;

/// The plugins and lanes of a host.
pub(super) struct Served {
    settings: Settings,
    lanes: Lanes,
    readers: Readers,
    loads: Loads,
    plugins: BTreeMap<PluginName, Hosted>,
    refusals: BTreeMap<PluginName, Refusal>,
    /// What is wrong with files that belong to no plugin.
    others: Problems,
    /// The queues that the plugins of the folder name.
    offered: Offered,
    shelf: Shelf,
    fleet: Option<Fleet>,
    /// What the fleet is to run, by its last answer.
    wanted: AllWanted,
    /// Decides which orders of the fleet this host accepts.
    orders: Orders,
    /// The latest orders that this host has refused.
    bad_orders: BTreeMap<PluginName, BadOrder>,
    views: watch::Sender<Vec<PluginReport>>,
    /// Swaps that the fleet was not told of.
    history: History,
    /// Whether problems go to the log: those of a start that fails are its answer.
    tells: bool,
    /// Loaded earlier versions that wait for a deploy that is being loaded, because it may consume their queues.
    held_back: Vec<Ended>,
    /// Whether every plugin offered at the start has been loaded or refused.
    settled: watch::Sender<bool>,
    /// The most memory that guests can make the host use, as it was told last.
    figure: Figure,
}

/// Why what is offered is not served.
struct Refusal {
    problems: Problems,
    /// The release that was refused, and the deploy it came with.
    release: Option<(Digest, u64)>,
    /// The same is not tried again until somebody asks for it.
    is_final: bool,
}

impl Served {
    /// Reads the folder and starts to load its plugins. Returns when the first plugin can be served; fails if none can.
    pub(super) async fn load(
        options: Options,
        feeders: FeederParts,
        executor: ExecutorHandle,
        users: Option<Users>,
    ) -> Result<Self, StartError> {
        let settings = options.settings;
        let pool = PoolSettings {
            instances: settings.ceilings.instances.saturating_add(SPARE_INSTANCES),
            memory_bytes_max: settings.ceilings.memory_bytes,
        };
        let compiling = super::compiling(&settings, options.program, options.tier, true);
        let sandbox = Sandbox::new(&pool, compiling).map_err(|e| StartError::Sandbox(e.to_string()))?;
        let primary = feeders.link.primary().clone();
        let lanes = Lanes::new(&settings, feeders, executor, options.observer)?;
        let readers = Readers::new(primary.clone(), lanes.executor().clone());
        let shelf = Shelf::new(&settings.host.state_dir);
        let mut served = Self {
            loads: Loads::new(sandbox, shelf.clone(), lanes.executor().clone(), users),
            shelf,
            fleet: fleet(&primary, &settings)?,
            wanted: BTreeMap::new(),
            orders: Orders::new(&settings.plugins.trusted_keys, &settings.host.state_dir),
            bad_orders: BTreeMap::new(),
            settings,
            lanes,
            readers,
            plugins: BTreeMap::new(),
            refusals: BTreeMap::new(),
            others: Problems::default(),
            offered: Offered::default(),
            views: watch::Sender::new(Vec::new()),
            history: History::default(),
            tells: false,
            held_back: Vec::new(),
            settled: watch::Sender::new(false),
            figure: Figure::default(),
        };
        served.first_wanted().await;
        served.look(true).await;
        // The other plugins are loaded while the host serves.
        while served.is_loading() && served.plugins.is_empty() {
            let ended = served.loads.next().await;
            served.arrive(ended);
        }
        let problems = served.problems();
        if !served.plugins.is_empty() {
            problems.list.iter().for_each(|problem| tracing::error!("{problem}"));
            served.tells = true;
            return Ok(served);
        }
        if served.fleet.is_some() {
            problems.list.iter().for_each(|problem| tracing::error!("{problem}"));
            tracing::info!("nothing to serve yet; waiting for a deploy");
            served.tells = true;
            return Ok(served);
        }
        if problems.is_empty() {
            return Err(StartError::NoPlugins(served.settings.plugins_dir.display().to_string()));
        }
        Err(StartError::Plugins(problems))
    }

    /// Everything that is wrong with what lies in the folder.
    pub(super) fn problems(&self) -> Problems {
        let mut problems = self.others.clone();
        self.refusals.values().for_each(|refusal| problems.append(refusal.problems.clone()));
        problems.list.sort();
        problems
    }

    /// Ends trials that have shown enough. True: something has changed.
    pub(super) fn judge_trials(&mut self) -> bool {
        let mut verdicts = Vec::new();
        for (name, plugin) in &mut self.plugins {
            verdicts.extend(plugin.judge(&self.lanes).map(|verdict| (name.clone(), verdict)));
        }
        for (name, verdict) in &verdicts {
            match verdict {
                Verdict::Promoted => {
                    let plugin = &self.plugins[name];
                    let version = plugin.loaded().version.short_digest();
                    tracing::info!(plugin = name.as_str(), version, "canary takes all runs");
                    self.note(name, plugin.id(), Standing::Good);
                    let version = plugin.loaded().version.digest();
                    self.history.add(name.as_str(), SwapKind::Promoted, version, "");
                }
                Verdict::RolledBack(id, version, why) => {
                    self.history.add(name.as_str(), SwapKind::RolledBack, version, why);
                    let number = self.wanted.get(name).map_or(0, |wanted| wanted.number);
                    self.note(name, id, Standing::Bad { why: why.clone(), number });
                    let problems = Problems::one(Problem::new(format!("plugin `{name}`"), why));
                    self.tell(&problems, &Problems::default());
                    let release = Some((id.clone(), number));
                    self.refusals.insert(name.clone(), Refusal { problems, release, is_final: true });
                }
            }
        }
        !verdicts.is_empty()
    }

    /// Whether some plugin has a version on trial.
    pub(super) fn has_trials(&self) -> bool {
        self.plugins.values().any(Hosted::has_trial)
    }

    /// Puts what was loaded in the place of what was there before.
    fn take_in(&mut self, ended: Ended) {
        let Ended { name, id, number, stands_in, is_final, result, .. } = ended;
        let result = result.and_then(|mut loaded| {
            let named = loaded.manifest.consume.len();
            self.settle_queues(&mut loaded, number, stands_in)?;
            let gave_up = loaded.manifest.consume.len() < named;
            Ok((loaded, Claim { stands_in, gave_up }))
        });
        match result {
            Ok((loaded, claim)) => {
                // The release that it replaces stays refused.
                if !stands_in {
                    self.forget_refusal(&name);
                }
                self.accept(loaded, id, claim);
            }
            // The refusal it was to stand in for stays the one that is told.
            Err(problems) if stands_in => self.tell(&problems, &Problems::default()),
            Err(problems) => {
                let release = Some((id.clone(), number));
                self.refuse(name.clone(), Refusal { problems, release, is_final });
                self.stand_in(&name, Some(&id));
            }
        }
    }

    fn accept(&mut self, loaded: Loaded, id: Digest, claim: Claim) {
        let name = loaded.name.clone();
        let (version, digest) =
            (loaded.version.short_digest().to_owned(), loaded.version.digest().to_owned());
        // Releases with the same component differ in the manifest.
        let release = id.short().to_owned();
        if loaded.manifest.kind == Kind::ConfigReader {
            self.readers.open(&loaded);
        }
        let snapshots = self.readers.snapshots();
        let mut is_tried = false;
        let what = match self.plugins.get_mut(&name) {
            Some(plugin) => {
                is_tried = plugin.take_in(loaded, id.clone(), &self.lanes, snapshots);
                let what = if is_tried { "canary takes its share of runs" } else { "plugin was swapped" };
                tracing::info!(plugin = name.as_str(), version, release, "{what}");
                if is_tried { SwapKind::Canary } else { SwapKind::Swapped }
            }
            None => {
                let plugin = name.as_str();
                match claim.stands_in {
                    true => tracing::warn!(
                        plugin,
                        version,
                        "the last good version is served with its manifest, because what is offered is refused"
                    ),
                    false => tracing::info!(plugin, version, release, "plugin was loaded"),
                }
                self.plugins.insert(name.clone(), Hosted::new(loaded, id.clone(), snapshots));
                SwapKind::Loaded
            }
        };
        // What a host begins with is no swap.
        if *self.settled.borrow() || what != SwapKind::Loaded {
            self.history.add(name.as_str(), what, &digest, "");
        }
        self.plugins.get_mut(&name).into_iter().for_each(|plugin| plugin.claim = claim);
        if !is_tried {
            self.note(&name, &id, Standing::Good);
        }
    }

    /// Notes on the shelf what has shown of a release.
    fn note(&self, name: &PluginName, id: &Digest, standing: Standing) {
        if let Err(error) = self.shelf.note(name, id, standing) {
            tracing::warn!(plugin = name.as_str(), %error, "a restart will not know what became of this version");
        }
    }

    /// Takes note of a refusal, and tells of it if it is another than before.
    fn refuse(&mut self, name: PluginName, refusal: Refusal) {
        let none = Problems::default();
        let former = self.refusals.get(&name).map_or(&none, |former| &former.problems);
        self.tell(&refusal.problems, former);
        if let Some(served) = self.plugins.get(&name).filter(|_| self.tells && refusal.problems != *former) {
            let version = served.loaded().version.short_digest();
            tracing::warn!(
                plugin = name.as_str(),
                version,
                "the former version is still served, with its manifest"
            );
        }
        let is_new = *self.settled.borrow() || self.plugins.contains_key(&name);
        if is_new && refusal.problems != *former {
            let why = refusal.problems.to_string();
            self.history.add(name.as_str(), SwapKind::Refused, "", &why);
        }
        self.refusals.insert(name, refusal);
    }

    /// Logs the problems that were not there before.
    fn tell(&self, problems: &Problems, former: &Problems) {
        for problem in problems.list.iter().filter(|problem| self.tells && !former.list.contains(problem)) {
            tracing::error!("{problem}");
        }
    }

    /// What became of versions, for the fleet to be told.
    pub(super) fn history(&mut self) -> &mut History {
        &mut self.history
    }

    /// The queues that plugins consume, and those that lanes still hold jobs of.
    pub(super) fn queue_names(&mut self) -> Vec<QueueName> {
        let fed = self.lanes.fed();
        let consumed = self.plugins.values().flat_map(|plugin| &plugin.loaded().manifest.consume);
        let mut names: Vec<QueueName> = consumed.map(|consume| consume.queue.clone()).collect();
        names.extend(fed);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Tells everybody which lanes and plugins there are now.
    pub(super) fn publish(&mut self) {
        self.tell_figure();
        self.lanes.publish(self.plugins.values().flat_map(|plugin| &plugin.serving));
        self.views.send_replace(self.view());
    }

    /// Tells how much memory guests can make the host use, if it is not what was told.
    fn tell_figure(&mut self) {
        // While plugins are being loaded, it changes with each of them.
        if self.is_loading() {
            return;
        }
        let manifests: Vec<_> = self.plugins.values().flat_map(Hosted::manifests).collect();
        let figure = Figure::of(&self.settings.ceilings, &manifests);
        if figure != self.figure {
            figure.tell(figure::machine_bytes());
            self.figure = figure;
        }
    }

    /// Where runs have their places.
    pub(super) fn sandboxes(&self) -> Arc<Sandboxes> {
        self.lanes.sandboxes()
    }

    /// The lanes served now.
    pub(super) fn lanes(&self) -> watch::Receiver<Vec<Arc<Lane>>> {
        self.lanes.lanes()
    }

    /// True once every plugin offered at the start is served or refused.
    pub(super) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// The queues served now.
    pub(super) fn queues(&self) -> watch::Receiver<Vec<QueueName>> {
        self.lanes.queues()
    }

    /// The plugins as they are now.
    pub(super) fn views(&self) -> watch::Receiver<Vec<PluginReport>> {
        self.views.subscribe()
    }

    /// Stops all loads: from now on, no new plugin is served.
    pub(super) fn stop_loading(&mut self) {
        self.loads.stop();
    }

    /// Returns when every feeder has ended: whether no job is left in their hands.
    pub(super) async fn ended(&mut self) -> bool {
        self.lanes.ended().await
    }

    /// Ends the config readers.
    pub(super) async fn end_readers(&mut self) {
        self.readers.end().await;
    }
}

/// For a host that serves the fleet.
fn fleet(primary: &Primary, settings: &Settings) -> Result<Option<Fleet>, AddressError> {
    let is_served = settings.plugins.source != PluginsFrom::Folder;
    is_served.then(|| Fleet::new(primary)).transpose()
}
