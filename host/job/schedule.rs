//! Schedules: what is pushed, and when. `plan` computes their times, `fired` records which of these have fired,
//! `book` stores schedules in Redis, `firing` fires them; the worker's scheduler calls it.

pub mod book;
pub mod fired;
pub mod firing;
pub mod plan;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::envelope::HEADER_MADE_BYTES_MAX;
use super::name::QueueName;
use plan::Plan;

/// Most schedules of a fleet.
pub const SCHEDULES_MAX: usize = 1_000;
/// Longest name in bytes: it is part of the ids of jobs.
pub const NAME_BYTES_MAX: usize = 64;
/// Largest payload of a schedule in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Shortest and longest time between two firings of `every`.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
/// See `EVERY_MIN`.
pub const EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest jitter.
pub const JITTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest definition in JSON, with a payload and headers in which every byte is escaped.
pub(super) const DEFINITION_BYTES_MAX: usize = 1 << 20;
/// Most headers of a schedule.
const HEADERS_MAX: usize = 64;
/// Longest cron expression in bytes.
const CRON_BYTES_MAX: usize = 256;

/// What happens to firings that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// They are left out.
    #[default]
    Skip,
    /// All of them together are made up for by one.
    RunOnce,
}

impl Missed {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::RunOnce => "run-once",
        }
    }
}

/// When it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At the times of a cron expression.
    Cron {
        /// Five fields, or six with seconds before them.
        expression: String,
        /// Name of a zone of the IANA database.
        timezone: String,
    },
    /// At whole multiples of this since 1970, in milliseconds.
    Every(u64),
}

/// A schedule that can be fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Where its jobs go.
    pub queue: String,
    /// When it fires.
    pub when: When,
    /// Each firing is late by a part of this, which is always the same for the same firing.
    #[serde(default)]
    pub jitter_ms: u64,
    /// The bytes of each job.
    #[serde(default)]
    pub payload: String,
    /// The headers of each job.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// What happens to firings that nobody was there for.
    #[serde(default)]
    pub missed: Missed,
}

/// Which part of a schedule is wrong, and why: the text goes on after the part's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {text}")]
pub struct ScheduleError {
    /// Its name in settings; flags have the same.
    pub field: &'static str,
    /// What is wrong.
    pub text: String,
}

impl ScheduleError {
    pub(crate) fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self { field, text: text.into() }
    }
}

/// Accepts 1 to 64 letters, digits, `.`, `_` and `-`.
pub fn check_name(name: &str) -> Result<(), ScheduleError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || b == b'-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Err(ScheduleError::new("name", "must have 1 to 64 letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}

impl Schedule {
    /// Checks every part; the answer tells its times.
    pub fn plan(&self) -> Result<Plan, ScheduleError> {
        self.queue_name()?;
        if self.jitter_ms > JITTER_MAX.as_millis() as u64 {
            return Err(ScheduleError::new("jitter", "can be `24h` at the most"));
        }
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ScheduleError::new("payload", "is longer than 64KiB"));
        }
        if self.headers.iter().any(|(name, _)| name.is_empty() || name.starts_with('!')) {
            let text = "has a name that is empty or begins with `!`, which marks the host's own";
            return Err(ScheduleError::new("headers", text));
        }
        // A byte takes three where it is escaped; the id and the numbers take less than the rest.
        let bytes: usize = self.headers.iter().map(|(name, value)| 2 + 3 * (name.len() + value.len())).sum();
        if self.headers.len() > HEADERS_MAX || bytes > HEADER_MADE_BYTES_MAX / 2 {
            return Err(ScheduleError::new("headers", "are more than 64, or too long together"));
        }
        match &self.when {
            When::Every(ms) => {
                let bounds = EVERY_MIN.as_millis() as u64..=EVERY_MAX.as_millis() as u64;
                if !bounds.contains(ms) {
                    return Err(ScheduleError::new("every", "must be from `1s` to `366d`"));
                }
                Ok(Plan::every(*ms))
            }
            When::Cron { expression, .. } if expression.len() > CRON_BYTES_MAX => {
                Err(ScheduleError::new("cron", "is longer than 256 bytes"))
            }
            When::Cron { expression, timezone } => Plan::cron(expression, timezone),
        }
    }

    /// Where its jobs go.
    pub fn queue_name(&self) -> Result<QueueName, ScheduleError> {
        let text = |error| format!("cannot be this: {error}");
        QueueName::new(self.queue.as_str()).map_err(|error| ScheduleError::new("queue", text(error)))
    }

    /// What its times depend on: a schedule that is changed in other things only goes on where it was.
    pub fn timing(&self) -> String {
        match &self.when {
            When::Cron { expression, timezone } => format!("cron {expression} {timezone} {}", self.jitter_ms),
            When::Every(ms) => format!("every {ms} {}", self.jitter_ms),
        }
    }

    /// In words: `every 10s`, `0 3 * * * Europe/Berlin`.
    pub fn describe(&self) -> String {
        match &self.when {
            When::Cron { expression, timezone } => format!("{expression} {timezone}"),
            When::Every(ms) => {
                format!("every {}", period(Duration::from_millis(*ms)))
            }
        }
    }
}

