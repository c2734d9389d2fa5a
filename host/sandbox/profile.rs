//! The two ways in which compiled code keeps a guest within its memory. One has pages around it that cannot be
//! touched: code is as fast as can be, and growing the memory costs two system calls that hold up every other core. The
//! other compares before each access: growing costs nothing, computing up to twice as much. One engine for each; `trial`
//! finds out which suits a component.

use wasmtime::Config;
use wasmtime::component::Component;

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
        }
    }

    /// The profile with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Compute, Self::Short].into_iter().find(|profile| profile.word() == word)
    }

    /// Adds what code depends on.
    pub(super) fn configure(self, config: &mut Config) {
        if self == Self::Short {
            config.signals_based_traps(false).memory_guard_size(0);
        }
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
