//! Lines for the host's log, which marks them with plugin, version and job. Beyond the manifest's `limits.log_bytes` a run's
//! lines are dropped; logging never fails.
//!
//! ```no_run
//! use sandhog_guest::log;
//!
//! log::info!("order `{}` was booked before", "A-1");
//! log::write(log::Level::Warn, "ledger", "the rate is old");
//! ```

pub use crate::bindings::worker::wasi::logging::logging::Level;
pub use crate::{debug, error, info, trace, warn};

/// Writes one line; `context` names the part of the plugin that speaks, and may be empty.
pub fn write(level: Level, context: &str, message: &str) {
    crate::bindings::worker::wasi::logging::logging::log(level, context, message);
}

/// Writes a line about a step inside one operation, formatted as by `format!`.
#[macro_export]
macro_rules! trace {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::core::module_path!(), &::std::format!($($text)+)) };
}

/// Writes a line for whoever works on the handler, formatted as by `format!`.
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::core::module_path!(), &::std::format!($($text)+)) };
}

/// Writes a line that an operator may want to see, formatted as by `format!`.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::module_path!(), &::std::format!($($text)+)) };
}

/// Writes a line about something to look at, though the job goes on, formatted as by `format!`.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::module_path!(), &::std::format!($($text)+)) };
}

/// Writes a line about a job, or a part of it, that failed, formatted as by `format!`.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::module_path!(), &::std::format!($($text)+)) };
}
