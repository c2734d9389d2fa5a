//! A proxy between a host and its Redis. It cuts connections at a chosen command: before the command reaches
//! Redis, or after Redis has carried it out and before the answer comes back. It can hold everything up, and
//! lead new connections to another server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Most bytes carried at once in one direction.
const CARRIED_BYTES: usize = 64 * 1024;

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
    /// Where new connections lead.
    server: ArcSwap<PathBuf>,
    /// Commands seen on all connections.
    seen: AtomicU64,
    /// The command to cut at, and how; 0 for none.
    at: ArcSwap<(u64, Cut)>,
    /// Cuts so far.
    cuts: AtomicU64,
    /// Whether everything is held up.
    silent: watch::Sender<bool>,
    /// How long data is delayed, in milliseconds.
    delay_ms: AtomicU64,
}

impl Proxy {
    /// Listens on a socket of its own for the Redis at `server`; cuts once, at command number `at`.
    pub fn start(server: &Path, at: u64, cut: Cut) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the proxy's socket");
        let path = dir.path().join("proxy.sock");
        let listener = UnixListener::bind(&path).expect("the proxy can listen");
        let plan = Arc::new(Plan {
            server: ArcSwap::from_pointee(server.to_owned()),
            seen: AtomicU64::new(0),
            at: ArcSwap::from_pointee((at, cut)),
            cuts: AtomicU64::new(0),
            silent: watch::Sender::new(false),
            delay_ms: AtomicU64::new(0),
        });
        let shared = plan.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                // Where no Redis listens the client is told so: by the end of its connection.
                let Ok(upstream) = UnixStream::connect(shared.server.load().as_path()).await else {
                    continue;
                };
                connections.spawn(carry(client, upstream, shared.clone()));
            }
        });
        Self { path, plan, _tasks: tasks, _dir: dir }
    }

    /// The URL for the host.
    pub fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Whether a cut has happened: if not, the scenario ran untouched.
    pub fn has_cut(&self) -> bool {
        self.cuts() > 0
    }

    /// Cuts so far.
    pub fn cuts(&self) -> u64 {
        self.plan.cuts.load(SeqCst)
    }

    /// Leads new connections to another server.
    pub fn aim(&self, server: &Path) {
        self.plan.server.store(Arc::new(server.to_owned()));
    }

    /// Cuts at the `nth` command from now on.
    pub fn cut_in(&self, nth: u64, cut: Cut) {
        self.plan.at.store(Arc::new((self.plan.seen.load(SeqCst) + nth, cut)));
    }

    /// Holds everything up, in both directions and without a word, or goes on.
    pub fn silence(&self, silent: bool) {
        self.plan.silent.send_replace(silent);
    }

    /// From now on delays all data by this time, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.plan.delay_ms.store(delay.as_millis() as u64, SeqCst);
    }
}

impl Plan {
    async fn hold_up(&self) {
        let delay_ms = self.delay_ms.load(SeqCst);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
    }
}

/// Carries one connection until either side ends it or the plan does.
async fn carry(mut client: UnixStream, mut server: UnixStream, plan: Arc<Plan>) {
    let mut from_client = Vec::with_capacity(CARRIED_BYTES);
    let mut from_server = vec![0; CARRIED_BYTES];
    let mut silent = plan.silent.subscribe();
    loop {
        if silent.wait_for(|silent| !silent).await.is_err() {
            return;
        }
        tokio::select! {
            changed = silent.changed() => if changed.is_err() { return },
            read = client.read_buf(&mut from_client) => {
                if !matches!(read, Ok(1..)) { return }
                plan.hold_up().await;
                if !forward(&mut from_client, &mut server, &plan).await { return }
                from_client.reserve(CARRIED_BYTES);
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                plan.hold_up().await;
                if client.write_all(&from_server[..length]).await.is_err() { return }
            }
        }
    }
}

/// Sends the whole commands on; false when the connection is over.
async fn forward(from_client: &mut Vec<u8>, server: &mut UnixStream, plan: &Plan) -> bool {
    let mut end = 0;
    while let Some(length) = command_length(&from_client[end..]) {
        let number = plan.seen.fetch_add(1, SeqCst) + 1;
        let (at, cut) = **plan.at.load();
        if number == at {
            end += if cut == Cut::After { length } else { 0 };
            let _ = server.write_all(&from_client[..end]).await;
            // Redis carries out what it has read before it sees the end of the stream.
            let _ = server.shutdown().await;
            let mut lost = vec![0; CARRIED_BYTES];
            while matches!(server.read(&mut lost).await, Ok(1..)) {}
            plan.cuts.fetch_add(1, SeqCst);
            return false;
        }
        end += length;
    }
    let sent = server.write_all(&from_client[..end]).await;
    from_client.drain(..end);
    sent.is_ok()
}

/// Bytes of the first whole command (`*n`, then n times `$len`), if it is all there.
pub fn command_length(bytes: &[u8]) -> Option<usize> {
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
