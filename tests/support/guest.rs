//! Guests written as text: a core module that speaks the canonical ABI, made a component for one of our worlds;
//! and what is needed to run them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sandhog::capability::grant::{Grants, Patterns};
use sandhog::capability::plan::Plan;
use sandhog::sandbox::{
    CacheSettings, CompileLimits, Compiling, JobCall, Kind, Limits, PoolSettings, ProfileChoice, RunContext,
    RunReport, Sandbox, Terms, Tier, Version,
};
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve};

/// The engine all tests share: each would reserve its own address space.
pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let pool = PoolSettings { instances: 64, memory_bytes_max: 256 << 20 };
    // What one run of the tests has compiled, the next one finds.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let cache = CacheSettings { folder, bytes_max: 256 << 20, make: true };
    SANDBOX.get_or_init(|| Sandbox::new(&pool, Compiling { cache: Some(cache), ..compiling() }).unwrap())
}

/// The program under test, which is also what compiles.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_sandhog"))
}

/// Compiling each time, within the usual bounds.
pub fn compiling() -> Compiling {
    Compiling { program: program(), limits: CompileLimits::default(), cache: None, tier: Tier::default() }
}

/// A component for `world` made of the core module `text`. Worlds are those of `wit/`, and those of
/// `wasi.wit`.
pub fn component(world: &str, text: &str) -> Vec<u8> {
    static CONTRACT: OnceLock<(Resolve, [PackageId; 2])> = OnceLock::new();
    let (resolve, [contract, wasi]) = CONTRACT.get_or_init(|| {
        let mut resolve = Resolve::default();
        let (contract, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")).unwrap();
        let wasi = resolve.push_str("wasi.wit", include_str!("wasi.wit")).unwrap();
        (resolve, [contract, wasi])
    });
    let package = if ["wasi-worker", "typed-worker"].contains(&world) { *wasi } else { *contract };
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// What a worker module needs besides its handler: a result area of zeros at 0 (which reads `ok`), an allocator
/// from 64 KiB on, and the memory.
const PRELUDE: &str = r#"
    (global $heap (mut i32) (i32.const 65536))
    (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
        (global.set $heap (i32.add (local.get $at) (local.get 3)))
        (loop $more (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (then
            (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
            (br $more))))
        (local.get $at))
"#;

/// The core module of a worker: `imports`, then `items` (functions, data), then the body of `handle`, which
/// leaves the address of its answer on the stack. A job's payload is at `$payload`, `$length` bytes.
pub fn worker_text(imports: &str, items: &str, body: &str) -> String {
    format!(
        r#"(module $guest {imports} (memory (export "memory") 4) {PRELUDE} {items}
        (func $handle (export "sandhog:worker/handler@0.1.0#handle")
            (param $id i32) (param $id_length i32) (param $queue i32) (param $queue_length i32)
            (param $payload i32) (param $length i32) (param $attempt i32) (param $max i32)
            (param $seen i64) (param $headers i32) (param $headers_count i32) (result i32)
            {body}))"#
    )
}

/// A worker.
pub fn worker(imports: &str, items: &str, body: &str) -> Vec<u8> {
    component("queue-worker", &worker_text(imports, items, body))
}

/// A worker that imports WASI.
pub fn wasi_worker(imports: &str, items: &str, body: &str) -> Vec<u8> {
    component("wasi-worker", &worker_text(imports, items, body))
}

/// A config reader; `body` leaves the address of its answer on the stack.
pub fn reader(imports: &str, items: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module $guest {imports} (memory (export "memory") 4) {PRELUDE} {items}
        (func (export "sandhog:worker/config-source@0.1.0#read") (result i32) {body}))"#
    );
    component("config-reader", &text)
}

/// Terms of a worker that may do nothing.
pub fn terms() -> Terms {
    Terms {
        plugin: "test".to_owned(),
        kind: Kind::Worker,
        grants: Arc::default(),
        limits: Limits::default(),
        config: Arc::default(),
        reuse: 1,
        profile: ProfileChoice::default(),
    }
}

/// Grants for everything.
pub fn all_grants() -> Arc<Grants> {
    let all = || Patterns::new(&["*"]);
    Arc::new(Grants {
        kv_read: all(),
        kv_write: all(),
        queue_push: all(),
        queue_pop: all(),
        config: Vec::new(),
    })
}

/// A version under the terms of `terms`.
pub fn load(component: &[u8]) -> Version {
    sandbox().load(terms(), component).unwrap()
}

/// A connection to a Redis that is not there.
pub fn no_redis() -> Link {
    let address = Address::parse("unix:///nonexistent/redis.sock", TlsFiles::default()).unwrap();
    Link::new(&address, "test", Duration::from_secs(1), Tracking::Off).unwrap()
}

/// What runs share, with a generous timeout.
pub fn context(link: Link) -> RunContext {
    RunContext {
        link,
        settings: Arc::new(BTreeMap::new()),
        timeout: Duration::from_secs(20),
        plan: Plan::Immediate,
        foresight: None,
        board: None,
    }
}

/// Some job.
pub fn job(payload: &[u8]) -> JobCall<'_> {
    JobCall {
        id: "job-1",
        queue: "orders",
        payload,
        attempt: 1,
        max_attempts: 5,
        first_seen_ms: 1_700_000_000_000,
        headers: &[],
    }
}

/// Runs an empty job without Redis, within `timeout`.
pub async fn run_within(version: &Version, timeout: Duration) -> RunReport {
    version.run_job(job(b""), &RunContext { timeout, ..context(no_redis()) }).await
}

/// Runs an empty job without Redis.
pub async fn run(version: &Version) -> RunReport {
    version.run_job(job(b""), &context(no_redis())).await
}
