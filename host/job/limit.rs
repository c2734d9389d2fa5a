//! Limits of a queue that hold for the whole fleet: how many of its jobs run at once, how many start in a time, both
//! also for each key of a job, a tenant for example. The claim keeps them (`script/part/limits.lua`): what they hold
//! back waits in Redis, and costs nothing until its turn comes.

use std::fmt::Write as _;
use std::time::Duration;

use super::envelope::escape_into;

/// The limits of one queue; none by default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueueLimits {
    /// Most runs at once, on all hosts together.
    pub fleet_concurrency: Option<u32>,
    /// Most starts.
    pub rate: Option<Rate>,
    /// The same for jobs that have one key.
    pub key: Option<KeyLimits>,
}

/// What holds for all jobs with the same key; a job without one is not limited.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyLimits {
    /// Where the key of a job is.
    pub source: KeySource,
    /// Most runs at once, on all hosts together.
    pub concurrency: Option<u32>,
    /// Most starts.
    pub rate: Option<Rate>,
    /// Whether a job that is to run again goes before those that came after it: no other job of its key starts
    /// before it is done or dead. With a concurrency of one.
    pub in_order: bool,
}

/// Where the key of a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A header of this name.
    Header(String),
    /// What this JSON pointer (RFC 6901) leads to in the payload: a text, a number or a truth.
    Payload(String),
}

/// A bucket of starts: so many in a time, and as many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Starts.
    pub count: u32,
    /// In this time.
    pub per: Duration,
}

impl QueueLimits {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a job may have to wait for another one to end: then no host may claim what it does not run at once.
    pub fn is_concurrency(&self) -> bool {
        self.fleet_concurrency.is_some() || self.key.as_ref().is_some_and(|key| key.concurrency.is_some())
    }

    /// Whether a job keeps its place among those of its key until it is done or dead.
    pub fn is_in_order(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.in_order)
    }

    /// The two arguments of the script.
    pub(super) fn arguments(&self) -> (String, String) {
        if self.is_none() {
            return (String::new(), String::new());
        }
        let mut numbers = self.fleet_concurrency.unwrap_or(0).to_string();
        push_rate(&mut numbers, self.rate);
        let key = self.key.as_ref();
        let _ = write!(numbers, " {}", key.and_then(|key| key.concurrency).unwrap_or(0));
        push_rate(&mut numbers, key.and_then(|key| key.rate));
        let source = match key.map(|key| &key.source) {
            None => String::new(),
            Some(KeySource::Payload(pointer)) => pointer.clone(),
            Some(KeySource::Header(name)) => {
                let mut source = "header:".to_owned();
                escape_into(&mut source, name);
                source
            }
        };
        (numbers, source)
    }
}

fn push_rate(numbers: &mut String, rate: Option<Rate>) {
    let (gap, burst) =
        rate.map_or((0.0, 0), |rate| (rate.per.as_secs_f64() * 1e6 / f64::from(rate.count), rate.count));
    let _ = write!(numbers, " {gap} {burst}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_the_script_reads() {
        assert_eq!(QueueLimits::default().arguments(), (String::new(), String::new()));
        let key = KeyLimits {
            source: KeySource::Header("tenant id".to_owned()),
            concurrency: Some(2),
            rate: Some(Rate { count: 3, per: Duration::from_secs(1) }),
            in_order: false,
        };
        let rate = Some(Rate { count: 100, per: Duration::from_secs(60) });
        let limits = QueueLimits { fleet_concurrency: Some(7), rate, key: Some(key) };
        let (numbers, source) = limits.arguments();
        assert_eq!(numbers, "7 600000 100 2 333333.3333333333 3");
        assert_eq!(source, "header:tenant%20id");
    }
}
