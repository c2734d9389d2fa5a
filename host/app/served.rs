//! What a host serves: its plugins, and a lane with its feeder for every queue they consume. Start-up and every later
//! change are one path: look at the folder, load what is new, exchange what differs, drain what is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::hosted::{Hosted, Verdict};
use super::lanes::Lanes;
use super::loads::{Ended, Loads};
use super::readers::Readers;
use super::{Options, StartError};
use crate::config::problem::{Problem, Problems};
use crate::config::settings::Settings;
use crate::job::name::QueueName;
use crate::job::report::PluginReport;
use crate::plugin::load::Loaded;
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::name::PluginName;
use crate::plugin::survey::Survey;
use crate::sandbox::engine::{PoolSettings, Sandbox};
use crate::worker::feeder::FeederParts;
use crate::worker::lane::Lane;

/// Sandboxes beyond those of jobs: for config readers and for trying out what is loaded.
const SPARE_INSTANCES: u32 = 16;

/// Longest refusal that is told to others; the log has it whole.
const REFUSAL_CHARS_MAX: usize = 2000;

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
    views: watch::Sender<Vec<PluginReport>>,
    /// Whether problems go to the log: those of a start that fails are its answer.
    tells: bool,
}

/// Why what lies in the folder is not served.
struct Refusal {
    problems: Problems,
    /// What was refused after it was loaded: the same is not tried again until somebody asks for it.
    tried: Option<(String, Manifest)>,
}

impl Served {
    /// Looks at the folder and loads what is there; fails when nothing in it can be served.
    pub(super) async fn load(options: Options, feeders: FeederParts) -> Result<Self, StartError> {
        let settings = options.settings;
        let pool = PoolSettings {
            instances: settings.ceilings.instances.saturating_add(SPARE_INSTANCES),
            memory_bytes_max: settings.ceilings.memory_bytes,
        };
        let compiling = super::compiling(&settings, options.program, true);
        let sandbox = Sandbox::new(&pool, compiling).map_err(|e| StartError::Sandbox(e.to_string()))?;
        let lanes = Lanes::new(&settings, feeders, options.observer)?;
        let readers = Readers::new(&settings, lanes.guests().clone());
        let mut served = Self {
            loads: Loads::new(sandbox, lanes.guests().clone()),
            settings,
            lanes,
            readers,
            plugins: BTreeMap::new(),
            refusals: BTreeMap::new(),
            others: Problems::default(),
            views: watch::Sender::new(Vec::new()),
            tells: false,
        };
        served.look(true).await;
        while served.is_loading() {
            let ended = served.loads.next().await;
            served.take_in(ended);
        }
        let problems = served.problems();
        if !served.plugins.is_empty() {
            problems.list.iter().for_each(|problem| tracing::error!("{problem}"));
            served.tells = true;
            return Ok(served);
        }
        if problems.is_empty() {
            return Err(StartError::NoPlugins(served.settings.plugins_dir.display().to_string()));
        }
        Err(StartError::Plugins(problems))
    }

    /// Brings the plugins in line with the folder, as far as nothing has to be loaded; that goes on in the background,
    /// and `loaded` tells its end. What cannot be loaded stays as it was. `again`: what was refused is tried once more.
    pub(super) async fn look(&mut self, again: bool) {
        let (folder, ceilings) = (self.settings.plugins_dir.clone(), self.settings.ceilings);
        let trusted = self.settings.plugins.trusted_keys.clone();
        // Reading and hashing takes its time, and this thread feeds queues.
        let looking = self.lanes.guests().spawn_blocking(move || Survey::of(&folder, &ceilings, &trusted));
        let Ok(mut survey) = looking.await else { return };
        let others = std::mem::take(&mut survey.others);
        self.tell(&others, &self.others);
        self.others = others;
        // A folder that is away for a moment is not an empty one.
        if survey.unreadable {
            return;
        }
        self.remove_all_but(&survey);
        for (name, problems) in std::mem::take(&mut survey.refused) {
            self.loads.forget(&name);
            self.refuse(name, problems, None);
        }
        for offer in survey.offers {
            let (name, manifest) = (&offer.source.name, &offer.source.manifest);
            let refusal = self.refusals.get(name);
            let tried = refusal.and_then(|refusal| refusal.tried.as_ref());
            if self.plugins.get(name).is_some_and(|plugin| plugin.offers(&offer.digest, manifest)) {
                self.loads.forget(name);
                self.refusals.remove(name);
            } else if again
                || tried.is_none_or(|(digest, terms)| *digest != offer.digest || terms != manifest)
            {
                // Of a config reader that works, the next version must work as well.
                let trial = self.plugins.contains_key(name).then(|| self.readers.trial());
                self.loads.start(offer, trial);
            }
        }
    }

