//! A Redis server of our own for `dev`, `demo`, `invoke` and `bench`: in a folder that goes away, behind a unix
//! socket and, if wanted, a free port of this machine. It ends with us, even if we are killed.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sandhog::config::env;
use tempfile::TempDir;

use crate::cli::child::{self, NOT_FOUND};
use crate::cli::error::{Failure, Outcome, Shape};

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A free port can be taken by another program before the server has it: then another one is tried.
const PORT_TRIES: usize = 5;
/// What the server logs if another program listens on its port.
const IN_USE: &str = "Address already in use";
/// What to do when there is no server to start.
const INSTALL: &str = "install it: `apt-get install redis-server`, `dnf install redis` or `brew install redis`; \
                       name another program, such as `valkey-server`, in SANDHOG_REDIS_SERVER; \
                       or give `--redis URL` of a server that runs";

/// How clients reach the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Through its unix socket only.
    Socket,
    /// Also through a port of 127.0.0.1, for clients of any kind.
    Port,
}

impl Reach {
    /// A port that is free now, if clients need one.
    fn port(self) -> Outcome<Option<u16>> {
        match self {
            Self::Socket => Ok(None),
            Self::Port => free_port().context("cannot find a free port on 127.0.0.1").refuse().map(Some),
        }
    }
}

/// A running server.
pub(crate) struct PrivateRedis {
    child: Child,
    dir: TempDir,
    port: Option<u16>,
}

impl PrivateRedis {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start(reach: Reach) -> Outcome<Self> {
        for _ in 1..PORT_TRIES {
            match Self::try_start(reach.port()?).await? {
                Ok(server) => return Ok(server),
                Err(log) if log.contains(IN_USE) => {}
                Err(log) => return Err(did_not_start(&log)),
            }
        }
        Self::try_start(reach.port()?).await?.map_err(|log| did_not_start(&log))
    }

    /// Starts a server on this port of 127.0.0.1; none if another program uses the port.
    pub(crate) async fn start_at(port: u16) -> Outcome<Option<Self>> {
        match Self::try_start(Some(port)).await? {
            Ok(server) => Ok(Some(server)),
            Err(log) if log.contains(IN_USE) => Ok(None),
            Err(log) => Err(did_not_start(&log)),
        }
    }

    /// The URL of the unix socket.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The port on 127.0.0.1, if it was asked for.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// One attempt; the inner error is the server's own log.
    async fn try_start(port: Option<u16>) -> Outcome<Result<Self, String>> {
        let dir = tempfile::Builder::new()
            .prefix("sandhog-redis-")
            .tempdir()
            .context("cannot make a folder for a private Redis")
            .refuse()?;
        let log = dir.path().join("redis.log");
        let mut command = child::command(env::redis_server());
        command
            .args(["--port", &port.unwrap_or(0).to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--save", "", "--appendonly", "no", "--unixsocketperm", "700"])
            .arg("--unixsocket")
            .arg(dir.path().join("redis.sock"))
            .arg("--dir")
            .arg(dir.path())
            .arg("--logfile")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().context("cannot start a private Redis").refuse()?;
        let server = Self { child, dir, port };
        server.answers(&log).await
    }

    async fn answers(mut self, log: &Path) -> Outcome<Result<Self, String>> {
        let started = Instant::now();
        let socket = self.socket();
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                if status.code() == Some(NOT_FOUND.into()) {
                    let program = env::redis_server();
                    let missing = format!("there is no `{program}` program");
                    return Err(Failure::refused(missing).with_hint(INSTALL));
                }
                return Ok(Err(std::fs::read_to_string(log).unwrap_or_default()));
            }
            // The socket is the last thing a server opens; a connection means that it serves.
            if tokio::net::UnixStream::connect(&socket).await.is_ok() {
                return Ok(Ok(self));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Err(format!("no answer within {} s", START_TIMEOUT.as_secs())))
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        // It holds nothing worth keeping, so it need not be asked. Fails when it has gone by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The failure behind what the server wrote before it went.
fn did_not_start(log: &str) -> Failure {
    let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it left without a word");
    // A log line begins with process, role, date and level: `123:M 01 Jan 2026 10:00:00.000 # text`.
    let cause = last.split_once(" # ").map_or(last, |(_, text)| text);
    Failure::refused(format!("cannot start a private Redis: {cause}"))
}

/// A port that nobody listens on at this moment.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
