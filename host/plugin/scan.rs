//! The folder of plugins: which pairs of files are there, and what can only be seen when all manifests are. What
//! a component is good for is looked at in `sandbox`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::manifest::{Kind, Manifest};
use super::name::PluginName;
use super::release::Digest;
use super::signature::{self, SIGNATURE_BYTES_MAX};
use crate::config::document::FILE_BYTES_MAX;
use crate::config::problem::{Problem, Problems, nearest};
use crate::config::public_key::PublicKey;
use crate::config::settings::Ceilings;
use crate::config::unit::show_size;

/// Most plugins in one folder.
const PLUGINS_MAX: usize = 1000;

/// What a file of the folder is to a plugin, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The `.wasm` file.
    Component,
    /// The `.toml` file.
    Manifest,
    /// The `.wasm.sig` file.
    Signature,
}

/// A component with its manifest beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The plugin.
    pub name: PluginName,
    /// The `.wasm` file.
    pub component: PathBuf,
    /// The `.toml` file.
    pub manifest: PathBuf,
}

/// What the two files held.
#[derive(Debug, Clone)]
pub struct Source {
    /// The plugin.
    pub name: PluginName,
    /// The operator's terms.
    pub manifest: Manifest,
    /// The bytes of the component.
    pub component: Vec<u8>,
    /// The manifest's file as the operator knows it, for later problems.
    pub origin: String,
    /// The component's file, likewise.
    pub component_origin: String,
    /// The manifest as it was written.
    pub text: String,
    /// What lies beside the component to vouch for it.
    pub signature: Option<String>,
}

/// Looks through the folder: the pairs, sorted by name, and what is wrong with the rest. Files that are neither
/// `.wasm` nor `.toml`, and those whose names begin with a dot, are not looked at.
pub fn scan(folder: &Path) -> (Vec<Pair>, Problems) {
    try_scan(folder).unwrap_or_else(|problem| (Vec::new(), Problems::one(problem)))
}

/// The same, where a folder that cannot be read is another thing than an empty one.
pub(super) fn try_scan(folder: &Path) -> Result<(Vec<Pair>, Problems), Problem> {
    let unreadable = |error| {
        let text = format!("cannot read the plugin folder: {error}");
        Problem::new(folder.display().to_string(), text)
    };
    files(folder).map(|found| pairs(folder, found)).map_err(unreadable)
}

impl Part {
    /// What the file is; none if it is nothing to us, as an editor's leftovers are.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if path.file_name()?.as_encoded_bytes().starts_with(b".") {
            return None;
        }
        match path.extension()?.to_str()? {
            "wasm" => Some(Self::Component),
            "toml" => Some(Self::Manifest),
            "sig" if Path::new(path.file_stem()?).extension()? == "wasm" => Some(Self::Signature),
            _ => None,
        }
    }
}

impl Pair {
    /// The plugin of a component file, with the manifest given or beside it.
    pub fn of(component: &Path, manifest: Option<&Path>) -> Result<Self, Problems> {
        let stem = component.file_stem().unwrap_or_default().to_string_lossy();
        let name = PluginName::new(stem).map_err(|error| {
            Problems::one(Problem::new(component.display().to_string(), error.to_string()))
        })?;
        let manifest = manifest.map_or_else(|| component.with_extension("toml"), Path::to_owned);
        Ok(Self { name, component: component.to_owned(), manifest })
    }

    /// Reads both files; every problem of both is reported. If there are trusted keys, one must have signed the
    /// component.
    pub fn read(&self, ceilings: &Ceilings, trusted: &[PublicKey]) -> Result<Source, Problems> {
        let origin = self.manifest.display().to_string();
        let manifest = self.parse(ceilings);
        let component_origin = self.component.display().to_string();
        let component = self
            .component(ceilings, trusted)
            .map_err(|text| Problems::one(Problem::new(&component_origin, text)));
        match (manifest, component) {
            (Ok((manifest, text)), Ok((component, signature))) => {
                let name = self.name.clone();
                Ok(Source { name, manifest, component, origin, component_origin, text, signature })
            }
            (manifest, component) => {
                let mut problems = manifest.err().unwrap_or_default();
                problems.append(component.err().unwrap_or_default());
                Err(problems)
            }
        }
    }

    /// The operator's terms alone.
    pub fn manifest(&self, ceilings: &Ceilings) -> Result<Manifest, Problems> {
        self.parse(ceilings).map(|(manifest, _)| manifest)
    }

