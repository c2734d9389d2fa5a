//! One plugin that is served: the version its runs take, one that is perhaps tried on a share of them, and its lanes.

use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use super::lanes::{Lanes, Serving, policy};
use crate::job::name::QueueName;
use crate::job::report::{PluginReport, VersionReport, VersionState};
use crate::plugin::load::{Loaded, kind_name};
use crate::plugin::manifest::{Canary, Consume, Manifest};
use crate::plugin::release::Digest;
use crate::plugin::snapshot::{SettingsView, Snapshots};
use crate::sandbox::load::Version;
use crate::worker::edition::{Edition, Editions, Tally};

/// Runs of a canary that say something about it.
const CANARY_RUNS_MIN: u64 = 20;
/// Versions without new runs that are shown as long as a run of theirs goes on.
const RETIRED_MAX: usize = 16;

/// A plugin that is served.
pub(super) struct Hosted {
    /// How this plugin is served; its release does not say.
    pub(super) claim: Claim,
    current: Running,
    trial: Option<Trial>,
    pub(super) serving: Vec<Serving>,
    retired: Vec<Retired>,
}

/// How a plugin is served: facts that its release does not contain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claim {
    /// An earlier version is served, because the release that is offered now was refused.
    pub(super) stands_in: bool,
    /// It serves only some of the queues that its manifest names: another plugin serves the others.
    pub(super) gave_up: bool,
}

/// A version that runs can take.
#[derive(Clone)]
struct Running {
    loaded: Loaded,
    /// The release.
    id: Digest,
    settings: Arc<SettingsView>,
    tally: Arc<Tally>,
    since: SystemTime,
}

/// A version that is tried on a share of the runs.
struct Trial {
    running: Running,
    canary: Canary,
    ends: Instant,
    /// What the current version had come to when the trial began.
    before: (u64, u64),
}

struct Retired {
    digest: String,
    id: Digest,
    version: Weak<Version>,
    tally: Arc<Tally>,
    since: SystemTime,
}

/// What a trial came to.
pub(super) enum Verdict {
    /// The canary takes all runs.
    Promoted,
    /// This release was given up, with this component, and why.
    RolledBack(Digest, String, String),
}

impl Running {
    fn new(loaded: Loaded, id: Digest, snapshots: &Snapshots) -> Self {
        let settings = snapshots.view(&loaded.manifest.config, &loaded.manifest.grants.config);
        Self { loaded, id, settings, tally: Arc::default(), since: SystemTime::now() }
    }

    fn edition(&self, consume: &Consume, crashes_max: u32) -> Arc<Edition> {
        Arc::new(Edition {
            version: self.loaded.version.clone(),
            settings: self.settings.clone(),
            policy: policy(consume, &self.loaded.manifest, crashes_max),
            user: self.loaded.user.clone(),
            foresight: Arc::default(),
            tally: self.tally.clone(),
        })
    }

    fn view(&self, state: VersionState, share: f64) -> VersionReport {
        let (runs, failures) = self.tally.read();
        let version = self.loaded.version.digest().to_owned();
        let release = self.id.as_str().to_owned();
        VersionReport { version, release, state, share, runs, failures, since_ms: milliseconds(self.since) }
    }
}

impl Hosted {
    pub(super) fn new(loaded: Loaded, id: Digest, snapshots: &Snapshots) -> Self {
        let current = Running::new(loaded, id, snapshots);
        let claim = Claim::default();
        Self { claim, current, trial: None, serving: Vec::new(), retired: Vec::new() }
    }

    /// What new runs take, but for those of a canary.
    pub(super) fn loaded(&self) -> &Loaded {
        &self.current.loaded
    }

