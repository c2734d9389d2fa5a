//! Which jobs are meant: by id, by what is in them, by what ran them, by time, by how they failed. Pure; who looks
//! at jobs is in `walk`.

use super::fingerprint::Fingerprint;
use super::inspect::{JobRow, Place};
use super::name::JobId;

/// Jobs that fit all that is said here; whatever is left empty fits every job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these.
    pub ids: Vec<JobId>,
    /// These bytes are in the payload or in the reason.
    pub text: Option<String>,
    /// The version that ran it last, or the beginning of its digest.
    pub version: Option<String>,
    /// The plugin that ran it last.
    pub plugin: Option<String>,
    /// Not before this time: when it died, when it is due, when it was first seen otherwise.
    pub since_ms: Option<u64>,
    /// Not after this time.
    pub until_ms: Option<u64>,
    /// How it failed: the name of a fingerprint.
    pub fingerprint: Option<String>,
}

impl Filter {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it fits a job, whose row has the whole payload as its preview.
    pub fn fits(&self, row: &JobRow) -> bool {
        let note = |key: &str| row.notes.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        let reason = row.reason.as_deref().unwrap_or_default();
        let holds = |text: &String| {
            contains(&row.preview, text.as_bytes()) || contains(reason.as_bytes(), text.as_bytes())
        };
        (self.ids.is_empty() || row.id.as_ref().is_some_and(|id| self.ids.contains(id)))
            && self.text.as_ref().is_none_or(holds)
            && is_or_begins(self.version.as_deref(), note("!version"))
            && self.plugin.as_deref().is_none_or(|plugin| note("!plugin") == Some(plugin))
            && self.fits_time(row)
            && self.fingerprint.as_ref().is_none_or(|name| {
                row.reason.as_ref().is_some_and(|reason| Fingerprint::of(reason).name() == *name)
            })
    }

    fn fits_time(&self, row: &JobRow) -> bool {
        if self.since_ms.is_none() && self.until_ms.is_none() {
            return true;
        }
        let time = match row.place {
            Place::Dead | Place::Delayed => row.at_ms,
            _ => row.first_seen_ms,
        };
        // What waits in the producers' list has no time.
        time.is_some_and(|time| {
            self.since_ms.is_none_or(|since| time >= since) && self.until_ms.is_none_or(|until| time <= until)
        })
    }
}

fn is_or_begins(wanted: Option<&str>, found: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| found.starts_with(wanted)))
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let Some(first) = text.first() else { return true };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(text) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> JobRow {
        let note = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        JobRow {
            place: Place::Dead,
            id: Some(JobId::new("job-1").unwrap()),
            attempts: 3,
            crashes: 0,
            first_seen_ms: Some(50),
            at_ms: Some(100),
            host: None,
            reason: Some("order 7 is odd".to_owned()),
            payload_bytes: 5,
            preview: b"a\xff\xffbc".to_vec(),
            notes: vec![note("!plugin", "mailer"), note("!version", "abcdef")],
            progress: None,
        }
    }

    #[test]
    fn every_part_must_fit() {
        let text = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
        let ids = |id: &str| Filter { ids: vec![JobId::new(id).unwrap()], ..Filter::default() };
        let version = |version: &str| Filter { version: Some(version.to_owned()), ..Filter::default() };
        let plugin = |plugin: &str| Filter { plugin: Some(plugin.to_owned()), ..Filter::default() };
        let kind =
            |reason: &str| Filter { fingerprint: Some(Fingerprint::of(reason).name()), ..Filter::default() };
        let time = |since_ms, until_ms| Filter { since_ms, until_ms, ..Filter::default() };
        for (filter, expected) in [
            (Filter::default(), true),
            (ids("job-1"), true),
            (ids("job-"), false),
            (text("bc"), true),
            (text(""), true),
            (text("is odd"), true),
            (text("bcd"), false),
            (version("abc"), true),
            (version("bc"), false),
            (plugin("mailer"), true),
            (plugin("mail"), false),
            (kind("order 9 is odd"), true),
            (kind("order 9 is even"), false),
            (time(Some(100), Some(100)), true),
            (time(Some(101), None), false),
            (time(None, Some(99)), false),
            (Filter { plugin: Some("other".to_owned()), ..text("bc") }, false),
        ] {
            assert_eq!(filter.fits(&row()), expected, "{filter:?}");
        }
    }

    #[test]
    fn the_time_of_a_job_is_that_of_its_place() {
        let seen = Filter { until_ms: Some(60), ..Filter::default() };
        assert!(!seen.fits(&row()), "it died later");
        assert!(seen.fits(&JobRow { place: Place::Ready, at_ms: None, ..row() }));
        let waits = JobRow { place: Place::Waiting, at_ms: None, first_seen_ms: None, ..row() };
        assert!(!seen.fits(&waits), "it has none");
    }
}
