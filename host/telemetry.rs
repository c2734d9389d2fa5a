//! Log set-up: one subscriber for the whole process, on standard error. What is logged, and under which target,
//! is the business of each part.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::env;
use crate::config::settings::{LogFormat, LogSettings};

/// Who reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// An operator, perhaps later, perhaps by a program: every line with its date.
    Operator,
    /// Somebody who watches: the time since the start is enough.
    Watcher,
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

/// Sets logging up. Colours are used on a terminal only, and not against `NO_COLOR`.
pub fn init(settings: &LogSettings, reader: Reader) -> Result<(), TelemetryError> {
    let filter = directives(&settings.level);
    let parsed = EnvFilter::try_new(&filter)
        .map_err(|e| TelemetryError::Filter { filter: settings.level.clone(), cause: e.to_string() })?;
    let ansi = std::io::stderr().is_terminal() && !env::no_color();
    let lines = fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(ansi);
    let done = match (settings.format, reader) {
        (LogFormat::Json, _) => lines.json().flatten_event(true).finish().try_init(),
        (LogFormat::Text, Reader::Operator) => lines.finish().try_init(),
        (LogFormat::Text, Reader::Watcher) => {
            lines.with_timer(fmt::time::uptime()).with_target(false).finish().try_init()
        }
    };
    done.map_err(|error| TelemetryError::Twice(error.to_string()))
}

/// A bare level is meant for us and for guests: what libraries say counts when they warn.
fn directives(level: &str) -> String {
    match level.parse::<LevelFilter>() {
        Ok(LevelFilter::OFF) => "off".to_owned(),
        Ok(level) => format!("{},sandhog={level},guest={level}", level.min(LevelFilter::WARN)),
        Err(_) => level.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_us_and_for_guests() {
        for (level, filter) in [
            ("info", "warn,sandhog=info,guest=info"),
            ("error", "error,sandhog=error,guest=error"),
            ("off", "off"),
            ("info,guest=debug", "info,guest=debug"),
        ] {
            assert_eq!(directives(level), filter);
        }
    }

    #[test]
    fn a_bad_filter_is_named() {
        let settings = LogSettings { format: LogFormat::Text, level: "sandhog=loud".to_owned() };
        let error = init(&settings, Reader::Operator).expect_err("it is no level");
        assert!(error.to_string().starts_with("the log filter `sandhog=loud` is not valid: "), "{error}");
    }
}
