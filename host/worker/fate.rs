//! What an outcome means for a job: pure, so that every rule about attempts stands in one place.

use std::time::Duration;

use crate::job::backoff::Backoff;
use crate::job::envelope::Header;
use crate::job::settle::Fate;
use crate::sandbox::outcome::Outcome;

/// Longest wait a guest can ask for: 30 days.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a job waits after a fault of the host or of Redis, which costs no attempt.
const BLAMELESS_DELAY: Duration = Duration::from_secs(1);
/// Runs of one job that may end by an outage of Redis before they cost attempts: a guest that causes such outages
/// must come to an end, too.
const OUTAGES_MAX: u32 = 100;
/// The note that counts them.
const OUTAGES_NOTE: &str = "!outages";

/// The operator's rules for failed runs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// A failure in this attempt buries the job.
    pub max_attempts: u32,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Whether a job that is to run again keeps its place among those with its key.
    pub in_order: bool,
}

/// What ran: for the notes of a job that did not complete.
#[derive(Debug, Clone, Copy)]
pub struct Ran<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// The digest of the version.
    pub version: &'a str,
}

/// Decides what becomes of a job and brings its header up to date. `random` (0 to 1) feeds the jitter.
pub fn decide(outcome: &Outcome, header: &mut Header, rules: &Rules, ran: Ran<'_>, random: f64) -> Fate {
    let (reason, after, may_retry) = match outcome {
        Outcome::Done => return Fate::Complete,
        Outcome::Discarded(_) => return Fate::Discard,
        Outcome::HostFault(_) => return Fate::Retry { delay_ms: millis(BLAMELESS_DELAY) },
        Outcome::Outage(_) if count_outage(header) => {
            return Fate::Retry { delay_ms: millis(BLAMELESS_DELAY) };
        }
        Outcome::Retry { reason, after } => (reason.clone(), *after, true),
        Outcome::Buried(reason) => (reason.clone(), None, false),
        Outcome::Trapped { .. } | Outcome::TimedOut | Outcome::OutOfMemory | Outcome::Outage(_) => {
            (outcome.reason().into_owned(), None, true)
        }
    };
    header.attempts = header.attempts.saturating_add(1);
    header.set_note("!reason", reason);
    header.set_note("!plugin", ran.plugin);
    header.set_note("!version", ran.version);
    if let Outcome::Trapped { backtrace, .. } = outcome {
        header.set_note("!trace", backtrace.clone());
    }
    header.fit();
    if !may_retry || header.attempts >= rules.max_attempts {
        header.drop_note("!key");
        return Fate::Bury;
    }
    if !rules.in_order {
        header.drop_note("!key");
    }
    let delay_ms = match after {
        Some(after) => millis(after.min(RETRY_AFTER_MAX)),
        None => rules.backoff.delay_ms(header.attempts, random),
    };
    Fate::Retry { delay_ms }
}

/// Counts one more run that ended by an outage of Redis; false if there were too many, so this one costs an attempt.
fn count_outage(header: &mut Header) -> bool {
    let before = header.note(OUTAGES_NOTE).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    if before >= OUTAGES_MAX {
        return false;
    }
    header.set_note(OUTAGES_NOTE, (before + 1).to_string());
    header.fit();
    // Without a readable count the job would run for ever.
    header.note(OUTAGES_NOTE) == Some((before + 1).to_string().as_str())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::name::JobId;

    fn header(attempts: u32) -> Header {
        let id = JobId::new("j").unwrap();
        Header { id, attempts, crashes: 0, first_seen_ms: 1, notes: Vec::new() }
    }

    fn rules() -> Rules {
        let backoff =
            Backoff { base: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(600), jitter: 0.0 };
        Rules { max_attempts: 3, backoff, in_order: false }
    }

    fn run(outcome: &Outcome, attempts: u32) -> (Fate, Header) {
        let mut header = header(attempts);
        let fate = decide(outcome, &mut header, &rules(), Ran { plugin: "p", version: "v" }, 0.5);
        (fate, header)
    }

    #[test]
    fn only_runs_that_fail_count_an_attempt() {
        let boom = || "boom".to_owned();
        for (outcome, before, fate, after) in [
            (Outcome::Done, 0, Fate::Complete, 0),
            (Outcome::Discarded(boom()), 0, Fate::Discard, 0),
            (Outcome::HostFault(boom()), 2, Fate::Retry { delay_ms: 1000 }, 2),
            (Outcome::Outage(boom()), 2, Fate::Retry { delay_ms: 1000 }, 2),
            (Outcome::Retry { reason: boom(), after: None }, 0, Fate::Retry { delay_ms: 1000 }, 1),
            (Outcome::Retry { reason: boom(), after: None }, 1, Fate::Retry { delay_ms: 2000 }, 2),
            (Outcome::Retry { reason: boom(), after: None }, 2, Fate::Bury, 3),
            (Outcome::TimedOut, 0, Fate::Retry { delay_ms: 1000 }, 1),
            (Outcome::OutOfMemory, 2, Fate::Bury, 3),
            (Outcome::Buried(boom()), 0, Fate::Bury, 1),
        ] {
            let (got, header) = run(&outcome, before);
            assert_eq!((&got, header.attempts), (&fate, after), "{outcome:?}");
        }
    }

    #[test]
    fn a_hundred_runs_that_redis_did_not_serve_cost_no_attempt_and_further_ones_do() {
        let mut header = header(0);
        let outage = Outcome::Outage("redis cannot be reached".to_owned());
        let mut decide = || {
            let fate = decide(&outage, &mut header, &rules(), Ran { plugin: "p", version: "v" }, 0.5);
            (fate, header.attempts)
        };
        for _ in 0..OUTAGES_MAX {
            assert_eq!(decide(), (Fate::Retry { delay_ms: 1000 }, 0));
        }
        assert_eq!(decide(), (Fate::Retry { delay_ms: 1000 }, 1));
        assert_eq!(decide(), (Fate::Retry { delay_ms: 2000 }, 2));
        assert_eq!(decide(), (Fate::Bury, 3));
    }

    #[test]
    fn a_wait_the_guest_asks_for_is_bounded() {
        let ask = |after| Outcome::Retry { reason: String::new(), after: Some(after) };
        assert_eq!(run(&ask(Duration::from_millis(7)), 0).0, Fate::Retry { delay_ms: 7 });
        assert_eq!(run(&ask(Duration::MAX), 0).0, Fate::Retry { delay_ms: 30 * 24 * 3600 * 1000 });
    }

    #[test]
    fn a_failed_job_tells_what_failed() {
        let trap = Outcome::Trapped { reason: "unreachable".to_owned(), backtrace: "at f".to_owned() };
        let (_, header) = run(&trap, 0);
        assert_eq!(header.note("!plugin"), Some("p"));
        assert_eq!(header.note("!version"), Some("v"));
        assert!(header.note("!reason").unwrap().contains("unreachable"));
        assert_eq!(header.note("!trace"), Some("at f"));
    }
}
