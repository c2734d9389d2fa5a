//! What guests say: `wasi:logging`, and lines written to stdout and stderr. Everything becomes an event of
//! `tracing` with the target `guest`, escaped, cut and counted; how much a plugin may say is in `voice`.

use std::sync::{Arc, Mutex, PoisonError};

use super::binding::wasi::logging::logging::{Host, Level};
use super::view::{Scope, View};
use crate::escape;

/// Longest line; the rest of it is dropped.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest context of a line.
const CONTEXT_BYTES_MAX: usize = 256;
/// What a line counts beyond its text, so that a flood of empty ones is bounded too.
const LINE_COST: u64 = 64;

/// The log of one run; clones share its bound.
#[derive(Debug, Clone)]
pub struct GuestLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scope: Arc<Scope>,
    job: Box<str>,
    budget: Mutex<Budget>,
}

#[derive(Debug)]
struct Budget {
    left: u64,
    dropped: u64,
}

impl GuestLog {
    /// An empty log for the run of `job`.
    pub fn new(scope: &Arc<Scope>, job: &str) -> Self {
        let budget = Budget { left: scope.limits.log_bytes, dropped: 0 };
        Self(Arc::new(Inner { scope: scope.clone(), job: job.into(), budget: Mutex::new(budget) }))
    }

    /// Writes one line, or what the bounds of the run and of the plugin leave of it.
    pub fn line(&self, level: Level, context: &str, text: &str) {
        let Some(allowed) = self.take(text.len() as u64) else { return };
        let (text, context) = (cut(text, allowed), cut(context, CONTEXT_BYTES_MAX));
        let (scope, job) = (&self.0.scope, &self.0.job);
        let (plugin, version) = (&scope.plugin, &scope.version);
        macro_rules! event {
            ($level:ident) => {
                // A line that nobody wants to see uses nothing up.
                if tracing::enabled!(target: "guest", tracing::Level::$level)
                    && scope.voice.may_say(version, text.len() + context.len())
                {
                    // Behind our fields and, in a log of text, in quotes: no words of theirs can pass for a field.
                    let (text, context) = (escape::line(text), escape::line(context));
                    let (text, context) = (&*text, &*context);
                    tracing::event!(
                        target: "guest", tracing::Level::$level, %plugin, %version, %job, context, text
                    );
                }
            };
        }
        match level {
            Level::Trace => event!(TRACE),
            Level::Debug => event!(DEBUG),
            Level::Info => event!(INFO),
            Level::Warn => event!(WARN),
            Level::Error | Level::Critical => event!(ERROR),
        }
    }

    /// Ends the log: tells once what was dropped, and answers how much.
    pub fn finish(&self) -> u64 {
        let dropped = self.0.budget.lock().unwrap_or_else(PoisonError::into_inner).dropped;
        if dropped > 0 && self.0.scope.voice.may_say(&self.0.scope.version, 0) {
            let (plugin, version, job) = (&self.0.scope.plugin, &self.0.scope.version, &self.0.job);
            let limit = self.0.scope.limits.log_bytes;
            tracing::warn!(
                target: "guest", %plugin, %version, %job,
                "dropped {dropped} bytes of log beyond `limits.log_bytes` ({limit})"
            );
        }
        dropped
    }

    /// How many bytes of a line may be written; none if nothing of it.
    fn take(&self, bytes: u64) -> Option<usize> {
        let mut budget = self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = bytes.min(LINE_BYTES_MAX as u64).min(budget.left.saturating_sub(LINE_COST));
        let whole_line_fits = budget.left >= LINE_COST;
        budget.dropped = budget.dropped.saturating_add(bytes - allowed);
        if !whole_line_fits || (allowed == 0 && bytes > 0) {
            budget.left = 0;
            // An empty line has no bytes; counting one shows that something is missing.
            budget.dropped = budget.dropped.saturating_add(u64::from(bytes == 0));
            return None;
        }
        budget.left -= allowed + LINE_COST;
        Some(usize::try_from(allowed).unwrap_or(LINE_BYTES_MAX))
    }
}

impl Host for View {
    async fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        if let Some(log) = &self.log {
            log.line(level, &context, &message);
        }
        Ok(())
    }
}

/// As much of `text` as fits into `bytes_max`, cut between two characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::limits::Limits;

    fn log(log_bytes: u64) -> GuestLog {
        let scope = Scope {
            plugin: "p".to_owned(),
            version: "v".to_owned(),
            grants: Arc::default(),
            limits: Limits { log_bytes, ..Limits::default() },
            config: Arc::default(),
            read_only: false,
            voice: Arc::new(crate::capability::voice::Voice::new("p")),
        };
        GuestLog::new(&Arc::new(scope), "job")
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
    }

    #[test]
    fn a_flood_is_cut_and_counted_even_of_empty_lines() {
        let quiet = log(1_000);
        quiet.line(Level::Info, "", "hello");
        assert_eq!(quiet.finish(), 0);
        let flooded = log(1_000);
        for _ in 0..10 {
            flooded.line(Level::Info, "", &"x".repeat(300));
        }
        assert_eq!(flooded.finish(), 3_000 - (1_000 - 3 * LINE_COST));
        let empty = log(1_000);
        for _ in 0..1_000 {
            empty.line(Level::Info, "", "");
        }
        assert_eq!(empty.finish(), 1_000 - 1_000 / LINE_COST);
        let long = log(100_000);
        long.line(Level::Info, "", &"x".repeat(LINE_BYTES_MAX + 5));
        assert_eq!(long.finish(), 5);
    }
}
