//! Decides when to log a lasting condition again: immediately when it begins, then at growing intervals.

use std::time::{Duration, Instant};

/// Pause before the second line of a condition that is logged at growing intervals.
const GAP_FIRST: Duration = Duration::from_secs(5);
/// Longest pause between two lines.
const GAP_MAX: Duration = Duration::from_secs(60);
/// Most different texts that are remembered.
const TEXTS_MAX: usize = 16;

/// A lasting condition, and when to log it.
#[derive(Debug)]
pub struct Reminder {
    since: Instant,
    /// The texts logged since then, so that alternating causes are not logged each time.
    texts: Vec<String>,
    next: Instant,
    gap: Duration,
}

impl Reminder {
    /// A condition that begins now, with a line after 5, 10, 20, 40, 60, 60 … seconds.
    pub fn growing() -> Self {
        Self::new(GAP_FIRST)
    }

    /// A condition that begins now, with a line every minute.
    pub fn steady() -> Self {
        Self::new(GAP_MAX)
    }

    fn new(gap: Duration) -> Self {
        let now = Instant::now();
        Self { since: now, texts: Vec::new(), next: now, gap }
    }

    /// Returns how long the condition has lasted if a line with this text is to be logged now.
    pub fn is_due(&mut self, text: &str) -> Option<Duration> {
        self.is_due_at(text, Instant::now())
    }

    /// How long the condition has lasted.
    pub fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    fn is_due_at(&mut self, text: &str, now: Instant) -> Option<Duration> {
        let is_new = self.texts.len() < TEXTS_MAX && !self.texts.iter().any(|known| known == text);
        if now < self.next && !is_new {
            return None;
        }
        if is_new {
            self.texts.push(text.to_owned());
        }
        self.next = now + self.gap;
        self.gap = (self.gap * 2).min(GAP_MAX);
        Some(now.duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_less_and_less_often() {
        let mut reminder = Reminder::growing();
        let begun = reminder.since;
        let due = |second: &u64| reminder.is_due_at("NOPERM", begun + Duration::from_secs(*second)).is_some();
        let lines: Vec<u64> = (0..200).filter(due).collect();
        assert_eq!(lines, [0, 5, 15, 35, 75, 135, 195]);
    }

    #[test]
    fn another_cause_is_logged_at_once_and_a_known_one_is_not() {
        let mut reminder = Reminder::steady();
        let begun = reminder.since;
        assert!(reminder.is_due_at("refused", begun).is_some());
        assert!(reminder.is_due_at("WRONGPASS", begun).is_some());
        assert!(reminder.is_due_at("refused", begun).is_none());
        let minute = begun + GAP_MAX;
        assert_eq!(reminder.is_due_at("refused", minute), Some(GAP_MAX));
        assert!(reminder.is_due_at("WRONGPASS", minute).is_none());
    }
}
