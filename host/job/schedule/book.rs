//! Schedules in Redis, as operators and the files of hosts define them. `firing` fires them. Each function is one
//! script, preceded by a read of Redis' time if it needs that.

use redis::Value;

use super::fired::Fired;
use super::plan::{Firing, Plan};
use super::{DEFINITION_BYTES_MAX, SCHEDULES_MAX, Schedule, ScheduleError};
use crate::job::key::{SCHEDULE_FILES, SCHEDULES, schedule};
use crate::job::reply::Fields;
use crate::job::script;
use crate::job::store::StoreError;
use crate::storage::bounded::{self, Bound, Element, Of};
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Schedules told at once.
const PAGE: usize = 100;
/// A score from which on a schedule does not fire; as in `part/schedule.lua`.
pub(super) const PAUSED_MS: u64 = 8_640_000_000_000_000;
/// How long a host is believed that tells nothing of its file any more: a day.
const BELIEVED_MS: u64 = 24 * 3_600_000;

/// Why a schedule was not changed.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Redis could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be one.
    #[error(transparent)]
    Wrong(#[from] ScheduleError),
    /// There is none of this name.
    #[error("there is no schedule `{0}`")]
    Unknown(String),
    /// It is in the settings of hosts.
    #[error("the schedule `{0}` is in the settings files of hosts; it can be paused here, and changed there")]
    OfFiles(String),
    /// No more can be taken.
    #[error("there are {SCHEDULES_MAX} schedules already, which is the most a fleet has")]
    TooMany,
    /// Somebody else changed it at the same time.
    #[error("the schedule `{0}` was changed at the same time; look at it and try again")]
    Changed(String),
}

impl From<Fault> for BookError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

/// What became of schedules that were written down: what (`added`, `changed`, …), and the name.
pub type Told = Vec<(String, String)>;

/// What operators see of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// When it fires next; none while it is paused.
    pub next: Option<Firing>,
    /// What it is; none where this program cannot read it.
    pub schedule: Option<Schedule>,
    /// Whether hosts have it in their files.
    pub of_files: bool,
    /// Since when it is paused.
    pub paused_ms: Option<u64>,
    /// When it was fired last.
    pub last_ms: Option<u64>,
}

/// Redis time in milliseconds.
async fn now(link: &Link) -> Result<u64, Fault> {
    let (seconds, micros): (u64, u64) = link.query(&redis::cmd("TIME")).await?;
    Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000))
}

fn json(schedule: &Schedule) -> String {
    serde_json::to_string(schedule).expect("strings and numbers always make JSON")
}

/// Writes down what an operator has given; answers `added`, `changed` or `unchanged`, and when it fires first if it
/// is new.
pub async fn put(link: &Link, name: &str, given: &Schedule) -> Result<String, BookError> {
    super::check_name(name)?;
    let plan = given.plan()?;
    let first = first(&plan, name, given, now(link).await?)?;
    let mut call = script::SCHEDULE_PUT.call(&[SCHEDULES, &schedule(name)]);
    call.arg(name).arg(json(given)).arg(given.timing()).arg(first.slot).arg(first.at).arg(SCHEDULES_MAX);
    let mut fields = Fields::new(script::SCHEDULE_PUT.run::<Value>(link, &call).await?)?;
    match fields.number()? {
        0 => Ok(fields.text()?),
        1 => Err(StoreError::WrongType(fields.text()?).into()),
        2 => Err(BookError::OfFiles(name.to_owned())),
        _ => Err(BookError::TooMany),
    }
}

/// Tells what the file of the host on `seat` holds: `all` of it, or what is `missing` only.
pub async fn declare(
    link: &Link,
    seat: &str,
    all: bool,
    schedules: &[(String, Schedule)],
) -> Result<Told, BookError> {
    let now = now(link).await?;
    let mut call = script::SCHEDULE_DECLARE.call(&[SCHEDULES, SCHEDULE_FILES]);
    call.arg(seat)
        .arg(if all { "all" } else { "missing" })
        .arg(schedule(""))
        .arg(BELIEVED_MS)
        .arg(SCHEDULES_MAX);
    for (name, given) in schedules {
        let first = first(&given.plan()?, name, given, now)?;
        call.arg(name).arg(json(given)).arg(given.timing()).arg(first.slot).arg(first.at);
    }
    let mut fields = Fields::new(script::SCHEDULE_DECLARE.run::<Value>(link, &call).await?)?;
    match fields.number()? {
        0 => {}
        1 => return Err(StoreError::WrongType(fields.text()?).into()),
        _ => return Err(BookError::TooMany),
    }
    let mut told = Vec::new();
    while let what @ Value::BulkString(_) = fields.next() {
        told.push((super::super::reply::text(what)?, fields.text()?));
    }
    Ok(told)
}

