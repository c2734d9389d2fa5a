//! `sandhog plugins`: what lies in the plugin folder, what is wrong with it, and which hosts serve it. Whether a
//! component would load is the business of `check`, which compiles it.

mod history;
mod pause;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sandhog::capability::write_rate::WriteRate;
use sandhog::config::problem::Problems;
use sandhog::config::settings::{Overrides, Settings};
use sandhog::config::unit;
use sandhog::job::hold::{self, Hold, Holds};
use sandhog::job::lease::Leases;
use sandhog::job::report::{PluginReport, VersionState};
use sandhog::plugin::load::kind_name;
use sandhog::plugin::manifest::Manifest;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::scan::{self, Source};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::changes::RELEASE_DIGITS;
use crate::cli::context::{self, Context};
use crate::cli::error::Outcome;
use crate::cli::table::{Column, Table};
use crate::cli::{output, text};

/// Digits of a digest that tell versions apart for people.
pub(crate) const VERSION_DIGITS: usize = 12;

const EXAMPLES: &str = "\
Examples:
  sandhog plugins
  sandhog plugins pause mailer
  sandhog plugins resume mailer";

/// Shows the plugins of the folder and the hosts that serve them; pauses plugins.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<pause::Verb>,
    /// The plugin folder.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Shows what became of versions on all hosts, the latest first.
    #[arg(long)]
    history: bool,
}

/// One plugin as the two files show it.
struct Row {
    name: String,
    manifest: Option<Manifest>,
    version: Option<String>,
    problems: Vec<String>,
    hosts: Vec<(String, PluginReport)>,
    /// Whether no host claims for it.
    paused: bool,
}

impl Row {
    /// The write rate of the plugin, if it has one.
    fn write_rate(&self) -> Option<WriteRate> {
        self.manifest.as_ref().and_then(|manifest| manifest.limits.write_rate)
    }

    /// The hosts that are loading the latest version.
    fn loading(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter(|(_, report)| report.loading).map(|(host, _)| host.as_str())
    }

    /// The hosts whose compiler works on it now.
    fn compiling(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter(|(_, report)| report.compiling).map(|(host, _)| host.as_str())
    }

    /// Hosts that have the version, or have refused it.
    fn host_count(&self) -> usize {
        let has_only_begun =
            |report: &PluginReport| report.loading && report.versions.is_empty() && report.refusal.is_none();
        self.hosts.iter().filter(|(_, report)| !has_only_begun(report)).count()
    }