/// A period in days and smaller units. Years and months are left out, because they have no fixed length.
fn period(time: Duration) -> String {
    const DAY_S: u64 = 24 * 3600;
    let (days, rest) = (time.as_secs() / DAY_S, time - Duration::from_secs(time.as_secs() / DAY_S * DAY_S));
    let days = match days {
        0 => return humantime::format_duration(rest).to_string(),
        1 => "1day".to_owned(),
        days => format!("{days}days"),
    };
    if rest.is_zero() { days } else { format!("{days} {}", humantime::format_duration(rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_shown_in_days_at_the_most() {
        for (seconds, shown) in [
            (10, "10s"),
            (86_400, "1day"),
            (90_000, "1day 1h"),
            (366 * 86_400, "366days"),
            (31 * 86_400 + 60, "31days 1m"),
        ] {
            assert_eq!(period(Duration::from_secs(seconds)), shown);
        }
    }

    fn schedule(when: When) -> Schedule {
        Schedule {
            queue: "q".to_owned(),
            when,
            jitter_ms: 0,
            payload: String::new(),
            headers: Vec::new(),
            missed: Missed::Skip,
        }
    }

    #[test]
    fn every_part_is_checked() {
        let good = schedule(When::Every(1000));
        assert!(good.plan().is_ok());
        let long = |n| vec![("h".to_owned(), "x".repeat(n))];
        for (bad, field) in [
            (Schedule { queue: String::new(), ..good.clone() }, "queue"),
            (Schedule { jitter_ms: 86_400_001, ..good.clone() }, "jitter"),
            (Schedule { payload: "x".repeat(PAYLOAD_BYTES_MAX + 1), ..good.clone() }, "payload"),
            (Schedule { headers: vec![("!x".to_owned(), String::new())], ..good.clone() }, "headers"),
            (Schedule { headers: long(HEADER_MADE_BYTES_MAX), ..good.clone() }, "headers"),
            (schedule(When::Every(999)), "every"),
            (schedule(When::Cron { expression: "* ".repeat(200), timezone: "UTC".to_owned() }), "cron"),
        ] {
            assert_eq!(bad.plan().unwrap_err().field, field);
        }
        assert!(check_name("nightly-report.v2").is_ok());
        for bad in ["", "a b", "a\nb", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_redis_keeps_can_be_read_again() {
        for when in
            [When::Every(5000), When::Cron { expression: "0 3 * * *".to_owned(), timezone: "UTC".to_owned() }]
        {
            let schedule = Schedule { missed: Missed::RunOnce, jitter_ms: 7, ..schedule(when) };
            let json = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule, "{json}");
        }
    }
}
