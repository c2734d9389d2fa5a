//! `[[schedule]]` of `sandhog.toml`: what is pushed at which times. What is allowed is in `job::schedule`.

use std::time::Duration;

use crate::config::table::Table;
use crate::job::schedule::{
    EVERY_MAX, EVERY_MIN, JITTER_MAX, Missed, SCHEDULES_MAX, Schedule, When, check_name,
};

const MISSED: [(&str, Missed); 2] = [("skip", Missed::Skip), ("run-once", Missed::RunOnce)];

/// Reads them all; what is wrong is reported, and left out.
pub(super) fn read(root: &mut Table<'_>) -> Vec<(String, Schedule)> {
    let tables = root.tables("schedule");
    if tables.len() > SCHEDULES_MAX {
        root.refuse("schedule", &format!("is there more than {SCHEDULES_MAX} times"));
        return Vec::new();
    }
    let mut schedules: Vec<(String, Schedule)> = Vec::new();
    for mut table in tables {
        let read = one(&mut table);
        if let Some((name, _)) = &read
            && schedules.iter().any(|(other, _)| other == name)
        {
            table.refuse("name", &format!("= \"{name}\" is the name of another schedule of this file"));
        } else {
            schedules.extend(read);
        }
        table.finish();
    }
    schedules
}

fn one(table: &mut Table<'_>) -> Option<(String, Schedule)> {
    let name = table.string("name", "nightly-report");
    let queue = table.string("queue", "reports");
    let cron = table.string("cron", "0 3 * * *");
    let timezone = table.string("timezone", "Europe/Berlin");
    let every = table.duration("every", EVERY_MIN..=EVERY_MAX, "10s");
    let jitter = table.duration("jitter", Duration::ZERO..=JITTER_MAX, "30s");
    let payload = table.string("payload", "{}");
    let missed = table.choice("missed", &MISSED);
    let headers = table.table("headers").all_strings();
    table.missing("name", "hosts with the same file know it by its name: write `name = \"nightly-report\"`");
    table.missing("queue", "write where its jobs go: `queue = \"reports\"`");
    let when = match (cron, every) {
        (Some(expression), None) => {
            When::Cron { expression, timezone: timezone.unwrap_or_else(|| "UTC".to_owned()) }
        }
        (None, Some(every)) => {
            if table.has("timezone") {
                table.refuse("timezone", "is for `cron`; `every` counts from 1970 in universal time");
            }
            When::Every(every.as_millis().try_into().unwrap_or(u64::MAX))
        }
        (Some(_), Some(_)) => {
            table.refuse("every", "and `cron` are given both; a schedule has one of them");
            return None;
        }
        (None, None) => {
            if !table.has("every") {
                table.missing("cron", "write when it fires: `cron = \"0 3 * * *\"` or `every = \"10s\"`");
            }
            return None;
        }
    };
    let name = name?;
    let schedule = Schedule {
        queue: queue?,
        when,
        jitter_ms: jitter.map_or(0, |jitter| jitter.as_millis().try_into().unwrap_or(u64::MAX)),
        payload: payload.unwrap_or_default(),
        headers: headers.into_iter().map(|(name, item)| (name, item.text)).collect(),
        missed: missed.unwrap_or_default(),
    };
    for error in [check_name(&name).err(), schedule.plan().err()].into_iter().flatten() {
        table.refuse(error.field, &error.text);
    }
    Some((name, schedule))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Machine, Overrides, file};
    use super::*;

    fn machine() -> Machine {
        Machine { name: "m".to_owned(), state_dir: "/state".into(), cores: 1 }
    }

    fn schedules(text: &str) -> Result<Vec<(String, Schedule)>, String> {
        let none = Overrides::default();
        let read = file::resolve(&none, &none, Some((Path::new("s.toml"), text)), &machine());
        read.map(|settings| settings.schedules).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_schedule_is_read_with_its_defaults() {
        let text = "[[schedule]]\nname = \"a\"\nqueue = \"q\"\ncron = \"0 3 * * *\"\n\
                    [[schedule]]\nname = \"b\"\nqueue = \"q\"\nevery = \"10s\"\njitter = \"2s\"\npayload = \"x\"\n\
                    missed = \"run-once\"\nheaders = { team = \"ops\" }\n";
        let read = schedules(text).unwrap();
        let zone = "UTC".to_owned();
        assert_eq!(read[0].1.when, When::Cron { expression: "0 3 * * *".to_owned(), timezone: zone });
        let expected = Schedule {
            queue: "q".to_owned(),
            when: When::Every(10_000),
            jitter_ms: 2_000,
            payload: "x".to_owned(),
            headers: vec![("team".to_owned(), "ops".to_owned())],
            missed: Missed::RunOnce,
        };
        assert_eq!(read[1], ("b".to_owned(), expected));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let head = "[[schedule]]\nname = \"a\"\nqueue = \"q\"\n";
        for (text, expected) in [
            (
                format!("{head}cron = \"61 * * * *\"\n"),
                "s.toml:4: `schedule.cron` = \"61 * * * *\" is no cron expression: `61` for the minute: ",
            ),
            (
                format!("{head}cron = \"0 3 * * *\"\ntimezone = \"Berlin\"\n"),
                "s.toml:5: `schedule.timezone` is `Berlin`, which is not a time zone; write for example `Europe/Berlin` or `UTC`",
            ),
            (
                format!("{head}every = \"1ms\"\n"),
                "s.toml:4: `schedule.every` is \"1ms\"; it must be at least \"1s\"",
            ),
            (
                format!("{head}every = \"10s\"\ntimezone = \"UTC\"\n"),
                "s.toml:5: `schedule.timezone` is for `cron`",
            ),
            (
                format!("{head}every = \"10s\"\ncron = \"* * * * *\"\n"),
                "s.toml:4: `schedule.every` and `cron` are given both",
            ),
            (
                head.to_owned(),
                "s.toml:1: missing `schedule.cron`; write when it fires: `cron = \"0 3 * * *\"` or `every = \"10s\"`",
            ),
            (
                format!("{head}every = \"10s\"\nmissed = \"never\"\n"),
                "s.toml:5: `schedule.missed` is \"never\"; it must be \"skip\" or \"run-once\"",
            ),
            (
                format!("{head}every = \"10s\"\n{head}every = \"20s\"\n"),
                "s.toml:6: `schedule.name` = \"a\" is the name of another schedule of this file",
            ),
            (
                "[[schedule]]\nname = \"a b\"\nqueue = \"\"\nevery = \"10s\"\n".to_owned(),
                "s.toml:2: `schedule.name` must have 1 to 64 letters, digits, `.`, `_` and `-`",
            ),
            (
                format!("{head}every = \"10s\"\njiter = \"1s\"\n"),
                "s.toml:5: unknown field `schedule.jiter`; did you mean `jitter`?",
            ),
        ] {
            let problems = schedules(&text).unwrap_err();
            assert!(problems.starts_with(expected), "{text}\n{problems}");
        }
    }
}
