//! Loading in the background: the control thread goes on feeding queues while a component is fetched, compiled and
//! tried. The sandbox's line decides which load is next, so that a slow one does not delay the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::readers::Trial;
use super::users::Users;
use crate::config::problem::{Problem, Problems};
use crate::panics;
use crate::plugin::load::{Loaded, load_in};
use crate::plugin::manifest::Kind;
use crate::plugin::name::PluginName;
use crate::plugin::release::Digest;
use crate::plugin::scan::Source;
use crate::plugin::shelf::Shelf;
use crate::plugin::survey::Offer;
use crate::sandbox::Compiled;
use crate::sandbox::engine::Sandbox;
use crate::sandbox::line::{Claim, Turn};
use crate::worker::executor::ExecutorHandle;

/// Fetches the plugin to load; may be called several times.
pub(super) type GetOffer = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<Offer>, Unavailable>> + Send + Sync>;

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
    /// The digest of the component, not yet verified, and its length if it is known.
    pub(super) component: (Digest, Option<u64>),
    /// Fetches the plugin; may be called more than once.
    pub(super) offer: GetOffer,
    /// What a config reader must pass before it takes the place of one that works.
    pub(super) trial: Option<Trial>,
}

/// What is being loaded.
pub(super) struct Loads {
    sandbox: Arc<Sandbox>,
    shelf: Shelf,
    executor: ExecutorHandle,
    users: Option<Users>,
    tasks: JoinSet<Ended>,
    /// The latest load of each plugin; earlier ones were stopped.
    newest: HashMap<PluginName, Newest>,
    started: u64,
    /// Notified when a compiler begins or ends.
    compilers: Arc<Notify>,
}

struct Newest {
    compiler: Compiler,
    load: u64,
    id: Digest,
    number: u64,
    task: AbortHandle,
}