    fn state(&self) -> String {
        let mut words = Vec::new();
        if self.paused {
            words.push("paused".to_owned());
        }
        if self.compiling().next().is_some() {
            words.push("compiling".to_owned());
        } else if self.loading().next().is_some() {
            words.push("loading".to_owned());
        }
        match self.problems.len() as u64 {
            0 if words.is_empty() => words.push("ok".to_owned()),
            0 => {}
            problems => words.push(text::counted(problems, "problem", "problems")),
        }
        words.join(", ")
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if let Some(verb) = args.verb {
        return pause::run(verb, context).await;
    }
    if args.history {
        return history::run(context).await;
    }
    let flags = Overrides { plugins_dir: args.plugins, ..Overrides::default() };
    let settings = context.settings_with(flags)?;
    let (mut rows, others) = look(&settings);
    match hosts(&settings).await {
        Ok((hosts, holds)) => {
            add_hosts(&mut rows, hosts);
            rows.values_mut().for_each(|row| row.paused = holds.since_ms(Hold::Plugin(&row.name)).is_some());
        }
        Err(failure) => context.note(&format!("hosts were not asked: {}", failure.line())),
    }
    let others: Vec<String> = others.list.iter().map(ToString::to_string).collect();
    if context.out.is_json() {
        let plugins: Vec<Value> = rows.values().map(document).collect();
        return Ok(context.out.document(&json!({ "plugins": plugins, "problems": others }))?);
    }
    if rows.is_empty() && others.is_empty() {
        context.note(&format!("no plugins in `{}`", settings.plugins_dir.display()));
        return Ok(());
    }
    if !rows.is_empty() {
        context.out.table(&table(&rows))?;
    }
    let versions = versions(&rows);
    if !versions.is_empty() {
        context.out.text(&format!("\n{}", context.out.fitted(&version_table(&versions))))?;
    }
    for row in rows.values() {
        let denied = row.hosts.iter().map(|(_, report)| report.denied).fold(0, u64::saturating_add);
        if denied > 0 {
            let name = text::visible(row.name.as_bytes(), 64);
            let calls = text::counted(denied, "call was", "calls were");
            context
                .out
                .line(&format!("{name}: {calls} denied: no grant covers them; hosts log their names"))?;
        }
    }
    for row in rows.values() {
        if let Some(rate) = row.write_rate() {
            let name = text::visible(row.name.as_bytes(), 64);
            let (size, time) = (unit::show_size(rate.bytes), unit::show_duration(rate.per));
            context.out.line(&format!("{name}: writes at most {size} per {time}, on all hosts together"))?;
        }
    }
    for (name, row) in &rows {
        let compiling: Vec<&str> = row.compiling().collect();
        let waiting: Vec<&str> = row.loading().filter(|host| !compiling.contains(host)).collect();
        for (what, hosts) in [("being compiled", compiling), ("still being loaded", waiting)] {
            if !hosts.is_empty() {
                let (name, hosts) = (text::visible(name.as_bytes(), 64), hosts.join(", "));
                context.out.line(&format!("{name}: {what} on {hosts}"))?;
            }
        }
    }
    for problem in rows.values().flat_map(|row| &row.problems).chain(&others) {
        context.out.line(&text::visible(problem.as_bytes(), 2000))?;
    }
    Ok(())
}

/// The plugins by name, and what is wrong with files that belong to none.
fn look(settings: &Settings) -> (BTreeMap<String, Row>, Problems) {
    let (pairs, others) = scan::scan(&settings.plugins_dir);
    let mut rows = BTreeMap::new();
    let mut sources = Vec::new();
    for pair in pairs {
        let name = pair.name.as_str().to_owned();
        let mut row = Row {
            name: name.clone(),
            manifest: None,
            version: None,
            problems: Vec::new(),
            hosts: Vec::new(),
            paused: false,
        };
        match pair.read(&settings.ceilings, &settings.plugins.trusted_keys) {
            Ok(source) => {
                row.version = Some(output::hex(&Sha256::digest(&source.component)));
                row.manifest = Some(source.manifest.clone());
                sources.push(source);
            }
            Err(problems) => row.problems = problems.list.iter().map(ToString::to_string).collect(),
        }
        rows.insert(name, row);
    }
    for (name, problem) in conflicts(&sources) {
        if let Some(row) = rows.get_mut(name.as_str()) {
            row.problems.push(problem);
        }
    }
    (rows, others)
}

/// What is wrong between plugins, by the plugin it is charged to.
pub(crate) fn conflicts(sources: &[Source]) -> Vec<(PluginName, String)> {
    let seen: Vec<_> = sources.iter().map(|s| (&s.name, s.origin.as_str(), &s.manifest)).collect();
    scan::conflicts(&seen).into_iter().map(|(name, problem)| (name, problem.to_string())).collect()
}

/// Living hosts, each with what it serves.
async fn hosts(settings: &Settings) -> Outcome<(Vec<(String, Vec<PluginReport>)>, Holds)> {
    let link = context::connect(settings).await?;
    let holds = hold::read(&link).await?;
    let rows = Leases::new(link).list().await?;
    let living = rows.into_iter().filter(|row| row.expires_in_ms > 0);
    let hosts = living.map(|row| (row.id.as_str().to_owned(), row.info.plugins)).collect();
    Ok((hosts, holds))
}

fn add_hosts(rows: &mut BTreeMap<String, Row>, hosts: Vec<(String, Vec<PluginReport>)>) {
    for (host, plugins) in hosts {
        for plugin in plugins {
            let name = plugin.name.clone();
            let row = rows.entry(name.clone()).or_insert_with(|| Row {
                problems: vec![format!("{name}: served, but not in this folder")],
                name,
                manifest: None,
                version: None,
                hosts: Vec::new(),
                paused: false,
            });
            if let Some(refusal) = &plugin.refusal {
                row.problems.push(format!("{host}: {refusal}"));
            }
            row.hosts.push((host.clone(), plugin));
        }
    }
}

fn table(rows: &BTreeMap<String, Row>) -> Table {
    let mut table = Table::new(&[
        Column::Text("plugin"),
        Column::Text("kind"),
        Column::Text("version"),
        Column::Long("queues"),
        Column::Number("hosts"),
        Column::Long("state"),
    ]);
    for row in rows.values() {
        table.row([
            text::visible(row.name.as_bytes(), 64),
            row.manifest.as_ref().map_or("-", |m| kind_name(m.kind)).to_owned(),
            row.version.as_ref().map_or("-", |v| &v[..VERSION_DIGITS]).to_owned(),
            text::visible(queues(row.manifest.as_ref()).join(" ").as_bytes(), 60),
            row.host_count().to_string(),
            row.state(),
        ]);
    }
    table
}

/// One version of a plugin in one state, on all hosts together.
#[derive(Default)]
struct Sum {
    hosts: u64,
    shares: Vec<f64>,
    runs: u64,
    failures: u64,
}

/// Sums by plugin, state, and component with release: releases with the same component differ in the manifest.
type Versions<'a> = BTreeMap<(&'a str, VersionState, (&'a str, &'a str)), Sum>;

