//! Times of schedules: clocks that jump, jitter, what was missed.

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
    let firings: Vec<Firing> = (0..500).map(|n| plan.first("a", 60_000, n * 10_000).unwrap()).collect();
    assert!(firings.iter().all(|f| f.at >= f.slot && f.at < f.slot + 10_000));
    assert_eq!(firings[7], plan.first("a", 60_000, 70_001).unwrap());
    let distinct: std::collections::BTreeSet<u64> = firings.iter().map(|f| f.at - f.slot).collect();
    assert!(distinct.len() > 400, "{}", distinct.len());
    let other: Vec<Firing> = (0..500).map(|n| plan.first("b", 60_000, n * 10_000).unwrap()).collect();
    assert_ne!(firings, other);
    assert!((0..100).all(|n| plan.first("a", 0, n * 10_000).is_some_and(|f| f.at == f.slot)));
}

#[test]
fn late_is_not_missed_and_missed_is_made_up_for_as_asked() {
    let plan = Plan::every(10_000);
    let due = Firing { slot: 1_000_000, at: 1_000_003 };
    let step = |missed, now| plan.step("a", 0, missed, due, now);
    let next = |slot| Some(Firing { slot, at: slot });
    for missed in [Missed::Skip, Missed::RunOnce] {
        for late in [0, GRACE_MS] {
            let expected = Step { fire: Some(1_000_000), next: next(1_010_000) };
            assert_eq!(step(missed, due.at + late), expected);
        }
    }
    // An hour late: those of the last minute are still fired, one by one.
    let now = 4_600_005;
    assert_eq!(step(Missed::Skip, now), Step { fire: None, next: next(4_550_000) });
    assert_eq!(step(Missed::RunOnce, now), Step { fire: Some(4_540_000), next: next(4_550_000) });
    // A slow one that was missed is not fired twice by making up for it.
    let daily = cron("0 3 * * *", "UTC");
    let due = Firing { slot: at("2026-05-01T03:00Z"), at: at("2026-05-01T03:00Z") };
    let step = daily.step("a", 0, Missed::RunOnce, due, at("2026-05-04T12:00Z"));
    let slot = at("2026-05-05T03:00Z");
    assert_eq!(step, Step { fire: Some(at("2026-05-04T03:00Z")), next: Some(Firing { slot, at: slot }) });
}