    /// What the operator says of the version that is served, and of one on trial.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        let trial = self.trial.iter().map(|trial| &*trial.running.loaded.manifest);
        std::iter::once(&*self.current.loaded.manifest).chain(trial)
    }

    /// The release that was taken in last: it is served, or on trial.
    pub(super) fn newest(&self) -> &Digest {
        &self.trial.as_ref().map_or(&self.current, |trial| &trial.running).id
    }

    /// Whether `id` is the latest release that was accepted, and this plugin serves all of its queues.
    pub(super) fn is_all_of(&self, id: &Digest) -> bool {
        self.newest() == id && !self.claim.gave_up
    }

    /// Whether this plugin serves `queue`.
    pub(super) fn serves(&self, queue: &QueueName) -> bool {
        self.manifests().any(|manifest| manifest.consume.iter().any(|consume| consume.queue == *queue))
    }

    /// Stops serving `queue`, because another plugin serves it now. Jobs in flight finish.
    pub(super) fn give_up(&mut self, queue: &QueueName) {
        self.claim.gave_up = true;
        let trial = self.trial.as_mut().map(|trial| &mut trial.running);
        for running in std::iter::once(&mut self.current).chain(trial) {
            let manifest = Arc::make_mut(&mut running.loaded.manifest);
            manifest.consume.retain(|consume| consume.queue != *queue);
        }
        let gone = self.serving.extract_if(.., |serving| serving.serves(queue));
        gone.for_each(Serving::retire);
    }

    /// The release that is served.
    pub(super) fn id(&self) -> &Digest {
        &self.current.id
    }

    /// Takes a version in: new runs take it, or a share of them if its manifest wants it tried. Runs that have begun
    /// keep theirs. True: it is tried first.
    pub(super) fn take_in(
        &mut self,
        loaded: Loaded,
        id: Digest,
        lanes: &Lanes,
        snapshots: &Snapshots,
    ) -> bool {
        // What was tried until now is given up, and what is served may be what is wanted again.
        if let Some(trial) = self.trial.take() {
            self.retire(&trial.running);
        }
        if self.current.id == id && !self.claim.gave_up {
            self.distribute(lanes);
            return false;
        }
        let running = Running::new(loaded, id, snapshots);
        if let Some(canary) = running.loaded.manifest.canary {
            let before = self.current.tally.read();
            self.trial = Some(Trial { running, canary, ends: Instant::now() + canary.length, before });
            self.distribute(lanes);
            return true;
        }
        self.exchange(running, lanes);
        false
    }

    /// Whether a version is on trial.
    pub(super) fn has_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Ends a trial that has shown enough.
    pub(super) fn judge(&mut self, lanes: &Lanes) -> Option<Verdict> {
        let trial = self.trial.as_ref()?;
        let (runs, failures) = trial.running.tally.read();
        let is_over = Instant::now() >= trial.ends;
        let share = rate(runs, failures);
        let (old_runs, old_failures) = self.current.tally.read();
        let old_share = rate(old_runs - trial.before.0, old_failures.saturating_sub(trial.before.1));
        let is_bad = share > trial.canary.max_failure_rate && share > old_share;
        if is_bad && (is_over || runs >= CANARY_RUNS_MIN) {
            let trial = self.trial.take()?;
            self.retire(&trial.running);
            self.distribute(lanes);
            let short = trial.running.loaded.version.short_digest();
            let most = trial.canary.max_failure_rate;
            let why = format!(
                "version {short} was rolled back: {failures} of {runs} runs failed, a share of {share:.2}; \
                 `canary.max_failure_rate` is {most}, and the version before it had {old_share:.2}"
            );
            let version = trial.running.loaded.version.digest().to_owned();
            return Some(Verdict::RolledBack(trial.running.id, version, why));
        }
        if !is_over {
            return None;
        }
        let trial = self.trial.take()?;
        self.exchange(trial.running, lanes);
        Some(Verdict::Promoted)
    }

    /// Whether a queue that the plugin consumes has no lane.
    pub(super) fn lacks_lanes(&self) -> bool {
        let mut consumed = self.current.loaded.manifest.consume.iter();
        consumed.any(|consume| !self.serving.iter().any(|serving| serving.is_for(consume)))
    }

    /// Opens lanes for the queues that have none.
    pub(super) fn open_lanes(&mut self, lanes: &mut Lanes) {
        for consume in &self.current.loaded.manifest.consume {
            if !self.serving.iter().any(|serving| serving.is_for(consume)) {
                let edition = self.current.edition(consume, lanes.crashes_max());
                self.serving.push(lanes.open(&self.current.loaded, consume, Editions::only(edition)));
            }
        }
        self.distribute(lanes);
    }

    /// Stops claiming; jobs in flight finish.
    pub(super) fn close(self) {
        self.serving.into_iter().for_each(Serving::retire);
    }

    fn exchange(&mut self, running: Running, lanes: &Lanes) {
        let former = std::mem::replace(&mut self.current, running);
        self.retire(&former);
        let consume = &self.current.loaded.manifest.consume;
        let (kept, gone) = std::mem::take(&mut self.serving)
            .into_iter()
            .partition(|serving: &Serving| consume.iter().any(|consume| serving.is_for(consume)));
        self.serving = kept;
        gone.into_iter().for_each(Serving::retire);
        self.distribute(lanes);
    }

    /// Gives every lane the editions that its runs take from now on.
    fn distribute(&self, lanes: &Lanes) {
        let crashes_max = lanes.crashes_max();
        let of = |running: &Running, serving: &Serving| {
            let consume = running.loaded.manifest.consume.iter().find(|consume| serving.is_for(consume))?;
            Some(running.edition(consume, crashes_max))
        };
        for serving in &self.serving {
            let Some(current) = of(&self.current, serving) else { continue };
            let only = Editions::only(current);
            let tried = self
                .trial
                .as_ref()
                .and_then(|trial| Some((of(&trial.running, serving)?, trial.canary.share)));
            serving.exchange(match tried {
                Some((canary, share)) => only.with_canary(canary, share),
                None => only,
            });
        }
    }

    fn retire(&mut self, running: &Running) {
        self.retired.retain(|retired| retired.version.strong_count() > 0);
        if self.retired.len() >= RETIRED_MAX {
            self.retired.remove(0);
        }
        self.retired.push(Retired {
            digest: running.loaded.version.digest().to_owned(),
            id: running.id.clone(),
            version: Arc::downgrade(&running.loaded.version),
            tally: running.tally.clone(),
            since: running.since,
        });
    }

    /// As it is shown.
    pub(super) fn view(&self) -> PluginReport {
        let loaded = &self.current.loaded;
        let share = self.trial.as_ref().map_or(0.0, |trial| trial.canary.share);
        let mut versions = vec![self.current.view(VersionState::Current, 1.0 - share)];
        versions.extend(self.trial.iter().map(|trial| trial.running.view(VersionState::Canary, share)));
        let draining = self.retired.iter().filter(|retired| retired.version.strong_count() > 0);
        versions.extend(draining.map(|retired| {
            let (runs, failures) = retired.tally.read();
            let version = retired.digest.clone();
            VersionReport {
                version,
                release: retired.id.as_str().to_owned(),
                state: VersionState::Draining,
                share: 0.0,
                runs,
                failures,
                since_ms: milliseconds(retired.since),
            }
        }));
        PluginReport {
            name: loaded.name.as_str().to_owned(),
            kind: kind_name(loaded.manifest.kind).to_owned(),
            version: loaded.version.digest().to_owned(),
            queues: loaded.manifest.consume.iter().map(|c| c.queue.as_str().to_owned()).collect(),
            release: self.newest().as_str().to_owned(),
            versions,
            denied: loaded.version.denied(),
            refusal: None,
            refused: None,
            refused_deploy: 0,
            loading: false,
            compiling: false,
        }
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people and thresholds")]
fn rate(runs: u64, failures: u64) -> f64 {
    if runs == 0 { 0.0 } else { failures as f64 / runs as f64 }
}
