//! Which jobs a subcommand means: the flags that say it, alike everywhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandhog::job::filter::Filter;
use sandhog::job::name::JobId;

/// What jobs are chosen by. All that is said must fit.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Select {
    /// Only jobs with this text in their payload or in their reason.
    #[arg(long, value_name = "TEXT", help_heading = "Which jobs")]
    text: Option<String>,
    /// Only jobs that this plugin ran last.
    #[arg(long, value_name = "NAME", help_heading = "Which jobs")]
    plugin: Option<String>,
    /// Only jobs that this version ran last; the beginning of its digest is enough.
    #[arg(long, value_name = "DIGEST", help_heading = "Which jobs")]
    version: Option<String>,
    /// Only jobs of this group of failures, as `jobs groups` names it.
    #[arg(long, value_name = "NAME", help_heading = "Which jobs")]
    fingerprint: Option<String>,
    /// Only jobs that died (are due, were first seen) since then: `2h` for two hours ago, or `2026-11-23T02:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    since: Option<Moment>,
    /// Only jobs that died (are due, were first seen) before then.
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Which jobs")]
    until: Option<Moment>,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// So long ago.
    Ago(Duration),
    /// Milliseconds since the epoch.
    At(u64),
}

impl Moment {
    fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(span) => now_ms.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            Self::At(ms) => ms,
        }
    }
}

impl Select {
    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.filter(&[], 0).is_empty()
    }

    /// The filter, at this Redis time, with the ids that were named.
    pub(super) fn filter(&self, ids: &[JobId], now_ms: u64) -> Filter {
        Filter {
            ids: ids.to_vec(),
            text: self.text.clone(),
            version: self.version.clone(),
            plugin: self.plugin.clone(),
            since_ms: self.since.map(|since| since.ms(now_ms)),
            until_ms: self.until.map(|until| until.ms(now_ms)),
            fingerprint: self.fingerprint.clone(),
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(span) = humantime::parse_duration(text) {
        return Ok(Moment::Ago(span));
    }
    let time: SystemTime = humantime::parse_rfc3339_weak(text)
        .map_err(|_| "not a time; write for example `2h` for two hours ago, or `2026-11-23T02:00:00Z`")?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| "a time before 1970")?;
    Ok(Moment::At(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_or_moments() {
        assert_eq!(moment("2h").map(|m| m.ms(10_000_000)), Ok(2_800_000));
        assert_eq!(moment("2h").map(|m| m.ms(5)), Ok(0));
        assert_eq!(moment("1970-01-01T00:00:02Z").map(|m| m.ms(5)), Ok(2000));
        assert_eq!(moment("1970-01-01 00:00:02").map(|m| m.ms(5)), Ok(2000));
        assert!(moment("yesterday").unwrap_err().contains("not a time"));
    }
}
