//! From the first line to the answer.
//!
//! ```text
//! report …                  see `report`
//! job                       the job as it was given, in one result line
//! echo-to K                 sets K to the payload: what follows the line `end`
//! wait K                    looks for the key again and again until it is there, or the call is refused
//! repeat N COMMAND…         one result line: how often each result came, `3 x ok none`
//! if-attempt N COMMAND…     only in attempt N; no result line otherwise
//! done | retry REASON [MS] | bury REASON | discard REASON     ends the job
//! ```

use std::collections::BTreeMap;

use crate::calls::{call, number};
use crate::deeds::act;
use crate::exports::sandhog::worker::handler::{Failure, Job, RetryOptions};
use crate::report::Report;
use crate::sandhog::worker::kv;
use crate::script;
use crate::show::Show;

/// One run of the probe.
pub(crate) struct Run {
    job: Job,
    lines: Vec<String>,
    payload: Vec<u8>,
    report: Report,
    /// Of the last page listed.
    pub(crate) cursor: Option<String>,
}

impl Run {
    /// Ready to start.
    pub(crate) fn new(job: Job) -> Self {
        let (lines, payload) = script::split(&job.payload);
        Self { job, lines, payload, report: Report::new(), cursor: None }
    }

    /// Runs every line, or up to the one that ends the job.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        for line in std::mem::take(&mut self.lines) {
            let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
            if let ["if-attempt", attempt, ..] = words[..] {
                if self.job.attempt != number::<u32>(attempt) {
                    continue;
                }
                words.drain(..2);
            }
            match words[..] {
                ["report", ref place @ ..] => self.report.send_to(place),
                ["done"] => return Ok(()),
                ["retry", reason] => return Err(self.retry(reason, None)),
                ["retry", reason, ms] => return Err(self.retry(reason, Some(number(ms)))),
                ["bury", reason] => return Err(Failure::Bury(self.text(reason))),
                ["discard", reason] => return Err(Failure::Discard(self.text(reason))),
                _ => self.line(&words),
            }
        }
        Ok(())
    }

    fn retry(&self, reason: &str, after_ms: Option<u64>) -> Failure {
        Failure::Retry(RetryOptions { reason: self.text(reason), after_ms })
    }

    fn line(&mut self, words: &[&str]) {
        let result = match words {
            ["repeat", times, command @ ..] => self.repeat(number(times), command),
            _ => self.command(words),
        };
        let name = words.first().copied().unwrap_or_default();
        self.report.add(format!("{name}: {result}"));
    }

    fn repeat(&mut self, times: u64, words: &[&str]) -> String {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..times {
            *counts.entry(self.command(words)).or_default() += 1;
        }
        let counts: Vec<String> =
            counts.iter().map(|(result, count)| format!("{count} x {result}")).collect();
        counts.join(", ")
    }

    fn command(&mut self, words: &[&str]) -> String {
        match words {
            ["job"] => self.job.show(),
            ["echo-to", key] => kv::set(&self.text(key), &self.payload).show(),
            ["wait", key] => self.wait(&self.text(key)),
            [name, rest @ ..] => call(self, name, rest)
                .or_else(|| act(name, rest))
                .unwrap_or_else(|| panic!("the probe has no command `{name}` with {} words", rest.len())),
            [] => String::new(),
        }
    }

    fn wait(&self, key: &str) -> String {
        loop {
            match kv::exists(key) {
                Ok(false) => {}
                found => return found.show(),
            }
        }
    }

    /// What `word` stands for.
    pub(crate) fn bytes(&self, word: &str) -> Vec<u8> {
        match word {
            "$id" => self.job.id.clone().into_bytes(),
            "$queue" => self.job.queue.clone().into_bytes(),
            "$attempt" => self.job.attempt.to_string().into_bytes(),
            "$max" => self.job.max_attempts.to_string().into_bytes(),
            "$payload" => self.payload.clone(),
            "$results" => self.report.all().into_bytes(),
            "$cursor" => self.cursor.clone().unwrap_or_default().into_bytes(),
            _ => script::bytes(word).unwrap_or_else(|| panic!("`{word}` is malformed")),
        }
    }

    /// What `word` stands for, as text.
    pub(crate) fn text(&self, word: &str) -> String {
        String::from_utf8_lossy(&self.bytes(word)).into_owned()
    }

    /// What each of `words` stands for, as text.
    pub(crate) fn texts(&self, words: &[&str]) -> Vec<String> {
        words.iter().map(|word| self.text(word)).collect()
    }

    /// What `word` stands for; none for `-`.
    pub(crate) fn maybe(&self, word: &str) -> Option<Vec<u8>> {
        (word != "-").then(|| self.bytes(word))
    }
}
