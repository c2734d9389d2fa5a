//! Times of schedules: clocks that jump, jitter, what was missed.

mod changes;

use super::*;

fn at(text: &str) -> u64 {
    text.parse::<Timestamp>().unwrap().as_millisecond().cast_unsigned()
}

fn cron(expression: &str, zone: &str) -> Plan {
    Plan::cron(expression, zone).unwrap()
}

/// The slots after `from` up to `to`, as universal time.
fn slots(plan: &Plan, from: &str, to: &str) -> Vec<String> {
    let (mut now, end) = (at(from), at(to));
    let mut found = Vec::new();
    while let Some(next) = plan.after(now).filter(|next| *next <= end) {
        assert!(next > now && plan.before(next) == Some(next), "{next}");
        found.push(Timestamp::from_millisecond(next.cast_signed()).unwrap().strftime("%d %H:%M").to_string());
        now = next;
    }
    found
}

#[test]
fn clocks_set_forward_lose_no_firing_and_double_none() {
    // (zone, expression, from, to, the slots in universal time)
    for (zone, expression, from, to, expected) in [
        // 02:00 becomes 03:00 on 29 March 2026: what was to be at 02:30 is at the end of the gap.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-03-28T00:00Z",
            "2026-03-30T12:00Z",
            vec!["28 01:30", "29 01:00", "30 00:30"],
        ),
        (
            "Europe/Berlin",
            "30 3 * * *",
            "2026-03-28T00:00Z",
            "2026-03-30T12:00Z",
            vec!["28 02:30", "29 01:30", "30 01:30"],
        ),
        // 02:00 becomes 03:00 on 8 March 2026.
        (
            "America/New_York",
            "15 2 * * *",
            "2026-03-07T00:00Z",
            "2026-03-09T12:00Z",
            vec!["07 07:15", "08 07:00", "09 06:15"],
        ),
        // 02:00 becomes 02:30 on 4 October 2026: half an hour only.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-02T16:00Z",
            "2026-10-04T16:00Z",
            vec!["02 15:45", "03 15:30", "04 15:15"][1..].to_vec(),
        ),
        // Every half hour goes on every half hour.
        (
            "Europe/Berlin",
            "*/30 * * * *",
            "2026-03-29T00:20Z",
            "2026-03-29T02:10Z",
            vec!["29 00:30", "29 01:00", "29 01:30", "29 02:00"],
        ),
    ] {
        assert_eq!(slots(&cron(expression, zone), from, to), expected, "{zone} {expression}");
    }
}

#[test]
fn clocks_set_back_fire_once_and_periods_go_on() {
    for (zone, expression, from, to, expected) in [
        // 03:00 becomes 02:00 on 25 October 2026: 02:30 comes twice and fires at the first.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "2026-10-24T00:00Z",
            "2026-10-26T12:00Z",
            vec!["24 00:30", "25 00:30", "26 01:30"],
        ),
        (
            "America/New_York",
            "30 1 * * *",
            "2026-10-31T00:00Z",
            "2026-11-02T12:00Z",
            vec!["31 05:30", "01 05:30", "02 06:30"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-03T00:00Z",
            "2026-04-06T00:00Z",
            vec!["03 14:45", "04 14:45", "05 15:15"],
        ),
        // Every half hour goes on every half hour, through both hours of the same name.
        (
            "Europe/Berlin",
            "*/30 * * * *",
            "2026-10-25T00:20Z",
            "2026-10-25T02:10Z",
            vec!["25 00:30", "25 01:00", "25 01:30", "25 02:00"],
        ),
        // Where clocks never change.
        (
            "Asia/Kolkata",
            "30 2 * * *",
            "2026-10-24T00:00Z",
            "2026-10-25T23:00Z",
            vec!["24 21:00", "25 21:00"],
        ),
    ] {
        assert_eq!(slots(&cron(expression, zone), from, to), expected, "{zone} {expression}");
    }
}

