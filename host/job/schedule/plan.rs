//! When a schedule fires: cron expressions in a time zone, and fixed periods. Pure arithmetic on milliseconds since
//! 1970; Redis time comes from outside.
//!
//! A *slot* is a time of the expression or the period; the firing of a slot may be late by the jitter.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Missed, ScheduleError};

/// A firing that is late by more than this was missed; until then it is only late.
pub const GRACE_MS: u64 = 60_000;
/// Fields of a cron expression, with seconds.
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of the month", "month", "day of the week"];

/// The times of a schedule.
#[derive(Debug, Clone)]
pub struct Plan(Times);

#[derive(Debug, Clone)]
enum Times {
    Every(u64),
    Cron(Box<Cron>, TimeZone),
}

/// One firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The time of the expression or the period: what its job is named after.
    pub slot: u64,
    /// When it is to take place: never before its slot, and before the next one.
    pub at: u64,
}

/// What is to be done about a schedule that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The slot that fires now, if any.
    pub fire: Option<u64>,
    /// What comes then; none if nothing ever does.
    pub next: Option<Firing>,
}

impl Plan {
    /// At whole multiples of `ms`.
    pub(super) fn every(ms: u64) -> Self {
        Self(Times::Every(ms))
    }

    /// At the times of `expression` by the clocks of `timezone`.
    pub(super) fn cron(expression: &str, timezone: &str) -> Result<Self, ScheduleError> {
        let unknown = || {
            let shown: String = timezone.chars().take(60).collect();
            let text = format!(
                "is `{}`, which is no time zone; write for example `Europe/Berlin` or `UTC`",
                shown.escape_debug()
            );
            ScheduleError::new("timezone", text)
        };
        if timezone.is_empty() || timezone.starts_with('/') || timezone.contains("..") {
            return Err(unknown());
        }
        let zone = TimeZone::get(timezone).map_err(|_| unknown())?;
        let cron = parser().parse(expression).map_err(|error| wrong(expression, &error))?;
        let plan = Self(Times::Cron(Box::new(cron), zone));
        match plan.after(Timestamp::now().as_millisecond().cast_unsigned()) {
            Some(_) => Ok(plan),
            None => {
                Err(ScheduleError::new("cron", format!("= \"{}\" never comes", expression.escape_debug())))
            }
        }
    }

    /// The first slot after `ms`.
    pub fn after(&self, ms: u64) -> Option<u64> {
        match &self.0 {
            Times::Every(every) => (ms / every + 1).checked_mul(*every),
            Times::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&zoned(ms, zone)?, false).ok()?;
                milliseconds(&next)
            }
        }
    }

    /// The last slot at or before `ms`.
    fn before(&self, ms: u64) -> Option<u64> {
        match &self.0 {
            Times::Every(every) => Some(ms / every * every),
            Times::Cron(cron, zone) => {
                // The search looks at whole seconds.
                let whole = ms / 1000 * 1000;
                let last = cron.find_previous_occurrence(&zoned(whole, zone)?, true).ok()?;
                milliseconds(&last)
            }
        }
    }

    /// The first firing of a slot after `ms`.
    pub fn first(&self, name: &str, jitter_ms: u64, ms: u64) -> Option<Firing> {
        Some(self.firing(name, jitter_ms, self.after(ms)?))
    }

    /// The firing of `slot`, late by a part of the jitter that only name and slot decide.
    fn firing(&self, name: &str, jitter_ms: u64, slot: u64) -> Firing {
        let room = self.after(slot).map_or(jitter_ms, |next| jitter_ms.min(next - slot - 1));
        let late = if room == 0 { 0 } else { draw(name, slot) % (room + 1) };
        Firing { slot, at: slot + late }
    }

    /// What is to be done at `now` about the firing `due`, whose time has come.
    pub fn step(&self, name: &str, jitter_ms: u64, missed: Missed, due: Firing, now: u64) -> Step {
        let then = |slot| self.first(name, jitter_ms, slot);
        if now.saturating_sub(due.at) <= GRACE_MS {
            return Step { fire: Some(due.slot), next: then(due.slot) };
        }
        // Those whose time was within the grace are only late, however many were missed before them.
        let passed = now - GRACE_MS;
        let last_missed = self.before(passed).map_or(due.slot, |slot| slot.max(due.slot));
        let fire = match missed {
            Missed::Skip => None,
            Missed::RunOnce => Some(last_missed),
        };
        Step { fire, next: then(last_missed) }
    }

    /// A slot as its own clocks show it.
    pub fn show(&self, ms: u64) -> String {
        let zone = match &self.0 {
            Times::Every(_) => &TimeZone::UTC,
            Times::Cron(_, zone) => zone,
        };
        zoned(ms, zone).map_or_else(|| ms.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S %:z").to_string())
    }
}

fn parser() -> CronParser {
    CronParser::builder().year(Year::Disallowed).build()
}

fn zoned(ms: u64, zone: &TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(ms.try_into().ok()?).ok()?.to_zoned(zone.clone()))
}

fn milliseconds(at: &Zoned) -> Option<u64> {
    at.timestamp().as_millisecond().try_into().ok()
}

/// Which field is at fault, in words.
fn wrong(expression: &str, error: &CronError) -> ScheduleError {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let shown = format!("= \"{}\" is no cron expression", expression.escape_debug());
    if !matches!(fields.len(), 5 | 6) {
        let text = format!(
            "{shown}: it has {} fields; write five (minute, hour, day, month, day of the week), or six with the second before them",
            fields.len()
        );
        return ScheduleError::new("cron", text);
    }
    for (at, field) in fields.iter().enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[at] = field;
        if let Err(error) = parser().parse(&alone.join(" ")) {
            let name = FIELDS[at + 6 - fields.len()];
            let text = format!("{shown}: `{}` for the {name}: {}", field.escape_debug(), reason(&error));
            return ScheduleError::new("cron", text);
        }
    }
    ScheduleError::new("cron", format!("{shown}: {}", reason(error)))
}

/// The library's words without its heads.
fn reason(error: &CronError) -> String {
    match error {
        CronError::ComponentError(text)
        | CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text) => {
            let text = text.trim_end_matches('.');
            let mut chars = text.chars();
            chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
        }
        other => other.to_string(),
    }
}

/// A number that only name and slot decide.
fn draw(name: &str, slot: u64) -> u64 {
    let digest = sha1_smol::Sha1::from(format!("{name} {slot}")).digest().bytes();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
