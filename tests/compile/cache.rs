//! What is kept of compiling: found again, shared, bounded, and never trusted when it was changed.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sandhog::sandbox::{CacheSettings, Compiling, Outcome, Sandbox};
use tempfile::TempDir;

use super::sandbox;
use crate::support::guest::{compiling, run, terms, worker};
use crate::support::log::{Captured, capture};

/// A folder that does not exist yet, in one that does.
struct Place {
    parent: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { parent: tempfile::Builder::new().prefix("compiled-").tempdir().unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.parent.path().join("state/compiled")
    }

    /// A sandbox with a cache here.
    fn sandbox(&self) -> Sandbox {
        self.bounded(1 << 30)
    }

    fn bounded(&self, bytes_max: u64) -> Sandbox {
        with(CacheSettings { folder: self.folder(), bytes_max, make: true })
    }

    /// The files in the folder, by name.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder()).into_iter().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn only_file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| std::fs::metadata(file).unwrap().len()).sum()
    }
}

fn with(cache: CacheSettings) -> Sandbox {
    sandbox(Compiling { cache: Some(cache), ..compiling() })
}

/// A component that buries its job with this text, of the same length as others of the same length.
fn saying(text: &str) -> Vec<u8> {
    let length = text.len();
    worker(
        "",
        &format!("(data (i32.const 100) \"{text}\")"),
        &format!(
            "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
            (i32.store (i32.const 16) (i32.const 100)) (i32.store (i32.const 20) (i32.const {length}))
            i32.const 0"
        ),
    )
}

/// Loads the component and lets it say its text.
async fn says(sandbox: &Sandbox, text: &str) {
    let version = sandbox.load(terms(), &saying(text)).unwrap();
    assert_eq!(run(&version).await.outcome, Outcome::Buried(text.to_owned()));
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn warnings(log: &Captured) -> Vec<String> {
    log.lines().into_iter().filter(|line| line.starts_with("WARN")).collect()
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let place = Place::new();
    let first = place.sandbox();
    says(&first, "one").await;
    says(&first, "two").await;
    says(&first, "one").await;
    assert_eq!(first.compiled(), 2);
    let second = place.sandbox();
    says(&second, "one").await;
    says(&second, "two").await;
    assert_eq!(second.compiled(), 0);
    assert_eq!(mode(&place.folder()), 0o700);
    let files = place.files();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    // They are mapped, not copied: the kernel names the file behind the memory.
    let version = second.load(terms(), &saying("one")).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains(place.folder().to_str().unwrap()));
    drop(version);
}

#[test]
fn who_wants_the_same_component_at_the_same_time_compiles_it_once() {
    let place = Place::new();
    let sandbox = place.sandbox();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| sandbox.load(terms(), &saying("same")).unwrap());
        }
    });
    assert_eq!(sandbox.compiled(), 1);
}

#[test]
fn sandboxes_share_a_folder() {
    let place = Place::new();
    let texts: Vec<String> = (0..6).map(|n| format!("text {n}")).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let sandbox = place.bounded(60_000);
                texts.iter().for_each(|text| drop(sandbox.load(terms(), &saying(text)).unwrap()));
            });
        }
    });
    assert!(place.files().iter().all(|file| file.extension().unwrap() == "cwasm"), "{:?}", place.files());
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_noticed() {
    let place = Place::new();
    says(&place.sandbox(), "right").await;
    let file = place.only_file();
    let good = std::fs::read(&file).unwrap();
    let places = (0..24).map(|n| n * (good.len() - 1) / 23);
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&file, bad).unwrap();
        let (log, again) = (capture(), place.sandbox());
        says(&again, "right").await;
        assert_eq!(again.compiled(), 1, "byte {at}");
        let warnings = warnings(&log);
        assert!(warnings.len() == 1 && warnings[0].contains("its checksum does not fit"), "{warnings:?}");
        assert_eq!(std::fs::read(&file).unwrap(), good, "what is compiled again takes its place");
    }
}

