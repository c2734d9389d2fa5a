//! Time zones by their names: the machine's own zone files first, since they may be newer, and then those that are
//! built in. Systems leave zones out: Debian has `US/Eastern` and others in a package of its own.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::job::schedule::ScheduleError;

/// Longest part of a name that is shown.
const SHOWN_CHARS: usize = 60;
/// Names that stand for the zone of whichever machine reads them.
const OF_THE_MACHINE: [&str; 2] = ["localtime", "posixrules"];
/// Names that stand for no zone at all.
const OF_NO_PLACE: [&str; 2] = ["Factory", "Etc/Unknown"];
/// Folders that only some machines have. The zones in `right` count leap seconds, which Redis' time does not.
const COPIES: [&str; 2] = ["posix/", "right/"];

/// The zone of this name, if it means the same on every host.
pub(super) fn find(name: &str) -> Result<TimeZone, ScheduleError> {
    let wrong = |why: &str| {
        let shown: String = name.chars().take(SHOWN_CHARS).collect();
        ScheduleError::new("timezone", format!("is `{}`, {why}", shown.escape_debug()))
    };
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    if OF_THE_MACHINE.iter().any(|other| is(name, other)) {
        let why = "which is another zone on each machine; write the zone itself, for example `Europe/Berlin`";
        return Err(wrong(why));
    }
    if OF_NO_PLACE.iter().any(|other| is(name, other)) {
        return Err(wrong("which stands for an unknown zone; write for example `Europe/Berlin` or `UTC`"));
    }
    let begins = |head: &&&str| name.get(..head.len()).is_some_and(|start| is(start, head));
    if let Some(head) = COPIES.iter().find(begins) {
        let rest: String = name[head.len()..].chars().take(SHOWN_CHARS).collect();
        let why = format!("which not every host has; leave `{head}` out: `{}`", rest.escape_debug());
        return Err(wrong(&why));
    }
    let is_path = name.is_empty() || name.starts_with('/') || name.contains("..");
    let found = (!is_path).then(|| TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)));
    match found {
        Some(Ok(zone)) => Ok(zone),
        _ => Err(wrong("which is not a time zone; write for example `Europe/Berlin` or `UTC`")),
    }
}
