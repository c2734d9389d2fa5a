//! `sandhog test`: cases from files, each run on a Redis of its own. A case is a job, what Redis holds before, and
//! everything that must come of it (`test/case`); what is under a key is in `test/held`, how a case is judged in
//! `test/trial`.

mod case;
pub(super) mod held;
mod trial;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandhog::config::settings::{Overrides, Settings};
use sandhog::plugin::load::Loaded;
use sandhog::plugin::scan::Pair;
use sandhog::sandbox::Tier;
use sandhog::sandbox::engine::Sandbox;
use sandhog::telemetry::Heard;
use serde_json::{Value, json};

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome, Shape};
use crate::cli::private_redis::{PrivateRedis, Reach};
use crate::cli::{cache, check, progress, text};
use case::Case;
use trial::{Bench, Miss};

const EXAMPLES: &str = "\
A case is a TOML file:
  component = \"../build/thumbs.wasm\"
  payload = \"cat.jpg\"
  [before]
  \"size:default\" = \"320\"
  [expect]
  outcome = \"done\"
  [expect.after]
  \"thumb:cat.jpg\" = \"320\"
  notify = [\"cat.jpg\"]

Examples:
  sandhog test cases
  sandhog test cases/good.toml --component build/thumbs.wasm
  sandhog test cases --filter order --json";

/// Runs cases of plugins from files, and shows what differs.
///
/// Each case runs on a private Redis that holds what the case says and nothing else. Its effects are made, and whatever
/// the run has changed must be what the case says. Ends with 1 if a case does not hold, with 2 if one cannot be run.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Case files, and folders whose `.toml` files are cases.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The component, instead of the one the cases name.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// The manifest, if it does not lie beside the component.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Only the cases with this in their names.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Compile as `run` does: slower, and the code is faster.
    #[arg(long)]
    optimized: bool,
}

/// What became of a case.
struct Tried {
    name: String,
    took: Duration,
    misses: Vec<Miss>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let cases = cases(&args)?;
    let settings = context.settings()?;
    let heard = Heard::init().refuse()?;
    let plugins = load_all(&cases, &settings, cache::tier(args.optimized))?;
    let redis = PrivateRedis::start(Reach::Socket).await?;
    let url = Some(redis.url());
    let settings = context.settings_with(Overrides { redis_url: url, ..Overrides::default() })?;
    let bench = Bench { link: context::connect(&settings).await?, heard };
    let mut tried = Vec::new();
    for case in &cases {
        let begun = Instant::now();
        let misses = bench.run(case, &plugins[&plugin(case)]).await?;
        let misses =
            misses.map_err(|problem| Failure::refused(format!("case `{}`: {problem}", case.name)))?;
        let one = Tried { name: case.name.clone(), took: begun.elapsed(), misses };
        if !context.out.is_json() {
            context.out.text(&one.told())?;
        }
        tried.push(one);
    }
    finish(&tried, context)
}

/// All cases, read; or everything that is wrong with them.
fn cases(args: &Args) -> Outcome<Vec<Case>> {
    let mut files = Vec::new();
    for path in &args.paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(|error| {
            Failure::refused(format!("cannot read the folder `{}`: {error}", path.display()))
        })?;
        let mut found: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        found.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        found.sort();
        if found.is_empty() {
            return Err(Failure::refused(format!(
                "no case in `{}`: a case is a `.toml` file",
                path.display()
            )));
        }
        files.extend(found);
    }
    let (component, manifest) = (args.component.as_deref(), args.manifest.as_deref());
    let mut problems = Vec::new();
    let mut cases = Vec::new();
    for file in &files {
        match case::read(file, component, manifest) {
            Ok(case) => cases.push(case),
            Err(problem) => problems.push(problem),
        }
    }
    match problems.len() {
        0 => {}
        1 => return Err(Failure::refused(problems.remove(0))),
        more => return Err(Failure::refused(format!("{more} cases cannot be read")).with_details(problems)),
    }
    if let Some(filter) = &args.filter {
        cases.retain(|case| case.name.contains(filter.as_str()));
        if cases.is_empty() {
            return Err(Failure::refused(format!("no case has `{filter}` in its name")));
        }
    }
    Ok(cases)
}

/// What a case runs: component and manifest.
fn plugin(case: &Case) -> (PathBuf, Option<PathBuf>) {
    (case.component.clone(), case.manifest.clone())
}

/// Each component once.
fn load_all(
    cases: &[Case],
    settings: &Settings,
    tier: Tier,
) -> Outcome<HashMap<(PathBuf, Option<PathBuf>), Loaded>> {
    let sandbox = check::sandbox(settings, tier)?;
    let mut all = HashMap::new();
    for case in cases {
        if let Entry::Vacant(vacant) = all.entry(plugin(case)) {
            let (component, manifest) = vacant.key().clone();
            vacant.insert(load_one(&component, manifest.as_deref(), settings, &sandbox)?);
        }
    }
    Ok(all)
}

fn load_one(
    component: &Path,
    manifest: Option<&Path>,
    settings: &Settings,
    sandbox: &Sandbox,
) -> Outcome<Loaded> {
    let refused = |problems| context::refusal("the plugin would be refused", &problems);
    let pair = Pair::of(component, manifest).map_err(refused)?;
    let source = pair.read(&settings.ceilings, &[]).map_err(refused)?;
    progress::load_showing(source, sandbox).map_err(refused)
}

impl Tried {
    fn is_good(&self) -> bool {
        self.misses.is_empty()
    }

    /// A line, and one for each thing that differs.
    fn told(&self) -> String {
        let name = text::visible(self.name.as_bytes(), 100);
        if self.is_good() {
            return format!("\x1b[32mok\x1b[0m    {name} ({})\n", trial::took(self.took));
        }
        let mut told = format!("\x1b[31mFAIL\x1b[0m  {name} ({})\n", trial::took(self.took));
        for Miss { about, expected, found } in &self.misses {
            let about = text::visible(about.as_bytes(), 100);
            let _ = write!(
                told,
                "      {about}\n        \x1b[32mexpected  {expected}\x1b[0m\n        \x1b[31mfound     {found}\x1b[0m\n"
            );
        }
        told
    }

    fn document(&self) -> Value {
        let misses: Vec<Value> = self
            .misses
            .iter()
            .map(|miss| json!({ "about": miss.about, "expected": miss.expected, "found": miss.found }))
            .collect();
        let took_ms = (self.took.as_secs_f64() * 1e6).round() / 1e3;
        json!({ "case": self.name, "ok": self.is_good(), "took_ms": took_ms, "differences": misses })
    }
}

fn finish(tried: &[Tried], context: &Context) -> Outcome {
    let failed = tried.iter().filter(|tried| !tried.is_good()).count();
    let passed = tried.len() - failed;
    if context.out.is_json() {
        let cases: Vec<Value> = tried.iter().map(Tried::document).collect();
        context.out.document(&json!({ "passed": passed, "failed": failed, "cases": cases }))?;
    } else {
        context.out.line(&format!("\n{passed} passed, {failed} failed"))?;
    }
    let all = text::counted(tried.len() as u64, "case", "cases");
    if failed > 0 { Err(Failure::failed(format!("{failed} of {all} failed"))) } else { Ok(()) }
}
