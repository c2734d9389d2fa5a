//! Time zones by name: the zone files of the machine first, because they may be newer, then the built-in ones. Some
//! systems lack zones: Debian has `US/Eastern` and others in a separate package.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::job::schedule::ScheduleError;

/// Longest part of a name that an error shows, in characters.
const SHOWN_CHARS: usize = 60;
/// Names that mean the local zone of the machine that reads them.
const OF_THE_MACHINE: [&str; 2] = ["localtime", "posixrules"];
/// Names that mean no zone at all.
const OF_NO_PLACE: [&str; 2] = ["Factory", "Etc/Unknown"];
/// Folders that only some machines have. Zones in `right` count leap seconds; Redis' time does not.
const COPIES: [&str; 2] = ["posix/", "right/"];

/// The zone of this name, if it means the same on every host.
pub(super) fn find(name: &str) -> Result<TimeZone, ScheduleError> {
    let wrong = |why: &str| {
        let shown: String = name.chars().take(SHOWN_CHARS).collect();
        ScheduleError::new("timezone", format!("is `{}`, {why}", shown.escape_debug()))
    };
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    if OF_THE_MACHINE.iter().any(|other| is(name, other)) {
        let why = "which differs between machines; write the zone itself, for example `Europe/Berlin`";
        return Err(wrong(why));
    }
    if OF_NO_PLACE.iter().any(|other| is(name, other)) {
        return Err(wrong("which means an unknown zone; write for example `Europe/Berlin` or `UTC`"));
    }
    let begins = |head: &&&str| name.get(..head.len()).is_some_and(|start| is(start, head));
    if let Some(head) = COPIES.iter().find(begins) {
        let rest: String = name[head.len()..].chars().take(SHOWN_CHARS).collect();
        let why = format!("which not every host has; omit `{head}`: `{}`", rest.escape_debug());
        return Err(wrong(&why));
    }
    let is_path = name.is_empty() || name.starts_with('/') || name.contains("..");
    let found = (!is_path).then(|| TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)));
    match found {
        Some(Ok(zone)) => Ok(zone),
        _ => Err(wrong("which is not a time zone; write for example `Europe/Berlin` or `UTC`")),
    }
}
