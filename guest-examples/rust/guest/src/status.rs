//! How far a run is, and its result. For workers that handle one job at a time.

use crate::bindings::worker::sandhog::worker::status as raw;
use crate::error::Result;
use crate::value::ToValue;

/// Tells operators how far the run is: `done` of `total` (0: nobody knows), and a few words. Cheap, and never fails.
pub fn progress(done: u64, total: u64, note: &str) {
    raw::progress(done, total, note);
}

/// Sets the job's result, at most 64 KiB, for a producer that asked for one; the last call counts.
pub fn set_result(value: impl ToValue) -> Result<()> {
    Ok(raw::set_result(&value.to_value())?)
}
