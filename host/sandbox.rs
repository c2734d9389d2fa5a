//! Runs components: the engine, what loading refuses, a store for each run, and what became of a run. It
//! knows nothing of queues, retries or files; what a guest can reach is in `capability`.

mod binding;
pub mod bytes;
pub mod compile;
pub mod engine;
mod fuse;
pub mod instance;
pub mod limits;
pub mod load;
mod offer;
pub mod outcome;
pub mod profile;
pub mod reading;
pub mod run;
pub mod snapshot;
mod store;
mod ticker;
mod trial;
mod wasi;

pub use compile::line;
pub use compile::{CacheSettings, CompileLimits, Compiling};
pub use engine::{EngineError, PoolSettings, Sandbox};
pub use instance::Instance;
pub use limits::Limits;
pub use load::{Compiled, Kind, LoadError, NotLoaded, Terms, Version};
pub use outcome::Outcome;
pub use profile::{Profile, ProfileChoice, Tier};
pub use reading::ConfigReport;
pub use run::{BatchReport, JobCall, RunContext, RunReport};
pub use snapshot::SnapshotError;

/// What the worker has to know of a run's effects.
pub use crate::capability::acl::asks;
pub use crate::capability::contention::{Contention, Turn};
pub use crate::capability::foresight::Foresight;
pub use crate::capability::overlay::Pending;
pub use crate::capability::plan::{Atomic, Isolation, Plan, Pops, Take};
pub use crate::capability::status::Board;
pub use crate::capability::takings::{Drained, Takings};
