//! When a cron expression fires by the clocks of a zone.
//!
//! What is promised when clocks are set forward or back:
//!
//! - An expression that names hours fires once for each of its times, as soon as the clock has reached or passed it.
//!   A time that the clock skips fires at the end of the gap; one that the clock shows twice fires the first time.
//! - An expression whose hour field has every hour fires whenever the clock shows one of its times.
//!
//! A zone is a sequence of *stretches*, each with one offset from universal time. Within a stretch, local time is
//! universal time plus the offset; both are counted in whole seconds since 1970.

use croner::{CronPattern, Weekday};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Seconds of a calendar day.
const DAY: i64 = 24 * 3600;
/// How far a search goes, in seconds. The 29th of February falls on a given weekday at least once in 40 years.
const HORIZON: i64 = 100 * 366 * DAY;

/// An expression and its time zone.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    days: CronPattern,
    hours: Vec<i64>,
    minutes: Vec<i64>,
    seconds: Vec<i64>,
    zone: TimeZone,
}

/// A time with one offset.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Its first second.
    from: i64,
    /// The first second after it.
    until: i64,
    /// From universal to local time, in seconds.
    offset: i64,
    /// The first local time that belongs to this stretch.
    first_local: i64,
}

impl Stretch {
    /// When the clock reaches or passes a local time, in milliseconds.
    fn reaches(&self, local: i64) -> Option<u64> {
        u64::try_from(self.from.max(local - self.offset)).ok()?.checked_mul(1000)
    }
}

impl Clock {
    pub(super) fn new(pattern: CronPattern, zone: TimeZone) -> Self {
        let values = |values: Vec<u16>| values.into_iter().map(i64::from).collect();
        Self {
            hours: values(pattern.hours.values()),
            minutes: values(pattern.minutes.values()),
            seconds: values(pattern.seconds.values()),
            days: pattern,
            zone,
        }
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first firing after `ms`.
    pub(super) fn after(&self, ms: u64) -> Option<u64> {
        let start = i64::try_from(ms / 1000).ok()? + 1;
        let end = start + HORIZON;
        let mut stretch = self.stretch(start)?;
        // Times in a gap fire in the first second of the stretch after it.
        let mut from = if start > stretch.from {
            stretch.first_local.max(start + stretch.offset)
        } else {
            stretch.first_local
        };
        loop {
            if let Some(local) = self.first(from, stretch.until.min(end) + stretch.offset) {
                return stretch.reaches(local);
            }
            if stretch.until >= end {
                return None;
            }
            stretch = self.stretch(stretch.until)?;
            from = stretch.first_local;
        }
    }

    /// The last firing at or before `ms`.
    pub(super) fn before(&self, ms: u64) -> Option<u64> {
        let start = i64::try_from(ms / 1000).ok()?;
        let end = (start - HORIZON).max(0);
        let mut stretch = self.stretch(start)?;
        let mut until = start + stretch.offset + 1;
        loop {
            let from = stretch.first_local.max(end + stretch.offset);
            if let Some(local) = self.last(from, until) {
                return stretch.reaches(local);
            }
            if stretch.from <= end {
                return None;
            }
            stretch = self.stretch(stretch.from - 1)?;
            until = stretch.until + stretch.offset;
        }
    }

    /// The stretch that contains this second.
    fn stretch(&self, second: i64) -> Option<Stretch> {
        let at = Timestamp::from_second(second).ok()?;
        let offset_at = |at| i64::from(self.zone.to_offset(at).seconds());
        let offset = offset_at(at);
        // `preceding` excludes its argument: the next second includes a change at this one.
        let change = self.zone.preceding(Timestamp::from_second(second + 1).ok()?).next();
        let from = change.map_or(i64::MIN / 2, |change| change.timestamp().as_second());
        let until = self.zone.following(at).next().map_or(i64::MAX / 2, |next| next.timestamp().as_second());
        let before = Timestamp::from_second(from - 1).map_or(offset, offset_at);
        // An expression with every hour begins with the time that the clock shows. Others begin with the first time
        // that the clock has not reached before, even if it skips that now.
        let first_local = from + if self.has_every_hour() { offset } else { before };
        Some(Stretch { from, until, offset, first_local })
    }

    fn has_every_hour(&self) -> bool {
        self.hours.len() == 24
    }

    /// The first time of the expression in `from..until`, all in local time.
    fn first(&self, from: i64, until: i64) -> Option<i64> {
        let mut at = from;
        while at < until {
            let day = at.div_euclid(DAY);
            if let Some(time) = self.is_day(day).then(|| self.first_time(at.rem_euclid(DAY))).flatten() {
                return Some(day * DAY + time).filter(|found| *found < until);
            }
            at = (day + 1) * DAY;
        }
        None
    }

    /// The last time of the expression in `from..until`, all in local time.
    fn last(&self, from: i64, until: i64) -> Option<i64> {
        let mut end = until;
        while end > from {
            let (day, second) = ((end - 1).div_euclid(DAY), (end - 1).rem_euclid(DAY));
            if let Some(time) = self.is_day(day).then(|| self.last_time(second)).flatten() {
                return Some(day * DAY + time).filter(|found| *found >= from);
            }
            end = day * DAY;
        }
        None
    }

    /// Whether the expression includes this day, counted from 1 January 1970.
    fn is_day(&self, day: i64) -> bool {
        let Ok(midnight) = Timestamp::from_second(day * DAY) else { return false };
        let date = Offset::UTC.to_datetime(midnight).date();
        let (year, month, day) = (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs());
        let weekday =
            Weekday::from_days_from_sunday(date.weekday().to_sunday_zero_offset().unsigned_abs().into());
        self.days.month_match(month.into()).unwrap_or(false)
            && self.days.day_match(year, month.into(), day.into(), weekday).unwrap_or(false)
    }

    /// The first time of day of the expression at or after this second of the day.
    fn first_time(&self, from: i64) -> Option<i64> {
        for hour in self.hours.iter().map(|hour| hour * 3600).filter(|hour| hour + 3599 >= from) {
            for minute in
                self.minutes.iter().map(|minute| hour + minute * 60).filter(|minute| minute + 59 >= from)
            {
                let mut seconds = self.seconds.iter().map(|second| minute + second);
                if let Some(time) = seconds.find(|second| *second >= from) {
                    return Some(time);
                }
            }
        }
        None
    }

    /// The last time of day of the expression at or before this second of the day.
    fn last_time(&self, until: i64) -> Option<i64> {
        for hour in self.hours.iter().rev().map(|hour| hour * 3600).filter(|hour| *hour <= until) {
            for minute in
                self.minutes.iter().rev().map(|minute| hour + minute * 60).filter(|minute| *minute <= until)
            {
                let mut seconds = self.seconds.iter().rev().map(|second| minute + second);
                if let Some(time) = seconds.find(|second| *second <= until) {
                    return Some(time);
                }
            }
        }
        None
    }
}
