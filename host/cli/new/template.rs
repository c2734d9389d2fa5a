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

/// The files of a project.
pub(super) fn files(language: &str, kind: &str, name: &PluginName) -> Files {
    let mut files = Files::new();
    for part in [SHARED, kind] {
        // A test makes a project of every language and kind: none of them is missing.
        let Some(folder) = TEMPLATES.get_dir(format!("{language}/{part}")) else { continue };
        collect(folder, folder.path(), Path::new(""), name.as_str(), &mut files);
    }
    // Some projects have the contract in a library of theirs.
    if !files.keys().any(|path| path.ends_with(CONTRACT)) {
        collect(&WIT, Path::new(""), Path::new("wit"), name.as_str(), &mut files);
    }
    files
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
