//! WASI 0.2 for components that import it, with nothing granted: clocks and random numbers work, stdout and
//! stderr go to the run's log, there are no files, sockets, arguments or environment.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView};

use crate::capability::binding::wasi::logging::logging::Level;
use crate::capability::log::GuestLog;

/// Handles one run may hold at a time.
const RESOURCES_MAX: usize = 1_000;
/// What a guest may write in one call.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Random bytes a guest may ask for in one call: they are made in the host's memory.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// A longer line is logged in pieces.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// What WASI needs in a store.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    streams: [GuestStream; 2],
}

impl Wasi {
    pub(super) fn new(log: &GuestLog) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut builder = WasiCtx::builder();
        let streams =
            [GuestStream::new(log, Level::Info, "stdout"), GuestStream::new(log, Level::Warn, "stderr")];
        builder.stdout(streams[0].clone());
        builder.stderr(streams[1].clone());
        builder.max_random_size(RANDOM_BYTES_MAX);
        builder.allow_tcp(false).allow_udp(false);
        Self { ctx: builder.build(), table, streams }
    }

    /// Logs what has no end yet as it is.
    pub(super) fn flush(&self) {
        self.streams.iter().for_each(|stream| stream.lines().flush());
    }

    /// From now on it is another job that speaks.
    pub(super) fn log_to(&self, log: &GuestLog) {
        self.streams.iter().for_each(|stream| stream.lines().log = log.clone());
    }

    /// Resources that the guest may have handles of.
    pub(super) fn resources(&mut self) -> usize {
        self.table.iter_mut().count()
    }

    pub(super) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

/// Bytes a guest writes to a standard stream, on their way to its log line by line. Clones share the line that
/// is not finished.
#[derive(Clone)]
struct GuestStream(Arc<Mutex<Lines>>);

struct Lines {
    log: GuestLog,
    level: Level,
    name: &'static str,
    unfinished: Vec<u8>,
}

impl GuestStream {
    fn new(log: &GuestLog, level: Level, name: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Lines { log: log.clone(), level, name, unfinished: Vec::new() })))
    }

    fn take(&self, bytes: &[u8]) {
        self.lines().take(bytes);
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            for part in piece.chunks(LINE_BYTES_MAX) {
                self.unfinished.extend_from_slice(part);
                if part.ends_with(b"\n") || self.unfinished.len() >= LINE_BYTES_MAX {
                    self.log_unfinished();
                }
            }
        }
    }

    /// Logs what has no end yet as it is.
    fn flush(&mut self) {
        if !self.unfinished.is_empty() {
            self.log_unfinished();
        }
    }

    fn log_unfinished(&mut self) {
        let line = self.unfinished.strip_suffix(b"\n").unwrap_or(&self.unfinished);
        self.log.line(self.level, self.name, &String::from_utf8_lossy(line));
        self.unfinished.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for GuestStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
