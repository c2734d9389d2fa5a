//! The host of the tour: a process of its own, so that it can be killed like one.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::NEEDED;
use crate::cli::child::{self, OURSELVES};
use crate::cli::error::{Failure, Outcome};

/// How long an ordered stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Lines of its log that are shown when something went wrong.
const TAIL_LINES: usize = 15;
/// The component that is replaced.
const ORDERS: &str = "orders.wasm";
/// The host's settings: a name, so that it takes its former jobs back at once.
const SETTINGS: &str = "[host]\nname = \"demo\"\ndrain = \"5s\"\n";

/// A host that runs, ran, or will run.
pub(super) struct HostProcess {
    folder: TempDir,
    plugins: PathBuf,
    url: String,
    child: Option<Child>,
}

impl HostProcess {
    /// Prepares; nothing runs yet.
    pub(super) fn new(plugins: &Path, url: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the host")?;
        std::fs::write(folder.path().join("sandhog.toml"), SETTINGS).context("cannot write its settings")?;
        // A folder of its own: the tour replaces files in it.
        let own = folder.path().join("plugins");
        std::fs::create_dir(&own).context("cannot make a plugin folder")?;
        for name in NEEDED {
            for ending in ["wasm", "toml"] {
                let file = format!("{name}.{ending}");
                std::fs::copy(plugins.join(&file), own.join(&file))
                    .with_context(|| format!("cannot copy `{file}`"))?;
            }
        }
        Ok(Self { folder, plugins: own, url: url.to_owned(), child: None })
    }

    /// Starts it, again if need be; answers its process id.
    pub(super) fn start(&mut self) -> Outcome<u32> {
        let log = File::options().create(true).append(true).open(self.log()).context("cannot write a log")?;
        let mut command: Command = child::command(OURSELVES);
        command
            .args(["run", "--redis", &self.url, "--config"])
            .arg(self.folder.path().join("sandhog.toml"))
            .arg("--plugins")
            .arg(&self.plugins)
            // The environment would go before the file.
            .env("SANDHOG_HOST_NAME", "demo")
            .env("SANDHOG_STATE_DIR", self.folder.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().context("cannot start a host")?;
        let pid = child.id();
        self.child = Some(child);
        Ok(pid)
    }

    /// Fails if it has ended by itself.
    pub(super) fn check(&mut self) -> Outcome {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        match ended {
            None => Ok(()),
            Some(status) => {
                let text = format!("the host has ended by itself: {}", words(status));
                Err(Failure::failed(text).with_details(self.log_tail()))
            }
        }
    }

    /// Kills it as a power cut would.
    pub(super) fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take() {
            child.kill().context("cannot kill the host")?;
            child.wait().context("cannot wait for the host")?;
        }
        Ok(())
    }

    /// Stops it in order; answers whether it left as it should.
    pub(super) async fn stop(&mut self) -> Outcome<bool> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
            kill_process(pid, Signal::TERM).context("cannot stop the host")?;
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_TIMEOUT {
            if let Some(status) = child.try_wait().context("cannot wait for the host")? {
                return Ok(status.success());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.child = Some(child);
        self.kill()?;
        Ok(false)
    }

    /// The handler of orders as another version: the same code, and a custom section behind it.
    pub(super) fn another_version(&self) -> Outcome<Vec<u8>> {
        let mut component = std::fs::read(self.plugins.join(ORDERS)).context("cannot read the handler")?;
        component.extend([0, 5, 4]);
        component.extend(b"tour");
        Ok(component)
    }

    /// Moves a file into the place of the handler of orders.
    pub(super) fn put(&self, bytes: &[u8]) -> Outcome {
        let new = self.plugins.join(".new");
        std::fs::write(&new, bytes).context("cannot write a version")?;
        std::fs::rename(new, self.plugins.join(ORDERS)).context("cannot move a version into place")?;
        Ok(())
    }

    /// Goes back to a version as an operator does.
    pub(super) fn roll_back(&self, version: &str) -> Outcome {
        let mut command: Command = child::command(OURSELVES);
        command
            .args(["rollback", "orders", "--to", version, "--plugins"])
            .arg(&self.plugins)
            .env("SANDHOG_STATE_DIR", self.folder.path().join("state"));
        let output = command.output().context("cannot run `sandhog rollback`")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::failed("`sandhog rollback` has failed").with_details(vec![said]));
        }
        Ok(())
    }

    /// The last lines it logged.
    pub(super) fn log_tail(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // Fails when it has gone by itself.
        let _ = self.kill();
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no reason known".to_owned(),
    }
}
