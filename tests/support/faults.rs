//! A proxy between a host and its Redis that cuts connections at a chosen command: before the command reaches
//! Redis, or after Redis has carried it out and before the answer comes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// When a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The command never reaches Redis.
    Before,
    /// The command is carried out; its answer, and any other on the way, is lost.
    After,
}

/// The proxy; gone when dropped.
pub struct Proxy {
    path: PathBuf,
    plan: Arc<Plan>,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

#[derive(Debug)]
struct Plan {
    /// Commands seen on all connections.
    seen: AtomicU64,
    /// The command to cut at; 0 for none.
    at: u64,
    cut: Cut,
    /// Whether the cut has happened.
    done: AtomicBool,
}

impl Proxy {
    /// Listens on a socket of its own for the Redis at `server`; cuts once, at command number `at`.
    pub fn start(server: &Path, at: u64, cut: Cut) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the proxy's socket");
        let path = dir.path().join("proxy.sock");
        let listener = UnixListener::bind(&path).expect("the proxy can listen");
        let plan = Arc::new(Plan { seen: AtomicU64::new(0), at, cut, done: AtomicBool::new(false) });
        let (server, shared) = (server.to_owned(), plan.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let upstream = UnixStream::connect(&server).await.expect("Redis is there");
                connections.spawn(carry(client, upstream, shared.clone()));
            }
        });
        Self { path, plan, _tasks: tasks, _dir: dir }
    }

    /// The URL for the host.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Whether the cut has happened: if not, the scenario ran untouched.
    pub fn has_cut(&self) -> bool {
        self.plan.done.load(SeqCst)
    }
}

/// Carries one connection until either side ends it or the plan does.
async fn carry(mut client: UnixStream, mut server: UnixStream, plan: Arc<Plan>) {
    let (mut from_client, mut from_server) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read_buf(&mut from_client) => {
                if !matches!(read, Ok(1..)) { return }
                while let Some(length) = command_length(&from_client) {
                    let command: Vec<u8> = from_client.drain(..length).collect();
                    let is_it = plan.seen.fetch_add(1, SeqCst) + 1 == plan.at;
                    if is_it && plan.cut == Cut::Before {
                        plan.done.store(true, SeqCst);
                        return;
                    }
                    if server.write_all(&command).await.is_err() { return }
                    if is_it {
                        // Redis carries out what it has read before it sees the end of the stream.
                        let _ = server.shutdown().await;
                        while matches!(server.read(&mut from_server).await, Ok(1..)) {}
                        plan.done.store(true, SeqCst);
                        return;
                    }
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&from_server[..length]).await.is_err() { return }
            }
        }
    }
}

/// Bytes of the first whole command (`*n`, then n times `$len`), if it is all there.
fn command_length(bytes: &[u8]) -> Option<usize> {
    let (count, mut at) = number(bytes, 0, b'*')?;
    for _ in 0..count {
        let (length, start) = number(bytes, at, b'$')?;
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

fn number(bytes: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], mark, "clients speak in arrays of bulk strings");
    let number = std::str::from_utf8(&rest[1..end]).expect("a length is text").parse().expect("a number");
    Some((number, at + end + 2))
}

#[test]
fn commands_are_told_apart() {
    let two = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(command_length(two), Some(20));
    assert_eq!(command_length(&two[20..]), Some(14));
    for cut in 1..20 {
        assert_eq!(command_length(&two[..cut]), None, "{cut}");
    }
}
