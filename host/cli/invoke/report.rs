//! How a run is told: as text for whoever writes the plugin, as JSON for whoever tests it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sandhog::capability::view::Usage;
use sandhog::job::change::Changes;
use sandhog::plugin::load::Loaded;
use sandhog::sandbox::outcome::Outcome as Ended;
use sandhog::sandbox::{Compiled, Profile};
use sandhog::telemetry::Said;
use serde_json::{Value, json};

use super::before::Before;
use super::repeat::Times;
use super::{document, effect};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::table::{Column, Table};
use crate::cli::{output, text};

/// What a run cost.
pub(super) struct Cost {
    /// Starting an instance of the component; nothing where one was kept.
    pub(super) instantiate: Duration,
    /// From the call to the outcome, Redis included.
    pub(super) run: Duration,
    /// Calls and effects.
    pub(super) usage: Usage,
    /// Most memory the guest had.
    pub(super) memory_peak_bytes: u64,
    /// Log beyond the bound.
    pub(super) log_dropped_bytes: u64,
}

impl Cost {
    /// What each job costs anew.
    pub(super) fn whole(&self) -> Duration {
        self.instantiate + self.run
    }
}

/// What a run that ended well would change.
pub(super) struct Effects {
    /// The changes.
    pub(super) changes: Changes,
    /// What their keys held before, in the same order.
    pub(super) before: Vec<Before>,
    /// What became of them.
    pub(super) fate: Fate,
    /// Redis time when they were looked at.
    pub(super) now_ms: u64,
}

/// What became of the effects of a run.
#[derive(Clone)]
pub(super) enum Fate {
    /// They were shown, and that is all there is to do.
    Shown,
    /// They were shown; nobody asked to make them.
    Held,
    /// They were made.
    Made,
    /// They could not be made, for this reason.
    Refused(String),
}

/// Everything about one run.
pub(super) struct Run {
    plugin: String,
    version: String,
    compiled: Compiled,
    profile: Profile,
    ended: Option<Ended>,
    settings: Option<Result<BTreeMap<String, String>, String>>,
    /// How each job of a call for several ended, by id.
    pub(super) jobs: Vec<(String, Ended)>,
    /// What the guest said.
    pub(super) said: Vec<Said>,
    /// How long many runs took, if there were many.
    pub(super) times: Option<Times>,
    /// The job's result, if it set one.
    pub(super) result: Option<Vec<u8>>,
    /// What it cost.
    pub(super) cost: Cost,
    /// What it would change; none if it did not end well, or is of a config reader.
    pub(super) effects: Option<Effects>,
}

impl Run {
    /// Of a worker.
    pub(super) fn of_worker(loaded: &Loaded, ended: Ended, cost: Cost) -> Self {
        Self { ended: Some(ended), ..Self::new(loaded, cost) }
    }

    /// Of a config reader.
    pub(super) fn of_reader(
        loaded: &Loaded,
        settings: Result<BTreeMap<String, String>, String>,
        cost: Cost,
    ) -> Self {
        Self { settings: Some(settings), ..Self::new(loaded, cost) }
    }

    fn new(loaded: &Loaded, cost: Cost) -> Self {
        let plugin = loaded.name.as_str().to_owned();
        let version = loaded.version.digest().to_owned();
        Self {
            plugin,
            version,
            compiled: loaded.version.compiled(),
            profile: loaded.version.profile(),
            ended: None,
            settings: None,
            jobs: Vec::new(),
            said: Vec::new(),
            times: None,
            result: None,
            cost,
            effects: None,
        }
    }

    /// One word for how it ended, and the reason if it did not end well.
    pub(super) fn verdict(&self) -> (&'static str, Option<String>) {
        match (&self.ended, &self.settings) {
            (Some(Ended::Done), _) | (None, Some(Ok(_))) => ("done", None),
            (Some(ended), _) => (ended.kind(), Some(ended.reason().into_owned())),
            (None, Some(Err(reason))) => ("failed", Some(reason.clone())),
            (None, None) => ("done", None),
        }
    }
}

