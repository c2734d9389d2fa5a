//! A sandbox for targets that run or compile something.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use sandhog::capability::limits::Limits;
use sandhog::sandbox::{
    CacheSettings, CompileLimits, Compiling, Kind, PoolSettings, ProfileChoice, Sandbox, Terms, Tier,
};

/// The program, for its hidden subcommand that compiles. `make fuzz` names it.
pub fn program() -> PathBuf {
    let named =
        std::env::var_os("SANDHOG_PROGRAM").expect("SANDHOG_PROGRAM names the program: run `make fuzz`");
    PathBuf::from(named)
}

/// A sandbox that keeps what it compiles in this folder, if there is one.
pub fn sandbox_with(cache: Option<CacheSettings>) -> Sandbox {
    let pool = PoolSettings { instances: 4, memory_bytes_max: 64 << 20 };
    let limits = CompileLimits { memory_bytes: 1 << 30, time: Duration::from_secs(5) };
    Sandbox::new(&pool, Compiling { program: program(), limits, cache, tier: Tier::default() })
        .expect("a sandbox")
}

/// The sandbox of this process.
#[allow(dead_code, reason = "not every target has one of these")]
pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| sandbox_with(None))
}

/// A worker that may do nothing, with little to use.
pub fn terms() -> Terms {
    let limits =
        Limits { memory_bytes: 16 << 20, value_bytes: 64 << 10, log_bytes: 1 << 10, ..Limits::default() };
    Terms {
        plugin: "fuzz".to_owned(),
        kind: Kind::Worker,
        grants: Default::default(),
        limits,
        config: Default::default(),
        reuse: 1,
        profile: ProfileChoice::default(),
    }
}
