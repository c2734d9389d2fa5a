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
use crate::panics;
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
        self.tasks.spawn(panics::named("loader", async move {
            let _permit = permits.acquire().await;
            let Order { name, id, number, origin, stands_in, offer, trial } = order;
            let mut is_final = true;
            let of_host = |fault: String| {
                Problems::one(Problem::new(&origin, format!("loading failed inside the host: {fault}")))
            };
            let loading = async {
                let offer = offer.await.map_err(|unavailable| {
                    is_final = unavailable.is_final;
                    unavailable.problems
                })?;
                let loading = run_blocking(&executor, move || load_and_keep(offer, &sandbox, &shelf));
                let mut loaded = loading.await.unwrap_or_else(|fault| Err(of_host(fault)))?;
                if let Some(users) = users {
                    loaded = users.admit(loaded).await.map_err(|unavailable| {
                        is_final = unavailable.is_final;
                        unavailable.problems
                    })?;
                }
                match trial {
                    Some(trial) if loaded.manifest.kind == Kind::ConfigReader => {
                        trial.run(&loaded, &executor).await.map(|()| loaded).map_err(|reason| {
                            let text =
                                format!("gives no settings: {reason}; the previous version keeps running");
                            Problems::one(Problem::new(&origin, text))
                        })
                    }
                    _ => Ok(loaded),
                }
            };
            let ended = panics::contained_while("load", loading).await;
            let result = ended.unwrap_or_else(|panicked| Err(of_host(panicked.to_string())));
            Ended { name, id, number, stands_in, is_final, result, load }
        }));
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

/// Runs `work`, which handles untrusted input, on a thread that may block.
///
/// # Errors
///
/// The text of a panic in `work`, or that the host is stopping.
pub(super) async fn run_blocking<T: Send + 'static>(
    executor: &ExecutorHandle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = executor.spawn_blocking(move || panics::contained("read", work)).await;
    done.map_err(|ended| ended.to_string())?.map_err(|panicked| panicked.to_string())
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::sandbox::engine::PoolSettings;
    use crate::sandbox::{CompileLimits, Compiling};
    use crate::worker::executor::Executor;

    #[test]
    fn a_load_that_panics_ends_as_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let limits = CompileLimits::default();
        let compiling = Compiling { program: "/bin/false".into(), limits, cache: None };
        let pool = PoolSettings { instances: 1, memory_bytes_max: 1 << 20 };
        let executor = Executor::start(1).unwrap();
        let sandbox = Sandbox::new(&pool, compiling).unwrap();
        let mut loads = Loads::new(sandbox, Shelf::new(dir.path()), executor.handle(), None);
        let order = Order {
            name: PluginName::new("p").unwrap(),
            id: Digest::of(b"p"),
            number: 3,
            origin: "deploy 3 of `p`".to_owned(),
            stands_in: false,
            offer: async { panic!("no such chunk") }.boxed(),
            trial: None,
        };
        let control = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = control.enter();
        loads.start(order);
        let ended = control.block_on(loads.next());
        let problem = "deploy 3 of `p`: loading failed inside the host: a fault of sandhog, please report it: \
                       no such chunk";
        assert_eq!(ended.result.unwrap_err().to_string(), problem);
        assert_eq!((ended.number, ended.is_final, loads.is_idle()), (3, true, true));
        let handle = executor.handle();
        let blocking = control.block_on(run_blocking(&handle, || -> u8 { panic!("index") }));
        assert_eq!(blocking, Err("a fault of sandhog, please report it: index".to_owned()));
    }
}
