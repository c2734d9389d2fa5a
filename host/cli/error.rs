//! How a command fails: one line, an optional hint, an exit code. 0 done, 1 failed while running, 2 refused to
//! start.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::{Cli, hint, known, output, text};

/// What a subcommand answers.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Exit code of work that failed under way.
const FAILED: u8 = 1;
/// Exit code of work that was never begun.
pub(crate) const REFUSED: u8 = 2;
/// Longest error line in characters: causes may quote files and servers.
const LINE_CHARS_MAX: usize = 2000;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
    details: Vec<String>,
    hint: Option<String>,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: FAILED, error: error.into(), details: Vec::new(), hint: None }
    }
}

impl Failure {
    /// Work that failed under way.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { code: FAILED, error: anyhow::Error::msg(text.into()), details: Vec::new(), hint: None }
    }

    /// Work that was not begun.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self { code: REFUSED, ..Self::failed(text) }
    }

    /// Changes the exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Adds a remedy.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds lines that stand below the error: one for each problem of a file.
    pub(crate) fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// Prints the failure to standard error and answers the exit code. A reader that went away is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        output::stderr(&self.render());
        ExitCode::from(self.code)
    }

    /// Whether nobody reads what it had to print.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let broken = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
        };
        // Only our own standard output writes bare I/O errors with no context around them.
        self.error.chain().count() == 1 && self.error.chain().any(broken)
    }

    /// The error in one line, without the hint.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            // Some libraries repeat their source in their own text.
            if !line.is_empty() && line.ends_with(&cause) {
                continue;
            }
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&cause);
        }
        text::visible(line.as_bytes(), LINE_CHARS_MAX)
    }

    fn render(&self) -> String {
        let mut text = format!("\x1b[31msandhog:\x1b[0m {}\n", self.line());
        for detail in &self.details {
            let _ = writeln!(text, "  {}", text::visible(detail.as_bytes(), LINE_CHARS_MAX));
        }
        let within = || self.error.chain().find_map(hint::within);
        if let Some(hint) = self.hint.as_deref().or_else(within) {
            let _ = writeln!(text, "\x1b[36mhint:\x1b[0m {hint}");
        }
        text
    }
}

/// Shapes an error while it passes.
pub(crate) trait Shape<T> {
    /// Marks it as a refusal to start.
    fn refuse(self) -> Outcome<T>;
    /// Adds a remedy.
    fn hint(self, hint: &str) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Shape<T> for Result<T, E> {
    fn refuse(self) -> Outcome<T> {
        self.map_err(|error| Failure { code: REFUSED, ..error.into() })
    }

    fn hint(self, hint: &str) -> Outcome<T> {
        self.map_err(|error| error.into().with_hint(hint))
    }
}

/// What clap says about a wrong command line, in the words of this program.
pub(crate) fn from_clap(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut problem = Vec::new();
    let mut hint = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip: ") {
            Some(tip) => hint = hint.or(Some(quoted(tip))),
            None if line.is_empty() => {}
            None => problem.push(quoted(line.strip_prefix("error: ").unwrap_or(line))),
        }
    }
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    if error.kind() == ErrorKind::InvalidSubcommand {
        hint = subcommand_hint(error, usage.unwrap_or_default());
    }
    let usage = usage.map(|usage| format!("usage: `{usage}`"));
    let failure = Failure::refused(problem.join(" "));
    match hint.or(usage) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// The nearest subcommand, or how to list them. `usage` names the command that has them.
fn subcommand_hint(error: &clap::Error, usage: &str) -> Option<String> {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let mut command = Cli::command();
    let mut path = String::from("sandhog");
    for word in usage.split_whitespace().skip(1).take_while(|word| word.starts_with(char::is_alphabetic)) {
        let Some(below) = command.find_subcommand(word).cloned() else { break };
        command = below;
        path = format!("{path} {word}");
    }
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .map(|sub| sub.get_name().to_owned())
        .collect();
    Some(match known::nearest(wrong, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{path} {near}`?"),
        None => format!("`{path} --help` lists the commands"),
    })
}

/// `'x'` as `` `x` ``.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let chars: Vec<char> = text.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let between_letters = at > 0
            && chars[at - 1].is_alphanumeric()
            && chars.get(at + 1).is_some_and(|next| next.is_alphanumeric());
        out.push(if *c == '\'' && !between_letters { '`' } else { *c });
    }
    out
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_chain_is_one_line_and_the_hint_another() {
        let read = Err::<(), _>(io::Error::new(io::ErrorKind::NotFound, "no such file"));
        let failure =
            read.context("cannot read `a\nb`").refuse().hint("look elsewhere").expect_err("it is an error");
        let plain = anstream::adapter::strip_str(&failure.render()).to_string();
        assert_eq!(plain, "sandhog: cannot read `a\\nb`: no such file\nhint: look elsewhere\n");
        assert_eq!(failure.code, REFUSED);
    }

    #[test]
    fn only_a_bare_broken_pipe_is_success() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::from(broken()).is_broken_pipe());
        let with_context = Err::<(), _>(broken()).context("cannot write the component");
        assert!(!Failure::from(with_context.expect_err("it is an error")).is_broken_pipe());
    }

    #[test]
    fn quotes_become_backticks_but_apostrophes_stay() {
        assert_eq!(quoted("unexpected argument '--x' isn't known"), "unexpected argument `--x` isn't known");
    }
}
