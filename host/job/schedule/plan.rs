//! When a schedule fires: cron expressions in a time zone (`clock`), and fixed periods. Pure arithmetic on
//! milliseconds since 1970; the caller passes Redis time in.
//!
//! A *slot* is a time of the expression or the period; the firing of a slot may be late by the jitter.

mod clock;
mod zone;

use croner::errors::CronError;
use croner::parser::{CronParser, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::clock::Clock;
use super::fired::Fired;
use super::{Missed, ScheduleError};

/// A firing that is late by more than this was missed; until then it is only late.
pub const GRACE_MS: u64 = 60_000;
/// The last possible slot: the end of the calendar, 30 December 9999. Redis may hold greater numbers.
pub const SLOT_MAX_MS: u64 = 253_402_207_200_000;
/// Fields of a cron expression, with seconds.
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of the month", "month", "day of the week"];

/// The times of a schedule.
#[derive(Debug, Clone)]
pub struct Plan(Times);

#[derive(Debug, Clone)]
enum Times {
    Every(u64),
    Cron(Box<Clock>),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The slot that fires now, if any.
    pub fire: Option<u64>,
    /// What comes then; none if nothing ever does.
    pub next: Option<Firing>,
    /// The slots that have fired after this step.
    pub fired: Fired,
}

impl Plan {
    /// At whole multiples of `ms`.
    pub(super) fn every(ms: u64) -> Self {
        Self(Times::Every(ms))
    }

    /// At the times of `expression` by the clocks of `timezone`.
    pub(super) fn cron(expression: &str, timezone: &str) -> Result<Self, ScheduleError> {
        let zone = zone::find(timezone)?;
        let cron = parser().parse(expression).map_err(|error| wrong(expression, &error))?;
        let plan = Self(Times::Cron(Box::new(Clock::new(cron.pattern, zone))));
        match plan.after(Timestamp::now().as_millisecond().cast_unsigned()) {
            Some(_) => Ok(plan),
            None => {
                Err(ScheduleError::new("cron", format!("= \"{}\" never comes", expression.escape_debug())))
            }
        }
    }

    /// The first slot after `ms`.
    pub fn after(&self, ms: u64) -> Option<u64> {
        let slot = match &self.0 {
            Times::Every(every) => (ms / every + 1).checked_mul(*every),
            Times::Cron(clock) => clock.after(ms),
        };
        slot.filter(|slot| *slot <= SLOT_MAX_MS)
    }

    /// The last slot at or before `ms`.
    fn before(&self, ms: u64) -> Option<u64> {
        match &self.0 {
            Times::Every(every) => Some(ms / every * every),
            Times::Cron(clock) => clock.before(ms),
        }
    }

    /// The first firing of a slot after `ms` that is not among the `fired` ones.
    pub fn first(&self, name: &str, jitter_ms: u64, fired: &Fired, ms: u64) -> Option<Firing> {
        Some(self.firing(name, jitter_ms, fired.next(self, ms)?))
    }

    /// The firing of `slot`, late by a part of the jitter that only name and slot decide.
    fn firing(&self, name: &str, jitter_ms: u64, slot: u64) -> Firing {
        let room = self.after(slot).map_or(jitter_ms, |next| jitter_ms.min(next - slot - 1));
        let late = if room == 0 { 0 } else { draw(name, slot) % (room + 1) };
        Firing { slot, at: slot + late }
    }

    /// What to do at `now` about the firing `due`, which is due, given the slots that have `fired`.
    pub fn step(
        &self,
        name: &str,
        jitter_ms: u64,
        missed: Missed,
        due: Firing,
        mut fired: Fired,
        now: u64,
    ) -> Step {
        let (fire, passed) = self.pass(missed, due, &fired, now);
        if let Some(slot) = fire {
            fired.add(self, slot);
        }
        let next = self.first(name, jitter_ms, &fired, passed);
        Step { fire, next, fired }
    }

    /// The slot that fires at `now`, if any, and the last slot that counts as passed then.
    fn pass(&self, missed: Missed, due: Firing, fired: &Fired, now: u64) -> (Option<u64>, u64) {
        if now.saturating_sub(due.at) <= GRACE_MS {
            return (Some(due.slot), due.slot);
        }
        // Those whose time was within the grace are only late, however many were missed before them.
        let last_missed = self.before(now - GRACE_MS).map_or(due.slot, |slot| slot.max(due.slot));
        match missed {
            Missed::Skip => (None, last_missed),
            Missed::RunOnce if fired.has(last_missed) => (Some(due.slot), last_missed),
            Missed::RunOnce => (Some(last_missed), last_missed),
        }
    }

    /// A slot as its own clocks show it.
    pub fn show(&self, ms: u64) -> String {
        let zone = match &self.0 {
            Times::Every(_) => &TimeZone::UTC,
            Times::Cron(clock) => clock.zone(),
        };
        let at = ms.try_into().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string());
        at.unwrap_or_else(|| ms.to_string())
    }
}

fn parser() -> CronParser {
    CronParser::builder().year(Year::Disallowed).build()
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
