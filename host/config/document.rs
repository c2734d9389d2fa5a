//! A TOML file that parses, and where in it things stand. What its fields may hold is read by `table`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::de::DeTable;

use super::line::LineStarts;
use super::problem::{FirstProblems, Problems};
use super::table::Table;

/// Largest file that is read. A manifest or settings file is a page or two.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// The problem of a line with a URL that is not valid TOML.
const URL_NEEDS_QUOTES: &str = "not valid TOML; put the URL in quotes: `url = \"redis://…\"`";

/// Where the fields of a document stand, for problems that show only later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, usize>);

/// A TOML file that parses, and the problems found in it so far.
#[derive(Debug)]
pub struct Document<'t> {
    origin: String,
    line_starts: LineStarts,
    root: DeTable<'t>,
    problems: RefCell<FirstProblems>,
}

impl<'t> Document<'t> {
    /// Parses `text`; `origin` is the file's name as the operator knows it.
    pub fn parse(origin: impl Into<String>, text: &'t str) -> Result<Self, Problems> {
        let origin = origin.into();
        let (root, errors) = DeTable::parse_recoverable(text);
        let line_starts = LineStarts::of(text);
        let mut problems = FirstProblems::default();
        let mut last_line = 0;
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let line = line_starts.line(span.start);
            if line == last_line {
                continue;
            }
            last_line = line;
            problems.add(&origin, line, || {
                let is_url = line_starts.text(text, line).contains("://");
                match error.message() {
                    // The text that the parser rejected may be part of a password.
                    message if is_url && message != "duplicate key" => URL_NEEDS_QUOTES.to_owned(),
                    message => syntax(message, text.get(span).unwrap_or_default().trim()),
                }
            });
        }
        let root = root.into_inner();
        problems.into_result(Self { origin, line_starts, root, problems: RefCell::default() })
    }

    /// The table that is the file.
    pub fn root(&self) -> Table<'_> {
        Table::new(self, Some(&self.root), String::new(), 1)
    }

    /// Adds a problem of one line. Its text is made only if it is shown.
    pub fn problem(&self, line: usize, text: impl FnOnce() -> String) {
        self.problems.borrow_mut().add(&self.origin, line, text);
    }

    /// Fails if a problem was found, with the first ones by line.
    pub fn finish(self) -> Result<(), Problems> {
        self.problems.into_inner().into_result(())
    }

    /// Returns the result of `make` for the lines of the fields. Fails if a problem was found.
    pub fn finish_with<T>(self, make: impl FnOnce(Lines) -> T) -> Result<T, Problems> {
        // Not earlier, because with names of any length the paths may be far longer than the text.
        let problems = self.problems.take();
        problems.into_result(()).map(|()| make(self.lines()))
    }

    /// Every field, by its dotted path, with its line; tables in lists are numbered from 0.
    fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        self.add_lines(&self.root, "", &mut lines);
        lines
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.line(at)
    }

    fn add_lines(&self, table: &DeTable<'_>, path: &str, lines: &mut Lines) {
        for (key, value) in table {
            let path = format!("{path}{}", key.get_ref());
            lines.0.insert(path.clone(), self.line(key.span().start));
            if let Some(inner) = value.get_ref().as_table() {
                self.add_lines(inner, &format!("{path}."), lines);
            }
            for (n, element) in value.get_ref().as_array().into_iter().flatten().enumerate() {
                let path = format!("{path}.{n}");
                lines.0.insert(path.clone(), self.line(element.span().start));
                if let Some(inner) = element.get_ref().as_table() {
                    self.add_lines(inner, &format!("{path}."), lines);
                }
            }
        }
    }
}

impl Lines {
    /// Where the field of this path stands, for example `grants.config.0`.
    pub fn of(&self, path: &str) -> Option<usize> {
        self.0.get(path).copied()
    }
}

/// A text in quotes, cut and on one line.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text, 60, |cut| cut.escape_debug().to_string()))
}

/// The name of a field, shortened.
pub(super) fn named(name: &str) -> String {
    shortened(name, 200, str::to_owned)
}

/// The first `chars_max` characters of a converted text, and whether there are more.
fn shortened(text: &str, chars_max: usize, form: impl Fn(&str) -> String) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(end, _)| end);
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", form(&text[..end]))
}

/// The parser's words, with the thing they are about.
fn syntax(message: &str, what: &str) -> String {
    let about = if what.is_empty() || what.contains('\n') { None } else { Some(quoted(what)) };
    let said = message.split(", expected").next().unwrap_or(message);
    match (said, about) {
        ("duplicate key", Some(_)) => format!("`{}` is given twice", named(what)),
        ("string values must be quoted", None) => "a value is missing after `=`".to_owned(),
        ("string values must be quoted", Some(text)) => {
            format!("`{}` is not a value; a text needs quotes: {text}", named(what))
        }
        ("key with no value", _) => "`=` and a value are missing".to_owned(),
        (_, None) => format!("not valid TOML: {message}"),
        (_, Some(text)) => format!("not valid TOML: {message}, at {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::SHOWN_MAX;
    use super::*;

    #[test]
    fn what_is_not_toml_is_told_by_line() {
        for (text, expected) in [
            (
                "a = \nb = 3x\nc 5\n",
                "f:1: a value is missing after `=`\nf:2: `3x` is not a value; a text needs quotes: \"3x\"\nf:3: `=` and a value are missing",
            ),
            ("a = 1\na = 2\n", "f:2: `a` is given twice"),
            ("[x]\n[x]\n", "f:2: `x` is given twice"),
            ("a = \"x\n", "f:1: not valid TOML: invalid basic string, expected `\"`"),
            ("[a\nb = 1\n", "f:1: not valid TOML: unclosed table, expected `]`"),
            (
                "a = 2024-13-45",
                "f:1: not valid TOML: invalid date, expected month between 01 and 12, at \"2024-13-45\"",
            ),
        ] {
            assert_eq!(Document::parse("f", text).unwrap_err().to_string(), expected, "{text}");
        }
        for text in [
            "[redis]\nurl = redis://u:s3cret@h\n",
            "[redis]\nurl = \"redis://u:s3cret@h\n",
            "[redis]\nurl = 'redis://u:s3cret@h\" \n",
            "[redis]\nurl = \"redis://u:\"s3cret@h\"\n",
            "[redis]\nurl = \"redis://u:\\s3cret@h\"\n",
            "[redis]\nurl redis://u:s3cret@h\n",
        ] {
            let said = Document::parse("f", text).unwrap_err().to_string();
            assert_eq!(said, format!("f:2: {URL_NEEDS_QUOTES}"), "{text}");
        }
        let flood = "a 1\n".repeat(1000);
        let said = Document::parse("f", &flood).unwrap_err().to_string();
        assert_eq!(said.lines().count(), SHOWN_MAX + 1);
        assert!(said.ends_with("\nf:21: and 980 more from this line on"), "{said}");
    }

    #[test]
    fn every_field_has_its_line() {
        let text = "a = 1\n[b]\nc.d = 2\n[[e]]\n[[e]]\nf = [\n1,\n2]\n";
        let lines = Document::parse("f", text).unwrap().finish_with(|lines| lines).unwrap();
        for (path, line) in
            [("a", 1), ("b", 2), ("b.c.d", 3), ("e.0", 4), ("e.1", 5), ("e.1.f", 6), ("e.1.f.1", 8)]
        {
            assert_eq!(lines.of(path), Some(line), "{path}");
        }
        assert_eq!(lines.of("z"), None);
    }
}
