//! The compiler's side: it gives up what it will not need before it looks at the component.

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmtime::{Engine, OutOfMemory};

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

/// Bounds this process for the rest of its life.
pub fn confine(memory_bytes: u64, processor_s: u64) -> std::io::Result<()> {
    for (resource, most, grace) in [
        (Resource::Core, 0, 0),
        (Resource::Nofile, FILES_MAX, 0),
        // The answer is not larger than the memory it was made in.
        (Resource::Fsize, memory_bytes, 0),
        // What is written to counts here, reserved addresses do not.
        (Resource::Data, memory_bytes, 0),
        (Resource::As, memory_bytes.saturating_add(RESERVED_BYTES), 0),
        // At the first bound comes the signal that names it, at the second one that names nothing.
        (Resource::Cpu, processor_s, 1),
    ] {
        let (current, maximum) = (Some(most), Some(most.saturating_add(grace)));
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    Ok(())
}

/// Compiles a component for the engine with this profile that hosts of this version have; the error is a code and the
/// reason.
pub fn compile(component: &[u8], profile: Profile) -> Result<Vec<u8>, (ExitCode, String)> {
    // Without the pool, which only running needs.
    let engine = Engine::new(&engine::code_config(profile));
    let code = engine.and_then(|engine| {
        // What cannot be joined after all is compiled as it is, and refused for its own reasons.
        let fused = fuse::fuse(component).and_then(|fused| engine.precompile_component(&fused).ok());
        fused.map_or_else(|| engine.precompile_component(component), Ok)
    });
    code.map_err(|error| {
        let memory = error.is::<OutOfMemory>();
        (if memory { ExitCode::OUT_OF_MEMORY } else { ExitCode::REFUSED }, format!("{error:#}"))
    })
}