    /// Waits until something has been loaded, and takes it in; for ever if nothing is.
    pub(super) async fn loaded(&mut self) {
        let ended = self.loads.next().await;
        self.take_in(ended);
    }

    /// Whether something is being loaded.
    pub(super) fn is_loading(&self) -> bool {
        !self.loads.is_idle()
    }

    /// Everything that is wrong with what lies in the folder.
    pub(super) fn problems(&self) -> Problems {
        let mut problems = self.others.clone();
        self.refusals.values().for_each(|refusal| problems.append(refusal.problems.clone()));
        problems.list.sort();
        problems
    }

    /// Starts feeders for lanes that have none, once every config reader has answered. The host must have
    /// joined.
    pub(super) async fn begin(&mut self) {
        self.readers.first_answers().await;
        for plugin in self.plugins.values_mut() {
            plugin.open_lanes(&mut self.lanes);
        }
        self.publish();
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
                    let version = self.plugins[name].loaded().version.short_digest();
                    tracing::info!(plugin = name.as_str(), version, "canary takes all runs");
                }
                Verdict::RolledBack(loaded, why) => {
                    let problems = Problems::one(Problem::new(format!("plugin `{name}`"), why));
                    let tried = Some((loaded.version.digest().to_owned(), (*loaded.manifest).clone()));
                    self.refuse(name.clone(), problems, tried);
                }
            }
        }
        !verdicts.is_empty()
    }

    /// Whether some plugin has a version on trial.
    pub(super) fn has_trials(&self) -> bool {
        self.plugins.values().any(Hosted::has_trial)
    }

    /// Drains what is no longer in the folder.
    fn remove_all_but(&mut self, survey: &Survey) {
        self.refusals.retain(|name, _| survey.has(name));
        let gone = self.plugins.extract_if(.., |name, _| !survey.has(name));
        for (name, plugin) in gone {
            tracing::info!(plugin = name.as_str(), "plugin was removed; its queues are no longer claimed");
            plugin.close();
            self.loads.forget(&name);
            self.readers.close(&name);
        }
    }

    /// Puts what was loaded in the place of what was there before.
    fn take_in(&mut self, ended: Ended) {
        let Ended { name, offer, result, .. } = ended;
        match result {
            Ok(loaded) => self.accept(loaded),
            Err(refused) => self.refuse(name, refused, Some((offer.digest, offer.source.manifest))),
        }
    }

    fn accept(&mut self, loaded: Loaded) {
        let name = loaded.name.clone();
        let version = loaded.version.short_digest().to_owned();
        self.refusals.remove(&name);
        if loaded.manifest.kind == Kind::ConfigReader {
            self.readers.open(&loaded);
        }
        let snapshots = self.readers.snapshots();
        match self.plugins.get_mut(&name) {
            Some(plugin) => {
                let is_tried = plugin.take_in(loaded, &self.lanes, snapshots);
                let what = if is_tried { "canary takes its share of runs" } else { "plugin was swapped" };
                tracing::info!(plugin = name.as_str(), version, "{what}");
            }
            None => {
                tracing::info!(plugin = name.as_str(), version, "plugin was loaded");
                self.plugins.insert(name, Hosted::new(loaded, snapshots));
            }
        }
    }

    /// Takes note of a refusal, and tells of it if it is another than before.
    fn refuse(&mut self, name: PluginName, problems: Problems, tried: Option<(String, Manifest)>) {
        let none = Problems::default();
        self.tell(&problems, self.refusals.get(&name).map_or(&none, |former| &former.problems));
        self.refusals.insert(name, Refusal { problems, tried });
    }

    /// Logs the problems that were not there before.
    fn tell(&self, problems: &Problems, former: &Problems) {
        for problem in problems.list.iter().filter(|problem| self.tells && !former.list.contains(problem)) {
            tracing::error!("{problem}");
        }
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

    /// The plugins as they are now.
    pub(super) fn view(&self) -> Vec<PluginReport> {
        let refusal = |name| {
            let refusal: &Refusal = self.refusals.get(name)?;
            let lines: Vec<String> = refusal.problems.list.iter().map(ToString::to_string).collect();
            Some(lines.join("; ").chars().take(REFUSAL_CHARS_MAX).collect())
        };
        self.plugins.iter().map(|(name, plugin)| plugin.view(refusal(name))).collect()
    }

    /// Tells everybody which lanes and plugins there are now.
    pub(super) fn publish(&self) {
        self.lanes.publish(self.plugins.values().flat_map(|plugin| &plugin.serving));
        self.views.send_replace(self.view());
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
    pub(super) fn views(&self) -> watch::Receiver<Vec<PluginReport>> {
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
