//! The engines, one for each profile: their settings, the pools that instances come from, and what each kind of component
//! is linked with.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::compile::line::Line;
use super::compile::{Compiler, Compiling};
use super::limits::{INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::offer::HANDLER;
use super::profile::{Profile, ProfileChoice};
use super::store::{HasView, RunState};
use super::ticker::Ticker;
use super::trial::WAITING_BYTES_MAX;
use crate::capability::binding::{sandhog::worker as offered, wasi};
use crate::capability::voice::Voice;

/// Stack for the guest's own frames.
const WASM_STACK_BYTES: usize = 256 * 1024;
/// Stack of a run: the guest's frames, and above them those of the host functions it calls.
const RUN_STACK_BYTES: usize = 512 * 1024;
/// Memory of a slot that is cleared page by page, as far as the run has written to it, instead of being given back and
/// taken again: a guest that writes to no more of it causes one system call per run, which tells those pages.
const KEEP_RESIDENT_BYTES: usize = 4 << 20;
/// The same where the kernel does not tell (Linux before 6.7): all of it is cleared, written to or not, so a large one would
/// cost more than giving it back.
const KEEP_RESIDENT_BYTES_BLIND: usize = 256 << 10;
/// The same for tables, which are small.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 * 1024;
/// Slots that stay warm for the next run of the same component; bounds what idle slots keep resident.
const WARM_SLOTS: u32 = 64;
/// Memories and tables in the pool for each run; one that has more takes them from others.
const MEMORIES_PER_RUN: u32 = 2;
const TABLES_PER_RUN: u32 = 8;
/// The engine's own record of one instance: 32 bytes for each function that is in a table.
const INSTANCE_BYTES_MAX: usize = 512 << 10;

/// What one run may need besides its memory: its stack, its tables, the records of its instances, handles of WASI.
pub const RUN_OVERHEAD_BYTES: u64 =
    (RUN_STACK_BYTES + TABLE_ELEMENTS_MAX * 16 + (INSTANCES_MAX + 1) * INSTANCE_BYTES_MAX + (1 << 20)) as u64;
/// What both engines keep for slots that nothing runs in: memories that stay warm, as far as the pool has so many, and
/// tables of as many runs; and components that may be compiled once more.
pub fn idle_bytes(instances: u32) -> u64 {
    let memories = instances.saturating_mul(MEMORIES_PER_RUN).min(WARM_SLOTS);
    let tables = WARM_SLOTS * TABLES_PER_RUN;
    let slots = u64::from(memories) * KEEP_RESIDENT_BYTES as u64
        + u64::from(tables) * TABLE_KEEP_RESIDENT_BYTES as u64;
    2 * slots + WAITING_BYTES_MAX
}

/// How many runs fit on a host, and how large they may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Runs at once.
    pub instances: u32,
    /// Largest memory of one run.
    pub memory_bytes_max: u64,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { instances: 1000, memory_bytes_max: 1 << 30 }
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The pool could not be made.
    #[error(
        "cannot make a pool of {instances} instances: {cause}; each reserves about 8 GiB of address space (not memory): \
         lower `limits.instances` in the settings, or raise the limit of this process (`ulimit -v`)"
    )]
    Pool {
        /// What was asked for.
        instances: u32,
        /// What the engine said.
        cause: String,
    },
    /// The host's functions could not be linked.
    #[error("cannot link the host's functions: {0}")]
    Link(String),
    /// The thread that makes busy guests yield did not start.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Where components are loaded. Clones share the engines, which live until the last version made here is gone.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engines: Arc<Engines>,
}

/// What versions share.
pub(super) struct Engines {
    pub(super) pool: PoolSettings,
    compiling: Compiling,
    /// The queue of all loads, shared by all engines.
    pub(super) line: Line,
    /// The engine of the tier, and others since they were first needed.
    cores: Mutex<Vec<Arc<Core>>>,
    /// Voices of plugins that have a version loaded.
    pub(super) voices: Mutex<HashMap<String, Weak<Voice>>>,
    /// Bytes of components that may be compiled once more.
    pub(super) waiting: Arc<AtomicU64>,
}

/// An engine with what belongs to it.
pub(super) struct Core {
    pub(super) profile: Profile,
    pub(super) engine: Engine,
    pub(super) compiler: Compiler,
    pub(super) workers: Linker<RunState>,
    pub(super) readers: Linker<RunState>,
    pub(super) ticker: Ticker,
}

impl Sandbox {
    /// Starts an engine. Its pool reserves address space, not memory.
    pub fn new(pool: &PoolSettings, compiling: Compiling) -> Result<Self, EngineError> {
        let line = Line::default();
        let first = Arc::new(Core::new(pool, &compiling, &line, compiling.tier.profile())?);
        let (cores, voices, waiting, pool) =
            (Mutex::new(vec![first]), Mutex::default(), Arc::default(), pool.clone());
        let engines = Engines { pool, compiling, line, cores, voices, waiting };
        Ok(Self { engines: Arc::new(engines) })
    }

