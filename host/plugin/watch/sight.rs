//! What a plugin folder, or some files, look like at one moment, told cheaply: names, lengths, times and inodes, through all
//! links. And the digests of its files, taken a few at a time, for file systems on which none of that can be
//! trusted. When one looks is in `watch`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::plugin::scan::Part;

/// Links followed from one path; as many as Linux follows.
const LINKS_MAX: u32 = 40;
/// Most files of a folder that are compared; more than can be plugins.
const FILES_MAX: usize = 4096;
/// Bytes that are digested at one look, beyond the first file: a folder is gone through in many looks.
const DIGESTED_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes read at once to be digested.
const READ_BYTES: usize = 64 * 1024;

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) enum Scene {
    /// A folder, for the files of plugins in it.
    Folder(PathBuf),
    /// These files, wherever they are and whatever they are called.
    Files(Vec<PathBuf>),
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "the plugin folder `{}`", folder.display()),
            Self::Files(_) => f.write_str("the watched files"),
        }
    }
}

/// The scene at one moment. Two that are equal show the same plugins, as far as one sees from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// A file that cannot be looked at (a link to nowhere) has no print.
    files: BTreeMap<OsString, Option<Print>>,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// The same, of whatever changed, be it a name or a permission.
    changed: (i64, i64),
    is_file: bool,
}

/// The names on which it depends what the folder's path leads to and what its files are: links, their targets,
/// and what is missing on the way. And the folder itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Absolute, and their folders are free of links.
    pub(super) names: BTreeSet<PathBuf>,
    /// Free of links; none while it is missing.
    pub(super) folder: Option<PathBuf>,
}

impl Places {
    /// The folders in which something can happen.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        let around = self.names.iter().filter_map(|name| name.parent());
        around.chain(self.folder.as_deref()).map(Path::to_owned).collect()
    }
}

impl Sight {
    /// The names of files that are not as in `other`.
    pub(super) fn differences(&self, other: &Self) -> Vec<PathBuf> {
        let names =
            self.files.keys().chain(other.files.keys().filter(|name| !self.files.contains_key(*name)));
        names.filter(|name| self.files.get(*name) != other.files.get(*name)).map(PathBuf::from).collect()
    }
}

/// Looks at a scene. The places are told even if its folder cannot be read.
pub(super) fn look(scene: &Scene) -> (io::Result<Sight>, Places) {
    let mut places = Places::default();
    let sight = match scene {
        Scene::Folder(folder) => look_into(folder, &mut places),
        Scene::Files(files) => Ok(look_at(files, &mut places)),
    };
    (sight, places)
}

fn look_at(files: &[PathBuf], places: &mut Places) -> Sight {
    let print = |file: &PathBuf| {
        let target = resolve(Path::new("/"), &std::path::absolute(file)?, &mut places.names)?;
        let found = fs::symlink_metadata(&target);
        places.names.insert(target);
        found
    };
    let prints: Vec<io::Result<Metadata>> = files.iter().map(print).collect();
    let prints = prints.into_iter().map(|found| found.ok().map(|found| Print::of(&found)));
    Sight { files: files.iter().map(|file| file.as_os_str().to_owned()).zip(prints).collect() }
}

fn look_into(folder: &Path, places: &mut Places) -> io::Result<Sight> {
    let folder = resolve(Path::new("/"), &std::path::absolute(folder)?, &mut places.names)?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name();
        if Part::of(Path::new(&name)).is_none() || files.len() == FILES_MAX {
            continue;
        }
        let path = folder.join(&name);
        let mut found = fs::symlink_metadata(&path);
        if found.as_ref().is_ok_and(Metadata::is_symlink) {
            found = resolve(&folder, Path::new(&name), &mut places.names).and_then(|target| {
                let found = fs::symlink_metadata(&target);
                places.names.insert(target);
                found
            });
        }
        files.insert(name, found.ok().map(|found| Print::of(&found)));
    }
    places.folder = Some(folder);
    Ok(Sight { files })
}

/// Follows every link of a path that begins in `from`. Links, and what is missing, are added to `names`.
fn resolve(from: &Path, path: &Path, names: &mut BTreeSet<PathBuf>) -> io::Result<PathBuf> {
    let reversed = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut at, mut rest, mut links) = (from.to_owned(), reversed(path), 0);
    while let Some(part) = rest.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::Normal(_)) => {
                let next = at.join(&part);
                let found = fs::symlink_metadata(&next).inspect_err(|_| {
                    names.insert(next.clone());
                })?;
                if found.is_symlink() {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(io::Error::other("too many links lead to each other"));
                    }
                    rest.extend(reversed(&fs::read_link(&next)?));
                    names.insert(next);
                } else {
                    at = next;
                }
            }
            _ => {}
        }
    }
    Ok(at)
}

impl Print {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            is_file: found.is_file(),
        }
    }
}

/// What is in the files: taken little by little, in the order of their names and then again from the first.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: BTreeMap<OsString, (Print, [u8; 32])>,
    last: Option<OsString>,
}

