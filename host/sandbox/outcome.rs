//! What became of a run. A guest's misbehaviour is a value here, never an error of the host.

use std::borrow::Cow;
use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::binding::batch::sandhog::worker::handler::Failure as BatchFailure;
use super::binding::worker::exports::sandhog::worker::handler::{Failure, RetryOptions};
use super::limits::RunLimiter;
use crate::capability::log::cut;
use crate::escape;

/// Longest reason a guest can give, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;
/// Longest backtrace that is kept, in bytes.
pub const BACKTRACE_BYTES_MAX: usize = 4096;
/// Longest wait a guest can ask for.
const AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How the engine begins to say that a guest has handed over too much in one call. Its error has no public type.
const COPIED_TOO_MUCH: &str = "too much data is being copied between the host and the guest";

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The guest is done with the job.
    Done,
    /// The guest wants to run again.
    Retry {
        /// Why.
        reason: String,
        /// When; none leaves it to the back-off.
        after: Option<Duration>,
    },
    /// The guest gave the job up; holds its reason.
    Buried(String),
    /// The guest wants the job dropped; holds its reason.
    Discarded(String),
    /// The guest broke a rule of WebAssembly or of the contract.
    Trapped {
        /// Which.
        reason: String,
        /// The guest's functions at that moment, innermost first, one a line; may be empty.
        backtrace: String,
    },
    /// The guest took longer than it may.
    TimedOut,
    /// The guest asked for more memory than it may have, and failed.
    OutOfMemory,
    /// The host could not run the guest; never counted as an attempt.
    HostFault(String),
    /// Redis was unavailable during the run, and the run did not complete; holds how it ended. Costs no attempt, up
    /// to a limit.
    Outage(String),
}

impl Outcome {
    /// The stable name of the kind of outcome, for logs and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry { .. } => "retry",
            Self::Buried(_) => "buried",
            Self::Discarded(_) => "discarded",
            Self::Trapped { .. } => "trapped",
            Self::TimedOut => "timed-out",
            Self::OutOfMemory => "out-of-memory",
            Self::HostFault(_) => "host-fault",
            Self::Outage(_) => "outage",
        }
    }

    /// Why the job is not done, in a line; empty if it is. Safe to print.
    pub fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::Done => "".into(),
            Self::Retry { reason, .. } | Self::Buried(reason) | Self::Discarded(reason) => reason.into(),
            Self::Trapped { reason, .. } => format!("trapped: {reason}").into(),
            Self::TimedOut => "timed out".into(),
            Self::OutOfMemory => "out of memory".into(),
            Self::HostFault(cause) => format!("host fault: {cause}").into(),
            Self::Outage(ended) => format!("Redis was unavailable: {ended}").into(),
        }
    }

    /// This outcome for a run during which Redis was unavailable: everything but a completion becomes an outage.
    pub(super) fn excused(self) -> Self {
        match self {
            Self::Done | Self::HostFault(_) | Self::Outage(_) => self,
            ended => Self::Outage(ended.reason().into_owned()),
        }
    }

    /// Whether neither the guest nor the job is to blame.
    pub fn is_blameless(&self) -> bool {
        matches!(self, Self::HostFault(_) | Self::Outage(_))
    }

    /// Bytes of the guest's own words in it.
    pub fn words(&self) -> usize {
        let backtrace = if let Self::Trapped { backtrace, .. } = self { backtrace.len() } else { 0 };
        self.reason().len() + backtrace
    }

    /// What the guest answered.
    pub(super) fn answered(answer: Result<(), Failure>) -> Self {
        match answer {
            Ok(()) => Self::Done,
            Err(Failure::Retry(options)) => Self::Retry {
                reason: tidy(&options.reason),
                after: options.after_ms.map(|ms| Duration::from_millis(ms).min(AFTER_MAX)),
            },
            Err(Failure::Bury(reason)) => Self::Buried(tidy(&reason)),
            Err(Failure::Discard(reason)) => Self::Discarded(tidy(&reason)),
        }
    }

    /// What the guest answered for one job of a batch.
    pub(super) fn answered_of_batch(answer: Result<(), BatchFailure>) -> Self {
        Self::answered(answer.map_err(|failure| match failure {
            BatchFailure::Retry(options) => {
                Failure::Retry(RetryOptions { reason: options.reason, after_ms: options.after_ms })
            }
            BatchFailure::Bury(reason) => Failure::Bury(reason),
            BatchFailure::Discard(reason) => Failure::Discard(reason),
        }))
    }

    /// What an error of the engine means. `call_bytes_max` is what the guest could hand over in one call.
    pub(super) fn broke(error: &wasmtime::Error, limiter: &RunLimiter, call_bytes_max: u64) -> Self {
        if let Some(limit) = error.downcast_ref::<PoolConcurrencyLimitError>() {
            return Self::HostFault(format!("`limits.instances` is too low: {limit}"));
        }
        if limiter.refused() {
            return Self::OutOfMemory;
        }
        if let Some(fault) = error.downcast_ref::<std::io::Error>() {
            return Self::HostFault(fault.to_string());
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(functions).unwrap_or_default();
        Self::Trapped { reason: trap_reason(error, call_bytes_max), backtrace }
    }
}

