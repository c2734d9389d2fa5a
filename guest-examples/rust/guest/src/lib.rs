//! An allocator for guests that live for one job.
//!
//! It hands out the memory the module starts with, and grows only when that is used up: `memory.grow` costs the
//! host two system calls per job. Link it with `use guest as _;` and give the module an initial memory with room
//! in it (`../../.cargo/config.toml`).
//!
//! Freed blocks are kept in one list per size class and used again for the same class, so a guest whose sandbox
//! serves many jobs does not grow without end. Blocks are never split or joined: that is the price of 100 lines.

#[cfg(any(test, target_arch = "wasm32"))]
mod size_class;

#[cfg(target_arch = "wasm32")]
mod heap;
