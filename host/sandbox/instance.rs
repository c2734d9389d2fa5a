//! Instances that outlive a run: the next job of the same version finds one that has started. One is given up after as
//! many runs as the operator allows, after any failure, and when its memory has grown. What the guest keeps in its memory
//! is there in the next run; nothing else is: what a run can reach is made anew each time.

use std::sync::Arc;

use wasmtime::Store;

use super::binding::{batch::BatchExports, worker::WorkerExports};
use super::engine::Core;
use super::load::Version;
use super::run::RunContext;
use super::store::RunState;
use crate::capability::view::Scope;

/// Of the memory it may have, the part that an instance may have grown to and still be kept.
const GROWN_PART: u64 = 2;

/// An instance of a version, in a run or between two.
pub struct Instance {
    pub(super) store: Store<RunState>,
    /// What the host calls; none before the first run has started it.
    pub(super) exports: Option<Exports>,
    scope: Arc<Scope>,
    runs: u32,
    /// Memory it had after its first run.
    first_bytes: u64,
}

/// What an instance exports.
pub(super) enum Exports {
    Worker(WorkerExports),
    Batch(BatchExports),
}

impl Instance {
    /// Whether `version` was instantiated here.
    pub fn is_of(&self, version: &Version) -> bool {
        Arc::ptr_eq(&self.scope, &version.scope)
    }

    /// The name of its plugin.
    pub fn plugin(&self) -> &str {
        &self.scope.plugin
    }

    fn memory_bytes(&self) -> u64 {
        self.store.data().limiter.memory_bytes()
    }
}

impl Version {
    /// Runs in one instance before it is thrown away.
    pub fn reuse(&self) -> u32 {
        self.reuse
    }

    /// The instance for a run of `job`: what was kept, if it is of this version, or a fresh one.
    pub(super) fn ready(
        &self,
        core: &Core,
        kept: &mut Option<Instance>,
        context: &RunContext,
        job: &str,
    ) -> Instance {
        let reach = Some((context.link.clone(), &context.plan));
        let Some(mut instance) = kept.take().filter(|instance| instance.is_of(self)) else {
            let store = self.store(core, reach, &context.settings, job);
            return self.instance(store, None);
        };
        instance.store.data_mut().renew(self.view(reach, &context.settings, job));
        instance
    }

    /// An instance that has had no run.
    pub(super) fn instance(&self, store: Store<RunState>, exports: Option<Exports>) -> Instance {
        Instance { store, exports, scope: self.scope.clone(), runs: 0, first_bytes: 0 }
    }

    /// Keeps an instance for the next run, unless it has to go: after a run that did not end `well` its state is anybody's
    /// guess, and one whose memory grows would fail a job that is not to blame.
    pub(super) fn keep(&self, mut instance: Instance, well: bool, kept: &mut Option<Instance>) {
        instance.runs += 1;
        let bytes = instance.memory_bytes();
        if instance.runs == 1 {
            instance.first_bytes = bytes;
        }
        let has_grown = bytes > instance.first_bytes && bytes > self.limits().memory_bytes / GROWN_PART;
        if well && instance.runs < self.reuse && !has_grown {
            instance.store.data_mut().rest();
            *kept = Some(instance);
        }
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({} runs)", self.runs)
    }
}
