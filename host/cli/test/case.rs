//! A case as its author wrote it: a job, what Redis holds before, and what must come of it. One TOML file each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sandhog::job::name::JobId;
use serde::Deserialize;

use super::held::Held;

/// The id of the job when the case does not say it, as `sandhog invoke` has it.
const JOB_ID: &str = "invoke-1";
/// Words for the end of a run.
const OUTCOMES: [&str; 8] =
    ["done", "retry", "buried", "discarded", "trapped", "timed-out", "out-of-memory", "host-fault"];

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    component: Option<PathBuf>,
    manifest: Option<PathBuf>,
    payload: Option<String>,
    payload_file: Option<PathBuf>,
    payload_base64: Option<String>,
    payloads: Option<Vec<String>>,
    queue: Option<String>,
    id: Option<String>,
    attempt: Option<u32>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    before: BTreeMap<String, Held>,
    #[serde(default)]
    expect: Expect,
}

/// What must come of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// The word for the end; `done` when not given.
    pub(super) outcome: Option<String>,
    /// Why the job is not done.
    pub(super) reason: Option<String>,
    /// The same for each job of a batch.
    pub(super) outcomes: Option<Vec<String>>,
    /// The same for each job of a batch.
    pub(super) reasons: Option<Vec<String>>,
    /// What the job leaves for its producer.
    pub(super) result: Option<String>,
    /// Parts of lines that the guest logs.
    #[serde(default)]
    pub(super) log: Vec<String>,
    /// What a config reader answers.
    pub(super) settings: Option<BTreeMap<String, String>>,
    /// The keys the run changes, as they are afterwards.
    #[serde(default)]
    pub(super) after: BTreeMap<String, Held>,
    /// Jobs with a delay or a unique key that the run pushes, by queue.
    #[serde(default)]
    pub(super) jobs: BTreeMap<String, Vec<Pushed>>,
}

/// A job with options that a run pushes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pushed {
    /// Its bytes.
    pub(super) payload: String,
    /// How long until it is due.
    #[serde(default, deserialize_with = "super::held::span")]
    pub(super) delay: Option<u64>,
    /// What it is unique by.
    pub(super) unique: Option<String>,
}

/// A case that can be run.
#[derive(Debug)]
pub(super) struct Case {
    /// The file's name without its ending.
    pub(super) name: String,
    /// The component.
    pub(super) component: PathBuf,
    /// The manifest, if it does not lie beside the component.
    pub(super) manifest: Option<PathBuf>,
    /// The jobs' bytes; none for a config reader.
    pub(super) payloads: Vec<Vec<u8>>,
    /// Whether there are many for one call.
    pub(super) is_batch: bool,
    /// Where the job comes from; the manifest's first queue when not given.
    pub(super) queue: Option<String>,
    /// The job's id.
    pub(super) id: JobId,
    /// The number of the attempt.
    pub(super) attempt: u32,
    /// What its producer attached.
    pub(super) headers: BTreeMap<String, String>,
    /// What config readers say.
    pub(super) settings: BTreeMap<String, String>,
    /// What Redis holds before.
    pub(super) before: BTreeMap<String, Held>,
    /// What must come of it.
    pub(super) expect: Expect,
}

/// Reads a case; says in one line what is wrong with it.
pub(super) fn read(path: &Path, component: Option<&Path>, manifest: Option<&Path>) -> Result<Case, String> {
    let origin = path.display();
    let said = |text: String| format!("{origin}: {text}");
    let text = fs::read_to_string(path).map_err(|error| said(format!("cannot be read: {error}")))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("{origin}:{line}: {}", error.message().replace('\n', "; "))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let payloads = payloads(&file, folder).map_err(said)?;
    check(&file.expect, file.payloads.as_ref().map(Vec::len)).map_err(said)?;
    let own = |own: &Option<PathBuf>| own.as_ref().map(|own| folder.join(own));
    let component = component.map(Path::to_owned).or(own(&file.component));
    Ok(Case {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        component: component.ok_or_else(|| {
            said(
                "names no component: write `component = \"../build/NAME.wasm\"`, or give `--component`"
                    .to_owned(),
            )
        })?,
        manifest: manifest.map(Path::to_owned).or(own(&file.manifest)),
        payloads,
        is_batch: file.payloads.is_some(),
        queue: file.queue,
        id: JobId::new(file.id.as_deref().unwrap_or(JOB_ID))
            .map_err(|error| said(format!("`id` is no job id: {error}")))?,
        attempt: file.attempt.unwrap_or(1).max(1),
        headers: file.headers,
        settings: file.settings,
        before: file.before,
        expect: file.expect,
    })
}

fn payloads(file: &File, folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    all.extend(file.payload.clone().map(String::into_bytes));
    if let Some(named) = &file.payload_file {
        let named = folder.join(named);
        let bytes = fs::read(&named);
        all.push(
            bytes.map_err(|error| format!("`payload_file`: cannot read `{}`: {error}", named.display()))?,
        );
    }
    if let Some(text) = &file.payload_base64 {
        all.push(BASE64.decode(text).map_err(|error| format!("`payload_base64` is not base64: {error}"))?);
    }
    let one = all.len();
    all.extend(file.payloads.iter().flatten().map(|payload| payload.clone().into_bytes()));
    if one > 1 || (one == 1 && file.payloads.is_some()) {
        return Err("a case has one of `payload`, `payload_file`, `payload_base64` and `payloads`".to_owned());
    }
    Ok(all)
}

/// Words that are none would never be met.
fn check(expect: &Expect, jobs: Option<usize>) -> Result<(), String> {
    for word in expect.outcome.iter().chain(expect.outcomes.iter().flatten()) {
        if !OUTCOMES.contains(&word.as_str()) {
            return Err(format!("`expect.outcome` is \"{word}\"; it must be one of {}", OUTCOMES.join(", ")));
        }
    }
    let (one, many) = ((&expect.outcome, &expect.reason), [&expect.outcomes, &expect.reasons]);
    match jobs {
        Some(_) if one.0.is_some() || one.1.is_some() => {
            Err("many `payloads` have `expect.outcomes` and `expect.reasons`, one of each for every job"
                .to_owned())
        }
        Some(jobs) if many.iter().any(|list| list.as_ref().is_some_and(|list| list.len() != jobs)) => {
            Err(format!("`expect.outcomes` and `expect.reasons` have one for each of the {jobs} payloads"))
        }
        None if many.iter().any(|list| list.is_some()) => {
            Err("`expect.outcomes` and `expect.reasons` are for many `payloads`".to_owned())
        }
        _ => Ok(()),
    }
}
