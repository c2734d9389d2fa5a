//! Which slots of a schedule have fired, as ranges without gaps. While Redis' clock runs forward there is one range,
//! which ends with the last slot. After Redis' clock was ahead and has been set back, the ranges show which of the
//! coming slots have fired already.

use std::fmt::Write as _;

use super::plan::Plan;

/// Ranges that are kept, the latest ones. Slots between two ranges were missed.
const RANGES_MAX: usize = 8;

/// Slots that have fired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fired(Vec<(u64, u64)>);

impl Fired {
    /// Reads what `write` wrote: `first-last first-last`, in ascending order. Text that cannot be read is ignored.
    pub fn read(text: &str) -> Self {
        let range = |word: &str| {
            let (first, last) = word.split_once('-')?;
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some((first, last))
        };
        let mut ranges: Vec<(u64, u64)> = text.split(' ').filter_map(range).take(RANGES_MAX).collect();
        ranges.sort_unstable();
        Self(ranges)
    }

    /// The text that `read` reads.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.0 {
            let blank = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{blank}{first}-{last}");
        }
        text
    }

    /// Whether this slot has fired.
    pub fn has(&self, slot: u64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }

    /// The first slot of `plan` after `ms` that has not fired.
    pub fn next(&self, plan: &Plan, ms: u64) -> Option<u64> {
        let mut slot = plan.after(ms)?;
        for (first, last) in &self.0 {
            if (*first..=*last).contains(&slot) {
                slot = plan.after(*last)?;
            }
        }
        Some(slot)
    }

    /// Records that a slot of `plan` has fired.
    pub fn add(&mut self, plan: &Plan, slot: u64) {
        self.0.push((slot, slot));
        self.0.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0.drain(..) {
            match joined.last_mut() {
                Some(before) if plan.after(before.1).is_none_or(|next| next >= first) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        let many = joined.len().saturating_sub(RANGES_MAX);
        self.0 = joined.split_off(many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(text: &str, slots: &[u64]) -> String {
        let mut fired = Fired::read(text);
        slots.iter().for_each(|slot| fired.add(&Plan::every(10), *slot));
        let text = fired.write();
        assert_eq!(Fired::read(&text), fired, "{text}");
        text
    }

    #[test]
    fn slots_without_one_left_out_are_one_range() {
        assert_eq!(fired("", &[10, 20, 30]), "10-30");
        assert_eq!(fired("10-30", &[50]), "10-30 50-50", "40 was left out");
        assert_eq!(fired("10-30 50-70", &[40]), "10-70");
        assert_eq!(fired("10-30 50-70", &[20, 60]), "10-30 50-70", "fired again");
        assert_eq!(fired("50-70", &[10]), "10-10 50-70");
    }

    #[test]
    fn the_latest_ranges_are_kept() {
        let slots: Vec<u64> = (0..20).map(|n| n * 100).collect();
        let text = fired("", &slots);
        assert!(text.starts_with("1200-1200 ") && text.ends_with(" 1900-1900"), "{text}");
    }

    #[test]
    fn what_is_next_has_not_fired() {
        let fired = Fired::read("40-60 70-70 100-100");
        let next = |ms| fired.next(&Plan::every(10), ms);
        assert_eq!([20, 30, 35, 65, 80, 95].map(next), [30, 80, 80, 80, 90, 110].map(Some));
        assert!(fired.has(50) && !fired.has(80));
        for spoiled in ["", "x", "1", "-", "5-2", "1-x 2", " "] {
            assert_eq!(Fired::read(spoiled), Fired::default(), "{spoiled}");
        }
    }
}
