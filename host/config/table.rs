//! A reader over TOML that collects problems instead of stopping at the first: each with its line, what was
//! found, and what to write. It knows nothing of what the fields mean.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Document, named, quoted};
use super::problem::nearest;
use super::unit;

/// One table of a document; an absent one has no fields. `finish` it, or misspelt fields go unseen.
#[derive(Debug)]
pub struct Table<'d> {
    document: &'d Document<'d>,
    entries: Option<&'d DeTable<'d>>,
    path: String,
    line: usize,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
}

/// A string of a list, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What was written.
    pub text: String,
    /// Where.
    pub line: usize,
}

impl<'d> Table<'d> {
    pub(super) fn new(
        document: &'d Document<'d>,
        entries: Option<&'d DeTable<'d>>,
        path: String,
        line: usize,
    ) -> Self {
        Self { document, entries, path, line, known: Vec::new(), refused: Vec::new() }
    }

    /// A text.
    pub fn string(&mut self, name: &'static str, example: &str) -> Option<String> {
        let (line, value) = self.look(name)?;
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong(line, name, &format!("a string such as \"{example}\""), value),
        }
    }

    /// A whole number within bounds.
    pub fn integer<T>(&mut self, name: &'static str, bounds: RangeInclusive<T>, example: T) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + Copy + PartialOrd + Display,
    {
        let (line, value) = self.look(name)?;
        let Some(number) = value.as_integer() else {
            return self.wrong(line, name, &format!("a whole number such as {example}"), value);
        };
        let number = i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX);
        let fits = T::try_from(number).ok().filter(|n| bounds.contains(n));
        if fits.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            let text = if number < (*least).into() {
                format!("is {number}; it must be at least {least}")
            } else {
                format!("is {number}; it can be {most} at the most")
            };
            self.refuse_at(line, name, &text);
        }
        fits
    }

    /// `true` or `false`.
    pub fn truth(&mut self, name: &'static str) -> Option<bool> {
        let (line, value) = self.look(name)?;
        match value {
            DeValue::Boolean(truth) => Some(*truth),
            _ => self.wrong(line, name, "`true` or `false`", value),
        }
    }

    /// A number, whole or not, within bounds.
    pub fn number(&mut self, name: &'static str, bounds: RangeInclusive<f64>, example: f64) -> Option<f64> {
        let (line, value) = self.look(name)?;
        let number = match value {
            DeValue::Float(number) => number.as_str().parse().unwrap_or(f64::NAN),
            DeValue::Integer(number) => number.as_str().parse().unwrap_or(f64::NAN),
            _ => return self.wrong(line, name, &format!("a number such as {example:?}"), value),
        };
        if !bounds.contains(&number) {
            let (least, most) = (bounds.start(), bounds.end());
            self.refuse_at(line, name, &format!("is {number}; it must be from {least} to {most}"));
            return None;
        }
        Some(number)
    }

    /// A duration with its unit, within bounds.
    pub fn duration(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<Duration>,
        example: &str,
    ) -> Option<Duration> {
        let (line, value) = self.look(name)?;
        let read = match value {
            DeValue::String(text) => unit::duration(text).map_err(|e| format!("= {} {e}", quoted(text))),
            DeValue::Integer(number) => {
                Err(format!("is {number} without a unit; write \"{number}s\" or \"{number}ms\""))
            }
            _ => return self.wrong(line, name, &format!("a duration such as \"{example}\""), value),
        };
        let shown = |d: &Duration| unit::show_duration(*d);
        self.within(line, name, read, &bounds, shown)
    }

    /// A size in bytes with its unit, within bounds.
    pub fn size(&mut self, name: &'static str, bounds: RangeInclusive<u64>, example: &str) -> Option<u64> {
        let (line, value) = self.look(name)?;
        let read = match value {
            DeValue::String(text) => unit::size(text).map_err(|e| format!("= {} {e}", quoted(text))),
            DeValue::Integer(number) => {
                Err(format!("is {number} without a unit; write \"{number}B\" or \"{number}MiB\""))
            }
            _ => return self.wrong(line, name, &format!("a size such as \"{example}\""), value),
        };
        self.within(line, name, read, &bounds, |s| unit::show_size(*s))
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let (line, value) = self.look(name)?;
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let words = words.join(" or ");
        let Some(text) = value.as_str() else {
            return self.wrong(line, name, &words, value);
        };
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let near = nearest(text, choices.iter().map(|(word, _)| *word));
            let hint = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
            self.refuse_at(line, name, &format!("is {}; it must be {words}{hint}", quoted(text)));
        }
        found
    }

    /// A list of texts.
    pub fn strings(&mut self, name: &'static str, example: &str) -> Option<Vec<Item>> {
        let (line, value) = self.look(name)?;
        let expected = format!("a list of strings such as [\"{example}\"]");
        let Some(values) = value.as_array() else {
            return self.wrong(line, name, &expected, value);
        };
        let mut items = Vec::new();
        for value in values.iter() {
            let line = self.line_at(value);
            match value.get_ref().as_str() {
                Some(text) => items.push(Item { text: text.to_owned(), line }),
                None => self.wrong(line, name, &expected, value.get_ref()).unwrap_or(()),
            }
        }
        Some(items)
    }

    /// The table under this name, without fields if there is none.
    pub fn table(&mut self, name: &'static str) -> Table<'d> {
        let path = self.path_to(name);
        let mut table = Table::new(self.document, None, path, self.line);
        if let Some((line, value)) = self.look(name) {
            table.line = line;
            table.entries = value.as_table();
            if table.entries.is_none() {
                self.wrong(line, name, &format!("a table: `[{}]`", table.path), value).unwrap_or(());
            }
        }
        table
    }

    /// The tables of a list `[[name]]`.
    pub fn tables(&mut self, name: &'static str) -> Vec<Table<'d>> {
        let Some((line, value)) = self.look(name) else { return Vec::new() };
        let path = self.path_to(name);
        let expected = format!("a list of tables: `[[{path}]]`");
        let Some(values) = value.as_array() else {
            self.wrong(line, name, &expected, value).unwrap_or(());
            return Vec::new();
        };
        let mut tables = Vec::new();
        for value in values.iter() {
            let line = self.line_at(value);
            match value.get_ref().as_table() {
                Some(entries) => tables.push(Table::new(self.document, Some(entries), path.clone(), line)),
                None => self.wrong(line, name, &expected, value.get_ref()).unwrap_or(()),
            }
        }
        tables
    }

    /// Every field, whatever its name; all must be texts.
    pub fn all_strings(&self) -> Vec<(String, Item)> {
        let mut all = Vec::new();
        for (key, value) in self.entries.into_iter().flatten() {
            let (name, line) = (key.get_ref().as_ref(), self.document.line(key.span().start));
            match value.get_ref() {
                DeValue::String(text) => all.push((name.to_owned(), Item { text: text.to_string(), line })),
                other => {
                    let example = match other {
                        DeValue::Integer(number) => number.to_string(),
                        DeValue::Float(number) => number.as_str().to_owned(),
                        DeValue::Boolean(truth) => truth.to_string(),
                        _ => "text".to_owned(),
                    };
                    self.wrong::<()>(line, name, &format!("a string such as \"{example}\""), other);
                }
            }
        }
        all
    }

    /// A field that has no place here: a problem if it is there, with the reason.
    pub fn misplaced(&mut self, name: &'static str, reason: &str) {
        self.refused.push(name);
        if self.has(name) {
            self.refuse(name, reason);
        }
    }

    /// Reports the lack of a field; `what` says what it is for and shows how to write it.
    pub fn missing(&self, name: &'static str, what: &str) {
        // A misspelt one is reported as such.
        let misspelt = |key: &str| !self.known.contains(&key) && nearest(key, [name]).is_some();
        let mut keys = self.entries.into_iter().flat_map(|entries| entries.keys());
        if !keys.any(|key| key.get_ref() == name || misspelt(key.get_ref())) {
            self.document.problem(self.line, || format!("missing `{}`; {what}", self.path_to(name)));
        }
    }

    /// A problem with the field's value that its type does not show; `text` goes on after the name.
    pub fn refuse(&self, name: &str, text: &str) {
        let line = self.line_of(name).unwrap_or(self.line);
        self.refuse_at(line, name, text);
    }

    /// As `refuse`, for a line within the field.
    pub fn refuse_at(&self, line: usize, name: &str, text: &str) {
        self.document.problem(line, || format!("`{}` {text}", self.path_to(name)));
    }

    /// Whether the field is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.line_of(name).is_some()
    }

    /// Whether the field is a list with nothing in it.
    pub fn is_empty_list(&self, name: &str) -> bool {
        let value = self.entries.and_then(|entries| entries.get(name));
        value.and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty())
    }

    /// Where the table begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Where the field stands.
    pub fn line_of(&self, name: &str) -> Option<usize> {
        let (key, _) = self.entries?.get_key_value(name)?;
        Some(self.document.line(key.span().start))
    }

    /// Reports every field that nobody asked for.
    pub fn finish(self) {
        for key in self.entries.into_iter().flat_map(|entries| entries.keys()) {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) || self.refused.contains(&name) {
                continue;
            }
            let line = self.document.line(key.span().start);
            self.document.problem(line, || {
                let hint = match nearest(name, self.known.iter().copied()) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => format!("; known here: {}", list(&self.known)),
                };
                format!("unknown field `{}`{hint}", self.path_to(name))
            });
        }
    }

    fn look(&mut self, name: &'static str) -> Option<(usize, &'d DeValue<'d>)> {
        self.known.push(name);
        let (key, value) = self.entries?.get_key_value(name)?;
        Some((self.document.line(key.span().start), value.get_ref()))
    }

    fn within<T: PartialOrd>(
        &self,
        line: usize,
        name: &str,
        read: Result<T, String>,
        bounds: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let text = match read {
            Ok(value) if value < *bounds.start() => {
                format!("is \"{}\"; it must be at least \"{}\"", show(&value), show(bounds.start()))
            }
            Ok(value) if value > *bounds.end() => {
                format!("is \"{}\"; it can be \"{}\" at the most", show(&value), show(bounds.end()))
            }
            Ok(value) => return Some(value),
            Err(text) => text,
        };
        self.refuse_at(line, name, &text);
        None
    }

    /// Reports a value of the wrong type; the answer is always none.
    fn wrong<T>(&self, line: usize, name: &str, expected: &str, found: &DeValue<'_>) -> Option<T> {
        self.refuse_at(line, name, &format!("must be {expected}; found {}", describe(found)));
        None
    }

    fn path_to(&self, name: &str) -> String {
        let name = named(name);
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    fn line_at<T>(&self, place: &Spanned<T>) -> usize {
        self.document.line(place.span().start)
    }
}

/// A value in words, for `found …`.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(truth) => format!("`{truth}`"),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