    /// The manifest, and its text.
    fn parse(&self, ceilings: &Ceilings) -> Result<(Manifest, String), Problems> {
        let origin = self.manifest.display().to_string();
        read(&self.manifest, FILE_BYTES_MAX, "")
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()))
            .map_err(|error| Problem::new(&origin, format!("cannot read the manifest: {error}")))
            .map_err(Problems::one)
            .and_then(|text| Manifest::parse(&origin, &text, ceilings).map(|manifest| (manifest, text)))
    }

    /// The component and what vouches for it.
    fn component(
        &self,
        ceilings: &Ceilings,
        trusted: &[PublicKey],
    ) -> Result<(Vec<u8>, Option<String>), String> {
        let component = read(&self.component, ceilings.component_bytes, " (its `limits.component`)")
            .map_err(|error| format!("cannot read the component: {error}"))?;
        let file = signature_file(&self.component);
        let signature = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => {
                let bytes = read(&file, SIGNATURE_BYTES_MAX, "")
                    .map_err(|error| format!("cannot read its signature `{}`: {error}", file.display()))?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
        };
        signature::verify(&Digest::of(&component), signature.as_deref(), trusted)
            .map_err(|error| error.to_string())?;
        Ok((component, signature))
    }
}

/// Where the signatures of a component lie: beside it, `.sig` after its name.
pub fn signature_file(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

/// What is wrong between plugins that each are right: queues and hashes with two owners, settings of readers that
/// are not there. Each problem stands with the plugin it is charged to: the later one by name.
pub fn conflicts(sources: &[(&PluginName, &str, &Manifest)]) -> Vec<(PluginName, Problem)> {
    let mut found = Vec::new();
    let mut queues: BTreeMap<&str, &PluginName> = BTreeMap::new();
    let mut hashes: BTreeMap<&str, &PluginName> = BTreeMap::new();
    let readers: Vec<&str> = sources
        .iter()
        .filter(|(_, _, m)| m.kind == Kind::ConfigReader)
        .map(|(name, ..)| name.as_str())
        .collect();
    for (name, origin, manifest) in sources {
        let mut report = |path: &str, text: String| {
            let line = manifest.lines.of(path);
            found.push(((*name).clone(), Problem { origin: (*origin).to_owned(), line, text }));
        };
        for (n, consume) in manifest.consume.iter().enumerate() {
            let queue = consume.queue.as_str();
            match queues.get(queue) {
                Some(owner) if owner != name => report(
                    &format!("consume.{n}.queue"),
                    format!("queue `{}` is served by plugin `{owner}` already", queue.escape_debug()),
                ),
                _ => {
                    queues.insert(queue, name);
                }
            }
        }
        if let Some(key) = manifest.publish.as_deref()
            && let Some(owner) = hashes.insert(key, name)
        {
            report(
                "publish",
                format!("`{}` is where plugin `{owner}` publishes already", key.escape_debug()),
            );
        }
        for wanted in &manifest.grants.config {
            if readers.contains(&wanted.as_str()) {
                continue;
            }
            let text = if sources.iter().any(|(other, ..)| other.as_str() == wanted) {
                format!("`grants.config` names `{wanted}`, which is a worker, not a config reader")
            } else {
                let near = nearest(wanted, readers.iter().copied());
                let hint = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                format!("`grants.config` names `{wanted}`; there is no such config reader{hint}")
            };
            report("grants.config", text);
        }
    }
    found
}

/// What stands before the ending of the `.wasm` files and of the `.toml` files of a folder.
fn files(folder: &Path) -> io::Result<[BTreeSet<String>; 2]> {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let place = match Part::of(&path) {
            Some(Part::Component) => 0,
            Some(Part::Manifest) => 1,
            Some(Part::Signature) | None => continue,
        };
        found[place].insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    }
    Ok(found)
}

fn pairs(folder: &Path, [components, manifests]: [BTreeSet<String>; 2]) -> (Vec<Pair>, Problems) {
    let mut pairs = Vec::new();
    let mut problems = Problems::default();
    let file = |stem: &str, ending: &str| folder.join(format!("{stem}.{ending}"));
    for stem in components.union(&manifests) {
        let (component, manifest) = (file(stem, "wasm"), file(stem, "toml"));
        let (with, described) = (components.contains(stem), manifests.contains(stem));
        match PluginName::new(stem.clone()) {
            Err(error) => {
                let origin = if with { &component } else { &manifest };
                problems.push(Problem::new(origin.display().to_string(), error.to_string()));
            }
            Ok(name) if with && described => pairs.push(Pair { name, component, manifest }),
            Ok(_) if with => {
                let hint = misspelt(stem, &manifests, &components, "toml");
                let text = format!("has no manifest; write `{stem}.toml` beside it{hint}");
                problems.push(Problem::new(component.display().to_string(), text));
            }
            Ok(_) => {
                let hint = misspelt(stem, &components, &manifests, "wasm");
                let text = format!("has no component; put `{stem}.wasm` beside it{hint}");
                problems.push(Problem::new(manifest.display().to_string(), text));
            }
        }
    }
    if pairs.len() > PLUGINS_MAX {
        let text = format!("has {} plugins; it can have {PLUGINS_MAX} at the most", pairs.len());
        problems.push(Problem::new(folder.display().to_string(), text));
        pairs.truncate(PLUGINS_MAX);
    }
    (pairs, problems)
}