#[tokio::test]
async fn a_truncated_or_grown_file_is_noticed() {
    let place = Place::new();
    says(&place.sandbox(), "right").await;
    let file = place.only_file();
    let good = std::fs::read(&file).unwrap();
    let lengths = [0, 1, 39, 40, 41, 4096, good.len() / 2, good.len() - 40, good.len() - 1];
    let grown = [&good[..], b"x"].concat();
    let sealed_twice = [&good[..], &good[good.len() - 40..]].concat();
    for bad in lengths.map(|length| good[..length].to_vec()).into_iter().chain([grown, sealed_twice]) {
        std::fs::write(&file, &bad).unwrap();
        let again = place.sandbox();
        says(&again, "right").await;
        assert_eq!(again.compiled(), 1, "{} bytes", bad.len());
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
}

#[tokio::test]
async fn another_components_file_under_this_name_is_noticed() {
    let place = Place::new();
    says(&place.sandbox(), "right").await;
    let right = place.only_file();
    says(&place.sandbox(), "wrong").await;
    let wrong = place.files().into_iter().find(|file| *file != right).unwrap();
    std::fs::copy(&wrong, &right).unwrap();
    let again = place.sandbox();
    says(&again, "right").await;
    assert_eq!(again.compiled(), 1);
}

#[tokio::test]
async fn what_is_no_file_of_ours_is_not_looked_at() {
    let place = Place::new();
    says(&place.sandbox(), "right").await;
    let file = place.only_file();
    let good = std::fs::read(&file).unwrap();
    let elsewhere = place.parent.path().join("elsewhere");
    std::fs::write(&elsewhere, &good).unwrap();
    let set = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    let fill: [(&str, &dyn Fn()); 4] = [
        ("a link", &|| std::os::unix::fs::symlink(&elsewhere, &file).unwrap()),
        ("a pipe", &|| {
            assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        }),
        ("a file that others may write to", &|| {
            std::fs::write(&file, &good).unwrap();
            set(0o602);
        }),
        ("a folder", &|| std::fs::create_dir(&file).unwrap()),
    ];
    for (what, fill) in fill {
        std::fs::remove_file(&file).unwrap();
        fill();
        let again = place.sandbox();
        says(&again, "right").await;
        assert_eq!(again.compiled(), 1, "{what}");
    }
    // A folder stays in the way: its component is compiled each time, which is said once.
    let (log, again) = (capture(), place.sandbox());
    says(&again, "right").await;
    says(&again, "right").await;
    assert_eq!(again.compiled(), 2);
    let warnings = warnings(&log);
    assert!(warnings.len() == 1 && warnings[0].contains("cannot keep compiled components"), "{warnings:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_trusted_or_used_is_not_and_that_is_said_once() {
    let place = Place::new();
    let open = place.parent.path().join("open");
    std::fs::DirBuilder::new().mode(0o700).create(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = place.parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (folder, expected) in [
        (open.clone(), "others may write to it; run `chmod 700 "),
        (file.clone(), "it is no folder"),
        (file.join("below/compiled"), "Not a directory"),
    ] {
        let log = capture();
        let sandbox = with(CacheSettings { folder, bytes_max: 1 << 30, make: true });
        says(&sandbox, "one").await;
        says(&sandbox, "one").await;
        assert_eq!(sandbox.compiled(), 2);
        let warnings = warnings(&log);
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{warnings:?}");
    }
    assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_made_by_hosts_only() {
    let place = Place::new();
    let (log, settings) =
        (capture(), CacheSettings { folder: place.folder(), bytes_max: 1 << 30, make: false });
    says(&with(settings.clone()), "one").await;
    assert!(!place.folder().exists());
    says(&place.sandbox(), "one").await;
    let looker = with(settings);
    says(&looker, "one").await;
    assert_eq!((looker.compiled(), warnings(&log)), (0, Vec::new()));
}

#[tokio::test]
async fn a_folder_that_is_removed_meanwhile_is_made_again() {
    let place = Place::new();
    let sandbox = place.sandbox();
    says(&sandbox, "one").await;
    std::fs::remove_dir_all(place.folder()).unwrap();
    says(&sandbox, "one").await;
    says(&sandbox, "one").await;
    assert_eq!((sandbox.compiled(), mode(&place.folder())), (2, 0o700));
}

#[tokio::test]
async fn the_folder_is_bounded_and_the_longest_unused_go_first() {
    let place = Place::new();
    says(&place.sandbox(), "0").await;
    let one = place.bytes();
    let sandbox = place.bounded(3 * one + one / 2);
    says(&sandbox, "1").await;
    says(&sandbox, "2").await;
    let old = SystemTime::now() - Duration::from_secs(1000);
    for (n, file) in place.files().into_iter().enumerate() {
        let age = Duration::from_secs(n as u64);
        std::fs::File::open(file).unwrap().set_modified(old - age).unwrap();
    }
    let before = place.files();
    // Using the last two makes them young; the first goes.
    let oldest = &before[2];
    let texts = ["0", "1", "2"];
    let used = sandbox.compiled();
    for text in texts {
        says(&sandbox, text).await;
    }
    assert_eq!(sandbox.compiled(), used, "all three fit");
    std::fs::File::open(oldest).unwrap().set_modified(old).unwrap();
    says(&sandbox, "3").await;
    let after = place.files();
    assert!(place.bytes() <= 3 * one + one / 2 && after.len() == 3, "{after:?}");
    assert!(!after.contains(oldest) && after.contains(&before[0]) && after.contains(&before[1]));
    // What alone is larger than the bound is never kept.
    let tiny = Place::new();
    let sandbox = tiny.bounded(one / 2);
    says(&sandbox, "0").await;
    says(&sandbox, "0").await;
    assert_eq!((sandbox.compiled(), tiny.files().len()), (2, 0));
}

#[tokio::test]
async fn what_a_killed_host_left_half_written_goes_with_its_age() {
    let place = Place::new();
    says(&place.sandbox(), "one").await;
    let (old, new) = (place.folder().join("x.part"), place.folder().join("y.part"));
    for file in [&old, &new] {
        std::fs::write(file, "half").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(3700);
    std::fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
    says(&place.sandbox(), "two").await;
    assert!(!old.exists() && new.exists());
}
