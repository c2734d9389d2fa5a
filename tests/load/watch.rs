//! Hosts that follow their plugin folder: in every way files are replaced, with events and without.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::config::public_key::PublicKey;
use sandhog::config::settings::{PluginSettings, PluginsFrom, Watch};
use sandhog::plugin::release::Digest;
use sandhog::plugin::signature::PrivateKey;
use sandhog::plugin::watch::FolderWatch;
use tempfile::TempDir;

use crate::support::guest::worker;
use crate::support::host::{PATIENCE, Plugins, serve, stop, until};
use crate::support::redis::TestRedis;

/// Polls come too late for any test that has events.
const NO_POLL: Duration = Duration::from_secs(3600);
/// For tests without events.
const QUICK_POLL: Duration = Duration::from_millis(100);
/// Longer than any rest that is waited for before a change is told.
const A_WHILE: Duration = Duration::from_millis(400);

fn manifest(queue: &str) -> String {
    format!("kind = \"worker\"\n[[consume]]\nqueue = \"{queue}\"\n[grants]\nqueue.push = [\"seen\"]\n")
}

/// A worker that pushes `tag` to `seen` for every job.
fn teller(tag: &str) -> Vec<u8> {
    let import = r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;
    let items = format!(r#"(data (i32.const 1024) "seen") (data (i32.const 1040) "{tag}")"#);
    let body = format!(
        "(call $push (i32.const 1024) (i32.const 4) (i32.const 1040) (i32.const {}) (i32.const 2048)) (i32.const 0)",
        tag.len()
    );
    worker(import, &items, &body)
}

/// A host on `root/plugins`, which has one plugin, `thumbs`, that tells `one`.
struct Stage {
    root: TempDir,
    _redis: TestRedis,
    host: Host,
    plain: MultiplexedConnection,
}

impl Stage {
    async fn new(watch: Watch, poll: Duration) -> Self {
        Self::on(watch, poll, |root| put(&root.join("plugins"), "one")).await
    }

    /// With a folder that `prepare` has made in `root`.
    async fn on(watch: Watch, poll: Duration, prepare: impl FnOnce(&Path)) -> Self {
        Self::trusting(Vec::new(), watch, poll, prepare).await
    }

    /// Whose components must be signed by one of these keys.
    async fn trusting(
        trusted_keys: Vec<PublicKey>,
        watch: Watch,
        poll: Duration,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let (root, redis) = (tempfile::tempdir().unwrap(), TestRedis::start());
        prepare(root.path());
        let mut settings = Plugins::new().settings(&redis.url(), "h");
        settings.host.state_dir = root.path().join("state");
        settings.plugins_dir = root.path().join("plugins");
        settings.plugins = PluginSettings { watch, poll, source: PluginsFrom::Folder, trusted_keys };
        let (host, plain) = (serve(settings).await, redis.plain().await);
        let mut stage = Self { root, _redis: redis, host, plain };
        stage.tells("one").await;
        stage
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("plugins").join(name)
    }

    /// What a job tells that is pushed now.
    async fn told(&mut self) -> String {
        let _: u64 = self.plain.rpush("jobs", "").await.unwrap();
        self.plain.blpop::<_, (String, String)>("seen", 20.0).await.unwrap().1
    }

    /// Waits until jobs tell this.
    async fn tells(&mut self, tag: &str) {
        let started = Instant::now();
        loop {
            let told = self.told().await;
            if told == tag {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "jobs still tell `{told}`, not `{tag}`");
        }
    }

    /// Waits until what lies in the folder is refused or no longer is.
    async fn refused(&self, wanted: bool) {
        let refused = || self.host.plugins().iter().any(|plugin| plugin.refusal.is_some());
        until("the refusal is told", async || refused() == wanted).await;
    }

    /// Waits until exactly these queues are served.
    async fn serves(&self, wanted: &[&str]) {
        let queues = || self.host.plugins().into_iter().flat_map(|p| p.queues).collect::<Vec<_>>();
        until("the queues are served", async || queues() == wanted).await;
    }

    async fn end(self) {
        stop(self.host).await;
    }
}

/// Writes the plugin `thumbs` of a folder that may have to be made.
fn put(folder: &Path, tag: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("thumbs.toml"), manifest("jobs")).unwrap();
    fs::write(folder.join("thumbs.wasm"), teller(tag)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_moved_into_place_is_taken() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    for tag in ["two", "three"] {
        fs::write(stage.file(".thumbs.new"), teller(tag)).unwrap();
        fs::rename(stage.file(".thumbs.new"), stage.file("thumbs.wasm")).unwrap();
        stage.tells(tag).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_pieces_is_refused_until_it_is_whole_and_the_old_version_goes_on() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    let component = teller("two");
    let mut file = File::create(stage.file("thumbs.wasm")).unwrap();
    file.write_all(&component[..component.len() / 2]).unwrap();
    stage.refused(true).await;
    assert_eq!(stage.told().await, "one");
    file.write_all(&component[component.len() / 2..]).unwrap();
    stage.tells("two").await;
    stage.refused(false).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_named_wasm_is_refused_and_the_next_good_one_taken() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    fs::write(stage.file("thumbs.wasm"), "this is not a component").unwrap();
    stage.refused(true).await;
    assert_eq!(stage.told().await, "one");
    fs::write(stage.file("thumbs.wasm"), teller("two")).unwrap();
    stage.tells("two").await;
    stage.refused(false).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editors_way_to_save_is_followed() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    fs::write(stage.file(".thumbs.wasm.swp"), "x").unwrap();
    fs::write(stage.file("4913"), "x").unwrap();
    fs::remove_file(stage.file("4913")).unwrap();
    fs::rename(stage.file("thumbs.wasm"), stage.file("thumbs.wasm~")).unwrap();
    fs::write(stage.file("thumbs.wasm"), teller("two")).unwrap();
    fs::remove_file(stage.file(".thumbs.wasm.swp")).unwrap();
    stage.tells("two").await;
    stage.refused(false).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_come_change_and_go() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    fs::write(stage.file("second.wasm"), teller("second")).unwrap();
    fs::write(stage.file("second.toml"), manifest("others")).unwrap();
    stage.serves(&["others", "jobs"]).await;
    // Only the manifest.
    fs::write(stage.file("second.toml"), manifest("more")).unwrap();
    stage.serves(&["more", "jobs"]).await;
    let _: u64 = stage.plain.rpush("more", "").await.unwrap();
    let (_, told): (String, String) = stage.plain.blpop("seen", 20.0).await.unwrap();
    assert_eq!(told, "second");
    fs::remove_file(stage.file("second.wasm")).unwrap();
    fs::remove_file(stage.file("second.toml")).unwrap();
    stage.serves(&["jobs"]).await;
    assert_eq!(stage.told().await, "one");
    stage.end().await;
}

/// A folder as Kubernetes mounts it: `thumbs.wasm` leads to `..data/thumbs.wasm`, `..data` to a dated folder.
fn mount(folder: &Path) {
    put(&folder.join("..2026_11_22"), "one");
    symlink("..2026_11_22", folder.join("..data")).unwrap();
    for name in ["thumbs.wasm", "thumbs.toml"] {
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
}

/// Mounts another date, as Kubernetes does.
fn remount(folder: &Path, former: &str, date: &str, tag: &str) {
    put(&folder.join(date), tag);
    symlink(date, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    fs::remove_dir_all(folder.join(former)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_led_elsewhere_are_followed() {
    let mut stage = Stage::on(Watch::Events, NO_POLL, |root| mount(&root.join("plugins"))).await;
    let folder = stage.file("");
    remount(&folder, "..2026_11_22", "..2026_11_23", "two");
    stage.tells("two").await;
    remount(&folder, "..2026_11_23", "..2026_11_24", "three");
    stage.tells("three").await;
    // And what they lead to changes in place.
    fs::write(stage.file("..2026_11_24/thumbs.wasm"), teller("four")).unwrap();
    stage.tells("four").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_itself_may_be_a_link_that_is_led_elsewhere() {
    let prepare = |root: &Path| {
        put(&root.join("releases/1"), "one");
        symlink("releases/1", root.join("plugins")).unwrap();
    };
    let mut stage = Stage::on(Watch::Events, NO_POLL, prepare).await;
    let root = stage.root.path().to_owned();
    for (release, tag) in [("releases/2", "two"), ("releases/3", "three")] {
        put(&root.join(release), tag);
        symlink(release, root.join("next")).unwrap();
        fs::rename(root.join("next"), root.join("plugins")).unwrap();
        stage.tells(tag).await;
    }
    fs::write(root.join("releases/3/thumbs.wasm"), teller("four")).unwrap();
    stage.tells("four").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_moved_away_leaves_its_plugins_and_the_next_one_is_followed() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    let root = stage.root.path().to_owned();
    fs::rename(root.join("plugins"), root.join("former")).unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(stage.told().await, "one");
    // Nor do they go when somebody asks for what is not there.
    let problems = stage.host.reload().await.unwrap_err().to_string();
    assert!(problems.contains("cannot read the plugin folder"), "{problems}");
    assert_eq!(stage.told().await, "one");
    put(&root.join("next"), "two");
    fs::rename(root.join("next"), root.join("plugins")).unwrap();
    stage.tells("two").await;
    fs::write(stage.file("thumbs.wasm"), teller("three")).unwrap();
    stage.tells("three").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_all_the_time_does_not_hold_up_the_others() {
    let mut stage = Stage::new(Watch::Events, NO_POLL).await;
    let mut busy = File::create(stage.file("busy.toml")).unwrap();
    let writing = async {
        loop {
            busy.write_all(b"# more\n").unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    fs::write(stage.file("thumbs.wasm"), teller("two")).unwrap();
    tokio::select! {
        () = stage.tells("two") => {}
        () = writing => {}
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_events_looking_is_enough() {
    let mut stage = Stage::on(Watch::Poll, QUICK_POLL, |root| mount(&root.join("plugins"))).await;
    let folder = stage.file("");
    remount(&folder, "..2026_11_22", "..2026_11_23", "two");
    stage.tells("two").await;
    // In place, of the same length, and with the time it had.
    let path = stage.file("..2026_11_23/thumbs.wasm");
    let before = fs::metadata(&path).unwrap();
    fs::write(&path, teller("six")).unwrap();
    File::options().append(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), before.len());
    stage.tells("six").await;
    fs::write(&path, "not a component").unwrap();
    stage.refused(true).await;
    fs::remove_file(stage.file("thumbs.toml")).unwrap();
    fs::remove_file(stage.file("thumbs.wasm")).unwrap();
    stage.serves(&[]).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_taken_when_a_trusted_key_has_signed_it() {
    let (ours, theirs) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let sign = |folder: &Path, key: &PrivateKey, tag: &str| {
        let signature = key.sign(&Digest::of(&teller(tag))).to_string();
        fs::write(folder.join("thumbs.wasm.sig"), signature).unwrap();
    };
    let prepare = |root: &Path| {
        put(&root.join("plugins"), "one");
        sign(&root.join("plugins"), &ours, "one");
    };
    let mut stage = Stage::trusting(vec![ours.public()], Watch::Events, NO_POLL, prepare).await;
    fs::write(stage.file("thumbs.wasm"), teller("two")).unwrap();
    stage.refused(true).await;
    sign(&stage.file(""), &theirs, "two");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(stage.told().await, "one");
    // Only the signature changes.
    sign(&stage.file(""), &ours, "two");
    stage.tells("two").await;
    stage.refused(false).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_told_not_to_follows_nothing() {
    let mut stage = Stage::new(Watch::Off, QUICK_POLL).await;
    fs::write(stage.file("thumbs.wasm"), teller("two")).unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(stage.told().await, "one");
    stage.host.reload().await.unwrap();
    stage.tells("two").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_leftovers_of_reading_or_of_being_looked_at() {
    for watch in [Watch::Events, Watch::Poll] {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "one");
        let settings =
            PluginSettings { watch, poll: QUICK_POLL, source: PluginsFrom::Folder, trusted_keys: Vec::new() };
        let mut folder = FolderWatch::start(root.path(), &settings).unwrap();
        for name in ["thumbs.wasm~", ".thumbs.wasm.swp", "4913", "thumbs.wasm.tmp", "#thumbs.wasm#"] {
            fs::write(root.path().join(name), "x").unwrap();
        }
        fs::read(root.path().join("thumbs.wasm")).unwrap();
        let told = tokio::time::timeout(A_WHILE, folder.changed()).await;
        assert!(told.is_err(), "{watch:?}: nothing has changed");
        let touched = File::options().append(true).open(root.path().join("thumbs.wasm")).unwrap();
        touched.set_modified(SystemTime::now()).unwrap();
        drop(touched);
        tokio::time::timeout(PATIENCE, folder.changed()).await.unwrap();
        let again = tokio::time::timeout(A_WHILE, folder.changed()).await;
        assert!(again.is_err(), "{watch:?}: a change is told once");
    }
}
