//! All kinds of expressions around clock changes, compared with a model that looks at the clock step by step and
//! implements only what `docs/schedules.md` promises.

use croner::Cron;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::*;

/// Zones, each with years that contain different kinds of clock changes.
const CHANGES: [(&str, &str, &str); 16] = [
    ("Europe/Berlin", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("America/New_York", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("Europe/Dublin", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    // Half an hour.
    ("Australia/Lord_Howe", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("Pacific/Chatham", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("Asia/Pyongyang", "2015-01-01T00:00Z", "2019-01-01T00:00Z"),
    ("America/Caracas", "2007-01-01T00:00Z", "2017-01-01T00:00Z"),
    // At midnight, and from one day into the other.
    ("America/Sao_Paulo", "2017-06-01T00:00Z", "2019-06-01T00:00Z"),
    ("Asia/Beirut", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("Africa/Cairo", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("America/Scoresbysund", "2023-06-01T00:00Z", "2025-01-01T00:00Z"),
    // Forward and back again around Ramadan, in addition to summer time.
    ("Africa/Casablanca", "2026-01-01T00:00Z", "2027-06-01T00:00Z"),
    // Two hours; three hours.
    ("Antarctica/Troll", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
    ("Antarctica/Casey", "2018-01-01T00:00Z", "2021-01-01T00:00Z"),
    // A whole calendar day that was skipped.
    ("Pacific/Apia", "2011-01-01T00:00Z", "2012-12-31T00:00Z"),
    ("Asia/Kolkata", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
];

/// Expressions that name hours.
const OF_HOURS: [&str; 22] = [
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0 * * *",
    "0,30 2 * * *",
    "*/20 2 * * *",
    "* 2 * * *",
    "5-50/15 1-3 * * *",
    "0 2-4 * * *",
    "59 1-2 * * *",
    "0 */2 * * *",
    "*/10 */3 * * *",
    "0 0,1,2,3,22,23 * * *",
    "30 1-23/2 * * *",
    "45 0-22 * * *",
    "0 2 * * SUN",
    "30 0,23 * * MON-SAT",
    "10 1 * * 7#L",
    "10 3 L * *",
    "0 0 30 12 *",
    "@daily",
    "@weekly",
    "@monthly",
];

/// Expressions that have every hour.
const OF_EVERY_HOUR: [&str; 9] = [
    "* * * * *",
    "*/30 * * * *",
    "0,45 * * * *",
    "15 0-23 * * *",
    "15 */1 * * *",
    "7-20/3 * * * *",
    "30 * * * SUN",
    "0 0-11,12-23 * * SAT,SUN",
    "@hourly",
];

/// The same, to the second.
const OF_SECONDS: [(&str, bool); 6] = [
    ("30 */30 2 * * *", false),
    ("*/20 59 1 * * *", false),
    ("0,59 0,59 0-3 * * *", false),
    ("45 30 * * * *", true),
    ("*/15 * * * * *", true),
    ("10 0,30,59 * * * *", true),
];

/// What fires in a window, found by looking at the clock every `step` seconds.
fn model(cron: &Cron, zone: &TimeZone, every_hour: bool, (from, to): (i64, i64), step: i64) -> Vec<u64> {
    let clock = |at| zone.to_datetime(Timestamp::from_second(at).unwrap());
    let is_time = |time: DateTime| cron.is_time_matching(&time.to_zoned(TimeZone::UTC).unwrap()).unwrap();
    let mut reached = clock(from);
    let mut found = Vec::new();
    for at in (from + step..=to).step_by(usize::try_from(step).unwrap()) {
        let shown = clock(at);
        let fires = if every_hour {
            is_time(shown)
        } else {
            // Each time that the clock has reached or passed for the first time.
            let mut passed = false;
            let mut time = reached;
            while time < shown {
                time = time.checked_add(SignedDuration::from_secs(step)).unwrap();
                passed |= is_time(time);
            }
            passed
        };
        if fires {
            found.push(u64::try_from(at).unwrap() * 1000);
        }
        reached = reached.max(shown);
    }
    found
}

fn shown(slots: &[u64]) -> Vec<String> {
    slots.iter().map(|ms| Timestamp::from_millisecond(ms.cast_signed()).unwrap().to_string()).collect()
}

/// Compares the plan with the model in a window, in both directions.
#[track_caller]
fn compare(expression: &str, zone: &str, every_hour: bool, window: (i64, i64), step: i64) {
    let plan = cron(expression, zone);
    let expected =
        model(&parser().parse(expression).unwrap(), &zone::find(zone).unwrap(), every_hour, window, step);
    let (from, to) = (window.0.unsigned_abs() * 1000, window.1.unsigned_abs() * 1000);
    let mut found = Vec::new();
    let mut at = from;
    while let Some(next) = plan.after(at).filter(|next| *next <= to) {
        found.push(next);
        at = next;
    }
    assert_eq!(shown(&found), shown(&expected), "{expression} {zone} from {:?}", shown(&[from, to]));
    for slots in expected.windows(2) {
        let between = (slots[0] + slots[1]) / 2;
        for at in [slots[0], between, slots[1] - 1] {
            let (before, after) = (plan.before(at), plan.after(at));
            assert_eq!((before, after), (Some(slots[0]), Some(slots[1])), "{expression} {zone} at {at}");
        }
    }
}

/// The clock changes of a zone in a time.
fn changes(zone: &str, from: &str, to: &str) -> Vec<i64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
    let zone = zone::find(zone).unwrap();
    let found = zone.following(from).take_while(|change| change.timestamp() < to);
    found.map(|change| change.timestamp().as_second()).collect()
}

/// All clock changes, each with its zone.
fn all_changes() -> Vec<(&'static str, i64)> {
    let found = CHANGES
        .iter()
        .flat_map(|(zone, from, to)| changes(zone, from, to).into_iter().map(move |change| (*zone, change)));
    let found: Vec<(&str, i64)> = found.collect();
    assert!(found.len() > 30, "{}", found.len());
    found
}

fn around(change: i64, hours: i64) -> (i64, i64) {
    (change - hours * 3600, change + hours * 3600)
}

#[test]
fn expressions_that_name_hours_fire_once_for_each_time_however_the_clock_changes() {
    for (zone, change) in all_changes() {
        for expression in OF_HOURS {
            compare(expression, zone, false, around(change, 27), 60);
        }
    }
}

#[test]
fn expressions_with_every_hour_fire_whenever_the_clock_shows_their_time() {
    for (zone, change) in all_changes() {
        for expression in OF_EVERY_HOUR {
            compare(expression, zone, true, around(change, 5), 60);
        }
    }
}

#[test]
fn seconds_are_kept_around_changes_of_the_clock() {
    for (zone, change) in all_changes() {
        for (expression, every_hour) in OF_SECONDS {
            compare(expression, zone, every_hour, around(change, 1), 1);
        }
    }
}

#[test]
fn expressions_at_random_fire_as_the_model_does() {
    let changes = all_changes();
    let mut random = fastrand::Rng::with_seed(20_261_130);
    for _ in 0..600 {
        let (zone, change) = changes[random.usize(..changes.len())];
        let (minutes, hours) = (field(&mut random, 60), field(&mut random, 24));
        let days = ["* * *", "* * SUN", "* * 1-5", "*/2 * *", "L * *", "1 * SAT"][random.usize(..6)];
        let expression = format!("{minutes} {hours} {days}");
        let every_hour = parser().parse(&expression).unwrap().pattern.hours.values().len() == 24;
        compare(&expression, zone, every_hour, around(change, 26), 60);
    }
}

/// A field of an expression for values below `end`.
fn field(random: &mut fastrand::Rng, end: u32) -> String {
    let (one, other) = (random.u32(..end), random.u32(..end));
    let (least, most) = (one.min(other), one.max(other));
    let step = random.u32(1..end);
    match random.u32(..6) {
        0 => "*".to_owned(),
        1 => format!("*/{step}"),
        2 => format!("{least}-{most}"),
        3 => format!("{least}-{most}/{step}"),
        4 => format!("{one},{other}"),
        _ => one.to_string(),
    }
}