    /// Components that were compiled for this sandbox; those found in the cache do not count.
    pub fn compiled(&self) -> u64 {
        self.engines.cores().iter().map(|core| core.compiler.compiled()).sum()
    }
}

impl Engines {
    /// Whether an existing engine has compiled code of the component with this digest.
    pub(super) fn keeps(&self, digest: &str) -> bool {
        self.cores().iter().any(|core| core.compiler.keeps(digest))
    }

    /// The engine for a component: the one that its manifest names, or that of the tier.
    pub(super) fn core_for(&self, choice: ProfileChoice) -> Result<Arc<Core>, EngineError> {
        match (choice, self.compiling.tier) {
            (ProfileChoice::Fixed(Profile::Compute) | ProfileChoice::Auto, tier) => self.core(tier.profile()),
            (ProfileChoice::Fixed(profile), _) => self.core(profile),
        }
    }

    fn cores(&self) -> MutexGuard<'_, Vec<Arc<Core>>> {
        self.cores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine with this profile.
    pub(super) fn core(&self, profile: Profile) -> Result<Arc<Core>, EngineError> {
        let mut cores = self.cores();
        if let Some(core) = cores.iter().find(|core| core.profile == profile) {
            return Ok(core.clone());
        }
        let core = Arc::new(Core::new(&self.pool, &self.compiling, &self.line, profile)?);
        cores.push(core.clone());
        Ok(core)
    }
}

impl Core {
    fn new(
        pool: &PoolSettings,
        compiling: &Compiling,
        line: &Line,
        profile: Profile,
    ) -> Result<Self, EngineError> {
        let engine = Engine::new(&config(pool, profile))
            .map_err(|error| EngineError::Pool { instances: pool.instances, cause: format!("{error:#}") })?;
        let link = |error: wasmtime::Error| EngineError::Link(format!("{error:#}"));
        let readers = reader_linker(&engine).map_err(link)?;
        let mut workers = readers.clone();
        offered::queue::add_to_linker::<_, HasView>(&mut workers, |state| &mut state.view).map_err(link)?;
        offered::status::add_to_linker::<_, HasView>(&mut workers, |state| &mut state.view).map_err(link)?;
        handler_types(&mut workers).map_err(link)?;
        let ticker = Ticker::start(&engine)?;
        let compiler = Compiler::new(&engine, compiling.clone(), line.clone(), profile);
        Ok(Self { profile, engine, compiler, workers, readers, ticker })
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

fn config(pool: &PoolSettings, profile: Profile) -> Config {
    let instances = pool.instances;
    let mut pooling = PoolingAllocationConfig::default();
    let keep = match PoolingAllocationConfig::is_pagemap_scan_available() {
        true => KEEP_RESIDENT_BYTES,
        false => KEEP_RESIDENT_BYTES_BLIND,
    };
    pooling
        .total_component_instances(instances)
        .total_stacks(instances)
        // Of core instances only their number is bounded, so there are as many as components may have. Memories and tables
        // take address space: our guest libraries have one memory, as interpreters have.
        .total_core_instances(instances.saturating_mul(INSTANCES_MAX as u32))
        .total_memories(instances.saturating_mul(MEMORIES_PER_RUN))
        .total_tables(instances.saturating_mul(TABLES_PER_RUN))
        .max_core_instances_per_component(INSTANCES_MAX as u32)
        .max_memories_per_component(MEMORIES_MAX as u32)
        .max_tables_per_component(TABLES_MAX as u32)
        .max_memories_per_module(MEMORIES_MAX as u32)
        .max_tables_per_module(TABLES_MAX as u32)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(usize::try_from(pool.memory_bytes_max).unwrap_or(usize::MAX))
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_SLOTS)
        .pagemap_scan(Enabled::Auto);
    let mut config = code_config(profile);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    config
}

/// The settings that compiled code depends on; who only compiles needs no others.
pub(super) fn code_config(profile: Profile) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(RUN_STACK_BYTES)
        // Calls are synchronous in the contract; without it a store holds less.
        .concurrency_support(false);
    profile.configure(&mut config);
    config
}

/// Batch workers import the types of `handler`; toolchains of interpreters import the function that stands beside them, too,
/// though nothing calls it.
fn handler_types(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    linker.instance(HANDLER)?.func_new("handle", |_, _, _, _| {
        Err(wasmtime::format_err!("the guest called `handle`, which is for it to export"))
    })
}

/// Everything but `queue` and `status`, which config readers do not have.
fn reader_linker(engine: &Engine) -> wasmtime::Result<Linker<RunState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    offered::types::add_to_linker::<_, HasView>(&mut linker, |state: &mut RunState| &mut state.view)?;
    offered::kv::add_to_linker::<_, HasView>(&mut linker, |state| &mut state.view)?;
    wasi::config::store::add_to_linker::<_, HasView>(&mut linker, |state| &mut state.view)?;
    wasi::logging::logging::add_to_linker::<_, HasView>(&mut linker, |state| &mut state.view)?;
    Ok(linker)
}
