//! One case: its run, and everything that did not come of it as it should have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use sandhog::capability::grant::glob;
use sandhog::job::change::{Changes, Write};
use sandhog::job::commit::{Verdict, apply};
use sandhog::plugin::load::Loaded;
use sandhog::plugin::manifest::{Consume, Kind};
use sandhog::sandbox::{JobCall, Outcome as Ended, RunContext, RunReport};
use sandhog::storage::link::Link;
use sandhog::telemetry::Heard;

use super::case::{Case, Pushed};
use super::held::{self, Found, Held};
use crate::cli::{invoke, text};

/// Most characters of a reason that are shown.
const SHOWN_CHARS: usize = 500;

/// Something that is not as the case says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    /// What it is about: a field of the case, or a key.
    pub(super) about: String,
    /// What the case says.
    pub(super) expected: String,
    /// What there is.
    pub(super) found: String,
}

/// What is needed to run cases.
pub(super) struct Bench {
    /// The private Redis, which is emptied for each case.
    pub(super) link: Link,
    /// What guests say.
    pub(super) heard: Heard,
}

/// What a run came to.
struct Came {
    ends: Vec<(String, String)>,
    result: Option<Vec<u8>>,
    settings: Option<Result<BTreeMap<String, String>, String>>,
    changes: Changes,
}