#[test]
fn a_day_of_two_years_fires_once_a_day_in_many_zones() {
    for zone in
        ["Europe/London", "America/Sao_Paulo", "Asia/Tehran", "Pacific/Apia", "Africa/Cairo", "Europe/Dublin"]
    {
        for expression in ["0 0 * * *", "30 1 * * *", "30 2 * * *", "59 23 * * *"] {
            let plan = cron(expression, zone);
            let (mut now, end, mut count) = (at("2026-01-01T12:00Z"), at("2028-01-01T12:00Z"), 0);
            while let Some(next) = plan.after(now).filter(|next| *next <= end) {
                let gap = (next - now) / 3_600_000;
                assert!(count == 0 || (22..=26).contains(&gap), "{zone} {expression}: {gap} h before {next}");
                (now, count) = (next, count + 1);
            }
            assert_eq!(count, 730, "{zone} {expression}");
        }
    }
}

#[test]
fn what_is_no_expression_is_told_with_its_field() {
    for (expression, expected) in [
        ("", "it has 0 fields; write five (minute"),
        ("* * *", "it has 3 fields"),
        ("1 2 3 4 5 6 2027", "it has 7 fields"),
        ("61 * * * *", "`61` for the minute:"),
        ("* 25 * * *", "`25` for the hour:"),
        ("* * 32 * *", "`32` for the day of the month:"),
        ("* * * foo *", "`foo` for the month:"),
        ("* * * * 9", "`9` for the day of the week:"),
        ("99 * * * * *", "`99` for the second:"),
        ("0 0 30 2 *", "never comes"),
    ] {
        let error = Plan::cron(expression, "UTC").unwrap_err();
        assert!(error.field == "cron" && error.text.contains(expected), "{expression}: {error}");
        assert!(!error.text.contains('\n'), "{error}");
    }
    for zone in ["", "Berlin", "../../etc/passwd", "/etc/localtime", "Europe/Nowhere\n"] {
        assert_eq!(Plan::cron("* * * * *", zone).unwrap_err().field, "timezone", "{zone}");
    }
    for good in ["@daily", "0 0 L * *", "0 9 * * MON-FRI", "*/10 * * * * *", "0 12 * * 5#2"] {
        assert!(Plan::cron(good, "UTC").is_ok(), "{good}");
    }
}

#[test]
fn jitter_is_the_same_for_everybody_and_stays_before_the_next_slot() {
    let plan = Plan::every(10_000);
    let first = |name, n: u64| plan.first(name, 60_000, &Fired::default(), n * 10_000);
    let firings: Vec<Firing> = (0..500).map(|n| first("a", n).unwrap()).collect();
    assert!(firings.iter().all(|f| f.at >= f.slot && f.at < f.slot + 10_000));
    assert_eq!(firings[7], plan.first("a", 60_000, &Fired::default(), 70_001).unwrap());
    let distinct: std::collections::BTreeSet<u64> = firings.iter().map(|f| f.at - f.slot).collect();
    assert!(distinct.len() > 400, "{}", distinct.len());
    let other: Vec<Firing> = (0..500).map(|n| first("b", n).unwrap()).collect();
    assert_ne!(firings, other);
    assert!(
        (0..100).all(|n| plan.first("a", 0, &Fired::default(), n * 10_000).is_some_and(|f| f.at == f.slot))
    );
}

#[test]
fn late_is_not_missed_and_missed_is_made_up_for_as_asked() {
    let plan = Plan::every(10_000);
    let due = Firing { slot: 1_000_000, at: 1_000_003 };
    let step = |missed, now| {
        let Step { fire, next, .. } = plan.step("a", 0, missed, due, Fired::default(), now);
        (fire, next.map(|next| next.at))
    };
    for missed in [Missed::Skip, Missed::RunOnce] {
        for late in [0, GRACE_MS] {
            assert_eq!(step(missed, due.at + late), (Some(1_000_000), Some(1_010_000)));
        }
    }
    // An hour late: those of the last minute are still fired, one by one.
    let now = 4_600_005;
    assert_eq!(step(Missed::Skip, now), (None, Some(4_550_000)));
    assert_eq!(step(Missed::RunOnce, now), (Some(4_540_000), Some(4_550_000)));
    // A slow one that was missed is not fired twice by making up for it.
    let daily = cron("0 3 * * *", "UTC");
    let due = Firing { slot: at("2026-05-01T03:00Z"), at: at("2026-05-01T03:00Z") };
    let step = daily.step("a", 0, Missed::RunOnce, due, Fired::default(), at("2026-05-04T12:00Z"));
    let slot = at("2026-05-05T03:00Z");
    assert_eq!((step.fire, step.next), (Some(at("2026-05-04T03:00Z")), Some(Firing { slot, at: slot })));
}