/// How many runs are told.
pub(super) enum Told {
    /// This one.
    Once,
    /// One after the other: in JSON each is a line.
    Each,
}

/// Prints the run; one that did not end well is a failure.
pub(super) fn tell(run: &Run, context: &Context, told: Told) -> Outcome {
    if context.out.is_json() {
        match told {
            Told::Once => context.out.document(&document(run))?,
            Told::Each => context.out.document_line(&document(run))?,
        }
    } else {
        context.out.text(&sheet(run))?;
    }
    match run.verdict() {
        (_, None) => match run.effects.as_ref().map(|effects| &effects.fate) {
            Some(Fate::Refused(reason)) => Err(Failure::failed(format!("nothing was changed: {reason}"))),
            _ => Ok(()),
        },
        (kind, Some(reason)) if reason.starts_with(&kind.replace('-', " ")) => {
            Err(Failure::failed(format!("the run ended: {reason}")))
        }
        (kind, Some(reason)) => Err(Failure::failed(format!("the run ended as `{kind}`: {reason}"))),
    }
}

fn sheet(run: &Run) -> String {
    let mut sheet = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(sheet, "\x1b[1m{name:<11}\x1b[0m{value}");
    };
    let (kind, reason) = run.verdict();
    field("plugin", &format!("{} {}", run.plugin, &run.version[..12]));
    field("outcome", kind);
    if let Some(reason) = reason {
        field("reason", &text::visible(reason.as_bytes(), 2000));
    }
    if let Some(Ended::Trapped { backtrace, .. }) = &run.ended {
        for frame in backtrace.lines() {
            field("", &text::visible(frame.as_bytes(), 200));
        }
    }
    let cost = &run.cost;
    let code = if run.compiled.is_cached { "take from the cache" } else { "compile" };
    let [had, started, ran] = [run.compiled.took, cost.instantiate, cost.run].map(text::elapsed);
    field("time", &format!("{had} to {code}, {started} to instantiate, {ran} to run"));
    if run.profile == Profile::Baseline {
        let compiler = run.profile.compiler();
        field("compiler", &format!("{compiler}, for a quick start; for figures, add `--optimized`"));
    }
    if let Some(times) = &run.times {
        field("repeated", &times.told());
    }
    field("memory", &format!("{} at the most", text::size(cost.memory_peak_bytes)));
    let Usage { calls, by_name, effects, denied, .. } = &cost.usage;
    field("calls", &format!("{calls} calls, {effects} effects, {denied} denied"));
    if !by_name.is_empty() {
        let named: Vec<String> = by_name.iter().map(|(name, count)| format!("{name} {count}")).collect();
        field("", &named.join(", "));
    }
    if let Some(result) = &run.result {
        field("result", &format!("\"{}\"", text::visible(result, 2000)));
    }
    if let Some(fate) = fate(run) {
        field("effects", &fate);
    }
    if cost.log_dropped_bytes > 0 {
        field(
            "log",
            &format!("{} beyond `limits.log_bytes` were dropped", text::size(cost.log_dropped_bytes)),
        );
    }
    for (at, Said { level, text }) in run.said.iter().enumerate() {
        let level = level.as_str().to_lowercase();
        field(
            if at == 0 { "said" } else { "" },
            &format!("{level:<5} {}", text::visible(text.as_bytes(), 2000)),
        );
    }
    for table in answers(run) {
        let _ = write!(sheet, "\n{}", table.render());
    }
    sheet
}

