//! Entries and their sums. Pure: tested on any machine.

use std::collections::BTreeMap;

/// A payload's name and number; none if it does not read so.
pub(crate) fn entry(payload: &[u8]) -> Option<(&str, i64)> {
    let mut words = std::str::from_utf8(payload).ok()?.split_ascii_whitespace();
    let entry = (words.next()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(entry)
}

/// One sum for each name; one that is too large stops growing.
pub(crate) fn by_name<'a>(entries: impl Iterator<Item = (&'a str, i64)>) -> BTreeMap<&'a str, i64> {
    let mut sums = BTreeMap::new();
    for (name, number) in entries {
        let sum = sums.entry(name).or_insert(0_i64);
        *sum = sum.saturating_add(number);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_name_and_a_number() {
        assert_eq!(entry(b"ada 12"), Some(("ada", 12)));
        assert_eq!(entry(b" bob\t-3\n"), Some(("bob", -3)));
        for bad in [&b""[..], b"ada", b"ada twelve", b"ada 1.5", b"ada 12 13", b"\xff 1"] {
            assert_eq!(entry(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn there_is_one_sum_for_each_name() {
        let sums = by_name([("ada", 12), ("bob", 1), ("ada", 30)].into_iter());
        assert_eq!(sums, BTreeMap::from([("ada", 42), ("bob", 1)]));
    }
}
