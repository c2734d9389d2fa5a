//! Escapes log lines before they are written: each event becomes one line in which only our own styles control a
//! terminal, even if a guest or a producer wrote text in it.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::config::settings::LogFormat;
use crate::escape;

/// Makes writers that escape their input and pass it on to the writers of `inner`.
#[derive(Debug, Clone)]
pub(super) struct Clean<M> {
    /// The destination of the lines.
    pub(super) inner: M,
    /// The format of the lines.
    pub(super) format: LogFormat,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Clean<M> {
    type Writer = Cleaner<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Cleaner { inner: self.inner.make_writer(), format: self.format }
    }
}

/// Writes whole lines.
pub(super) struct Cleaner<W> {
    inner: W,
    format: LogFormat,
}

impl<W: Write> Write for Cleaner<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.inner.write_all(clean(&String::from_utf8_lossy(event), self.format).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// An event as one line; `tracing` writes each event with one call.
fn clean(event: &str, format: LogFormat) -> Cow<'_, str> {
    match (format, event.strip_suffix('\n')) {
        (LogFormat::Json, _) => escape::json(event),
        (LogFormat::Text, Some(line)) if line.contains('\n') => {
            Cow::Owned(format!("{}\n", escape::styled(&line.replace('\n', "\\n"))))
        }
        (LogFormat::Text, _) => escape::styled(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_foreign_control_characters() {
        for (format, event, expected) in [
            (LogFormat::Text, "\x1b[32m INFO\x1b[0m served\n", "\x1b[32m INFO\x1b[0m served\n"),
            (LogFormat::Text, "a\nb\u{202e}\x1b[2J\n", "a\\nb\\u{202e}\\u{1b}[2J\n"),
            (LogFormat::Json, "{\"a\":\"\u{202e}\u{9b}\"}\n", "{\"a\":\"\\u202e\\u009b\"}\n"),
        ] {
            let mut written = Vec::new();
            Cleaner { inner: &mut written, format }.write_all(event.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
