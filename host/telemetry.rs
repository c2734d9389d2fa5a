//! Log set-up: one subscriber for the whole process, on standard error. What is logged, and under which target,
//! is the business of each part.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged when nobody says it: our own words at `info`, other people's libraries when they warn.
const DEFAULT_FILTER: &str = "warn,sandhog=info,guest=info";

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people: time, level, target, message, fields.
    #[default]
    Text,
    /// For people who watch: as `Text`, without date and target.
    Short,
    /// For programs: one JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("the log filter `{filter}` is not valid: {cause}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What the parser said.
        cause: String,
    },
    /// Somebody else set it up before.
    #[error("logging is already set up: {0}")]
    Twice(String),
}

/// Sets logging up. `filter` in the form of `sandhog=debug,guest=info`; none is the default. `colour` allows
/// colours; they are used on a terminal only.
pub fn init(format: LogFormat, filter: Option<&str>, colour: bool) -> Result<(), TelemetryError> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let parsed = EnvFilter::try_new(filter)
        .map_err(|e| TelemetryError::Filter { filter: filter.to_owned(), cause: e.to_string() })?;
    let ansi = colour && std::io::stderr().is_terminal();
    let lines = fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(ansi);
    let done = match format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Short => lines.with_timer(fmt::time::uptime()).with_target(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    done.map_err(|error| TelemetryError::Twice(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let error = init(LogFormat::Text, Some("sandhog=loud"), false).expect_err("it is no level");
        assert!(error.to_string().starts_with("the log filter `sandhog=loud` is not valid: "), "{error}");
    }
}
