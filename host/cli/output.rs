//! Standard output: text for people, or one JSON document for programs. Data goes here and nothing else does;
//! what is said about the work goes to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use sandhog::telemetry;
use serde_json::Value;

/// Where a command writes what it found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Text, or JSON if `json`.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes text; colour codes in it are taken out where nobody wants them.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut stream = anstream::stdout();
        stream.write_all(text.as_bytes())?;
        stream.flush()
    }

    /// Writes one line of text.
    pub(crate) fn line(self, line: &str) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// Writes the one JSON document of this command.
    pub(crate) fn document(self, document: &Value) -> io::Result<()> {
        self.text(&format!("{document:#}\n"))
    }
}

/// Writes text to standard error after all log lines, without colour codes if colours are off. A write error is
/// ignored: there is no other place to report it.
pub(crate) fn stderr(text: &str) {
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
    write!(stream, "{question} [y/N] ")?;
    stream.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stream = io::stdout().lock();
    stream.write_all(bytes)?;
    stream.flush()
}