impl Contents {
    /// Digests the next files; whether one holds something else than before though it looks the same.
    pub(super) fn advance(&mut self, folder: &Path, sight: &Sight) -> bool {
        self.known.retain(|name, _| sight.files.contains_key(name));
        let (mut digested, mut differs) = (0, false);
        for _ in 0..sight.files.len() {
            let Some((name, print)) = self.next(sight) else { break };
            let length = print.as_ref().map_or(0, |print| print.length);
            if digested > 0 && digested + length > DIGESTED_BYTES {
                break;
            }
            self.last = Some(name.clone());
            let Some(print) = print.as_ref().filter(|print| print.is_file) else { continue };
            digested += length;
            // What cannot be read now is looked at another time.
            let Ok(digest) = digest(&folder.join(name), print.length) else { continue };
            let before = self.known.insert(name.clone(), (print.clone(), digest));
            differs |= before.is_some_and(|(seen, before)| seen == *print && before != digest);
        }
        differs
    }

    /// The file after the last one, around the end.
    fn next<'s>(&self, sight: &'s Sight) -> Option<(&'s OsString, &'s Option<Print>)> {
        let after = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = sight.files.range::<OsStr, _>((after, Bound::Unbounded));
        rest.next().or_else(|| sight.files.iter().next())
    }
}

/// The digest of a file, of no more than it was long.
fn digest(path: &Path, length: u64) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?.take(length);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn sight(folder: &Path) -> Sight {
        look(&Scene::Folder(folder.to_owned())).0.unwrap()
    }

    /// A folder whose own path is free of links.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    #[test]
    fn only_what_can_be_a_plugin_is_seen() {
        let (_dir, folder) = folder();
        fs::write(folder.join("a.wasm"), "1").unwrap();
        let before = sight(&folder);
        for leftover in ["a.wasm~", ".a.wasm.swp", "4913", "a.wasm.tmp", "#a.wasm#", ".#a.wasm", ".a.toml"] {
            fs::write(folder.join(leftover), "x").unwrap();
        }
        assert_eq!(sight(&folder), before);
        for change in ["a.wasm", "a.toml", "a.wasm.sig"] {
            fs::write(folder.join(change), "22").unwrap();
            assert_ne!(sight(&folder), before, "{change}");
        }
    }

    #[test]
    fn links_are_followed_and_every_one_on_the_way_is_named() {
        let (_dir, root) = folder();
        let folder = root.join("plugins");
        for version in ["..1", "..2"] {
            fs::create_dir_all(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("a.wasm"), version).unwrap();
        }
        symlink("..1/", folder.join("..data")).unwrap();
        symlink("..data/a.wasm", folder.join("a.wasm")).unwrap();
        symlink("nowhere/b.wasm", folder.join("b.wasm")).unwrap();
        symlink("loop.wasm", folder.join("loop.wasm")).unwrap();
        symlink("plugins", root.join("link")).unwrap();
        let (before, places) = look(&Scene::Folder(root.join("link/../link")));
        let names = ["link", "plugins/..1/a.wasm", "plugins/..data", "plugins/a.wasm", "plugins/b.wasm"];
        let names = names.into_iter().chain(["plugins/loop.wasm", "plugins/nowhere"]);
        assert_eq!(places.names, names.map(|name| root.join(name)).collect());
        assert_eq!(places.folder.as_ref(), Some(&folder));
        assert_eq!(places.folders(), [root, folder.clone(), folder.join("..1")].into());
        symlink("..2", folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
        assert_ne!(sight(&folder), before.unwrap());
    }

    #[test]
    fn of_a_folder_that_is_not_there_the_first_missing_name_is_told() {
        let (_dir, root) = folder();
        let (sight, places) = look(&Scene::Folder(root.join("not/there")));
        assert_eq!(sight.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((places.folder.as_ref(), places.names), (None, [root.join("not")].into()));
    }

    #[test]
    fn the_digest_sees_what_nothing_else_shows() {
        let (_dir, folder) = folder();
        let path = folder.join("a.wasm");
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        };
        write("one");
        // As on a file system that has no time of change.
        let timeless = || {
            let mut sight = sight(&folder);
            sight.files.values_mut().flatten().for_each(|print| print.changed = (0, 0));
            sight
        };
        let (mut contents, before) = (Contents::default(), timeless());
        assert!(!contents.advance(&folder, &before));
        assert!(!contents.advance(&folder, &before));
        write("two");
        assert_eq!(timeless(), before);
        assert!(contents.advance(&folder, &before));
        assert!(!contents.advance(&folder, &before));
    }

    #[test]
    fn a_large_folder_is_digested_in_many_looks_and_every_file_has_its_turn() {
        let (_dir, folder) = folder();
        for name in ["a", "b", "c", "d", "e"] {
            let file = File::create(folder.join(format!("{name}.wasm"))).unwrap();
            file.set_len(DIGESTED_BYTES / 2).unwrap();
        }
        let (sight, mut contents) = (sight(&folder), Contents::default());
        let known = [2, 4, 5].map(|_| {
            assert!(!contents.advance(&folder, &sight));
            contents.known.len()
        });
        assert_eq!(known, [2, 4, 5]);
    }
}
