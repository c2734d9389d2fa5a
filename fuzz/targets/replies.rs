//! A server that answers anything: every answer of scripts and commands about jobs is read or refused. What the
//! fuzzer writes is the protocol itself, on a real connection.

#![no_main]

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sandhog::job::lease::Death;
use sandhog::job::name::{HostId, QueueName};
use sandhog::job::store::{DeadLimits, Delivery, JobStore, Order, Slot, Turn};
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

struct Stage {
    runtime: tokio::runtime::Runtime,
    listener: UnixListener,
    socket: PathBuf,
    _folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = TempDir::new().expect("a folder can be made");
        let socket = folder.path().join("redis.sock");
        let listener = runtime.block_on(async { UnixListener::bind(&socket) }).expect("a socket");
        Self { runtime, listener, socket, _folder: folder }
    }
}

/// Serves each connection in the same way. A client that connects again is answered, too: otherwise it would wait for its
/// timeout, and its connection would be left to the next input.
async fn serve(listener: &UnixListener, answer: &[u8]) {
    loop {
        if let Ok((client, _)) = listener.accept().await {
            serve_one(client, answer).await;
        }
    }
}

/// Says yes to what a client says at first, then gives the answer and hangs up.
async fn serve_one(mut client: UnixStream, answer: &[u8]) {
    let mut heard = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = client.read(&mut heard).await else { return };
        let said = &heard[..count];
        let has = |word: &[u8]| said.windows(word.len()).any(|window| window == word);
        if has(b"EVALSHA") || has(b"HKEYS") || has(b"HMGET") {
            let _ = client.write_all(answer).await;
            return;
        }
        let commands = said.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"*")).count();
        if client.write_all(&b"+OK\r\n".repeat(commands)).await.is_err() {
            return;
        }
    }
}

async fn ask(what: u8, link: Link) {
    let dead = DeadLimits { count: 10, age_ms: 1_000, bytes: 1_000 };
    let queue = QueueName::new("q").expect("a name");
    let store = JobStore::new(link.clone(), queue.clone(), dead);
    let host = HostId::new("h", 1, 1_000).expect("a name");
    let slots = [Slot { seq: 1, enveloped: true }, Slot { seq: 2, enveloped: false }];
    match what % 7 {
        0 | 1 => {
            let turn = Turn {
                host: &host,
                acks: &slots,
                claim: 16,
                next_seq: 1,
                order: Order::Fifo,
                delivery: Delivery::AtLeastOnce,
                bytes_max: 1 << 20,
                payload_bytes_max: 1 << 16,
                limits: &Default::default(),
                nth: 0,
            };
            let _ = store.turn(&turn).await;
        }
        2 => drop(store.inflight(&host).await),
        3 => drop(store.fetch(&host, &slots).await),
        4 => drop(store.reap(&host, Death::Certain, 3).await),
        5 => drop(store.trim().await),
        _ => drop(sandhog::job::commit::apply(&link, &Default::default()).await),
    }
}

fuzz_target!(|input: (u8, &[u8])| STAGE.with_borrow_mut(|stage| {
    let Stage { runtime, listener, socket, .. } = stage.get_or_insert_with(Stage::new);
    let address =
        Address::parse(&format!("unix://{}", socket.display()), TlsFiles::default()).expect("a URL");
    runtime.block_on(async {
        let link = Link::new(&address, "fuzz", Duration::from_millis(200), Tracking::Off).expect("a link");
        tokio::select! {
            () = ask(input.0, link) => {}
            () = serve(listener, input.1) => {}
        }
    });
}));
