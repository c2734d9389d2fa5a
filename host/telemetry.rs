//! Log set-up: one subscriber for the whole process, on standard error. What is logged, and under which target, is
//! the business of each part. A host's lines pass through a queue (`outlet`), so that a log that cannot be written,
//! or that nobody reads, neither stops nor delays the host.

mod clean;
mod outlet;

use std::fmt::Debug;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::env;
use crate::config::settings::{LogFormat, LogSettings};
use clean::Clean;
use outlet::Outlet;

/// The target of what guests say.
const GUEST: &str = "guest";
/// Longest wait for the last lines at the end of the process.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The queue to standard error, once `init` has set it up.
static OUTLET: OnceLock<Outlet> = OnceLock::new();

/// Who reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// An operator, perhaps later, perhaps by a program: every line with its date. On a terminal, the time of day is
    /// enough.
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
    /// The thread that writes could not be started, or standard error could not be duplicated.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] std::io::Error),
}

/// Sets logging up. Colours are used on a terminal only, and not against `NO_COLOR`.
pub fn init(settings: &LogSettings, reader: Reader) -> Result<(), TelemetryError> {
    let parsed = filter(settings)?;
    let ansi = std::io::stderr().is_terminal() && !env::no_color();
    // A duplicate: Rust's own handle is locked for as long as a write takes.
    let out = File::from(std::io::stderr().as_fd().try_clone_to_owned()?);
    let outlet = Outlet::start(out, |dropped| outlet::logged(|| report_dropped(dropped)))?;
    let clean = Clean { inner: outlet.clone(), format: settings.format };
    let lines = fmt().with_env_filter(parsed).with_writer(clean).with_ansi(ansi);
    // The library would report its own failures with a macro that panics if standard error is closed.
    let lines = lines.log_internal_errors(false);
    let is_watched = reader == Reader::Operator && std::io::stderr().is_terminal();
    let done = match (settings.format, reader) {
        (LogFormat::Json, _) => lines.json().flatten_event(true).finish().try_init(),
        (LogFormat::Text, Reader::Operator) if is_watched => {
            lines.with_timer(TimeOfDay).with_target(false).finish().try_init()
        }
        (LogFormat::Text, Reader::Operator) => lines.finish().try_init(),
        (LogFormat::Text, Reader::Watcher) => {
            lines.with_timer(fmt::time::uptime()).with_target(false).finish().try_init()
        }
    };
    done.map_err(|error| TelemetryError::Twice(error.to_string()))?;
    let _ = OUTLET.set(outlet);
    Ok(())
}

/// Writes text to standard error, after all lines that were logged before. A write error is ignored: there is no
/// other place to report it.
pub fn print(text: &str) {
    match OUTLET.get() {
        Some(outlet) => outlet.send(text.as_bytes()),
        None => drop(std::io::stderr().write_all(text.as_bytes())),
    }
}

/// Waits until all lines have been written, but at most a second: nobody may be reading them.
pub fn flush() {
    OUTLET.get().into_iter().for_each(|outlet| outlet.flush(FLUSH_MAX));
}

/// The local time of day, for somebody who reads along.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, to: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(to, "{}", jiff::Zoned::now().strftime("%H:%M:%S"))
    }
}

fn report_dropped(lines: u64) {
    tracing::warn!(lines, "{lines} lines were dropped: standard error was full or could not be written");
}

/// What guests have said, instead of a log: for whoever looks at single runs.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Said>>>);

/// A line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// As the guest has it; its `critical` is an error.
    pub level: Level,
    /// Without anything that could disturb a terminal.
    pub text: String,
}

impl Heard {
    /// Sets logging up so that guests' lines come here, and nothing is written.
    pub fn init() -> Result<Self, TelemetryError> {
        let heard = Self::default();
        let only_guests = EnvFilter::new("guest=trace");
        let layer = tracing_subscriber::registry().with(only_guests).with(heard.clone());
        layer.try_init().map_err(|error| TelemetryError::Twice(error.to_string()))?;
        Ok(heard)
    }

    /// Sets logging up as `init` does, for somebody who watches, but guests' lines come here.
    pub fn beside(settings: &LogSettings) -> Result<Self, TelemetryError> {
        let heard = Self::default();
        let ansi = std::io::stderr().is_terminal() && !env::no_color();
        let clean = Clean { inner: std::io::stderr, format: settings.format };
        let lines = fmt::layer().with_writer(clean).with_ansi(ansi).log_internal_errors(false);
        let lines = match settings.format {
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Text => lines.with_timer(fmt::time::uptime()).with_target(false).boxed(),
        };
        let lines = lines.with_filter(filter_fn(|about| about.target() != GUEST));
        let layers = tracing_subscriber::registry().with(filter(settings)?).with(heard.clone()).with(lines);
        layers.try_init().map_err(|error| TelemetryError::Twice(error.to_string()))?;
        Ok(heard)
    }

    /// The lines since the last time, in order.
    pub fn take(&self) -> Vec<Said> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target() != GUEST {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let level = *event.metadata().level();
        self.lock().extend(text.0.map(|text| Said { level, text }));
    }
}

/// The guest's own words in an event.
#[derive(Default)]
struct Text(Option<String>);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "text" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

fn filter(settings: &LogSettings) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(directives(&settings.level))
        .map_err(|e| TelemetryError::Filter { filter: settings.level.clone(), cause: e.to_string() })
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