/// The lone file of the other sort that `stem` most likely misses.
fn misspelt(stem: &str, others: &BTreeSet<String>, ours: &BTreeSet<String>, ending: &str) -> String {
    let near = nearest(stem, others.difference(ours).map(String::as_str));
    near.map(|near| format!("; is `{near}.{ending}` meant for it?")).unwrap_or_default()
}

/// The bytes of a file of bounded size; `setting` names what would raise the bound.
fn read(path: &Path, bytes_max: u64, setting: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Whoever opens a named pipe waits for its other end.
    if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is larger than {}{setting}", show_size(bytes_max)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(list: &[(&str, &str)]) -> Vec<(PluginName, String, Manifest)> {
        let parse = |(name, text): &(&str, &str)| {
            let origin = format!("{name}.toml");
            let manifest = Manifest::parse(&origin, text, &Ceilings::default()).unwrap();
            (PluginName::new(*name).unwrap(), origin, manifest)
        };
        list.iter().map(parse).collect()
    }

    #[test]
    fn a_folder_is_seen_as_pairs_and_problems() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.wasm",
            "b.toml",
            "a.wasm",
            "a.toml",
            "thumbs.wasm",
            "thumb.toml",
            "lone.toml",
            "Bad.wasm",
            "notes.txt",
            ".hidden.wasm",
            "x.wasm.new",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let (pairs, problems) = scan(dir.path());
        let names: Vec<&str> = pairs.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let folder = format!("{}/", dir.path().display());
        assert_eq!(
            problems.to_string().replace(&folder, ""),
            "Bad.wasm: a plugin name has 1 to 64 of `a`-`z`, `0`-`9`, `_` and `-`\n\
             lone.toml: has no component; put `lone.wasm` beside it\n\
             thumb.toml: has no component; put `thumb.wasm` beside it; is `thumbs.wasm` meant for it?\n\
             thumbs.wasm: has no manifest; write `thumbs.toml` beside it; is `thumb.toml` meant for it?"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_problem() {
        let (pairs, problems) = scan(Path::new("/nowhere/plugins"));
        assert!(pairs.is_empty());
        let text = problems.to_string();
        assert!(text.starts_with("/nowhere/plugins: cannot read the plugin folder: No such file"), "{text}");
    }

    #[test]
    fn problems_of_both_files_come_together() {
        let dir = tempfile::tempdir().unwrap();
        let component = dir.path().join("a.wasm");
        let pair = Pair::of(&component, None).unwrap();
        std::fs::write(&pair.manifest, "kind = \"worker\"\n").unwrap();
        std::fs::write(&component, [0; 100]).unwrap();
        let ceilings = Ceilings { component_bytes: 99, ..Ceilings::default() };
        let text = pair.read(&ceilings, &[]).unwrap_err().to_string();
        assert!(text.contains("a.toml:1: missing `consume`"), "{text}");
        assert!(text.contains("a.wasm: cannot read the component: it is larger than 99B"), "{text}");
        std::fs::write(&pair.manifest, "kind = \"worker\"\nconsume = [{ queue = \"q\" }]\n").unwrap();
        let source = pair.read(&Ceilings::default(), &[]).unwrap();
        assert_eq!((source.name.as_str(), source.component.len()), ("a", 100));
        std::fs::write(&pair.manifest, b"\xff").unwrap();
        let text = pair.read(&Ceilings::default(), &[]).unwrap_err().to_string();
        assert!(text.ends_with("a.toml: cannot read the manifest: it is not UTF-8 text"), "{text}");
        assert!(Pair::of(Path::new("Big.wasm"), None).is_err());
    }

    #[test]
    fn plugins_that_get_in_each_others_way_are_named() {
        let sources = parsed(&[
            ("a", "kind = \"worker\"\nconsume = [{ queue = \"q\" }]\n[grants]\nconfig = [\"siet\", \"b\"]\n"),
            (
                "b",
                "kind = \"worker\"\n[[consume]]\nqueue = \"x\"\n[[consume]]\nqueue = \"q\"\n[grants]\nconfig=[\"site\"]",
            ),
            ("site", "kind = \"config-reader\"\npublish = \"h\"\n"),
            ("tsite", "kind = \"config-reader\"\n\npublish = \"h\"\n"),
        ]);
        let views: Vec<_> = sources.iter().map(|(name, origin, m)| (name, origin.as_str(), m)).collect();
        let found: Vec<String> = conflicts(&views).iter().map(|(name, p)| format!("[{name}] {p}")).collect();
        assert_eq!(
            found,
            [
                "[a] a.toml:4: `grants.config` names `b`, which is a worker, not a config reader",
                "[a] a.toml:4: `grants.config` names `siet`; there is no such config reader; did you mean `site`?",
                "[b] b.toml:5: queue `q` is served by plugin `a` already",
                "[tsite] tsite.toml:3: `h` is where plugin `site` publishes already",
            ]
        );
    }
}