/// A guest's words, cut and made safe to print.
pub fn tidy(text: &str) -> String {
    let safe = escape::line(cut(text, REASON_BYTES_MAX));
    cut(&safe, REASON_BYTES_MAX).to_owned()
}

fn trap_reason(error: &wasmtime::Error, call_bytes_max: u64) -> String {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return format!("the guest called exit({})", exit.0);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "stack overflow".to_owned(),
        Some(trap) => tidy(trap.to_string().trim_start_matches("wasm trap: ")),
        None => {
            let cause = error.root_cause().to_string();
            if cause.starts_with(COPIED_TOO_MUCH) {
                let mib = call_bytes_max.div_ceil(1 << 20);
                return format!(
                    "the guest handed over more than {mib} MiB in one call; `limits.value` bounds what it may"
                );
            }
            tidy(&cause)
        }
    }
}

/// The names of the functions on the guest's stack, innermost first.
fn functions(backtrace: &WasmBacktrace) -> String {
    let mut text = String::new();
    for frame in backtrace.frames() {
        let name = match frame.func_name() {
            Some(name) => escape::line(cut(name, 256)).into_owned(),
            None => format!("<function {}>", frame.func_index()),
        };
        let module = frame.module().name().unwrap_or("<module>");
        text.push_str(&escape::line(cut(module, 64)));
        text.push('!');
        text.push_str(&name);
        text.push('\n');
    }
    text.truncate(text.floor_char_boundary(BACKTRACE_BYTES_MAX));
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guests_say_is_cut_and_safe_to_print() {
        let shout = format!("a\n\u{1b}[31m{}", "é".repeat(2_000));
        for outcome in [
            Outcome::answered(Err(Failure::Bury(shout.clone()))),
            Outcome::answered(Err(Failure::Discard(shout.clone()))),
            Outcome::answered(Err(Failure::Retry(RetryOptions { reason: shout, after_ms: None }))),
        ] {
            let reason = outcome.reason();
            assert!(reason.starts_with("a\\n\\u{1b}[31mé"), "{reason:.40}");
            assert!(reason.len() <= REASON_BYTES_MAX && reason.len() > REASON_BYTES_MAX - 2);
        }
    }

    #[test]
    fn a_wait_is_at_most_thirty_days() {
        let options = RetryOptions { reason: String::new(), after_ms: Some(u64::MAX) };
        let Outcome::Retry { after, .. } = Outcome::answered(Err(Failure::Retry(options))) else { panic!() };
        assert_eq!(after, Some(AFTER_MAX));
    }
}