/// What is told in tables: settings, jobs of one call, changes.
fn answers(run: &Run) -> Vec<Table> {
    let mut all = Vec::new();
    if let Some(Ok(settings)) = &run.settings {
        let mut table = Table::new(&[Column::Text("setting"), Column::Text("value")]);
        for (name, value) in settings {
            table.row([text::visible(name.as_bytes(), 60), text::visible(value.as_bytes(), 100)]);
        }
        all.push(table);
    }
    if !run.jobs.is_empty() {
        let mut table = Table::new(&[Column::Text("job"), Column::Text("outcome"), Column::Text("reason")]);
        for (id, ended) in &run.jobs {
            table.row([id.clone(), ended.kind().to_owned(), text::visible(ended.reason().as_bytes(), 200)]);
        }
        all.push(table);
    }
    all.extend(run.effects.iter().flat_map(tables));
    all
}

/// How many changes there are, and whether they were made.
fn fate(run: &Run) -> Option<String> {
    run.ended.as_ref()?;
    let Some(Effects { changes, fate, .. }) = &run.effects else {
        return Some("none: the run did not end well".to_owned());
    };
    let count = text::counted(changes.writes.len() as u64, "change", "changes");
    Some(match fate {
        Fate::Refused(_) => format!("{count}, refused"),
        _ if changes.writes.is_empty() => "none".to_owned(),
        Fate::Shown => format!("{count}, not made"),
        Fate::Held => format!("{count}, not made: `--commit` makes them"),
        Fate::Made => format!("{count}, made"),
    })
}

/// The changes, and what they rest on.
fn tables(effects: &Effects) -> Vec<Table> {
    let Effects { changes, before, now_ms, .. } = effects;
    let mut tables = Vec::new();
    if !changes.writes.is_empty() {
        let mut table =
            Table::new(&[Column::Text("effect"), Column::Text("key"), Column::Text("before → after")]);
        for (write, before) in changes.writes.iter().zip(before) {
            table.row(effect::row(write, before));
        }
        tables.push(table);
    }
    if !changes.assumptions.is_empty() {
        let mut table = Table::new(&[Column::Text("key"), Column::Text("must still be")]);
        for assumption in &changes.assumptions {
            table.row(effect::assumed(assumption, *now_ms));
        }
        tables.push(table);
    }
    tables
}

fn document(run: &Run) -> Value {
    let (kind, reason) = run.verdict();
    let backtrace = match &run.ended {
        Some(Ended::Trapped { backtrace, .. }) => Some(backtrace),
        _ => None,
    };
    let Usage { calls, by_name, effects, denied, .. } = &run.cost.usage;
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let (changes, assumptions) = match &run.effects {
        Some(Effects { changes, before, .. }) => document::of(changes, before),
        None => (Value::Null, Value::Null),
    };
    let committed = run.effects.as_ref().is_some_and(|effects| matches!(effects.fate, Fate::Made));
    json!({
        "plugin": run.plugin,
        "version": run.version,
        "outcome": kind,
        "reason": reason,
        "backtrace": backtrace,
        "compile_ms": ms(run.compiled.took),
        "from_cache": run.compiled.is_cached,
        "compiler": run.profile.compiler(),
        "instantiate_ms": ms(run.cost.instantiate),
        "run_ms": ms(run.cost.run),
        "memory_peak_bytes": run.cost.memory_peak_bytes,
        "calls": calls,
        "calls_by_name": by_name.iter().copied().collect::<BTreeMap<_, _>>(),
        "effects": effects,
        "denied": denied,
        "log_dropped_bytes": run.cost.log_dropped_bytes,
        "settings": run.settings.as_ref().and_then(|settings| settings.as_ref().ok()),
        "result": run.result.as_ref().map(|result| output::payload(result)),
        "jobs": run.jobs.iter().map(job).collect::<Vec<_>>(),
        "log": run.said.iter().map(said).collect::<Vec<_>>(),
        "repeated": run.times.as_ref().map(Times::document),
        "committed": committed,
        "changes": changes,
        "assumptions": assumptions,
    })
}

fn job((id, ended): &(String, Ended)) -> Value {
    json!({ "id": id, "outcome": ended.kind(), "reason": ended.reason() })
}

fn said(Said { level, text }: &Said) -> Value {
    json!({ "level": level.as_str().to_lowercase(), "text": text })
}
