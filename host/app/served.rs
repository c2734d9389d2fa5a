//! What a host serves: the plugins it has loaded and a lane with its feeder for every queue they consume. Start-up
//! and reload are one path: look at the folder, load what is new, change what differs, drain what is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::lanes::{Lanes, Serving};
use super::readers::Readers;
use super::{Options, StartError};
use crate::config::problem::{Problem, Problems};
use crate::config::settings::Settings;
use crate::job::name::QueueName;
use crate::plugin::load::{Loaded, kind_name, load};
use crate::plugin::manifest::Kind;
use crate::plugin::name::PluginName;
use crate::plugin::scan::{Source, conflicts, scan};
use crate::plugin::snapshot::{SettingsView, Snapshots};
use crate::plugin::view::PluginView;
use crate::sandbox::engine::{PoolSettings, Sandbox};
use crate::sandbox::load::Version;
use crate::worker::feeder::FeederParts;
use crate::worker::lane::Lane;

/// Sandboxes beyond those of jobs: for config readers and for trying out what is loaded.
const SPARE_INSTANCES: u32 = 16;

/// The plugins and lanes of a host.
pub(super) struct Served {
    sandbox: Arc<Sandbox>,
    settings: Settings,
    lanes: Lanes,
    readers: Readers,
    plugins: BTreeMap<PluginName, Plugin>,
    refusals: BTreeMap<PluginName, String>,
    views: watch::Sender<Vec<PluginView>>,
}

/// One plugin that is served.
struct Plugin {
    loaded: Loaded,
    version: Arc<ArcSwap<Version>>,
    view: Arc<ArcSwap<SettingsView>>,
    serving: Vec<Serving>,
}

impl Served {
    /// Looks at the folder and loads what is there; fails when nothing in it can be served.
    pub(super) async fn load(options: Options, feeders: FeederParts) -> Result<Self, StartError> {
        let settings = options.settings;
        let pool = PoolSettings {
            instances: settings.ceilings.instances.saturating_add(SPARE_INSTANCES),
            memory_bytes_max: settings.ceilings.memory_bytes,
        };
        let sandbox = Sandbox::new(&pool).map_err(|e| StartError::Sandbox(e.to_string()))?;
        let lanes = Lanes::new(&settings, feeders, options.observer)?;
        let readers = Readers::new(&settings, lanes.guests().clone());
        let mut served = Self {
            sandbox: Arc::new(sandbox),
            settings,
            lanes,
            readers,
            plugins: BTreeMap::new(),
            refusals: BTreeMap::new(),
            views: watch::Sender::new(Vec::new()),
        };
        let problems = served.look().await;
        if !served.plugins.is_empty() {
            problems.list.iter().for_each(|problem| tracing::error!("{problem}"));
            return Ok(served);
        }
        if problems.is_empty() {
            return Err(StartError::NoPlugins(served.settings.plugins_dir.display().to_string()));
        }
        Err(StartError::Plugins(problems))
    }

    /// Reads the folder again. What is new in it is served from `begin` on, once the fleet has been told.
    pub(super) async fn reload(&mut self) -> Result<(), Problems> {
        let problems = self.look().await;
        problems.list.iter().for_each(|problem| tracing::error!("{problem}"));
        problems.into_result(())
    }

    /// Starts feeders for lanes that have none, once every config reader has answered. The host must have
    /// joined.
    pub(super) async fn begin(&mut self) {
        self.readers.first_answers().await;
        for plugin in self.plugins.values_mut() {
            for consume in &plugin.loaded.manifest.consume {
                if !plugin.serving.iter().any(|serving| serving.is_for(consume)) {
                    let serving = self.lanes.open(&plugin.loaded, consume, &plugin.version, &plugin.view);
                    plugin.serving.push(serving);
                }
            }
        }
        self.lanes.publish(self.plugins.values().flat_map(|plugin| &plugin.serving));
        self.views.send_replace(self.view());
    }

    /// Brings `plugins` in line with the folder. What cannot be loaded stays as it was.
    async fn look(&mut self) -> Problems {
        let (pairs, mut problems) = scan(&self.settings.plugins_dir);
        self.refusals.clear();
        let mut sources = Vec::new();
        for pair in &pairs {
            match pair.read(&self.settings.ceilings) {
                Ok(source) => sources.push(source),
                Err(refused) => self.refuse(&pair.name, refused, &mut problems),
            }
        }
        let seen: Vec<_> = sources.iter().map(|s| (&s.name, s.origin.as_str(), &s.manifest)).collect();
        for (name, problem) in conflicts(&seen) {
            sources.retain(|source| source.name != name);
            self.refuse(&name, Problems::one(problem), &mut problems);
        }
        for source in sources {
            let name = source.name.clone();
            match self.take_in(source).await {
                Ok(()) => {}
                Err(refused) => self.refuse(&name, refused, &mut problems),
            }
        }
        let there: Vec<&PluginName> = pairs.iter().map(|pair| &pair.name).collect();
        let gone: Vec<PluginName> = self.plugins.keys().filter(|n| !there.contains(n)).cloned().collect();
        for name in gone {
            if let Some(plugin) = self.plugins.remove(&name) {
                tracing::info!(
                    plugin = name.as_str(),
                    "plugin was removed; its queues are no longer claimed"
                );
                plugin.serving.into_iter().for_each(Serving::retire);
                self.readers.close(&name);
            }
        }
        problems
    }

