//! A component that begins where another one stands once it has started: it is started, handles jobs if there are any to
//! warm it up, and what its memories and globals hold then is written into it in place of what they held at first. Wizer
//! does the looking and the writing.

use std::sync::Arc;

use memchr::memmem;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{Instance as Started, Lift, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::binding::{batch::BatchExports, worker::WorkerExports};
use super::bytes::check_bytes;
use super::engine::Sandbox;
use super::instance::{Exports, Instance};
use super::limits::RunLimiter;
use super::load::{LoadError, START_TIMEOUT, Terms, Version};
use super::outcome::Outcome;
use super::profile::{Entry, Profile, ProfileChoice};
use super::run::{JobCall, RunContext};
use super::store::RunState;

/// The function of WASI's adapter that forgets handles. A guest that brings it calls it when it has started; there is no
/// seeing whether a handle is forgotten.
const FORGETS: &[u8] = b"reset_adapter_state";

/// Jobs that are handled before memory is looked at, one after the other in one instance. What they would change is dropped.
#[derive(Debug, Clone, Copy)]
pub struct WarmUp<'a> {
    /// The jobs.
    pub jobs: &'a [JobCall<'a>],
    /// What they can reach.
    pub context: &'a RunContext,
}

/// Why there is no snapshot. Each is the end of a sentence that begins with the component's name.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It has something that cannot be looked into or written down, such as tables that change.
    #[error("cannot be looked into: {0}")]
    Shape(String),
    /// It would be refused as it is.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It did not start, or a job did not end well.
    #[error("{what}: {}", outcome.reason())]
    Run {
        /// `does not start`, or which job.
        what: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// What it remembers of its host would mean nothing to another instance.
    #[error("holds on to something of its host, such as standard output, which a snapshot cannot keep")]
    Resources,
    /// An instance that is so large is not kept for another job, and so not looked into.
    #[error("has grown to more than half of `limits.memory`")]
    Grown,
    /// The snapshot was made and is of no use.
    #[error("does not work any more once it is a snapshot: it {0}")]
    Lame(Box<SnapshotError>),
}

impl Sandbox {
    /// Makes the snapshot after the jobs, or else as soon as the component has started, and tries it with them. Compiles
    /// twice: this takes long, and blocks for most of it.
    pub async fn snapshot(
        &self,
        terms: Terms,
        bytes: &[u8],
        warm_up: Option<WarmUp<'_>>,
    ) -> Result<Vec<u8>, SnapshotError> {
        check_bytes(bytes)?;
        let terms = Terms { reuse: u32::MAX, profile: ProfileChoice::Fixed(Profile::Compute), ..terms };
        let wizer = Wizer::new();
        let (context, open) = wizer.instrument_component(bytes).map_err(shape)?;
        let forgets = memmem::find(bytes, FORGETS).is_some();
        let (instance, started) = self.load(terms.clone(), &open)?.ready_for_all(warm_up, forgets).await?;
        let mut store = instance.store;
        // What looks into a memory writes on a page that it adds to it, and hands it over whole.
        store.data_mut().limiter = RunLimiter::new(u64::MAX);
        store.set_hostcall_fuel(usize::MAX);
        let mut open = Open { store, started, broken: None };
        let snapshot = wizer.snapshot_component(&context, &mut open).await;
        let snapshot = open.broken.map_or(snapshot, Err).map_err(shape)?;
        let lame = |error| SnapshotError::Lame(Box::new(error));
        let version = self.load(terms, &snapshot).map_err(|error| lame(error.into()))?;
        version.ready_for_all(warm_up, forgets).await.map_err(lame)?;
        Ok(snapshot)
    }
}

