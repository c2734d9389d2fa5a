//! Firing of schedules: which are due, firing one of them, and resetting those that were computed while Redis' clock
//! was ahead. Each function is one script.

use redis::Value;

use super::book::{BookError, PAUSED_MS, read};
use super::fired::Fired;
use super::plan::{Firing, Step};
use super::{DEFINITION_BYTES_MAX, Schedule, check_name};
use crate::job::envelope::Header;
use crate::job::key::{QueueKeys, SCHEDULE_FILES, SCHEDULES, schedule};
use crate::job::name::JobId;
use crate::job::push::notes;
use crate::job::reply::{Fields, text};
use crate::job::script;
use crate::job::store::StoreError;
use crate::storage::link::Link;

/// Schedules in one reply.
const PAGE: usize = 100;

/// A schedule and its next firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its name.
    pub name: String,
    /// The next firing.
    pub firing: Firing,
    /// The definition, as Redis holds it.
    pub definition: String,
    /// Which slots have fired, as Redis holds it.
    pub fired: String,
}

/// The state of the schedules, as a host needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Redis time, in milliseconds.
    pub now: u64,
    /// Whether Redis knows the schedules of this host's file.
    pub declared: bool,
    /// When the next schedule is due that is not due now, in Redis milliseconds.
    pub next: Option<u64>,
    /// Some of the schedules that were asked for.
    pub due: Vec<Due>,
}

/// Schedules that are due, without the first `skip`.
pub async fn due(link: &Link, seat: &str, skip: usize) -> Result<Look, StoreError> {
    look(link, seat, skip, "due").await
}

/// Schedules that are not due yet, without the first `skip`; an empty `due` is the end.
pub async fn ahead(link: &Link, seat: &str, skip: usize) -> Result<Look, StoreError> {
    look(link, seat, skip, "ahead").await
}

async fn look(link: &Link, seat: &str, skip: usize, which: &str) -> Result<Look, StoreError> {
    let mut call = script::SCHEDULE_DUE.call(&[SCHEDULES, SCHEDULE_FILES]);
    call.arg(seat).arg(schedule("")).arg(skip).arg(PAGE).arg(which).arg(DEFINITION_BYTES_MAX);
    let mut fields = Fields::new(script::SCHEDULE_DUE.run::<Value>(link, &call).await?)?;
    if fields.number()? != 0 {
        return Err(StoreError::WrongType(fields.text()?));
    }
    let (now, declared) = (fields.number()?, fields.number()? == 1);
    // -1 stands for none, and is read as zero.
    let next = Some(fields.number()?).filter(|next| *next > 0 && *next < PAUSED_MS);
    let mut due = Vec::new();
    while let name @ Value::BulkString(_) = fields.next() {
        let (name, at) = (text(name)?, fields.number()?);
        // If somebody changed it by hand, the check of the firing fails again and again, and the scheduler reports that.
        let slot = fields.text()?.parse().unwrap_or(0);
        let (definition, fired) = (fields.text()?, fields.text()?);
        due.push(Due { name, firing: Firing { slot, at }, definition, fired });
    }
    Ok(Look { now, declared, next, due })
}

/// Carries out `step` for a schedule that is due; false if the schedule has changed meanwhile, or another host was
/// first.
pub async fn fire(link: &Link, due: &Due, schedule: &Schedule, step: &Step) -> Result<bool, BookError> {
    // Somebody may have written it by hand.
    check_name(&due.name)?;
    let keys = QueueKeys::new(&schedule.queue_name()?);
    let mut call = script::SCHEDULE_FIRE.call(&[SCHEDULES, &self::schedule(&due.name), &keys.ready]);
    call.arg(&due.name).arg(due.firing.slot).arg(&due.definition).arg(&due.fired);
    match step.next {
        Some(next) => call.arg(next.slot).arg(next.at),
        None => call.arg("").arg(""),
    };
    call.arg(step.fired.write());
    match step.fire {
        Some(slot) => {
            let id = job_id(&due.name, slot);
            let header =
                Header { id, attempts: 0, crashes: 0, first_seen_ms: 0, notes: schedule.headers.clone() };
            call.arg(header.id.as_str()).arg(notes(&header)).arg(&schedule.payload)
        }
        None => call.arg("").arg("").arg(""),
    };
    let mut fields = Fields::new(script::SCHEDULE_FIRE.run::<Value>(link, &call).await?)?;
    match fields.number()? {
        0 => Ok(true),
        1 => Err(StoreError::WrongType(fields.text()?).into()),
        _ => Ok(false),
    }
}

/// Moves a schedule back to the first slot after `now` that has not fired, if it waits for a later one, which was
/// computed while Redis' clock was ahead. Returns whether it did.
pub async fn reset(link: &Link, ahead: &Due, now: u64) -> Result<bool, BookError> {
    let (given, plan) = read(&ahead.definition)?;
    let next = plan.first(&ahead.name, given.jitter_ms, &Fired::read(&ahead.fired), now);
    let Some(next) = next.filter(|next| next.slot < ahead.firing.slot || next.at < ahead.firing.at) else {
        return Ok(false);
    };
    let mut call = script::SCHEDULE_RESET.call(&[SCHEDULES, &schedule(&ahead.name)]);
    call.arg(&ahead.name).arg(ahead.firing.slot).arg(&ahead.definition).arg(&ahead.fired);
    call.arg(next.slot).arg(next.at);
    let mut fields = Fields::new(script::SCHEDULE_RESET.run::<Value>(link, &call).await?)?;
    match fields.number()? {
        0 => Ok(true),
        1 => Err(StoreError::WrongType(fields.text()?).into()),
        _ => Ok(false),
    }
}

/// The id of the job of a firing; the same whichever host fires it.
pub fn job_id(name: &str, slot: u64) -> JobId {
    JobId::new(format!("schedule-{name}-{slot}")).expect("a name is visible ASCII and short")
}
