//! How a run is told: as text for whoever writes the plugin, as JSON for whoever tests it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sandhog::capability::view::Usage;
use sandhog::plugin::load::Loaded;
use sandhog::sandbox::outcome::Outcome as Ended;
use serde_json::{Value, json};

use super::change::{Change, Content};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::table::{Column, Table};
use crate::cli::{output, text};

/// What a run cost.
#[derive(Default)]
pub(super) struct Cost {
    /// Compiling and trying the component.
    pub(super) compile: Duration,
    /// From a fresh sandbox to the outcome, Redis included.
    pub(super) run: Duration,
    /// Calls and effects.
    pub(super) usage: Usage,
    /// Most memory the guest had.
    pub(super) memory_peak_bytes: Option<u64>,
    /// Log beyond the bound.
    pub(super) log_dropped_bytes: u64,
}

/// Everything about one run.
pub(super) struct Run {
    plugin: String,
    version: String,
    ended: Option<Ended>,
    settings: Option<Result<BTreeMap<String, String>, String>>,
    /// What it cost.
    pub(super) cost: Cost,
    /// What it changed; none where nobody looked.
    pub(super) changes: Option<Vec<Change>>,
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
        Self { plugin, version, ended: None, settings: None, cost, changes: None }
    }

    /// One word for how it ended, and the reason if it did not end well.
    fn verdict(&self) -> (&'static str, Option<String>) {
        match (&self.ended, &self.settings) {
            (Some(Ended::Done), _) | (None, Some(Ok(_))) => ("done", None),
            (Some(ended), _) => (ended.kind(), Some(ended.reason().into_owned())),
            (None, Some(Err(reason))) => ("failed", Some(reason.clone())),
            (None, None) => ("done", None),
        }
    }
}

/// Prints the run; one that did not end well is a failure.
pub(super) fn tell(run: &Run, context: &Context) -> Outcome {
    if context.out.is_json() {
        context.out.document(&document(run))?;
    } else {
        context.out.text(&sheet(run))?;
    }
    match run.verdict() {
        (_, None) => Ok(()),
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
    let (compile, ran) = (text::elapsed(cost.compile), text::elapsed(cost.run));
    field("time", &format!("{compile} to compile and try, {ran} to run"));
    if let Some(peak) = cost.memory_peak_bytes {
        field("memory", &format!("{} at the most", text::size(peak)));
    }
    let Usage { calls, effects, denied, .. } = cost.usage;
    field("calls", &format!("{calls} calls, {effects} effects, {denied} denied"));
    if cost.log_dropped_bytes > 0 {
        field(
            "log",
            &format!("{} beyond `limits.log_bytes` were dropped", text::size(cost.log_dropped_bytes)),
        );
    }
    if let Some(Ok(settings)) = &run.settings {
        sheet.push('\n');
        let mut table = Table::new(&[Column::Text("setting"), Column::Text("value")]);
        for (name, value) in settings {
            table.row([text::visible(name.as_bytes(), 60), text::visible(value.as_bytes(), 100)]);
        }
        sheet.push_str(&table.render());
    }
    if let Some(changes) = &run.changes {
        sheet.push('\n');
        if changes.is_empty() {
            sheet.push_str("nothing was written\n");
        } else {
            sheet.push_str(&change_table(changes).render());
        }
    }
    sheet
}

fn change_table(changes: &[Change]) -> Table {
    let mut table = Table::new(&[
        Column::Text("key"),
        Column::Text("change"),
        Column::Text("type"),
        Column::Number("length"),
        Column::Text("value"),
    ]);
    for change in changes {
        let content = change.after.as_ref().or(change.before.as_ref());
        table.row([
            text::visible(&change.key, 60),
            verb(change).to_owned(),
            content.map_or(String::new(), |c| c.kind.clone()),
            change.after.as_ref().map_or(String::new(), |c| text::count(c.length)),
            change.after.as_ref().map_or(String::new(), shown),
        ]);
    }
    table
}

fn verb(change: &Change) -> &'static str {
    match (&change.before, &change.after) {
        (None, _) => "new",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "gone",
    }
}

fn shown(content: &Content) -> String {
    let entries: Vec<String> = content.shown.iter().map(|entry| text::visible(entry, 80)).collect();
    let mut shown = entries.join(", ");
    if let Some(ttl_s) = content.ttl_s {
        let _ = write!(shown, " (expires in {})", text::span(ttl_s * 1000));
    }
    shown
}

fn document(run: &Run) -> Value {
    let (kind, reason) = run.verdict();
    let backtrace = match &run.ended {
        Some(Ended::Trapped { backtrace, .. }) => Some(backtrace),
        _ => None,
    };
    let Usage { calls, effects, denied, .. } = run.cost.usage;
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let changes = run.changes.as_ref().map(|changes| changes.iter().map(change_document).collect::<Vec<_>>());
    json!({
        "plugin": run.plugin,
        "version": run.version,
        "outcome": kind,
        "reason": reason,
        "backtrace": backtrace,
        "compile_ms": ms(run.cost.compile),
        "run_ms": ms(run.cost.run),
        "memory_peak_bytes": run.cost.memory_peak_bytes,
        "calls": calls,
        "effects": effects,
        "denied": denied,
        "log_dropped_bytes": run.cost.log_dropped_bytes,
        "settings": run.settings.as_ref().and_then(|settings| settings.as_ref().ok()),
        "changes": changes,
    })
}

fn change_document(change: &Change) -> Value {
    let content = |content: &Content| {
        let shown: Vec<Value> = content.shown.iter().map(|entry| output::payload(entry)).collect();
        json!({ "type": content.kind, "length": content.length, "shown": shown, "ttl_s": content.ttl_s })
    };
    json!({
        "key": output::payload(&change.key),
        "change": verb(change),
        "before": change.before.as_ref().map(content),
        "after": change.after.as_ref().map(content),
    })
}
