//! What is wrong with a file an operator wrote, all of it at once. How it is found is in `table` and in whoever
//! knows what the file means.

use std::fmt;

/// Names further apart than this are no misspelling of each other (1.0 is equal).
const NEAR: f64 = 0.75;
/// Most problems of one file that are shown. Further problems mostly follow from the first ones.
pub const SHOWN_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the environment variable or flag, as the operator knows it.
    pub origin: String,
    /// Line in the file, 1 for the first.
    pub line: Option<usize>,
    /// Lower case, names the thing in backticks, says what to write instead.
    pub text: String,
}

impl Problem {
    /// A problem that has no line.
    pub fn new(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), line: None, text: text.into() }
    }

    /// A problem of one line.
    pub fn at(origin: impl Into<String>, line: usize, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), line: Some(line), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.origin, self.text),
            None => write!(f, "{}: {}", self.origin, self.text),
        }
    }
}

/// All problems found in one go; prints one to a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// Sorted by file and line once `into_result` has seen them.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Only one.
    pub fn one(problem: Problem) -> Self {
        Self { list: vec![problem] }
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Adds all of another find.
    pub fn append(&mut self, more: Self) {
        self.list.extend(more.list);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// `value` if nothing is wrong, else the problems in the order of the lines.
    pub fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort();
        self.list.dedup();
        Err(self)
    }
}

/// The problems of one file: the first ones by line, and how many more there are.
#[derive(Debug, Default)]
pub struct FirstProblems {
    list: Vec<Problem>,
    more: usize,
    /// Line of the first problem that is not in the list.
    more_from: Option<usize>,
}

impl FirstProblems {
    /// Adds a problem of one line. Its text is made only if the problem is in the list, because a file may have many.
    pub fn add(&mut self, origin: &str, line: usize, text: impl FnOnce() -> String) {
        if self.list.len() < SHOWN_MAX {
            self.list.push(Problem::at(origin, line, text()));
            return;
        }
        let mut left_out = line;
        if let Some(last) = self.list.iter_mut().max_by_key(|problem| problem.line)
            && last.line > Some(line)
        {
            left_out = last.line.unwrap_or(line);
            *last = Problem::at(origin, line, text());
        }
        self.more += 1;
        self.more_from = Some(self.more_from.map_or(left_out, |from| from.min(left_out)));
    }

    /// `value` if there is no problem; else the problems in the order of the lines. The last problem counts those left
    /// out.
    pub fn into_result<T>(self, value: T) -> Result<T, Problems> {
        let mut problems = Problems { list: self.list };
        if let Some(line) = self.more_from {
            let origin = problems.list.first().map(|first| first.origin.clone()).unwrap_or_default();
            problems.push(Problem::at(origin, line, format!("and {} more from this line on", self.more)));
        }
        problems.into_result(value)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.list.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The one of `known` that `name` is most likely a misspelling of.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(&name, &k.to_lowercase().replace('-', "_")), k))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_the_order_of_the_lines_and_once_each() {
        let mut problems = Problems::one(Problem::at("a.toml", 12, "b"));
        problems.push(Problem::at("a.toml", 3, "a"));
        problems.push(Problem::at("a.toml", 12, "b"));
        problems.push(Problem::new("a.toml", "c"));
        let sorted = problems.into_result(()).unwrap_err();
        assert_eq!(sorted.to_string(), "a.toml: c\na.toml:3: a\na.toml:12: b");
        assert_eq!(Problems::default().into_result(7), Ok(7));
    }

    #[test]
    fn the_first_problems_by_line_are_shown_and_the_others_counted() {
        let shown = |lines: &[usize]| {
            let mut problems = FirstProblems::default();
            let mut texts = 0;
            for line in lines {
                problems.add("f", *line, || {
                    texts += 1;
                    "x".to_owned()
                });
            }
            (texts, problems.into_result(()).err().unwrap_or_default().to_string())
        };
        let list = |last: usize| (1..=last).map(|line| format!("f:{line}: x")).collect::<Vec<_>>().join("\n");
        let up: Vec<usize> = (1..=20_000).collect();
        assert_eq!(shown(&[]), (0, String::new()));
        assert_eq!(shown(&up[..SHOWN_MAX]), (SHOWN_MAX, list(SHOWN_MAX)));
        let all = format!("{}\nf:21: and 19980 more from this line on", list(SHOWN_MAX));
        assert_eq!(shown(&up), (SHOWN_MAX, all.clone()), "texts of problems that are not shown were made");
        let down: Vec<usize> = up.iter().rev().copied().collect();
        assert_eq!(shown(&down).1, all);
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let known = ["queue", "order", "delivery", "concurrency", "max_attempts", "timeout", "backoff"];
        for (name, expected) in [
            ("qeue", Some("queue")),
            ("Queue", Some("queue")),
            ("queues", Some("queue")),
            ("max-attempts", Some("max_attempts")),
            ("attempts", Some("max_attempts")),
            ("concurency", Some("concurrency")),
            ("time_out", Some("timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}
