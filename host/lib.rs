//! Sandhog runs untrusted job handlers as WebAssembly components on Redis queues.
//!
//! The library behind the `sandhog` program; `ARCHITECTURE.md` is its map.

pub mod app;
pub mod capability;
pub mod config;
pub mod escape;
pub mod job;
pub mod panics;
pub mod plugin;
pub mod sandbox;
pub mod storage;
pub mod telemetry;
pub mod worker;
