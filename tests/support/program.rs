//! The real program in an empty folder, with nothing in its environment but what a test puts there. What it prints
//! is told as a transcript, with everything that differs from run to run replaced.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use insta::Settings;
use rustix::process::{Pid, Signal, kill_process};
use sandhog::config::env;
use tempfile::TempDir;

use super::redis::TestRedis;

/// How long a program may take to do what it was asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder to run the program in.
pub struct Program {
    folder: TempDir,
    redis_url: Option<String>,
}

impl Program {
    /// Without a Redis.
    pub fn alone() -> Self {
        Self { folder: TempDir::with_prefix("sandhog-cli-").unwrap(), redis_url: None }
    }

    /// With a Redis that it finds through its environment.
    pub fn with(redis: &TestRedis) -> Self {
        Self { redis_url: Some(redis.url()), ..Self::alone() }
    }

    /// With a Redis at this URL, which it finds through its environment.
    pub fn with_url(url: &str) -> Self {
        Self { redis_url: Some(url.to_owned()), ..Self::alone() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The program with arguments, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_sandhog")), arguments)
    }

    fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder()).env_clear();
        command.env("PATH", env!("PATH")).env("HOME", self.folder());
        command.envs(self.redis_url.iter().map(|url| ("SANDHOG_REDIS_URL", OsStr::new(url))));
        command.env(env::REDIS_SERVER, env::redis_server());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it to its end on a terminal of its own, and tells what appeared there.
    pub fn on_terminal(&self, arguments: &[&str]) -> String {
        self.on_terminal_of(200, arguments)
    }

    /// The same on a terminal with this number of columns.
    pub fn on_terminal_of(&self, columns: usize, arguments: &[&str]) -> String {
        // For the shell: a quote ends the quoted text, is escaped, and begins it again.
        let quoted = |word: &&str| format!("'{}'", word.replace('\'', r"'\''"));
        let words = [&[env!("CARGO_BIN_EXE_sandhog")], arguments].concat();
        let program = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let program = format!("stty cols {columns} rows 40; exec {program}");
        let mut command = self
            .command_of(Path::new("script"), &["--quiet", "--return", "--command", &program, "/dev/null"]);
        let output = command.env("TERM", "xterm").env("SHELL", "/bin/sh").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs it to its end with this on its standard input.
    pub fn output_of(&self, arguments: &[&str], input: &[u8]) -> Output {
        use std::io::Write as _;
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs it and answers the one JSON document it prints; fails if the exit code is not 0.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.output(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", transcript(arguments, &output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Runs it and tells everything there is to see.
    pub fn transcript(&self, arguments: &[&str]) -> String {
        transcript(arguments, &self.output(arguments))
    }

    /// The transcripts of several runs, one below the other.
    pub fn session(&self, runs: &[&[&str]]) -> String {
        runs.iter().map(|arguments| self.transcript(arguments)).collect::<Vec<_>>().join("\n")
    }

    /// Replaces in snapshots what differs from run to run.
    pub fn filters(&self) -> Settings {
        let mut settings = Settings::clone_current();
        settings.add_filter(&regex_literal(&self.folder().display().to_string()), "[DIR]");
        settings.add_filter(r"unix:///\S*?redis\.sock", "unix://[REDIS]");
        settings.add_filter(r"push-[0-9a-f]{32}", "[JOB]");
        settings.add_filter(r"\b[a-z0-9-]+\.[0-9a-f]{8}\.[0-9a-f]{12}", "[HOST]");
        settings.add_filter(r"\b[0-9a-f]{12}\b", "[VERSION]");
        settings.add_filter(r"\b\d+(\.\d+)? (µs|ms|s|min) (ago|to)", "[TIME] $3");
        settings
    }

    /// Starts it and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_other(Path::new(env!("CARGO_BIN_EXE_sandhog")), arguments)
    }

    /// Starts a copy of the program and leaves it running.
    pub fn start_other(&self, program: &Path, arguments: &[&str]) -> Running {
        self.start_command(self.command_of(program, arguments))
    }

    /// Starts it as this command says, and leaves it running.
    pub fn start_command(&self, mut command: Command) -> Running {
        let log = std::fs::File::create(self.folder().join("stderr")).unwrap();
        let out = std::fs::File::create(self.folder().join("stdout")).unwrap();
        let child = command.stdout(out).stderr(log).spawn().unwrap();
        Running { child, folder: self.folder().to_owned() }
    }
}

/// A program that runs; killed when dropped.
pub struct Running {
    child: Child,
    folder: PathBuf,
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.join("stdout")).unwrap()
    }

    /// What it logged so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// Waits until it has printed or logged `text`.
    pub fn wait_for(&mut self, text: &str) {
        let started = Instant::now();
        while !self.stdout().contains(text) && !self.stderr().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended without `{text}`:\n{}", self.stderr());
            assert!(started.elapsed() < PATIENCE, "no `{text}` in:\n{}\n{}", self.stdout(), self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end; answers the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run as one sees it at a terminal.
pub fn transcript(arguments: &[&str], output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().map_or("killed".to_owned(), |code| format!("exit code {code}"));
    let stderr = if err.is_empty() { String::new() } else { format!("--- stderr\n{err}") };
    format!("$ sandhog {}\n{out}{stderr}--- {code}\n", arguments.join(" "))
}

fn regex_literal(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect()
}