/// What hosts run.
fn versions(rows: &BTreeMap<String, Row>) -> Versions<'_> {
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    for (name, row) in rows {
        for version in row.hosts.iter().flat_map(|(_, report)| &report.versions) {
            let release = (version.version.as_str(), version.release.as_str());
            let sum = sums.entry((name.as_str(), version.state, release)).or_default();
            sum.hosts += 1;
            sum.shares.push(version.share);
            // A host published this text, but others may have changed it in Redis.
            sum.runs = sum.runs.saturating_add(version.runs);
            sum.failures = sum.failures.saturating_add(version.failures);
        }
    }
    sums
}

fn version_table(versions: &Versions<'_>) -> Table {
    let mut table = Table::new(&[
        Column::Text("plugin"),
        Column::Text("version"),
        Column::Text("release"),
        Column::Text("state"),
        Column::Number("share"),
        Column::Number("hosts"),
        Column::Number("runs"),
        Column::Number("failed"),
    ]);
    for ((name, state, (version, release)), sum) in versions {
        let share = sum.shares.iter().sum::<f64>() / f64::from(u32::try_from(sum.shares.len()).unwrap_or(1));
        let digits: String = version.chars().take(VERSION_DIGITS).collect();
        table.row([
            text::visible(name.as_bytes(), 64),
            text::visible(digits.as_bytes(), VERSION_DIGITS),
            text::visible(release.get(..RELEASE_DIGITS).unwrap_or_default().as_bytes(), RELEASE_DIGITS),
            state.name().to_owned(),
            format!("{:.0} %", share * 100.0),
            sum.hosts.to_string(),
            sum.runs.to_string(),
            sum.failures.to_string(),
        ]);
    }
    table
}

fn document(row: &Row) -> Value {
    let hosts: Vec<&String> = row.hosts.iter().map(|(host, _)| host).collect();
    let served: BTreeMap<&String, &PluginReport> =
        row.hosts.iter().map(|(host, report)| (host, report)).collect();
    json!({
        "plugin": row.name,
        "kind": row.manifest.as_ref().map(|m| kind_name(m.kind)),
        "version": row.version,
        "queues": queues(row.manifest.as_ref()),
        "write_rate": row.write_rate().map(|rate| {
            json!({ "bytes": rate.bytes, "per_ms": u64::try_from(rate.per.as_millis()).unwrap_or(u64::MAX) })
        }),
        "hosts": hosts,
        "served": served,
        "loading": row.loading().collect::<Vec<_>>(),
        "compiling": row.compiling().collect::<Vec<_>>(),
        "problems": row.problems,
        "paused": row.paused,
    })
}

/// The queues a plugin serves.
pub(crate) fn queues(manifest: Option<&Manifest>) -> Vec<String> {
    let consume = manifest.map_or(&[][..], |m| &m.consume);
    consume.iter().map(|c| c.queue.as_str().to_owned()).collect()
}
