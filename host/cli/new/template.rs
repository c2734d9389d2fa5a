//! The templates of projects, built into the program: `templates/`, with the contract of `wit/`. How they are laid out
//! is told in `templates/README.md`. Nothing is written here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use sandhog::plugin::name::PluginName;

static TEMPLATES: Dir = include_dir!("$CARGO_MANIFEST_DIR/templates");
static WIT: Dir = include_dir!("$CARGO_MANIFEST_DIR/wit");

/// What every kind of a language has in common.
const SHARED: &str = "shared";
/// Dropped from the ends of file names.
const SUFFIX: &str = ".in";
/// A file of the contract: where one is, the contract is.
const CONTRACT: &str = "wit/worlds.wit";

/// The files of a new project, by their places in it.
pub(super) type Files = BTreeMap<PathBuf, File>;

/// A file of a new project.
pub(super) struct File {
    /// What is in it.
    pub(super) bytes: Vec<u8>,
    /// Whether it is a program.
    pub(super) is_run: bool,
}

/// The files of a project; none if there is no such template.
pub(super) fn files(language: &str, kind: &str, name: &PluginName) -> Option<Files> {
    let kind = TEMPLATES.get_dir(format!("{language}/{kind}"))?;
    let mut files = Files::new();
    for folder in TEMPLATES.get_dir(format!("{language}/{SHARED}")).into_iter().chain([kind]) {
        collect(folder, folder.path(), Path::new(""), name.as_str(), &mut files);
    }
    // Some projects have the contract in a library of theirs.
    if !files.keys().any(|path| path.ends_with(CONTRACT)) {
        collect(&WIT, Path::new(""), Path::new("wit"), name.as_str(), &mut files);
    }
    Some(files)
}

/// The languages and kinds there are, as people would ask for them.
pub(super) fn known() -> Vec<String> {
    let mut known = Vec::new();
    for language in TEMPLATES.dirs() {
        for kind in language.dirs().filter_map(|kind| kind.path().file_name()).filter(|kind| *kind != SHARED)
        {
            known.push(format!("--lang {} --kind {}", language.path().display(), kind.to_string_lossy()));
        }
    }
    known
}

/// Adds what is in `folder`, seen from `root`, below `to`.
fn collect(folder: &Dir, root: &Path, to: &Path, name: &str, files: &mut Files) {
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(folder) => collect(folder, root, to, name, files),
            DirEntry::File(file) => {
                let path = file.path().strip_prefix(root).unwrap_or(file.path());
                let path = filled(&to.join(path).to_string_lossy(), name);
                let bytes = match file.contents_utf8() {
                    Some(text) => filled(text, name).into_bytes(),
                    None => file.contents().to_owned(),
                };
                let is_run = bytes.starts_with(b"#!");
                // What a kind has instead of what all have.
                files.insert(path.strip_suffix(SUFFIX).unwrap_or(&path).into(), File { bytes, is_run });
            }
        }
    }
}

/// The text with the name in its places.
fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{ident}}", &name.replace('-', "_"))
}
