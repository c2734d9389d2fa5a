//! A TOML file that parses, and where in it things stand. What its fields may hold is read by `table`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::de::DeTable;

use super::problem::{Problem, Problems};
use super::table::Table;

/// Largest file that is read. A manifest or settings file is a page or two.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Syntax problems shown of one file: the rest mostly follows from the first ones.
const SYNTAX_PROBLEMS_MAX: usize = 20;
/// The problem of a line with a URL that is not valid TOML.
const URL_NEEDS_QUOTES: &str = "not valid TOML; put the URL in quotes: `url = \"redis://…\"`";

/// Where the fields of a document stand, for problems that show only later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, usize>);

/// A TOML file that parses, and the problems found in it so far.
#[derive(Debug)]
pub struct Document<'t> {
    origin: String,
    text: &'t str,
    root: DeTable<'t>,
    problems: RefCell<Problems>,
}

impl<'t> Document<'t> {
    /// Parses `text`; `origin` is the file's name as the operator knows it.
    pub fn parse(origin: impl Into<String>, text: &'t str) -> Result<Self, Problems> {
        let origin = origin.into();
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut problems = Problems::default();
        let mut last_line = 0;
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let line = line_of(text, span.start);
            let what = text.get(span).unwrap_or_default().trim();
            let is_url = text.lines().nth(line - 1).is_some_and(|line| line.contains("://"));
            let said = match error.message() {
                // The text that the parser rejected may be part of a password.
                message if is_url && message != "duplicate key" => URL_NEEDS_QUOTES.to_owned(),
                message => syntax(message, what),
            };
            if line != last_line && problems.list.len() < SYNTAX_PROBLEMS_MAX {
                problems.push(Problem::at(&origin, line, said));
                last_line = line;
            }
        }
        let root = root.into_inner();
        problems.into_result(Self { origin, text, root, problems: RefCell::default() })
    }

    /// The table that is the file.
    pub fn root(&self) -> Table<'_> {
        Table::new(self, Some(&self.root), String::new(), 1)
    }

    /// Adds a problem of one line.
    pub fn problem(&self, line: usize, text: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::at(&self.origin, line, text));
    }

    /// `value` if no problem was found, else all that were.
    pub fn finish<T>(self, value: T) -> Result<T, Problems> {
        self.problems.into_inner().into_result(value)
    }

    /// Every field, by its dotted path, with its line; tables in lists are numbered from 0.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        self.add_lines(&self.root, "", &mut lines);
        lines
    }

    pub(super) fn line(&self, at: usize) -> usize {
        line_of(self.text, at)
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

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}

/// A text in quotes, cut and on one line.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_debug())
}

/// The parser's words, with the thing they are about.
fn syntax(message: &str, what: &str) -> String {
    let about = if what.is_empty() || what.contains('\n') { None } else { Some(quoted(what)) };
    let said = message.split(", expected").next().unwrap_or(message);
    match (said, about) {
        ("duplicate key", Some(_)) => format!("`{what}` is given twice"),
        ("string values must be quoted", None) => "a value is missing after `=`".to_owned(),
        ("string values must be quoted", Some(text)) => {
            format!("`{what}` is not a value; a text needs quotes: {text}")
        }
        ("key with no value", _) => "`=` and a value are missing".to_owned(),
        (_, None) => format!("not valid TOML: {message}"),
        (_, Some(text)) => format!("not valid TOML: {message}, at {text}"),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(Document::parse("f", &flood).unwrap_err().list.len(), SYNTAX_PROBLEMS_MAX);
    }

    #[test]
    fn every_field_has_its_line() {
        let text = "a = 1\n[b]\nc.d = 2\n[[e]]\n[[e]]\nf = [\n1,\n2]\n";
        let lines = Document::parse("f", text).unwrap().lines();
        for (path, line) in
            [("a", 1), ("b", 2), ("b.c.d", 3), ("e.0", 4), ("e.1", 5), ("e.1.f", 6), ("e.1.f.1", 8)]
        {
            assert_eq!(lines.of(path), Some(line), "{path}");
        }
        assert_eq!(lines.of("z"), None);
    }
}
