//! A project of `sandhog new`: made in a folder that is kept, built with its own Makefile, served by a whole host.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::job::envelope::Header;

use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// What `--lang` may be.
pub(super) const LANGUAGES: [&str; 6] = ["rust", "python", "js", "ts", "c", "go"];
/// What `--kind` may be.
pub(super) const KINDS: [&str; 3] = ["worker", "config-reader", "batch"];
/// Where a config reader's settings are seen.
const PUBLISHED: &str = "seen";
/// The end of what a tool said is what tells.
const SAID_BYTES_MAX: usize = 8000;

/// Where the templates are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")
}

fn names(folder: &Path) -> Vec<String> {
    let folders =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// Every language and kind there is a template for.
pub(super) fn templates() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = names(&folder())
        .into_iter()
        .flat_map(|language| {
            let kinds = names(&folder().join(&language)).into_iter().filter(|kind| kind != "shared");
            kinds.map(move |kind| (language.clone(), kind)).collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no templates: is the test looking in the right place?");
    found
}

/// A project.
pub(super) struct Project {
    name: String,
    kind: String,
    folder: PathBuf,
}

impl Project {
    /// Makes it anew; what its tools have cached is kept for the next run of the tests.
    pub(super) fn new(language: &str, kind: &str) -> Self {
        Self::named(&format!("my-{language}-{kind}"), language, kind)
    }

    /// The same by another name.
    pub(super) fn named(name: &str, language: &str, kind: &str) -> Self {
        let name = name.to_owned();
        let folder = place("projects").join(&name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", folder.display()),
            _ => {}
        }
        let mut command = Program::alone().command(&["new", &name, "--lang", language, "--kind", kind]);
        let output = command.current_dir(folder.parent().unwrap()).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Self { name, kind: kind.to_owned(), folder }
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `make`, as its README says.
    pub(super) fn make(&self, target: &str) {
        let (name, folder) = (&self.name, self.folder.display());
        self.try_make(target).unwrap_or_else(|said| {
            panic!(
                "`make {target}` of {name} failed; to see it:\n  cd {folder} && make {target} SANDHOG={} TOOLS={}\n{said}",
                env!("CARGO_BIN_EXE_sandhog"),
                place("tools").display(),
            )
        });
    }

    /// The same; the error is the end of what it said.
    pub(super) fn try_make(&self, target: &str) -> Result<(), String> {
        let mut command = Command::new("make");
        command.arg(target).current_dir(&self.folder).stdin(Stdio::null());
        command.env("SANDHOG", env!("CARGO_BIN_EXE_sandhog")).env("TOOLS", place("tools"));
        command.env("CARGO_TARGET_DIR", place("cargo")).env("SANDHOG_STATE_DIR", place("state"));
        // The tests may have been started by `make`, and by Cargo with flags for the host program.
        for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CARGO_MAKEFLAGS", "RUSTFLAGS"] {
            command.env_remove(variable);
        }
        let output = command.output().unwrap_or_else(|error| panic!("make: {error}; install make"));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID_BYTES_MAX)..]).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The folder of hosts that is kept, and with it what was compiled.
    pub(super) fn state(&self) -> PathBuf {
        place("state")
    }

    /// The component or the manifest that was built.
    pub(super) fn built(&self, extension: &str) -> PathBuf {
        self.folder.join("build").join(format!("{}.{extension}", self.name))
    }

    /// Serves what was built, with a changed manifest.
    pub(super) async fn serve(&self, changed: impl Fn(&str) -> String) -> Served {
        let read = |extension: &str| {
            let file = self.built(extension);
            fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let manifest = changed(&String::from_utf8(read("toml")).unwrap());
        let redis = TestRedis::start();
        let plugins = Plugins::new().with(&self.name, &read("wasm"), &manifest);
        let mut settings = plugins.settings(&redis.url(), &self.name);
        settings.host.state_dir = self.state();
        Served { host: serve(settings).await, redis, _plugins: plugins }
    }

    /// Serves what was built, and looks whether it does what its kind does.
    pub(super) async fn serve_and_check(&self) {
        let published = |manifest: &str| format!("publish = \"{PUBLISHED}\"\n{manifest}");
        let changed = |manifest: &str| match &*self.kind {
            "config-reader" => published(manifest),
            _ => manifest.to_owned(),
        };
        let served = self.serve(changed).await;
        let desk = Desk { name: &self.name, plain: served.redis.plain().await };
        match &*self.kind {
            "worker" => desk.counts_words(&served.host).await,
            "config-reader" => desk.reads_its_key(&served.redis, &self.built("wasm")).await,
            "batch" => desk.adds_up(&served.host).await,
            other => panic!("what does a {other} do?"),
        }
        served.stop().await;
    }
}

/// A host that serves a project.
pub(super) struct Served {
    pub(super) host: Host,
    pub(super) redis: TestRedis,
    _plugins: Plugins,
}

impl Served {
    pub(super) async fn stop(self) {
        stop(self.host).await;
    }
}

/// A folder that is kept between runs of the tests.
fn place(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// What is done with a plugin that is served.
struct Desk<'a> {
    name: &'a str,
    plain: MultiplexedConnection,
}

impl Desk<'_> {
    /// Pushes jobs and waits until they have ended, so many of them buried for this reason.
    async fn push(&self, host: &Host, payloads: &[&[u8]], buried: u64, reason: &str) {
        let mut plain = self.plain.clone();
        let _: u64 = plain.rpush(self.name, payloads).await.unwrap();
        let completed = payloads.len() as u64 - buried;
        until("the jobs have ended", async || {
            let ended = count(host, self.name, |c| &c.completed) + count(host, self.name, |c| &c.buried);
            ended == completed + buried
        })
        .await;
        let dead: Vec<Vec<u8>> =
            plain.zrange(format!("{{{}}}:sandhog:dead", self.name), 0, -1).await.unwrap();
        let reasons: Vec<String> = dead
            .iter()
            .map(|dead| Header::decode(dead).unwrap().0.note("!reason").unwrap_or_default().to_owned())
            .collect();
        assert_eq!(reasons, vec![reason; usize::try_from(buried).unwrap()], "{}", self.name);
    }

    /// The keys of a kind, and what they hold.
    async fn held(&self, prefix: &str) -> Vec<(String, i64)> {
        let mut plain = self.plain.clone();
        let mut keys: Vec<String> = plain.keys(format!("{prefix}*")).await.unwrap();
        keys.sort();
        let mut held = Vec::new();
        for key in keys {
            let value = plain.get(&key).await.unwrap();
            held.push((key, value));
        }
        held
    }

    async fn counts_words(&self, host: &Host) {
        self.push(host, &[b"The quick\tthe\n", b" ", b"\xff\xfe", b"quick"], 1, "not text").await;
        assert_eq!(self.held("count:").await, [("count:quick".to_owned(), 2), ("count:the".to_owned(), 2)]);
        let mut numbers: Vec<String> = self.plain.clone().lrange("word-counts", 0, -1).await.unwrap();
        numbers.sort();
        assert_eq!(numbers, ["0", "1", "3"]);
    }

    async fn adds_up(&self, host: &Host) {
        let jobs: [&[u8]; 6] = [b"ada 12", b"bob -1", b"ada twelve", b"carl", b"ada 30", b"\xff 1"];
        self.push(host, &jobs, 3, "want NAME NUMBER").await;
        assert_eq!(self.held("total:").await, [("total:ada".to_owned(), 42), ("total:bob".to_owned(), -1)]);
    }

    /// What the reader has made of its key last.
    async fn until_published(&self, greeting: &str) {
        let mut plain = self.plain.clone();
        until(&format!("the greeting is `{greeting}`"), async || {
            let seen: Option<String> = plain.hget(PUBLISHED, "greeting").await.unwrap();
            seen.as_deref() == Some(greeting)
        })
        .await;
    }

    async fn reads_its_key(&self, redis: &TestRedis, component: &Path) {
        let (mut plain, key) = (self.plain.clone(), format!("{}:greeting", self.name));
        let longest = "x".repeat(200);
        self.until_published("hello").await;
        let _: () = plain.set(&key, &longest).await.unwrap();
        self.until_published(&longest).await;
        for bad in [&b"\xff"[..], &[b'x'; 201]] {
            let _: () = plain.set(&key, bad).await.unwrap();
            let arguments = ["--redis", &redis.url(), "invoke", component.to_str().unwrap()];
            // In a folder that is kept, and with it what was compiled.
            let alone = Program::alone();
            let run = alone.command(&arguments).env("SANDHOG_STATE_DIR", place("state")).output().unwrap();
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(run.status.code() == Some(1) && said.contains(&key), "{}: {said}", self.name);
        }
        self.until_published(&longest).await;
    }
}