/// All schedules, by the time they fire next.
pub async fn list(link: &Link) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    loop {
        let mut call = script::SCHEDULE_LIST.call(&[SCHEDULES]);
        call.arg(schedule("")).arg(rows.len()).arg(PAGE).arg(DEFINITION_BYTES_MAX);
        let mut fields = Fields::new(script::SCHEDULE_LIST.run::<Value>(link, &call).await?)?;
        if fields.number()? != 0 {
            return Err(StoreError::WrongType(fields.text()?));
        }
        let before = rows.len();
        while let name @ Value::BulkString(_) = fields.next() {
            let (name, at) = (super::super::reply::text(name)?, fields.number()?);
            let slot = fields.text()?.parse().unwrap_or(at);
            rows.push(Row {
                name,
                next: (at < PAUSED_MS).then_some(Firing { slot, at }),
                schedule: serde_json::from_str(&fields.text()?).ok(),
                of_files: fields.text()? == "file",
                paused_ms: fields.text()?.parse().ok(),
                last_ms: fields.text()?.parse().ok(),
            });
        }
        if rows.len() - before < PAGE || rows.len() >= SCHEDULES_MAX {
            return Ok(rows);
        }
    }
}

/// Removes a schedule.
pub async fn remove(link: &Link, name: &str) -> Result<(), BookError> {
    let mut call = script::SCHEDULE_EDIT.call(&[SCHEDULES, &schedule(name)]);
    call.arg(name).arg("remove");
    edited(link, name, &call).await
}

/// Lets a schedule fire no more, until it is resumed.
pub async fn pause(link: &Link, name: &str) -> Result<(), BookError> {
    let mut call = script::SCHEDULE_EDIT.call(&[SCHEDULES, &schedule(name)]);
    call.arg(name).arg("pause");
    edited(link, name, &call).await
}

/// Lets a schedule fire again, from the next of its times: what it was paused for is not made up for.
pub async fn resume(link: &Link, name: &str) -> Result<(), BookError> {
    let bound = Bound { elements: 2, bytes: DEFINITION_BYTES_MAX };
    let known = bounded::read(link, &schedule(name), Of::Fields(&["definition", "fired"]), bound).await?;
    let [definition, fired] = known.try_into().unwrap_or([Element::Absent, Element::Absent]);
    if let Element::TooLong(bytes) = definition {
        let text = format!(
            "has {bytes} bytes, and can have {DEFINITION_BYTES_MAX} at the most; remove the schedule"
        );
        return Err(ScheduleError::new("definition", text).into());
    }
    let definition = definition.text().ok_or_else(|| BookError::Unknown(name.to_owned()))?;
    let (given, plan) = read(&definition)?;
    let fired = Fired::read(&fired.text().unwrap_or_default());
    let first = plan.first(name, given.jitter_ms, &fired, now(link).await?).ok_or_else(never)?;
    let mut call = script::SCHEDULE_EDIT.call(&[SCHEDULES, &schedule(name)]);
    call.arg(name).arg("resume").arg(&definition).arg(first.slot).arg(first.at);
    edited(link, name, &call).await
}

/// A definition as Redis holds it.
pub fn read(definition: &str) -> Result<(Schedule, Plan), ScheduleError> {
    let unreadable =
        |error| ScheduleError::new("definition", format!("cannot be read by this version: {error}"));
    let schedule: Schedule = serde_json::from_str(definition).map_err(unreadable)?;
    let plan = schedule.plan()?;
    Ok((schedule, plan))
}

async fn edited(link: &Link, name: &str, call: &redis::Cmd) -> Result<(), BookError> {
    let mut fields = Fields::new(script::SCHEDULE_EDIT.run::<Value>(link, call).await?)?;
    match fields.number()? {
        0 => Ok(()),
        1 => Err(StoreError::WrongType(fields.text()?).into()),
        2 => Err(BookError::Unknown(name.to_owned())),
        3 => Err(BookError::OfFiles(name.to_owned())),
        _ => Err(BookError::Changed(name.to_owned())),
    }
}

/// The first firing of a new schedule.
fn first(plan: &Plan, name: &str, given: &Schedule, now: u64) -> Result<Firing, ScheduleError> {
    plan.first(name, given.jitter_ms, &Fired::default(), now).ok_or_else(never)
}

fn never() -> ScheduleError {
    ScheduleError::new("cron", "never comes")
}
