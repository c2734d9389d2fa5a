//! `sandhog check`: everything that loading would refuse, offline and in the same words, because it loads.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sandhog::config::problem::Problems;
use sandhog::config::settings::Settings;
use sandhog::plugin::load::kind_name;
use sandhog::plugin::manifest::Manifest;
use sandhog::plugin::scan::{self, Pair, Source};
use sandhog::sandbox::engine::{PoolSettings, Sandbox};
use sandhog::sandbox::{Compiling, Tier};
use serde_json::{Value, json};

use crate::cli::cache;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::plugins::{self, VERSION_DIGITS};
use crate::cli::table::{Column, Table};
use crate::cli::{progress, text};

/// Runs that must fit at once while components are only tried.
const TRIALS_AT_ONCE: u32 = 4;

/// Says whether plugins would be loaded, and if not, everything that is wrong with them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Components, or one folder of plugins.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// What became of one plugin.
struct Verdict {
    name: String,
    manifest: Option<Manifest>,
    version: Option<String>,
    problems: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let settings = context.settings()?;
    let (folder, (pairs, others)) = match args.paths.as_slice() {
        [folder] if folder.is_dir() => {
            if args.manifest.is_some() {
                return Err(Failure::refused("`--manifest` goes with one component, not with a folder"));
            }
            (true, scan::scan(folder))
        }
        components => (false, of_components(components, args.manifest.as_deref())?),
    };
    if pairs.is_empty() && others.is_empty() {
        return Err(Failure::refused(format!("no plugins in `{}`", args.paths[0].display())));
    }
    let verdicts = judge(&pairs, &settings, folder)?;
    let others: Vec<String> = others.list.iter().map(ToString::to_string).collect();
    report(&verdicts, &others, context)
}

/// The plugins of these components. A missing component is reported as a problem of its pair, together with the
/// problems of its manifest.
fn of_components(components: &[PathBuf], manifest: Option<&Path>) -> Outcome<(Vec<Pair>, Problems)> {
    if components.len() > 1 && manifest.is_some() {
        return Err(Failure::refused("`--manifest` goes with one component, not with several"));
    }
    if let Some(folder) = components.iter().find(|path| path.is_dir()) {
        let text = format!("`{}` is a folder: check it alone, or name its components", folder.display());
        return Err(Failure::refused(text));
    }
    let (mut pairs, mut others) = (Vec::new(), Problems::default());
    for component in components {
        match Pair::of(component, manifest) {
            Ok(pair) => pairs.push(pair),
            Err(problems) => others.append(problems),
        }
    }
    Ok((pairs, others))
}

/// Loads each plugin. Conflicts between plugins are checked only in a folder, where all of them are known
/// (`together`).
fn judge(pairs: &[Pair], settings: &Settings, together: bool) -> Outcome<Vec<Verdict>> {
    let sandbox = sandbox(settings, Tier::Optimized)?;
    let mut verdicts = Vec::new();
    let mut sources = Vec::new();
    for pair in pairs {
        let name = pair.name.as_str().to_owned();
        let mut verdict = Verdict { name, manifest: None, version: None, problems: Vec::new() };
        match pair.read(&settings.ceilings, &settings.plugins.trusted_keys) {
            Ok(source) => {
                verdict.manifest = Some(source.manifest.clone());
                sources.push(source.clone());
                verdict.load(source, &sandbox);
            }
            Err(problems) => verdict.problems = problems.list.iter().map(ToString::to_string).collect(),
        }
        verdicts.push(verdict);
    }
    if together {
        for (name, problem) in plugins::conflicts(&sources) {
            if let Some(verdict) = verdicts.iter_mut().find(|verdict| verdict.name == name.as_str()) {
                verdict.problems.push(problem);
            }
        }
    }
    Ok(verdicts)
}

/// A sandbox as large as it must be to try one component after the other.
pub(crate) fn sandbox(settings: &Settings, tier: Tier) -> Outcome<Sandbox> {
    sandbox_with(settings, cache::compiling_here(settings, tier))
}

/// The same that compiles in another way.
pub(crate) fn sandbox_with(settings: &Settings, compiling: Compiling) -> Outcome<Sandbox> {
    let pool = PoolSettings { instances: TRIALS_AT_ONCE, memory_bytes_max: settings.ceilings.memory_bytes };
    Sandbox::new(&pool, compiling).context("cannot set up the sandbox").refuse()
}

impl Verdict {
    fn load(&mut self, source: Source, sandbox: &Sandbox) {
        match progress::load_showing(source, sandbox) {
            Ok(loaded) => self.version = Some(loaded.version.digest().to_owned()),
            Err(problems) => self.problems.extend(problems.list.iter().map(ToString::to_string)),
        }
    }
}

fn report(verdicts: &[Verdict], others: &[String], context: &Context) -> Outcome {
    let refused = verdicts.iter().filter(|verdict| !verdict.problems.is_empty()).count();
    if context.out.is_json() {
        let plugins: Vec<Value> = verdicts.iter().map(document).collect();
        context.out.document(&json!({
            "ok": refused == 0 && others.is_empty(), "plugins": plugins, "problems": others,
        }))?;
    } else {
        context.out.text(&text_of(verdicts, others))?;
    }
    match (refused, others.len()) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::refused("some files belong to no plugin")),
        (1, _) if verdicts.len() == 1 => {
            Err(Failure::refused(format!("plugin `{}` would be refused", verdicts[0].name)))
        }
        (refused, _) => {
            Err(Failure::refused(format!("{refused} of {} plugins would be refused", verdicts.len())))
        }
    }
}

/// A table of what is good, then a line for each problem.
fn text_of(verdicts: &[Verdict], others: &[String]) -> String {
    let mut text = String::new();
    let good: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.problems.is_empty()).collect();
    if !good.is_empty() {
        let mut table = Table::new(&[
            Column::Text("plugin"),
            Column::Text("kind"),
            Column::Text("version"),
            Column::Text("queues"),
            Column::Text("state"),
        ]);
        for verdict in good {
            table.row([
                verdict.name.clone(),
                verdict.manifest.as_ref().map_or("-", |m| kind_name(m.kind)).to_owned(),
                verdict.version.as_ref().map_or("-", |v| &v[..VERSION_DIGITS]).to_owned(),
                text::visible(plugins::queues(verdict.manifest.as_ref()).join(" ").as_bytes(), 60),
                "ok".to_owned(),
            ]);
        }
        text.push_str(&table.render());
    }
    for problem in verdicts.iter().flat_map(|verdict| &verdict.problems).chain(others) {
        text.push_str(&text::visible(problem.as_bytes(), 2000));
        text.push('\n');
    }
    text
}

fn document(verdict: &Verdict) -> Value {
    json!({
        "plugin": verdict.name,
        "ok": verdict.problems.is_empty(),
        "kind": verdict.manifest.as_ref().map(|m| kind_name(m.kind)),
        "version": verdict.version,
        "queues": plugins::queues(verdict.manifest.as_ref()),
        "problems": verdict.problems,
    })
}
