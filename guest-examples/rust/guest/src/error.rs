//! Why a call failed, and what becomes of the job then.

use std::fmt;
use std::time::Duration;

use crate::bindings::worker::exports::sandhog::worker::handler::RetryOptions;
use crate::bindings::worker::sandhog::worker::types;

/// What becomes of a job that is not done: `Retry`, `Bury` or `Discard`, with a reason.
pub use crate::bindings::worker::exports::sandhog::worker::handler::Failure;

/// What the calls of this crate answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call was refused or could not be carried out. None of these ends the run: a handler may look and go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The plugin's grants do not cover this key or queue. Redis was not asked.
    Denied(String),
    /// The key holds another Redis type, or no whole number where one is counted.
    WrongType(String),
    /// This bound was passed (`value`, `key`, `kv_calls` and so on). Nothing was done.
    Quota(String),
    /// Redis did not answer in time, or refused; names the reason.
    Unavailable(String),
    /// What a key or queue holds is not what was asked for (text, a number, JSON); says which and what.
    Malformed(String),
    /// A setting could not be read, or is not what was asked for; says which and why.
    Setting(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(name) => write!(f, "the grants do not cover `{name}`"),
            Self::WrongType(key) => write!(f, "`{key}` holds something else"),
            Self::Quota(bound) => write!(f, "the bound `{bound}` was passed"),
            Self::Unavailable(reason) | Self::Malformed(reason) | Self::Setting(reason) => {
                f.write_str(reason)
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Denied(name) => Self::Denied(name),
            types::Error::WrongType(key) => Self::WrongType(key),
            types::Error::Quota(bound) => Self::Quota(bound),
            types::Error::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<Error> for String {
    /// For config readers, whose errors are text.
    fn from(error: Error) -> Self {
        error.to_string()
    }
}

impl Failure {
    /// Run the job again after the manifest's back-off, if attempts are left.
    pub fn retry(reason: impl ToString) -> Self {
        Self::Retry(RetryOptions { reason: reason.to_string(), after_ms: None })
    }

    /// Run the job again in `delay` (at most 30 days), if attempts are left.
    pub fn retry_in(delay: Duration, reason: impl ToString) -> Self {
        Self::Retry(RetryOptions { reason: reason.to_string(), after_ms: Some(millis(delay)) })
    }

    /// Never run the job again: to the dead jobs.
    pub fn bury(reason: impl ToString) -> Self {
        Self::Bury(reason.to_string())
    }

    /// Drop the job: it is not worth keeping.
    pub fn discard(reason: impl ToString) -> Self {
        Self::Discard(reason.to_string())
    }
}

impl From<Error> for Failure {
    /// What passes by itself is tried again, what does not is buried.
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) | Error::Setting(_) => Self::retry(error),
            Error::Denied(_) | Error::WrongType(_) | Error::Quota(_) | Error::Malformed(_) => {
                Self::bury(error)
            }
        }
    }
}

/// Whole milliseconds, rounded up, so that no delay becomes none.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_retried_and_what_does_not_is_buried() {
        let name = || "total:ada".to_owned();
        for (error, is_retry, said) in [
            (types::Error::Unavailable("timeout".into()).into(), true, "timeout"),
            (types::Error::Denied(name()).into(), false, "the grants do not cover `total:ada`"),
            (types::Error::WrongType(name()).into(), false, "`total:ada` holds something else"),
            (types::Error::Quota("value".into()).into(), false, "the bound `value` was passed"),
            (Error::Malformed("`n` holds no number".into()), false, "`n` holds no number"),
            (Error::Setting("setting `max`: gone".into()), true, "setting `max`: gone"),
        ] {
            match Failure::from(error) {
                Failure::Retry(RetryOptions { reason, after_ms: None }) if is_retry => {
                    assert_eq!(reason, said)
                }
                Failure::Bury(reason) if !is_retry => assert_eq!(reason, said),
                other => panic!("{said}: {other:?}"),
            }
        }
    }

    #[test]
    fn delays_are_rounded_up() {
        let nanos = [0, 1, 999_999, 1_000_000, 1_000_001].map(|nanos| millis(Duration::from_nanos(nanos)));
        assert_eq!(nanos, [0, 1, 1, 1, 2]);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
