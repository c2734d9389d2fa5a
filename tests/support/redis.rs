//! A Redis of one's own for each test: on a unix socket in a folder that goes away, ended when it is dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use sandhog::config::env;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use tempfile::TempDir;

/// How long a test waits for an answer of Redis.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(10);

/// A running server.
pub struct TestRedis {
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl TestRedis {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, for example `["--appendonly", "yes"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    /// The same with additional environment variables.
    pub fn start_in(arguments: &[&str], environment: &[(&'static str, PathBuf)]) -> Self {
        let folder = tempfile::Builder::new().prefix("sandhog-").tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let environment = environment.to_vec();
        let child = launch(&folder, &arguments, &environment);
        let redis = Self { child, folder, arguments, environment };
        redis.wait();
        redis
    }

    /// Ends the server without a word, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, on what it left on disk.
    pub fn restart(&mut self) {
        self.child = launch(&self.folder, &self.arguments, &self.environment);
        self.wait();
    }

    /// Restarts it with additional arguments, without waiting for it.
    pub fn begin_again(&mut self, more: &[&str]) {
        let more = more.iter().map(ToString::to_string);
        let arguments: Vec<String> = self.arguments.iter().cloned().chain(more).collect();
        self.child = launch(&self.folder, &arguments, &self.environment);
    }

    fn wait(&self) {
        let started = Instant::now();
        let client = redis::Client::open(self.url()).unwrap();
        while client.get_connection().and_then(|mut c| redis::cmd("PING").query::<String>(&mut c)).is_err() {
            assert!(started.elapsed() < START, "the server did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its address, as the host sees it.
    pub fn address(&self) -> Address {
        Address::parse(&self.url(), TlsFiles::default()).unwrap()
    }

    /// A connection of the host's kind.
    pub fn link(&self) -> Link {
        self.tracking_link(Tracking::Off)
    }

    /// A connection of the host's kind that reports changes.
    pub fn tracking_link(&self, tracking: Tracking) -> Link {
        Link::new(&self.address(), "test", Duration::from_secs(30), tracking).unwrap()
    }

    /// A connection as any other client has it.
    pub async fn plain(&self) -> MultiplexedConnection {
        // The library gives up after half a second, which a busy machine can take, and a command that blocks.
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default()
    }
}

fn launch(folder: &TempDir, arguments: &[String], environment: &[(&'static str, PathBuf)]) -> Child {
    let mut command = Command::new(env::redis_server());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.arg("--dir").arg(folder.path());
    command.arg("--unixsocket").arg(folder.path().join("redis.sock"));
    command.arg("--logfile").arg(folder.path().join("redis.log"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot start `{}`: {error}; scripts/install-redis.sh installs one", env::redis_server())
    })
}

impl Drop for TestRedis {
    #[expect(clippy::print_stdout, reason = "shown with the failed test")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("log of the server:\n{}", self.log());
        }
    }
}