    /// Loads one plugin and puts it in the place of what it was before.
    async fn take_in(&mut self, source: Source) -> Result<(), Problems> {
        let sandbox = self.sandbox.clone();
        let origin = source.origin.clone();
        // Compiling takes its time, and this thread feeds queues.
        let loading = self.lanes.guests().spawn_blocking(move || load(source, &sandbox));
        let loaded = match loading.await {
            Ok(loaded) => loaded?,
            Err(panic) => {
                let text = format!("loading it failed inside the host: {panic}");
                return Err(Problems::one(Problem::new(origin, text)));
            }
        };
        let version = loaded.version.digest().get(..12).unwrap_or_default().to_owned();
        let name = loaded.name.clone();
        match self.plugins.get_mut(&name) {
            Some(plugin) if plugin.is_same(&loaded) => return Ok(()),
            Some(plugin) => {
                tracing::info!(plugin = name.as_str(), version, "plugin was swapped");
                let snapshots = self.readers.snapshots();
                plugin.become_(loaded.clone(), snapshots);
            }
            None => {
                tracing::info!(plugin = name.as_str(), version, "plugin was loaded");
                self.plugins.insert(name.clone(), Plugin::new(loaded.clone(), self.readers.snapshots()));
            }
        }
        if loaded.manifest.kind == Kind::ConfigReader {
            self.readers.open(&loaded);
        }
        Ok(())
    }

    fn refuse(&mut self, name: &PluginName, refused: Problems, problems: &mut Problems) {
        let text: Vec<String> = refused.list.iter().map(ToString::to_string).collect();
        self.refusals.insert(name.clone(), text.join("; "));
        problems.append(refused);
    }

    /// The queues that plugins consume, and those that lanes still hold jobs of.
    pub(super) fn queue_names(&mut self) -> Vec<QueueName> {
        let fed = self.lanes.fed();
        let consumed = self.plugins.values().flat_map(|plugin| &plugin.loaded.manifest.consume);
        let mut names: Vec<QueueName> = consumed.map(|consume| consume.queue.clone()).collect();
        names.extend(fed);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The plugins that are loaded now.
    pub(super) fn view(&self) -> Vec<PluginView> {
        let view = |(name, plugin): (&PluginName, &Plugin)| PluginView {
            name: name.as_str().to_owned(),
            kind: kind_name(plugin.loaded.manifest.kind),
            version: plugin.loaded.version.digest().to_owned(),
            queues: plugin.loaded.manifest.consume.iter().map(|c| c.queue.as_str().to_owned()).collect(),
            refusal: self.refusals.get(name).cloned(),
        };
        self.plugins.iter().map(view).collect()
    }

    /// The lanes served now.
    pub(super) fn lanes(&self) -> watch::Receiver<Vec<Arc<Lane>>> {
        self.lanes.lanes()
    }

    /// The queues served now.
    pub(super) fn queues(&self) -> watch::Receiver<Vec<QueueName>> {
        self.lanes.queues()
    }

    /// The plugins as they are now.
    pub(super) fn views(&self) -> watch::Receiver<Vec<PluginView>> {
        self.views.subscribe()
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

impl Plugin {
    fn new(loaded: Loaded, snapshots: &Snapshots) -> Self {
        let version = Arc::new(ArcSwap::new(loaded.version.clone()));
        let view = Arc::new(ArcSwap::new(settings_view(&loaded, snapshots)));
        Self { loaded, version, view, serving: Vec::new() }
    }

    fn is_same(&self, other: &Loaded) -> bool {
        self.loaded.manifest == other.manifest && self.loaded.version.digest() == other.version.digest()
    }

    /// Takes another version and manifest. Runs that have begun keep theirs.
    fn become_(&mut self, loaded: Loaded, snapshots: &Snapshots) {
        self.version.store(loaded.version.clone());
        self.view.store(settings_view(&loaded, snapshots));
        for serving in std::mem::take(&mut self.serving) {
            match loaded.manifest.consume.iter().find(|consume| serving.is_for(consume)) {
                Some(consume) => {
                    serving.follow(consume, loaded.manifest.effects_of(consume));
                    self.serving.push(serving);
                }
                None => serving.retire(),
            }
        }
        self.loaded = loaded;
    }
}

/// What runs of a plugin see through `wasi:config`.
fn settings_view(loaded: &Loaded, snapshots: &Snapshots) -> Arc<SettingsView> {
    snapshots.view(&loaded.manifest.config, &loaded.manifest.grants.config)
}
