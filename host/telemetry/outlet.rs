//! The queue of log lines: bounded, with a thread that writes its lines. Logging never waits and never fails. If the
//! queue is full or a line cannot be written, the line is dropped and counted. The count is logged when writing works
//! again.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use crate::panics;

/// Most lines in the queue, and most bytes of all lines in it.
const LINES_MAX: usize = 8 << 10;
const BYTES_MAX: usize = 4 << 20;
/// Time between two reports of dropped lines, and between two attempts to write a report.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Pause before the next attempt if the queue, or a non-blocking pipe, is full.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

thread_local! {
    /// The report that this thread is formatting. A report does not pass through the queue.
    static REPORT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The sending side of the queue. The thread ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    queue: SyncSender<Item>,
    load: Arc<Load>,
}

/// Bytes in the queue, and lines dropped since the last report.
#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

enum Item {
    Line(Box<[u8]>),
    /// Answered when every line before it has been written or dropped.
    Mark(SyncSender<()>),
}

impl Outlet {
    /// Starts the thread that writes to `out`. `report` formats the line that reports a number of dropped lines.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        report: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let load = Arc::<Load>::default();
        let writer = Writer {
            out,
            report,
            load: load.clone(),
            works: true,
            is_torn: false,
            reported_at: Instant::now(),
        };
        panics::thread(panics::LOG, move || writer.run(&lines))?;
        Ok(Self { queue, load })
    }

    /// Puts a line into the queue, or drops it if the queue is full.
    pub(super) fn send(&self, line: &[u8]) {
        let length = line.len();
        let waiting = self.load.bytes.fetch_add(length, SeqCst).saturating_add(length);
        if waiting > BYTES_MAX || self.queue.try_send(Item::Line(line.into())).is_err() {
            self.load.bytes.fetch_sub(length, SeqCst);
            self.load.dropped.fetch_add(1, SeqCst);
        }
    }

    /// Waits until every line in the queue has been written or dropped, but not longer than `most`.
    pub(super) fn flush(&self, most: Duration) {
        let until = Instant::now() + most;
        let (done, is_done) = sync_channel(1);
        let mut mark = Item::Mark(done);
        loop {
            match self.queue.try_send(mark) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => mark = back,
                Err(_) => return,
            }
            thread::sleep(AGAIN_AFTER);
        }
        let _ = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl Write for &Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_report = REPORT.try_with(|report| match &mut *report.borrow_mut() {
            Some(report) => {
                report.extend_from_slice(bytes);
                true
            }
            None => false,
        });
        if !is_report.unwrap_or(false) {
            self.send(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outlet {
    type Writer = &'a Outlet;

    fn make_writer(&'a self) -> &'a Outlet {
        self
    }
}

/// Runs `log` and returns the formatted lines that it logs on this thread; they do not pass through the queue.
pub(super) fn logged(log: impl FnOnce()) -> Vec<u8> {
    REPORT.set(Some(Vec::new()));
    log();
    REPORT.take().unwrap_or_default()
}

/// The thread that writes.
struct Writer<W, R> {
    out: W,
    report: R,
    load: Arc<Load>,
    /// Whether the last line could be written.
    works: bool,
    /// Whether the last line was written in part.
    is_torn: bool,
    reported_at: Instant,
}

impl<W: Write, R: Fn(u64) -> Vec<u8>> Writer<W, R> {
    fn run(mut self, queue: &Receiver<Item>) {
        loop {
            let next = match self.has_dropped() {
                true => queue.recv_timeout(REPORT_EVERY),
                false => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Item::Line(line)) => {
                    // A report belongs where the lines are missing, so before the next line.
                    let may_work = self.works || self.report();
                    if !may_work || !self.write(&line) {
                        self.load.dropped.fetch_add(1, SeqCst);
                    }
                    self.load.bytes.fetch_sub(line.len(), SeqCst);
                    let is_drained = self.load.bytes.load(SeqCst) == 0;
                    if self.works && (is_drained || self.reported_at.elapsed() >= REPORT_EVERY) {
                        self.report();
                    }
                }
                Ok(Item::Mark(done)) => {
                    self.report();
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => drop(self.report()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn has_dropped(&self) -> bool {
        self.load.dropped.load(SeqCst) > 0
    }

    /// Writes how many lines were dropped, if any. False: this report cannot be written either.
    fn report(&mut self) -> bool {
        let dropped = self.load.dropped.swap(0, SeqCst);
        if dropped == 0 {
            return true;
        }
        self.reported_at = Instant::now();
        let line = (self.report)(dropped);
        let is_written = self.write(&line);
        if !is_written {
            self.load.dropped.fetch_add(dropped, SeqCst);
        }
        is_written
    }

    fn write(&mut self, line: &[u8]) -> bool {
        self.works = !self.is_torn || self.put(b"\n");
        if self.works {
            self.is_torn = false;
            self.works = self.put(line);
        }
        self.works
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        let mut left = bytes;
        while !left.is_empty() {
            match self.out.write(left) {
                Ok(written @ 1..) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process has made the pipe non-blocking. This thread may wait.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN_AFTER),
                _ => {
                    self.is_torn |= left.len() < bytes.len();
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
