//! Loading in the background: the control thread goes on feeding queues while a component is fetched, compiled and
//! tried, and one that takes long holds up no other.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::readers::Trial;
use super::users::Users;
use crate::config::problem::{Problem, Problems};
use crate::plugin::load::{Loaded, load};
use crate::plugin::manifest::Kind;
use crate::plugin::name::PluginName;
use crate::plugin::release::Digest;
use crate::plugin::shelf::Shelf;
use crate::plugin::survey::Offer;
use crate::sandbox::engine::Sandbox;
use crate::worker::executor::ExecutorHandle;

/// Components loaded at once: compiling takes a core and much memory.
pub(super) const AT_ONCE: usize = 2;

/// Gets what is to be loaded.
pub(super) type Offering = BoxFuture<'static, Result<Offer, Unavailable>>;

/// Why there is nothing to load.
pub(super) struct Unavailable {
    pub(super) problems: Problems,
    /// Asking again is of no use.
    pub(super) is_final: bool,
}

/// What is to be loaded.
pub(super) struct Order {
    pub(super) name: PluginName,
    /// The release.
    pub(super) id: Digest,
    /// The deploy it comes with; 0 for the folder.
    pub(super) number: u64,
    /// What the operator knows it by.
    pub(super) origin: String,
    /// It takes the place of what was refused, which stays refused.
    pub(super) stands_in: bool,
    /// Gets it.
    pub(super) offer: Offering,
    /// What a config reader must pass before it takes the place of one that works.
    pub(super) trial: Option<Trial>,
}

/// What is being loaded.
pub(super) struct Loads {
    sandbox: Arc<Sandbox>,
    shelf: Shelf,
    executor: ExecutorHandle,
    users: Option<Users>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<Ended>,
    /// The newest load of each plugin: what an earlier one comes to no longer matters.
    newest: HashMap<PluginName, (u64, Digest)>,
    started: u64,
}

/// What became of a load.
pub(super) struct Ended {
    pub(super) name: PluginName,
    pub(super) id: Digest,
    pub(super) number: u64,
    pub(super) stands_in: bool,
    /// Trying again is of no use.
    pub(super) is_final: bool,
    pub(super) result: Result<Loaded, Problems>,
    load: u64,
}

impl Loads {
    pub(super) fn new(
        sandbox: Sandbox,
        shelf: Shelf,
        executor: ExecutorHandle,
        users: Option<Users>,
    ) -> Self {
        Self {
            sandbox: Arc::new(sandbox),
            shelf,
            executor,
            users,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: JoinSet::new(),
            newest: HashMap::new(),
            started: 0,
        }
    }

    /// Starts to load what is ordered, in the place of whatever is being loaded for the same plugin. What could be
    /// loaded is kept on the shelf.
    pub(super) fn start(&mut self, order: Order) {
        if self.newest.get(&order.name).is_some_and(|(_, newest)| *newest == order.id) {
            return;
        }
        self.started += 1;
        let load = self.started;
        self.newest.insert(order.name.clone(), (load, order.id.clone()));
        let (sandbox, shelf) = (self.sandbox.clone(), self.shelf.clone());
        let (permits, executor, users) = (self.permits.clone(), self.executor.clone(), self.users.clone());
        self.tasks.spawn(async move {
            let _permit = permits.acquire().await;
            let Order { name, id, number, origin, stands_in, offer, trial } = order;
            let mut is_final = true;
            let result = match offer.await {
                Ok(offer) => {
                    let loading = executor.spawn_blocking(move || load_and_keep(offer, &sandbox, &shelf));
                    loading.await.unwrap_or_else(|panic| {
                        let text = format!("loading it failed inside the host: {panic}");
                        Err(Problems::one(Problem::new(origin.clone(), text)))
                    })
                }
                Err(unavailable) => {
                    is_final = unavailable.is_final;
                    Err(unavailable.problems)
                }
            };
            let result = match (result, users) {
                (Ok(loaded), Some(users)) => users.admit(loaded).await.map_err(|unavailable| {
                    is_final = unavailable.is_final;
                    unavailable.problems
                }),
                (result, _) => result,
            };
            let result = match (result, trial) {
                (Ok(loaded), Some(trial)) if loaded.manifest.kind == Kind::ConfigReader => {
                    trial.run(&loaded, &executor).await.map(|()| loaded).map_err(|reason| {
                        let text = format!("gives no settings: {reason}; the version before it goes on");
                        Problems::one(Problem::new(origin, text))
                    })
                }
                (result, _) => result,
            };
            Ended { name, id, number, stands_in, is_final, result, load }
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
            if self.newest.get(&ended.name).is_some_and(|(load, _)| *load == ended.load) {
                self.newest.remove(&ended.name);
                return ended;
            }
        }
    }
}

fn load_and_keep(offer: Offer, sandbox: &Sandbox, shelf: &Shelf) -> Result<Loaded, Problems> {
    let Offer { source, release, .. } = offer;
    let component = source.component.clone();
    let loaded = load(source, sandbox)?;
    if let Err(error) = shelf.put(&loaded.name, &release, &component) {
        let plugin = loaded.name.as_str();
        tracing::warn!(plugin, %error, "the version is not kept for a rollback");
    }
    Ok(loaded)
}
