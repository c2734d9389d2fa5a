//! Many runs of the same job: how long they took, and how they ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::text;

/// Percentiles that are told.
const PERCENTILES: [usize; 3] = [50, 90, 99];

/// What many runs came to.
#[derive(Debug, Default)]
pub(super) struct Times {
    took: Vec<Duration>,
    ends: BTreeMap<&'static str, u64>,
}

impl Times {
    /// Another run, and the word for its end.
    pub(super) fn add(&mut self, took: Duration, ended: &'static str) {
        self.took.push(took);
        *self.ends.entry(ended).or_default() += 1;
    }

    /// In one line: the ends only where they differ.
    pub(super) fn told(&self) -> String {
        let runs = text::counted(self.took.len() as u64, "run", "runs");
        let mut told: Vec<String> =
            self.marks().iter().map(|(name, time)| format!("{name} {}", text::elapsed(*time))).collect();
        if self.ends.len() > 1 {
            told.extend(self.ends.iter().map(|(end, count)| format!("{count} {end}")));
        }
        format!("{runs}: {}", told.join(", "))
    }

    /// For programs.
    pub(super) fn document(&self) -> Value {
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let marks: BTreeMap<String, f64> =
            self.marks().into_iter().map(|(name, time)| (format!("{name}_ms"), ms(time))).collect();
        json!({ "runs": self.took.len(), "times": marks, "outcomes": self.ends })
    }

    /// Each percentile is a time that a run really took: the least that so many of them did not exceed.
    fn marks(&self) -> Vec<(String, Duration)> {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let at = |percent: usize| (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        let mark = |name: String, percent| Some((name, *sorted.get(at(percent))?));
        let percentiles = PERCENTILES.iter().filter_map(|percent| mark(format!("p{percent}"), *percent));
        percentiles.chain(mark("max".to_owned(), 100)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_of_runs() {
        let mut times = Times::default();
        for ms in (1..=200).rev() {
            times.add(Duration::from_millis(ms), if ms > 198 { "retry" } else { "done" });
        }
        assert_eq!(
            times.told(),
            "200 runs: p50 100.00 ms, p90 180.00 ms, p99 198.00 ms, max 200.00 ms, 198 done, 2 retry"
        );
        assert_eq!(times.document()["times"]["p99_ms"], 198.0);
        let mut one = Times::default();
        one.add(Duration::from_millis(7), "done");
        assert_eq!(one.told(), "1 run: p50 7.00 ms, p90 7.00 ms, p99 7.00 ms, max 7.00 ms");
    }
}
