//! The compiler's side: it gives up what it will not need before it looks at the component.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::{Engine, OutOfMemory};

use super::functions::Functions;
use crate::sandbox::engine;
use crate::sandbox::fuse;
use crate::sandbox::profile::Profile;

/// Address space beyond the memory allowed: the program itself, and what stacks and heaps of threads reserve
/// without using it.
const RESERVED_BYTES: u64 = 1 << 30;
/// Open files: the three standard ones, and what the C library opens for a moment.
const FILES_MAX: u64 = 16;

/// How a compiler ends, if not with a result; beside those of every other subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// The component cannot be compiled; the reason is the answer.
    pub const REFUSED: Self = Self(3);
    /// The memory allowed is not enough.
    pub const OUT_OF_MEMORY: Self = Self(4);
}

/// Seconds between the soft limit of processor time, which sends SIGXCPU, and the hard limit, which kills.
const GRACE_S: u64 = 1;

/// A resource limit of the compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// The soft limit, in the unit of the resource (bytes, seconds, files).
    pub(super) most: u64,
    /// Whether it is lower than what was asked for, because this process was started with less (`ulimit`).
    pub(super) is_inherited: bool,
    maximum: u64,
}

impl Bound {
    /// The limit `wanted`, or the limit of this process if that is lower; children inherit it. Limits are never
    /// raised: only root may do that.
    pub(super) fn of(resource: Resource, wanted: u64) -> Self {
        Self::below(getrlimit(resource).maximum, resource, wanted)
    }

    fn below(inherited: Option<u64>, resource: Resource, wanted: u64) -> Self {
        let grace = if resource == Resource::Cpu { GRACE_S } else { 0 };
        let maximum = wanted.saturating_add(grace).min(inherited.unwrap_or(u64::MAX));
        let most = wanted.min(maximum.saturating_sub(grace));
        Self { most, is_inherited: most < wanted, maximum }
    }
}

/// The limit of address space, in bytes, that goes with this limit of memory.
pub(super) fn address_space(memory_bytes: u64) -> u64 {
    memory_bytes.saturating_add(RESERVED_BYTES)
}

/// Less urgent than guests: beside one thread that computes, the compiler has a quarter of a processor.
const NICE: i32 = 5;

/// Bounds this process for the rest of its life, and lets others go first.
pub fn confine(memory_bytes: u64, processor_s: u64) -> std::io::Result<()> {
    // Where this is forbidden, compiling is as urgent as guests are.
    let _ = rustix::process::nice(NICE);
    limit(&[
        (Resource::Core, 0),
        (Resource::Nofile, FILES_MAX),
        // The answer is not larger than the memory it was made in.
        (Resource::Fsize, memory_bytes),
        // What is written to counts here, reserved addresses do not.
        (Resource::Data, memory_bytes),
        (Resource::As, address_space(memory_bytes)),
        (Resource::Cpu, processor_s),
    ])
}

/// As `confine`, for a process that also runs guests: its engine reserves addresses, and its jobs need files.
pub fn confine_with_guests(memory_bytes: u64, processor_s: u64) -> std::io::Result<()> {
    limit(&[(Resource::Core, 0), (Resource::Data, memory_bytes), (Resource::Cpu, processor_s)])
}

fn limit(wanted: &[(Resource, u64)]) -> std::io::Result<()> {
    for (resource, wanted) in wanted.iter().copied() {
        let bound = Bound::of(resource, wanted);
        setrlimit(resource, Rlimit { current: Some(bound.most), maximum: Some(bound.maximum) })?;
    }
    Ok(())
}

/// Compiles a component for the engine with this profile that hosts of this version have; the error is a code and the
/// reason.
///
/// With `functions`, those that were compiled before are taken from there, and new ones are put there.
pub fn compile(
    component: &[u8],
    profile: Profile,
    functions: Option<Arc<Functions>>,
) -> Result<Vec<u8>, (ExitCode, String)> {
    // Without the pool, which only running needs.
    let mut config = engine::code_config(profile);
    let known =
        functions.map_or(Ok(()), |functions| config.enable_incremental_compilation(functions).map(drop));
    let code = known.and_then(|()| Engine::new(&config)).and_then(|engine| {
        // What cannot be joined after all is compiled as it is, and refused for its own reasons.
        let fused = fuse::fuse(component).and_then(|fused| engine.precompile_component(&fused).ok());
        fused.map_or_else(|| engine.precompile_component(component), Ok)
    });
    code.map_err(|error| {
        let memory = error.is::<OutOfMemory>();
        (if memory { ExitCode::OUT_OF_MEMORY } else { ExitCode::REFUSED }, format!("{error:#}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_lowered_and_never_raised() {
        for (resource, inherited, wanted, most, maximum) in [
            (Resource::Fsize, None, 100, 100, 100),
            (Resource::Fsize, Some(100), 100, 100, 100),
            (Resource::Fsize, Some(30), 100, 30, 30),
            // SIGXCPU, which names the limit, comes before the kill.
            (Resource::Cpu, None, 60, 60, 61),
            (Resource::Cpu, Some(61), 60, 60, 61),
            (Resource::Cpu, Some(50), 60, 49, 50),
            (Resource::Cpu, Some(0), 60, 0, 0),
            (Resource::As, None, u64::MAX, u64::MAX, u64::MAX),
        ] {
            let bound = Bound::below(inherited, resource, wanted);
            assert_eq!((bound.most, bound.maximum), (most, maximum), "{resource:?} {inherited:?} {wanted}");
            assert_eq!(bound.is_inherited, most < wanted);
        }
    }
}