impl Bench {
    /// Runs a case; nothing where all of it holds, or why it cannot be run.
    pub(super) async fn run(
        &self,
        case: &Case,
        loaded: &Loaded,
    ) -> Result<Result<Vec<Miss>, String>, anyhow::Error> {
        self.link.query::<()>(&cmd("FLUSHALL")).await?;
        for (key, held) in &case.before {
            held.put(&self.link, key).await?;
        }
        let before = held::look(&self.link).await?;
        self.heard.take();
        let came = match self.attempt(case, loaded).await? {
            Ok(came) => came,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut misses = Vec::new();
        match apply(&self.link, &came.changes).await? {
            Verdict::Done => {}
            other => misses.push(Miss::new("commit", "all effects made", &format!("{other:?}"))),
        }
        let after = held::look(&self.link).await?;
        ends(case, &came, &mut misses);
        let heard: Vec<String> = self.heard.take().into_iter().map(|said| said.text).collect();
        answers(case, &came, &heard, &mut misses);
        keys(&case.expect.after, &before, &after, &mut misses);
        jobs(&case.expect.jobs, &came.changes, &mut misses);
        Ok(Ok(misses))
    }

    async fn attempt(&self, case: &Case, loaded: &Loaded) -> Result<Result<Came, String>, anyhow::Error> {
        let kind = loaded.version.kind();
        match (kind, case.payloads.len(), case.is_batch) {
            (Kind::ConfigReader, 0, _) | (Kind::Worker, 1, false) | (Kind::BatchWorker, 1.., _) => {}
            (Kind::ConfigReader, ..) => return Ok(Err("a config reader has no payload".to_owned())),
            (Kind::Worker, _, true) => return Ok(Err("only batch workers have many `payloads`".to_owned())),
            _ => return Ok(Err("a worker needs a job: write `payload = \"…\"`".to_owned())),
        }
        let manifest = &loaded.manifest;
        let consume = match &case.queue {
            None => manifest.consume.first(),
            Some(queue) => match manifest.consume.iter().find(|consume| consume.queue.as_str() == queue) {
                None => return Ok(Err(format!("the manifest has no queue `{queue}`"))),
                some => some,
            },
        };
        let context = RunContext {
            link: self.link.clone(),
            settings: Arc::new(case.settings.clone()),
            timeout: consume.map_or(manifest.read_timeout, |consume| consume.timeout),
            plan: invoke::plan(manifest),
            foresight: None,
            board: None,
        };
        Ok(Ok(match consume {
            None => {
                let settings = loaded.version.read_config(&context).await.settings;
                Came { ends: Vec::new(), result: None, settings: Some(settings), changes: Changes::default() }
            }
            Some(consume) => self.handle(case, loaded, consume, &context).await?,
        }))
    }

    async fn handle(
        &self,
        case: &Case,
        loaded: &Loaded,
        consume: &Consume,
        context: &RunContext,
    ) -> Result<Came, anyhow::Error> {
        let (seconds, micros): (u64, u64) = self.link.query(&cmd("TIME")).await?;
        let headers: Vec<(&str, &str)> = case.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let ids: Vec<String> = (0..case.payloads.len()).map(|at| id(case.id.as_str(), at)).collect();
        let jobs: Vec<JobCall<'_>> = case
            .payloads
            .iter()
            .zip(&ids)
            .map(|(payload, id)| JobCall {
                id,
                queue: consume.queue.as_str(),
                payload,
                attempt: case.attempt,
                max_attempts: consume.max_attempts.max(case.attempt),
                first_seen_ms: seconds.saturating_mul(1000).saturating_add(micros / 1000),
                headers: &headers,
            })
            .collect();
        let (report, ends) = match loaded.version.kind() {
            Kind::BatchWorker => {
                let report = loaded.version.run_batch(&jobs, context).await;
                let failed = report.answers.is_empty().then(|| vec![report.run.outcome.clone(); jobs.len()]);
                (report.run, failed.unwrap_or(report.answers))
            }
            _ => {
                let report = loaded.version.run_job(jobs[0], context).await;
                let ends = vec![report.outcome.clone()];
                (report, ends)
            }
        };
        let RunReport { pending, result, .. } = report;
        let said = |end: &Ended| (end.kind().to_owned(), end.reason().into_owned());
        let changes = pending.map(|pending| pending.changes).unwrap_or_default();
        Ok(Came { ends: ends.iter().map(said).collect(), result, settings: None, changes })
    }
}

impl Miss {
    fn new(about: &str, expected: &str, found: &str) -> Self {
        Self { about: about.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
    }
}

/// The id of the job at `at`: no two jobs of a call have the same.
fn id(first: &str, at: usize) -> String {
    match at {
        0 => first.to_owned(),
        at => format!("{first}-{}", at + 1),
    }
}

/// Outcomes and reasons.
fn ends(case: &Case, came: &Came, misses: &mut Vec<Miss>) {
    let expect = &case.expect;
    for (at, (kind, reason)) in came.ends.iter().enumerate() {
        let of = |one: &Option<String>, many: &Option<Vec<String>>| match many {
            Some(many) => many.get(at).cloned(),
            None => one.clone(),
        };
        let field = |name: &str| if case.is_batch { format!("{name}s[{at}]") } else { name.to_owned() };
        let wanted = of(&expect.outcome, &expect.outcomes).unwrap_or_else(|| "done".to_owned());
        if wanted != *kind {
            let reason = text::visible(reason.as_bytes(), SHOWN_CHARS);
            let found = if reason.is_empty() { kind.clone() } else { format!("{kind}: {reason}") };
            misses.push(Miss::new(&field("outcome"), &wanted, &found));
        } else if let Some(wanted) = of(&expect.reason, &expect.reasons)
            && !glob(wanted.as_bytes(), reason.as_bytes())
        {
            misses.push(Miss::new(&field("reason"), &wanted, &text::visible(reason.as_bytes(), SHOWN_CHARS)));
        }
    }
}

/// The result, the log, settings.
fn answers(case: &Case, came: &Came, heard: &[String], misses: &mut Vec<Miss>) {
    let expect = &case.expect;
    let shown = |bytes: &[u8]| format!("\"{}\"", text::visible(bytes, SHOWN_CHARS));
    if let Some(wanted) = &expect.result
        && came.result.as_deref() != Some(wanted.as_bytes())
    {
        let found = came.result.as_deref().map_or("none".to_owned(), shown);
        misses.push(Miss::new("result", &shown(wanted.as_bytes()), &found));
    }
    for wanted in &expect.log {
        if !heard.iter().any(|line| line.contains(wanted.as_str())) {
            let found = if heard.is_empty() { "no line".to_owned() } else { heard.join(" | ") };
            misses.push(Miss::new("log", &format!("a line with \"{wanted}\""), &found));
        }
    }
    match (&came.settings, &expect.settings) {
        (None, None) => {}
        (None, Some(_)) => misses.push(Miss::new("settings", "some", "a worker has none")),
        (Some(Err(reason)), wanted) => {
            let fits =
                expect.reason.as_ref().is_some_and(|wanted| glob(wanted.as_bytes(), reason.as_bytes()));
            if wanted.is_some() || !fits {
                let wanted = expect.reason.as_deref().unwrap_or("settings");
                misses.push(Miss::new("settings", wanted, &format!("failed: {reason}")));
            }
        }
        (Some(Ok(_)), None) if expect.reason.is_some() => {
            misses.push(Miss::new("settings", "none", "it answered some"));
        }
        (Some(Ok(found)), wanted) => {
            let wanted = wanted.clone().unwrap_or_default();
            for name in found.keys().chain(wanted.keys().filter(|name| !found.contains_key(*name))) {
                let show = |value: Option<&String>| value.map_or("none".to_owned(), |v| shown(v.as_bytes()));
                if wanted.get(name) != found.get(name) {
                    misses.push(Miss::new(name, &show(wanted.get(name)), &show(found.get(name))));
                }
            }
        }
    }
}

/// Every key that the run changed, or should have.
fn keys(
    expected: &BTreeMap<String, Held>,
    before: &BTreeMap<String, Found>,
    after: &BTreeMap<String, Found>,
    misses: &mut Vec<Miss>,
) {
    let show = |found: Option<&Found>| found.map_or("nothing".to_owned(), Found::show);
    for (key, held) in expected {
        if !held.is(after.get(key), before.get(key)) {
            misses.push(Miss::new(key, &held.show(), &show(after.get(key))));
        }
    }
    let all = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    for key in all.filter(|key| !expected.contains_key(*key)) {
        let (was, is) = (before.get(key), after.get(key));
        if !Found::is_same(was, is) {
            misses.push(Miss::new(key, &format!("{}, as before", show(was)), &show(is)));
        }
    }
}

/// Jobs with options that the run pushed.
fn jobs(expected: &BTreeMap<String, Vec<Pushed>>, changes: &Changes, misses: &mut Vec<Miss>) {
    let mut found: BTreeMap<String, Vec<Pushed>> = BTreeMap::new();
    for write in &changes.writes {
        if let Write::PushJob { queue, payload, delay_ms, unique, .. } = write {
            let payload = String::from_utf8_lossy(payload).into_owned();
            let unique = unique.as_ref().map(|(key, _)| key.clone());
            found.entry(queue.as_str().to_owned()).or_default().push(Pushed {
                payload,
                delay: *delay_ms,
                unique,
            });
        }
    }
    for queue in found.keys().chain(expected.keys().filter(|queue| !found.contains_key(*queue))) {
        let (wanted, found) = (expected.get(queue), found.get(queue));
        if wanted != found {
            let about = format!("jobs of {queue}");
            misses.push(Miss::new(&about, &show_jobs(wanted), &show_jobs(found)));
        }
    }
}

fn show_jobs(jobs: Option<&Vec<Pushed>>) -> String {
    let show = |job: &Pushed| {
        let delay = job.delay.map_or(String::new(), |ms| format!(" in {}", text::span(ms)));
        let unique = job.unique.as_ref().map_or(String::new(), |key| format!(" unique by \"{key}\""));
        format!("\"{}\"{delay}{unique}", text::visible(job.payload.as_bytes(), SHOWN_CHARS))
    };
    jobs.map_or("none".to_owned(), |jobs| jobs.iter().map(show).collect::<Vec<_>>().join(", "))
}

/// How long a case took, for people.
pub(super) fn took(time: Duration) -> String {
    text::elapsed(time)
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn every_job_of_a_call_has_its_own_id() {
        assert_eq!([0, 1, 2].map(|at| id("a", at)), ["a", "a-2", "a-3"]);
    }
}
