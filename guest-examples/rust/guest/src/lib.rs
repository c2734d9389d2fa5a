//! Handlers of Sandhog's jobs, as ordinary Rust: a function, and the capabilities it may use.
//!
//! ```no_run
//! use sandhog_guest::{Failure, Job, kv, queue};
//!
//! fn handle(job: Job) -> Result<(), Failure> {
//!     let name = job.text()?;
//!     let times = kv::increment(&format!("greeted:{name}"), 1)?;
//!     queue::push("greetings", &format!("hello, {name} ({times})"))?;
//!     Ok(())
//! }
//!
//! sandhog_guest::worker!(handle);
//! ```
//!
//! # What a crate of yours needs
//!
//! `crate-type = ["cdylib"]`, one of [`worker!`], [`batch!`] and [`config_reader!`], and the target
//! `wasm32-unknown-unknown`; `sandhog componentize` makes a component of what Cargo builds. `sandhog new NAME --lang rust`
//! writes such a project, with the flags that keep it small.
//!
//! # What `?` does
//!
//! A call that fails answers an [`Error`]; in a handler `?` turns it into what becomes of the job:
//!
//! | [`Error`] | [`Failure`] | because |
//! |---|---|---|
//! | `Unavailable` | retry, after the manifest's back-off | Redis did not answer: that passes |
//! | `Denied` | bury | the manifest must change; requeue the dead job then |
//! | `WrongType`, `Malformed` | bury | what is under the key does not get better by itself |
//! | `Quota` | bury | the same run would come to the same bound |
//! | `Setting` | retry | settings change while hosts run |
//!
//! Whoever wants something else maps the error: `.map_err(Failure::retry)`, `.map_err(Failure::bury)`,
//! `.map_err(Failure::discard)`.
//!
//! # Memory
//!
//! On `wasm32-unknown-unknown` this crate is the allocator. It hands out the memory that the module starts with, and
//! grows it only when that is used up: growing costs the host two system calls per job. So give the module some memory
//! to start with, and a small stack, in `.cargo/config.toml`:
//!
//! ```toml
//! [target.wasm32-unknown-unknown]
//! rustflags = ["-Clink-arg=-zstack-size=65536", "-Clink-arg=--initial-memory=262144"]
//! ```
//!
//! # Tests
//!
//! Everything compiles for your own machine, so that the parts of a handler that call no capability can have unit tests.
//! The calls themselves panic there; `sandhog test` runs the whole component.
//!
//! # Features
//!
//! - `serde`: values as JSON, `Json<T>`.

#[cfg(any(test, all(target_arch = "wasm32", target_os = "unknown")))]
mod size_class;

// Elsewhere (wasm32-wasip2) the C library has an allocator, which takes the same memory.
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod heap;

#[doc(hidden)]
pub mod bindings;

mod error;
mod job;
mod value;
mod world;

pub mod config;
pub mod kv;
pub mod log;
pub mod queue;
pub mod status;

pub use error::{Error, Failure, Result};
pub use job::Job;
#[cfg(feature = "serde")]
pub use value::Json;
pub use value::{FromValue, ToValue};
#[doc(hidden)]
pub use world::settings;