#[test]
fn what_a_clock_that_was_ahead_has_fired_does_not_fire_again() {
    let plan = Plan::every(10_000);
    // An hour ahead, the clock came to a schedule that waits for 1,000,000, and to the slots after it.
    let mut due = Firing { slot: 1_000_000, at: 1_000_000 };
    let mut fired = Fired::read("900000-990000");
    let mut all = Vec::new();
    let mut run = |now: u64, due: &mut Firing, fired: &mut Fired| {
        while due.at <= now {
            let step = plan.step("a", 0, Missed::Skip, *due, fired.clone(), now);
            all.extend(step.fire);
            (*due, *fired) = (step.next.unwrap(), step.fired);
        }
    };
    run(4_600_000, &mut due, &mut fired);
    run(4_630_000, &mut due, &mut fired);
    // The clock is right again: the schedule continues from the present time, and skips slots that have fired already.
    due = plan.first("a", 0, &fired, 1_030_000).unwrap();
    assert_eq!(due.slot, 1_040_000);
    (1_040..4_700).for_each(|second| run(second * 1000, &mut due, &mut fired));
    let mut once = all.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), all.len(), "a slot fired twice");
    let missed: Vec<u64> = (100..470).map(|n| n * 10_000).filter(|slot| !all.contains(slot)).collect();
    assert_eq!(missed, [1_000_000, 1_010_000, 1_020_000, 1_030_000], "what passed while the clock was ahead");
    // What was missed is made up for once, by a slot that has not fired.
    let fired = Fired::read("2000000-2100000");
    let due = Firing { slot: 1_000_000, at: 1_000_000 };
    let step = plan.step("a", 0, Missed::RunOnce, due, fired, 2_150_000);
    assert_eq!((step.fire, step.next.map(|next| next.slot)), (Some(1_000_000), Some(2_110_000)));
}

#[test]
fn numbers_beyond_the_calendar_end_a_schedule_and_overflow_nothing() {
    let last = SLOT_MAX_MS.to_string();
    let numbers =
        ["0", "1700000000000", &last, "9223372036854775807", "18446744073709550000", "18446744073709551615"];
    let read = |number: &&str| number.parse::<u64>().unwrap();
    for plan in [Plan::every(1_000), Plan::every(366 * 86_400_000), cron("0 0 29 2 *", "Europe/Berlin")] {
        for (first, until) in numbers.iter().flat_map(|first| numbers.iter().map(move |until| (first, until)))
        {
            let fired = Fired::read(&format!("0-{first} {first}-{until}"));
            for (slot, now) in [(read(first), read(until)), (read(until), read(first))] {
                for (missed, at) in [(Missed::Skip, slot), (Missed::RunOnce, now), (Missed::RunOnce, 0)] {
                    let due = Firing { slot, at };
                    let step = plan.step("a", 86_400_000, missed, due, fired.clone(), now);
                    assert!(step.next.is_none_or(|next| next.slot <= SLOT_MAX_MS && next.at >= next.slot));
                    assert!(!plan.show(slot).is_empty());
                }
            }
        }
    }
}

#[test]
fn zones_are_names_that_mean_the_same_everywhere() {
    for (name, expected) in [
        ("localtime", "is `localtime`, which differs between machines; write the zone itself"),
        ("posixrules", "differs between machines"),
        ("LocalTime", "differs between machines"),
        ("Factory", "means an unknown zone"),
        ("Etc/Unknown", "means an unknown zone"),
        ("right/Europe/Berlin", "which not every host has; omit `right/`: `Europe/Berlin`"),
        ("posix/UTC", "omit `posix/`: `UTC`"),
        ("Berlin", "is `Berlin`, which is not a time zone; write for example `Europe/Berlin` or `UTC`"),
        ("", "is ``, which is not a time zone"),
    ] {
        let error = Plan::cron("* * * * *", name).unwrap_err();
        assert!(error.field == "timezone" && error.text.contains(expected), "{name}: {error}");
    }
    for good in ["UTC", "US/Eastern", "Etc/GMT+3", "EST5EDT", "Europe/Kyiv", "asia/tokyo"] {
        assert!(Plan::cron("* * * * *", good).is_ok(), "{good}");
    }
}
