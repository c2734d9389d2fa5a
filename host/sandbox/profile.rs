//! The two ways in which compiled code keeps a guest within its memory. One has pages around it that cannot be
//! touched: code is as fast as can be, and growing the memory costs two system calls that hold up every other core. The
//! other compares before each access: growing costs nothing, computing up to twice as much. One engine for each; `trial`
//! finds out which suits a component. A third engine has the baseline compiler, for authors who run their own code.

use wasmtime::component::Component;
use wasmtime::{Config, Strategy};

use std::sync::Arc;

use super::binding::{batch::BatchExportsPre, reader::ReaderExportsPre, worker::WorkerExportsPre};
use super::engine::Core;
use super::load::Kind;
use super::store::RunState;

/// What an engine is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Runs that compute: guard pages.
    Compute,
    /// Short runs of guests that grow their memory: explicit bounds checks.
    Short,
    /// Code that was compiled a moment ago and runs a few times: guard pages, and the baseline compiler (Winch).
    Baseline,
}

/// Which compiler is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// Cranelift alone, in which components of strangers run.
    #[default]
    Optimized,
    /// Winch, and Cranelift for what Winch cannot compile. Compiles in a fifth of the time, and the code runs more
    /// slowly. Only for commands whose user wrote the component: Winch had an escape from the sandbox in 2026
    /// (CVE-2026-34987), and one compiler is enough to watch where guests are not trusted.
    Baseline,
}

impl Tier {
    /// The tier for authors, if this program was built with it (the feature `baseline`).
    pub const FOR_AUTHORS: Self = if cfg!(feature = "baseline") { Self::Baseline } else { Self::Optimized };

    /// The profile of components that choose none.
    pub(super) fn profile(self) -> Profile {
        match self {
            Self::Optimized => Profile::Compute,
            Self::Baseline => Profile::Baseline,
        }
    }
}

/// What a manifest's `[engine] profile` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProfileChoice {
    /// Whichever runs the component faster, as measured while it works.
    #[default]
    Auto,
    /// This one.
    Fixed(Profile),
}

impl Profile {
    /// Its word in manifests, and for the compiler.
    pub fn word(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Short => "short",
            Self::Baseline => "baseline",
        }
    }

    /// The compiler of its code.
    pub fn compiler(self) -> &'static str {
        match self {
            Self::Compute | Self::Short => "Cranelift",
            Self::Baseline => "Winch",
        }
    }

    /// The profile with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Compute, Self::Short, Self::Baseline].into_iter().find(|profile| profile.word() == word)
    }

    /// Adds what code depends on.
    pub(super) fn configure(self, config: &mut Config) {
        match self {
            Self::Compute => config.strategy(Strategy::Cranelift),
            Self::Short => {
                config.strategy(Strategy::Cranelift).signals_based_traps(false).memory_guard_size(0)
            }
            Self::Baseline => config.strategy(Strategy::Winch),
        };
    }
}

/// A component's code, compiled for one of the engines and linked there.
pub(super) struct Code {
    pub(super) core: Arc<Core>,
    pub(super) entry: Entry,
}

/// What the host calls.
pub(super) enum Entry {
    Worker(WorkerExportsPre<RunState>),
    Batch(BatchExportsPre<RunState>),
    Reader(ReaderExportsPre<RunState>),
}

impl Code {
    /// Links a component that was compiled for this engine.
    pub(super) fn link(core: Arc<Core>, component: &Component, kind: Kind) -> wasmtime::Result<Self> {
        let entry = match kind {
            Kind::Worker => Entry::Worker(WorkerExportsPre::new(core.workers.instantiate_pre(component)?)?),
            Kind::BatchWorker => {
                Entry::Batch(BatchExportsPre::new(core.workers.instantiate_pre(component)?)?)
            }
            Kind::ConfigReader => {
                Entry::Reader(ReaderExportsPre::new(core.readers.instantiate_pre(component)?)?)
            }
        };
        Ok(Self { core, entry })
    }
}
