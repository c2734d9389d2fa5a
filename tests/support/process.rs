//! Hosts as processes: the real program, to be stopped, continued and killed.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use super::host::{Plugins, until};

/// Leases of seconds: a test does not wait for the usual ones.
pub const SETTINGS: &str = r#"
[host]
lease = "2s"
reap_every = "200ms"
drain = "10s"
threads = 2
crashes_max = 1000
[limits]
instances = 64
memory = "256MiB"
"#;

/// A running `sandhog run`; killed when dropped.
pub struct HostProcess {
    child: Child,
    log: PathBuf,
}

impl HostProcess {
    /// Starts a host of this name and waits until it has joined.
    pub async fn start(plugins: &Plugins, url: &str, name: &str, plain: &mut MultiplexedConnection) -> Self {
        Self::start_with(plugins, url, name, plain, SETTINGS).await
    }

    /// The same with other settings.
    pub async fn start_with(
        plugins: &Plugins,
        url: &str,
        name: &str,
        plain: &mut MultiplexedConnection,
        settings: &str,
    ) -> Self {
        let config = plugins.path().join(format!(".{name}.toml"));
        let state = plugins.path().join(".state");
        let own = settings.replace("[host]", &format!("[host]\nname = \"{name}\"\nstate_dir = {state:?}"));
        let dir = plugins.path();
        let folder = format!("[plugins]\ndir = {dir:?}");
        let own = if own.contains("[plugins]") {
            own.replace("[plugins]", &folder)
        } else {
            format!("{own}\n{folder}")
        };
        let redis = format!("[redis]\nurl = \"{url}\"");
        let own = if own.contains("[redis]") {
            own.replace("[redis]", &redis)
        } else {
            format!("{own}\n{redis}\n")
        };
        std::fs::write(&config, own).unwrap();
        let log = plugins.path().join(format!(".{name}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandhog"));
        command.arg("--config").arg(&config).arg("run").stdin(Stdio::null()).stdout(Stdio::null());
        let known = hosts(plain, name).await;
        let mut process = Self { child: command.stderr(file).spawn().unwrap(), log };
        until("the host has joined", async || {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "the host ended: {ended:?}\n{}", process.log());
            hosts(plain, name).await.iter().any(|host| !known.contains(host))
        })
        .await;
        process
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the host has ended", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// The most memory it has had so far.
    pub fn memory_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            println!("end of the host's log:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Ids of the registered hosts of this name.
pub async fn hosts(plain: &mut MultiplexedConnection, name: &str) -> Vec<String> {
    let all: Vec<String> = plain.zrange("sandhog:hosts", 0, -1).await.unwrap_or_default();
    all.into_iter().filter(|id| id.starts_with(&format!("{name}."))).collect()
}