/// Whether a compiler works for a load.
#[derive(Clone)]
struct Compiler {
    is_at_work: Arc<AtomicBool>,
    changed: Arc<Notify>,
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
            tasks: JoinSet::new(),
            newest: HashMap::new(),
            started: 0,
            compilers: Arc::default(),
        }
    }

    /// Starts to load what is ordered, in the place of whatever is being loaded for the same plugin. What could be
    /// loaded is kept on the shelf.
    pub(super) fn start(&mut self, order: Order) {
        if self.newest.get(&order.name).is_some_and(|newest| newest.id == order.id) {
            return;
        }
        self.forget(&order.name);
        self.started += 1;
        let load = self.started;
        let (name, id, number) = (order.name.clone(), order.id.clone(), order.number);
        let (sandbox, shelf) = (self.sandbox.clone(), self.shelf.clone());
        let (executor, users) = (self.executor.clone(), self.users.clone());
        let compiler = Compiler { is_at_work: Arc::default(), changed: self.compilers.clone() };
        let of_load = compiler.clone();
        let task = self.tasks.spawn(panics::named("loader", async move {
            let mut is_final = true;
            let loading = order.load(sandbox, shelf, executor, users, &of_load, &mut is_final);
            let ended = panics::contained_while("load", loading).await;
            let result =
                ended.unwrap_or_else(|panicked| Err(fault_of_host(&order.origin, &panicked.to_string())));
            let Order { name, id, number, stands_in, .. } = order;
            Ended { name, id, number, stands_in, is_final, result, load }
        }));
        self.newest.insert(name, Newest { compiler, load, id, number, task });
    }

    /// What is no longer to be loaded.
    pub(super) fn forget(&mut self, name: &PluginName) {
        if let Some(newest) = self.newest.remove(name) {
            newest.task.abort();
        }
    }

    /// Stops all loads.
    pub(super) fn stop(&mut self) {
        self.newest.clear();
        self.tasks.abort_all();
    }

    /// The plugins that are being loaded.
    pub(super) fn names(&self) -> impl Iterator<Item = &PluginName> {
        self.newest.keys()
    }

    /// Whether this plugin is being loaded.
    pub(super) fn has(&self, name: &PluginName) -> bool {
        self.newest.contains_key(name)
    }

    /// Whether a compiler works on this plugin now.
    pub(super) fn is_compiling(&self, name: &PluginName) -> bool {
        self.newest.get(name).is_some_and(|newest| newest.compiler.is_at_work.load(Relaxed))
    }

    /// Notified when a compiler begins or ends.
    pub(super) fn compilers(&self) -> Arc<Notify> {
        self.compilers.clone()
    }

    /// Whether a deploy of the fleet is being loaded. Its queues are not known yet.
    pub(super) fn has_deploys(&self) -> bool {
        self.newest.values().any(|newest| newest.number > 0)
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
            if self.newest.get(&ended.name).is_some_and(|newest| newest.load == ended.load) {
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

impl Order {
    /// Fetches and loads the plugin when it is its turn.
    async fn load(
        &self,
        sandbox: Arc<Sandbox>,
        shelf: Shelf,
        executor: ExecutorHandle,
        users: Option<Users>,
        compiler: &Compiler,
        is_final: &mut bool,
    ) -> Result<Loaded, Problems> {
        let unavailable = |unavailable: Unavailable, is_final: &mut bool| {
            *is_final = unavailable.is_final;
            unavailable.problems
        };
        let mut claim = self.claim(&sandbox);
        let mut loaded = loop {
            let turn = sandbox.line().turn(claim.clone()).await;
            // Fetched only in its turn, because a waiting load must not use memory.
            let offer = (self.offer)().await.map_err(|error| unavailable(error, is_final))?;
            // A superseded load is dropped here, which stops its compiler.
            let _wanted = turn.wanted();
            if !claim.is_kept {
                compiler.begin(&offer);
            }
            let (of_load, shelf) = (sandbox.clone(), shelf.clone());
            let loading = run_blocking(&executor, move || load_and_keep(&offer, &of_load, &shelf, &turn));
            let loading = loading.await;
            compiler.end();
            match loading.unwrap_or_else(|fault| Err(fault_of_host(&self.origin, &fault)))? {
                Some(loaded) => break loaded,
                None if claim.is_kept => claim.is_kept = false,
                None => {
                    claim.is_long = true;
                    tracing::info!(
                        plugin = self.name.as_str(),
                        "the component takes long to compile; other plugins are compiled first"
                    );
                }
            }
        };
        if let Some(users) = users {
            loaded = users.admit(loaded).await.map_err(|error| unavailable(error, is_final))?;
        }
        if let Some(trial) = &self.trial
            && loaded.manifest.kind == Kind::ConfigReader
            && let Err(reason) = trial.run(&loaded, &executor).await
        {
            let text = format!("gives no settings: {reason}; the previous version keeps running");
            return Err(Problems::one(Problem::new(&self.origin, text)));
        }
        Ok(loaded)
    }

    fn claim(&self, sandbox: &Sandbox) -> Claim {
        let (component, length) = &self.component;
        Claim {
            plugin: self.name.as_str().to_owned(),
            digest: component.as_str().to_owned(),
            bytes: length.unwrap_or(u64::MAX),
            is_kept: sandbox.keeps(component.as_str()),
            is_long: false,
        }
    }
}

impl Compiler {
    fn begin(&self, offer: &Offer) {
        let Source { name, component, .. } = &offer.source;
        let version = offer.release.component.short();
        let size = size(component.len());
        tracing::info!(plugin = name.as_str(), version, size, "compiling");
        self.set(true);
    }

    fn end(&self) {
        self.set(false);
    }

    fn set(&self, is_at_work: bool) {
        if self.is_at_work.swap(is_at_work, Relaxed) != is_at_work {
            self.changed.notify_one();
        }
    }
}

/// A size for people, rounded up.
fn size(bytes: usize) -> String {
    match bytes.div_ceil(1 << 10) {
        kib @ ..1024 => format!("{kib} KiB"),
        kib => format!("{} MiB", kib.div_ceil(1024)),
    }
}

fn fault_of_host(origin: &str, fault: &str) -> Problems {
    Problems::one(Problem::new(origin, format!("loading failed inside the host: {fault}")))
}

/// Loads the fetched plugin and keeps it on the shelf. None if the load needs another turn.
fn load_and_keep(
    offer: &Offer,
    sandbox: &Sandbox,
    shelf: &Shelf,
    turn: &Turn,
) -> Result<Option<Loaded>, Problems> {
    let Offer { source, release, .. } = offer;
    let Some(loaded) = load_in(source, sandbox, turn)? else { return Ok(None) };
    let Compiled { took, is_cached } = loaded.version.compiled();
    if !is_cached {
        let (plugin, version) = (loaded.name.as_str(), loaded.version.short_digest());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(plugin, version, took_ms, "compiled");
    }
    if let Err(error) = shelf.put(&loaded.name, release, &source.component) {
        let plugin = loaded.name.as_str();
        tracing::warn!(plugin, %error, "the version is not kept for a rollback");
    }
    Ok(Some(loaded))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::sandbox::engine::PoolSettings;
    use crate::sandbox::{CompileLimits, Compiling, Tier};
    use crate::worker::executor::Executor;

    #[test]
    fn a_load_that_panics_ends_as_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let limits = CompileLimits::default();
        let compiling =
            Compiling { program: "/bin/false".into(), limits, cache: None, tier: Tier::default() };
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
            component: (Digest::of(b"p"), None),
            offer: Box::new(|| async { panic!("no such chunk") }.boxed()),
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
