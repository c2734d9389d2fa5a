//! What the host logs on this thread while a test runs.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

/// Collects lines until it is dropped.
pub struct Captured {
    lines: Sink,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

/// Starts to collect; for tests with one thread.
pub fn capture() -> Captured {
    let lines = Sink::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("guest=trace,sandhog=trace")
        .with_ansi(false)
        .without_time()
        .with_writer(lines.clone())
        .finish();
    Captured { lines, _guard: tracing::subscriber::set_default(subscriber) }
}

impl Captured {
    /// The lines guests caused, in order.
    pub fn guest_lines(&self) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(" guest: ")).collect()
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim_start().to_owned()).collect()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Sink;

    fn make_writer(&'a self) -> Sink {
        self.clone()
    }
}
