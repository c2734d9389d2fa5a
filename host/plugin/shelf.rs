//! Versions that a host has run, kept on its disk: so that the last good one is at hand when what is offered now cannot
//! be used, after a restart too, and so that an operator can go back (`sandhog rollback`).
//!
//! In the folder `versions` of the state folder: `<plugin>.json`, the record, and `<plugin>.<component>.wasm`. Every file
//! is written beside its place and moved there. Hosts of one machine may share the folder; they keep the same versions.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::name::PluginName;
use super::release::{Digest, Release};

/// Releases of a plugin that are kept.
pub const KEPT_MAX: usize = 10;
/// Largest record: manifests of all of them, with every byte escaped.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// The shelf of one host.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

/// One kept release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is.
    pub release: Release,
    /// When it was last taken in, in milliseconds since 1970 by the host's clock.
    pub taken_ms: u64,
    /// What is known of it.
    pub standing: Standing,
}

/// What is known of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It has been loaded, and is not yet what runs take.
    Loaded,
    /// Runs have taken it.
    Good,
    /// It was rolled back: it is not taken again until somebody asks for it.
    Bad {
        /// What it did.
        why: String,
        /// The deploy it came with, 0 for the folder: a later one asks for it again.
        number: u64,
    },
}

impl Shelf {
    /// The shelf in a host's state folder.
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("versions") }
    }

    /// What is kept of a plugin, the latest first. A record that cannot be read counts as none.
    pub fn kept(&self, plugin: &PluginName) -> Vec<Kept> {
        let read = || -> io::Result<Vec<Kept>> {
            let mut text = Vec::new();
            File::open(self.record(plugin))?.take(RECORD_BYTES_MAX).read_to_end(&mut text)?;
            Ok(serde_json::from_slice(&text)?)
        };
        read().unwrap_or_default()
    }

    /// Keeps a release that has been loaded, as the latest. What is known of it stays known.
    pub fn put(&self, plugin: &PluginName, release: &Release, component: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let place = self.file(plugin, &release.component);
        if fs::metadata(&place).map_or(true, |file| file.len() != component.len() as u64) {
            self.write(&place, component)?;
        }
        let mut kept = self.kept(plugin);
        let known = kept.iter().position(|kept| kept.release == *release).map(|at| kept.remove(at));
        let standing = known.map_or(Standing::Loaded, |known| known.standing);
        kept.insert(0, Kept { release: release.clone(), taken_ms: now_ms(), standing });
        let dropped = kept.split_off(kept.len().min(KEPT_MAX));
        self.write_record(plugin, &kept)?;
        for gone in dropped.iter().map(|gone| &gone.release.component) {
            if !kept.iter().any(|kept| kept.release.component == *gone) {
                fs::remove_file(self.file(plugin, gone))?;
            }
        }
        Ok(())
    }

    /// Notes what is known of a release now, if it is kept.
    pub fn note(&self, plugin: &PluginName, id: &Digest, standing: Standing) -> io::Result<()> {
        let mut kept = self.kept(plugin);
        let Some(found) = kept.iter_mut().find(|kept| kept.release.id() == *id) else { return Ok(()) };
        if found.standing == standing {
            return Ok(());
        }
        found.standing = standing;
        self.write_record(plugin, &kept)
    }

    /// What is known of a release; none if it is not kept.
    pub fn standing(&self, plugin: &PluginName, id: &Digest) -> Option<Standing> {
        self.kept(plugin).into_iter().find(|kept| kept.release.id() == *id).map(|kept| kept.standing)
    }

    /// The latest good release that is not `id`.
    pub fn last_good(&self, plugin: &PluginName, id: Option<&Digest>) -> Option<Release> {
        let mut good = self.kept(plugin).into_iter().filter(|kept| kept.standing == Standing::Good);
        good.find(|kept| Some(&kept.release.id()) != id).map(|kept| kept.release)
    }

    /// The bytes of a kept component, exactly those that have this digest.
    pub fn component(&self, plugin: &PluginName, component: &Digest, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.file(plugin, component))?.take(bytes_max).read_to_end(&mut bytes)?;
        if Digest::of(&bytes) == *component {
            Ok(bytes)
        } else {
            Err(io::Error::other("the kept component is damaged"))
        }
    }

    fn record(&self, plugin: &PluginName) -> PathBuf {
        self.folder.join(format!("{plugin}.json"))
    }

    fn file(&self, plugin: &PluginName, component: &Digest) -> PathBuf {
        self.folder.join(format!("{plugin}.{component}.wasm"))
    }

    fn write_record(&self, plugin: &PluginName, kept: &[Kept]) -> io::Result<()> {
        self.write(&self.record(plugin), &serde_json::to_vec(kept)?)
    }

    fn write(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        new.write_all(bytes)?;
        new.persist(place)?;
        Ok(())
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(n: usize) -> (Release, Vec<u8>) {
        let component = format!("component {n}").into_bytes();
        let release =
            Release { component: Digest::of(&component), manifest: format!("# {n}"), signature: None };
        (release, component)
    }

    #[test]
    fn the_last_ones_are_kept_with_what_is_known_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (shelf, name) = (Shelf::new(dir.path()), PluginName::new("thumbs").unwrap());
        assert!(shelf.kept(&name).is_empty());
        for n in 0..KEPT_MAX + 3 {
            let (release, component) = release(n);
            shelf.put(&name, &release, &component).unwrap();
            shelf.note(&name, &release.id(), Standing::Good).unwrap();
        }
        let ids: Vec<Digest> = shelf.kept(&name).iter().map(|kept| kept.release.id()).collect();
        let expected: Vec<Digest> = (3..KEPT_MAX + 3).rev().map(|n| release(n).0.id()).collect();
        assert_eq!(ids, expected);
        // The record, and as many components.
        assert_eq!(fs::read_dir(dir.path().join("versions")).unwrap().count(), KEPT_MAX + 1);
        let (old, component) = release(5);
        let bad = Standing::Bad { why: "it failed".to_owned(), number: 0 };
        shelf.note(&name, &old.id(), bad.clone()).unwrap();
        shelf.put(&name, &old, &component).unwrap();
        let kept = shelf.kept(&name);
        assert_eq!((&kept[0].release, &kept[0].standing, kept.len()), (&old, &bad, KEPT_MAX));
        assert_eq!(shelf.component(&name, &old.component, 100).unwrap(), component);
    }

    #[test]
    fn what_is_damaged_is_not_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let (shelf, name) = (Shelf::new(dir.path()), PluginName::new("thumbs").unwrap());
        let (release, component) = release(1);
        shelf.put(&name, &release, &component).unwrap();
        let file = shelf.file(&name, &release.component);
        fs::write(&file, b"component X").unwrap();
        assert!(shelf.component(&name, &release.component, 100).is_err());
        // A cut file is mended the next time.
        fs::write(&file, b"comp").unwrap();
        shelf.put(&name, &release, &component).unwrap();
        assert_eq!(shelf.component(&name, &release.component, 100).unwrap(), component);
        fs::write(shelf.record(&name), b"[{").unwrap();
        assert!(shelf.kept(&name).is_empty());
        shelf.put(&name, &release, &component).unwrap();
        assert_eq!(shelf.kept(&name).len(), 1);
    }
}
