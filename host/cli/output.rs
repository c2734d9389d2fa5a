//! Standard output: text for people, or one JSON document for programs. Only data goes to standard output; notes,
//! warnings and errors go to standard error. This module escapes all text of guests and producers once more, in case a
//! command forgets it.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use sandhog::{escape, telemetry};
use serde_json::Value;

use crate::cli::table::Table;

/// Where a command writes what it found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    wide: bool,
}

impl Output {
    /// Text, or JSON if `json`. Tables are cut to the width of the terminal unless `wide`.
    pub(crate) fn new(json: bool, wide: bool) -> Self {
        Self { json, wide }
    }

    /// Whether a program reads it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes text: removes our own colour codes if colours are off, and escapes other characters that could control a
    /// terminal.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut stream = anstream::stdout();
        stream.write_all(escape::styled(text).as_bytes())?;
        stream.flush()
    }

    /// Writes a table.
    pub(crate) fn table(self, table: &Table) -> io::Result<()> {
        self.text(&self.fitted(table))
    }

    /// The lines of a table, cut to the width of the terminal if standard output is one.
    pub(crate) fn fitted(self, table: &Table) -> String {
        match terminal_width().filter(|_| !self.wide) {
            Some(width) => table.render_within(width),
            None => table.render(),
        }
    }

    /// Writes a table that replaces the one before: on a terminal at the top of an empty screen, else below a blank line.
    pub(crate) fn screen(self, table: &Table) -> io::Result<()> {
        let text = escape::styled(&self.fitted(table)).into_owned();
        let (before, after) = if io::stdout().is_terminal() { ("\x1b[H\x1b[2J", "") } else { ("", "\n") };
        let mut stream = anstream::stdout();
        write!(stream, "{before}{text}{after}")?;
        stream.flush()
    }

    /// Writes one line of text.
    pub(crate) fn line(self, line: &str) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// Writes the one JSON document of this command.
    pub(crate) fn document(self, document: &Value) -> io::Result<()> {
        bytes(escape::json(&format!("{document:#}\n")).as_bytes())
    }

    /// Writes one of several JSON documents, in one line.
    pub(crate) fn document_line(self, document: &Value) -> io::Result<()> {
        bytes(escape::json(&format!("{document}\n")).as_bytes())
    }
}

/// Columns of the terminal that standard output is.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Writes text to standard error after all log lines, without colour codes if colours are off. A write error is
/// ignored: there is no other place to report it.
pub(crate) fn stderr(text: &str) {
    let text = &*escape::styled(text);
    match AutoStream::choice(&io::stderr()) {
        ColorChoice::Never => telemetry::print(&strip_str(text).to_string()),
        _ => telemetry::print(text),
    }
}

/// Bytes in JSON: text where they are text, hexadecimal digits where not.
pub(crate) fn payload(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => serde_json::json!({ "hex": hex(bytes) }),
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Asks a yes-or-no question; none where nobody can answer.
pub(crate) fn confirm(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let mut stream = anstream::stderr();
    write!(stream, "{} [y/N] ", escape::line(question))?;
    stream.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Writes bytes of a guest or a producer: unchanged if standard output is not a terminal, with escapes if it is one and
/// `is_raw` is false. On a terminal, the last line ends with a line feed.
pub(crate) fn foreign(foreign: &[u8], is_raw: bool) -> io::Result<()> {
    if is_raw || !io::stdout().is_terminal() {
        return bytes(foreign);
    }
    let mut text = escape::bytes(foreign);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    bytes(text.as_bytes())
}

/// Writes bytes that this program made, unchanged.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stream = io::stdout().lock();
    stream.write_all(bytes)?;
    stream.flush()
}
