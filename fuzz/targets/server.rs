//! A Redis server for targets that need one, and the host's connection to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sandhog::config::env;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use tempfile::TempDir;

/// Starts a server that ends with this process, and connects to it. `program` makes the server end with the process.
pub async fn start(program: &Path) -> Link {
    let socket = launch(program);
    let address =
        Address::parse(&format!("unix://{}", socket.display()), TlsFiles::default()).expect("a URL");
    let link = Link::new(&address, "fuzz", Duration::from_secs(10), Tracking::Off).expect("a link");
    while link.connect().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    link
}

fn launch(program: &Path) -> PathBuf {
    // The folder stays, because the process that could remove it has ended.
    let folder = TempDir::new().expect("a folder can be made").keep();
    let socket = folder.join("redis.sock");
    let mut command = Command::new(program);
    command.arg("child").arg(std::process::id().to_string()).arg("--").arg(env::redis_server());
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--unixsocket"]);
    command.arg(&socket).arg("--dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("the program can be started");
    socket
}
