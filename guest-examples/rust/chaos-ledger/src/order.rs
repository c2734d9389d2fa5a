//! What a job asks for.
//!
//! | word | asks for |
//! |---|---|
//! | `seq=K` | the next number of the sequence K, by `increment` |
//! | `swap=K` | the next number of the sequence K, by `compare-and-swap` |
//! | `ticket=front` `ticket=back` | a ticket, popped from that end |
//! | `follow=MS` | a job for `ledger-follow` after so many milliseconds; 0: at once, plainly |
//! | `once=MS` | the same with a unique key, pushed twice: the second must be a duplicate |
//! | `spin=N` | some time before the end: about N milliseconds on a usual machine |
//! | `retry=N` `trap=N` `hang=N` `hoard=N` | in the first N attempts, when everything is written: fail this way |

use std::hint::black_box;

use crate::exports::sandhog::worker::handler::Failure;
use crate::later;

/// A job's payload.
pub(crate) struct Order<'a> {
    /// Given once in the life of a ledger.
    pub(crate) id: &'a str,
    /// Added to the balance.
    pub(crate) amount: i64,
    words: Vec<(&'a str, &'a str)>,
}

impl<'a> Order<'a> {
    /// None if it is malformed.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (id, amount) = (parts.next()?, parts.next()?.parse().ok()?);
        let words = parts.map(|word| word.split_once('=')).collect::<Option<_>>()?;
        Some(Self { id, amount, words })
    }

    /// What stands after `name=`.
    pub(crate) fn word(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// The number after `name=`.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.word(name)?.parse().ok()
    }

    /// Takes its time, then fails if it is to fail in this attempt.
    pub(crate) fn mishap(&self, attempt: u32) -> Result<(), Failure> {
        for _ in 0..self.number("spin").unwrap_or(0) * 1_000_000 {
            black_box(());
        }
        let now = |name| self.number(name).is_some_and(|attempts| u64::from(attempt) <= attempts);
        if now("retry") {
            return Err(later("not yet".to_owned()));
        }
        if now("trap") {
            panic!("the order says so");
        }
        while now("hang") {
            black_box(());
        }
        if now("hoard") {
            // Past the limit of the manifest the allocator gives up, which is a trap.
            black_box(vec![1_u8; 64 << 20]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_name() {
        let order = Order::parse("7 -25 seq=2 ticket=front").map(|o| (o.id, o.amount, o.number("seq")));
        assert_eq!(order, Some(("7", -25, Some(2))));
        assert_eq!(Order::parse("7 1 ticket=front").and_then(|o| o.word("ticket")), Some("front"));
        for malformed in ["", "7", "7 x", "7 1 seq"] {
            assert!(Order::parse(malformed).is_none(), "{malformed}");
        }
    }
}
