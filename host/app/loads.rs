//! Loading in the background: the control thread goes on feeding queues while a component is compiled and tried, and
//! one that takes long holds up no other.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::readers::Trial;
use crate::config::problem::{Problem, Problems};
use crate::plugin::load::{Loaded, load};
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::name::PluginName;
use crate::plugin::survey::Offer;
use crate::sandbox::engine::Sandbox;

/// Components loaded at once: compiling takes a core and much memory.
const AT_ONCE: usize = 2;

/// What is being loaded.
pub(super) struct Loads {
    sandbox: Arc<Sandbox>,
    guests: Handle,
    permits: Arc<Semaphore>,
    tasks: JoinSet<Ended>,
    /// The newest load of each plugin: what an earlier one comes to no longer matters.
    newest: HashMap<PluginName, (u64, Wanted)>,
    started: u64,
}

/// What is being loaded for a plugin.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    digest: String,
    manifest: Manifest,
}

/// What became of a load.
pub(super) struct Ended {
    pub(super) name: PluginName,
    number: u64,
    pub(super) offer: Offer,
    pub(super) result: Result<Loaded, Problems>,
}

impl Loads {
    pub(super) fn new(sandbox: Sandbox, guests: Handle) -> Self {
        Self {
            sandbox: Arc::new(sandbox),
            guests,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: JoinSet::new(),
            newest: HashMap::new(),
            started: 0,
        }
    }

    /// Starts to load what is offered, in the place of whatever is being loaded for the same plugin. A config reader
    /// must pass the trial, if there is one.
    pub(super) fn start(&mut self, offer: Offer, trial: Option<Trial>) {
        let name = offer.source.name.clone();
        let wanted = Wanted { digest: offer.digest.clone(), manifest: offer.source.manifest.clone() };
        if self.newest.get(&name).is_some_and(|(_, newest)| *newest == wanted) {
            return;
        }
        self.started += 1;
        let number = self.started;
        self.newest.insert(name.clone(), (number, wanted));
        let (sandbox, permits, guests) = (self.sandbox.clone(), self.permits.clone(), self.guests.clone());
        self.tasks.spawn(async move {
            let _permit = permits.acquire().await;
            let (source, origin) = (offer.source.clone(), offer.source.component_origin.clone());
            let loading = guests.spawn_blocking(move || load(source, &sandbox));
            let mut result = loading.await.unwrap_or_else(|panic| {
                let text = format!("loading it failed inside the host: {panic}");
                Err(Problems::one(Problem::new(origin.clone(), text)))
            });
            if let (Ok(loaded), Some(trial)) = (&result, trial)
                && loaded.manifest.kind == Kind::ConfigReader
                && let Err(reason) = trial.run(loaded, &guests).await
            {
                let text = format!("gives no settings: {reason}; the version before it goes on");
                result = Err(Problems::one(Problem::new(origin, text)));
            }
            Ended { name, number, offer, result }
        });
    }

    /// What is no longer to be loaded.
    pub(super) fn forget(&mut self, name: &PluginName) {
        self.newest.remove(name);
    }

    /// Whether nothing is being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.newest.is_empty()
    }

    /// Waits for the end of a load that still matters; for ever if there is none.
    pub(super) async fn next(&mut self) -> Ended {
        loop {
            let Some(ended) = self.tasks.join_next().await else { std::future::pending().await };
            let Ok(ended) = ended else { continue };
            if self.newest.get(&ended.name).is_some_and(|(number, _)| *number == ended.number) {
                self.newest.remove(&ended.name);
                return ended;
            }
        }
    }
}