impl Version {
    /// An instance that has started and handled the jobs. `forgets`: handles it had before them are not its any more.
    async fn ready_for_all(
        &self,
        warm_up: Option<WarmUp<'_>>,
        forgets: bool,
    ) -> Result<(Instance, Started), SnapshotError> {
        let (mut instance, started) = self.begin().await?;
        let forgotten = if forgets { resources(&mut instance) } else { 0 };
        let mut kept = Some(instance);
        let jobs = warm_up.iter().flat_map(|warm_up| warm_up.jobs.iter().map(|job| (job, warm_up.context)));
        for (nth, (job, context)) in jobs.enumerate() {
            let outcome = match &self.code().entry {
                Entry::Batch(_) => {
                    self.run_batch_in(&mut kept, std::slice::from_ref(job), context).await.of_one().outcome
                }
                _ => self.run_job_in(&mut kept, *job, context).await.outcome,
            };
            if outcome != Outcome::Done {
                return Err(SnapshotError::Run {
                    what: format!("does not complete job {}", nth + 1),
                    outcome,
                });
            }
        }
        let mut instance = kept.ok_or(SnapshotError::Grown)?;
        if resources(&mut instance) > forgotten {
            return Err(SnapshotError::Resources);
        }
        Ok((instance, started))
    }

    /// An instance that has started and done nothing.
    async fn begin(&self) -> Result<(Instance, Started), SnapshotError> {
        let code = self.code();
        let pre = match &code.entry {
            Entry::Worker(pre) => pre.instance_pre(),
            Entry::Batch(pre) => pre.instance_pre(),
            Entry::Reader(pre) => pre.instance_pre(),
        };
        let _running = code.core.ticker.enter();
        let mut store = self.store(&code.core, None, &Arc::default(), "snapshot");
        let does_not = |outcome| SnapshotError::Run { what: "does not start".to_owned(), outcome };
        let started = match timeout(START_TIMEOUT, pre.instantiate_async(&mut store)).await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return Err(does_not(self.broke(&error, &store))),
            Err(_) => return Err(does_not(Outcome::TimedOut)),
        };
        let exports = match &code.entry {
            Entry::Worker(_) => {
                Some(Exports::Worker(WorkerExports::new(&mut store, &started).map_err(shape)?))
            }
            Entry::Batch(_) => Some(Exports::Batch(BatchExports::new(&mut store, &started).map_err(shape)?)),
            Entry::Reader(_) => None,
        };
        Ok((self.instance(store, exports), started))
    }
}

/// An instance whose insides are exported.
struct Open {
    store: Store<RunState>,
    started: Started,
    broken: Option<wasmtime::Error>,
}

impl Open {
    async fn call<R: Lift + 'static>(&mut self, interface: &str, name: &str) -> wasmtime::Result<R> {
        let missing = || wasmtime::format_err!("`{interface}` has no `{name}`");
        let (_, interface) = self.started.get_export(&mut self.store, None, interface).ok_or_else(missing)?;
        let (_, function) =
            self.started.get_export(&mut self.store, Some(&interface), name).ok_or_else(missing)?;
        let function = self.started.get_typed_func::<(), (R,)>(&mut self.store, function)?;
        Ok(function.call_async(&mut self.store, ()).await?.0)
    }

    /// The same; what went wrong is told at the end.
    async fn read<R: Lift + Default + 'static>(&mut self, interface: &str, name: &str) -> R {
        let answer = self.call(interface, name).await;
        answer.unwrap_or_else(|error| {
            self.broken = Some(error);
            R::default()
        })
    }
}

impl ComponentInstanceState for Open {
    async fn call_func_ret_list_u8(
        &mut self,
        interface: &str,
        name: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(interface, name).await {
            Ok(list) => contents(list.as_le_slice(&self.store)),
            Err(error) => self.broken = Some(error),
        }
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.read(interface, name).await
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.read(interface, name).await
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.read::<f32>(interface, name).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.read::<f64>(interface, name).await.to_bits()
    }
}

/// What the guest may have handles of.
fn resources(instance: &mut Instance) -> usize {
    instance.store.data_mut().wasi.as_mut().map_or(0, |wasi| wasi.resources())
}

fn shape(error: wasmtime::Error) -> SnapshotError {
    SnapshotError::Shape(format!("{error:#}"))
}
