//! What a plugin may touch: patterns over keys and queues, written by the operator. Pure; no plugin can change
//! its own, and the manifest that holds them is read in `plugin`.

use crate::job::name::{NameError, QueueName, RESERVED, RESERVED_PREFIX, is_reserved};

/// Longest pattern in bytes: keys have no more.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Everything one plugin was granted. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Keys it may read.
    pub kv_read: Patterns,
    /// Keys it may change; does not imply reading.
    pub kv_write: Patterns,
    /// Queues it may push to.
    pub queue_push: Patterns,
    /// Queues it may take from.
    pub queue_pop: Patterns,
    /// Config readers whose settings it sees.
    pub config: Vec<String>,
}

/// Some patterns. In a pattern `*` stands for any run of bytes; everything else stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

/// Why a pattern was refused: a finished sentence without the pattern itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub &'static str);

impl Patterns {
    /// Takes the patterns as they are; the manifest has refused those that `check` refuses.
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Self {
        Self(patterns.iter().map(|p| p.as_ref().to_owned()).collect())
    }

    /// Whether a pattern can be granted.
    pub fn check(pattern: &str) -> Result<(), PatternError> {
        if pattern.is_empty() {
            return Err(PatternError("a pattern cannot be empty"));
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternError("a pattern has at most 1,024 bytes"));
        }
        if pattern.contains(RESERVED) || pattern.starts_with(RESERVED_PREFIX) {
            return Err(PatternError(
                "names with `:sandhog:` in them, or `sandhog:` before them, are the host's own",
            ));
        }
        Ok(())
    }

    /// The same, for names of queues.
    pub fn check_queue(pattern: &str) -> Result<(), PatternError> {
        Self::check(pattern)?;
        if pattern.contains('*') {
            return Ok(());
        }
        QueueName::new(pattern).map(drop).map_err(|NameError(reason)| PatternError(reason))
    }

    /// Whether some pattern covers `name`. The host's own names are covered by none, not even by `*`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|p| glob(p.as_bytes(), name.as_bytes())) && !is_reserved(name)
    }

    /// Whether one pattern covers every name that starts with `prefix`.
    pub fn covers_prefix(&self, prefix: &str) -> bool {
        // A pattern that ends with `*` and matches the prefix alone matches whatever follows it; one that
        // ends with a literal cannot match every continuation.
        self.0.iter().any(|p| p.ends_with('*') && glob(p.as_bytes(), prefix.as_bytes()))
            && !is_reserved(prefix)
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns as the operator wrote them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Grants {
    /// Whether every key that starts with `prefix` may be read, the host's own apart.
    pub fn prefix_readable(&self, prefix: &str) -> bool {
        self.kv_read.covers_prefix(prefix)
    }
}

/// Whether `pattern` matches all of `name`. Going back to the last `*` only is enough, so the time is bounded by
/// the product of both lengths.
pub fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, covered)) = last_star else { return false };
                last_star = Some((star, covered + 1));
                p = star + 1;
                n = covered + 1;
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: &str) -> Patterns {
        Patterns::new(&text.split(' ').filter(|p| !p.is_empty()).collect::<Vec<_>>())
    }

    #[test]
    fn a_star_is_the_only_wildcard() {
        for (pattern, name, expected) in [
            ("", "", false),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything at all\n\0", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*a", "bca", true),
            ("*a", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("a**b", "ab", true),
            ("user:?", "user:1", false),
            ("user:[12]", "user:1", false),
            ("user:[12]", "user:[12]", true),
            ("a\\*", "a\\x", true),
            ("a\\*", "a*", false),
            ("{tag}:*", "{tag}:x", true),
            ("one two*", "two", false),
            ("ключ:*", "ключ:я", true),
        ] {
            let one = if pattern.is_empty() { Patterns::default() } else { Patterns::new(&[pattern]) };
            assert_eq!(one.matches(name), expected, "`{pattern}` over `{name}`");
        }
        assert!(patterns("x y*").matches("yes"));
    }

    #[test]
    fn the_hosts_own_names_are_never_granted() {
        for name in ["{orders}:sandhog:dead", "a:sandhog:b", "sandhog:hosts", "sandhog:"] {
            for pattern in ["*", "{orders}*", "a:sandhog:*", "sandhog:*", "sandhog*", name] {
                assert!(!Patterns::new(&[pattern]).matches(name), "`{pattern}` over `{name}`");
            }
        }
        assert!(patterns("*").matches("sandhog"));
        assert!(!patterns("*").covers_prefix("sandhog:"));
    }

    #[test]
    fn a_listing_needs_one_pattern_over_all_of_it() {
        for (granted, prefix, expected) in [
            ("*", "", true),
            ("config:*", "config:", true),
            ("config:*", "config:a", true),
            ("config:*", "config", false),
            ("config:*", "", false),
            ("config:a", "config:a", false),
            ("config:*:x", "config:", false),
            ("a*c*", "abc", true),
            ("config:a* config:b*", "config:", false),
        ] {
            assert_eq!(patterns(granted).covers_prefix(prefix), expected, "`{granted}` over `{prefix}`");
        }
    }

    #[test]
    fn a_hostile_name_costs_no_more_than_both_lengths() {
        let name = "a".repeat(1024);
        let pattern = format!("{}b", "a*".repeat(500));
        assert!(!Patterns::new(&[pattern]).matches(&name));
    }

    #[test]
    fn patterns_that_could_match_nothing_are_refused() {
        for bad in ["", "*:sandhog:*", "{orders}:sandhog:dead", "sandhog:*", &"x".repeat(1025)] {
            assert!(Patterns::check(bad).is_err(), "{bad:.40}");
        }
        for good in ["*", "sandhog*", "thumb:*", "a b"] {
            assert!(Patterns::check(good).is_ok(), "{good}");
        }
    }
}
