//! Our patterns and prefixes in the language of Redis, whose globs know more wildcards than ours. Pure.

/// The pattern of SCAN for everything that starts with exactly `prefix`.
pub fn of_prefix(prefix: &str) -> String {
    let mut glob = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob.push('*');
    glob
}

/// A pattern of grants, where `*` is the only wildcard, as one of a rule of a Redis user. A rule holds no blanks: `?`,
/// any one byte, stands for them.
pub fn of_pattern(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            c if c.is_ascii() && is_blank(c as u8) => glob.push('?'),
            '?' | '[' | ']' | '\\' => glob.extend(['\\', c]),
            c => glob.push(c),
        }
    }
    glob
}

/// The patterns of a rule of a Redis user. If `*` is one of them, only `*`, because Redis then refuses further
/// patterns.
pub(super) fn all_or_each(patterns: Vec<String>) -> Vec<String> {
    match patterns.iter().any(|pattern| pattern == "*") {
        true => vec!["*".to_owned()],
        false => patterns,
    }
}

/// What no rule can hold.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | 9..=13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_literally() {
        for (prefix, expected) in
            [("", "*"), ("a:", "a:*"), ("a*[b]?\\", "a\\*\\[b\\]\\?\\\\*"), ("^-", "^-*")]
        {
            assert_eq!(of_prefix(prefix), expected);
        }
    }

    #[test]
    fn a_star_is_the_only_wildcard_in_rules_too() {
        for (pattern, expected) in
            [("a:*", "a:*"), ("a?[b]\\", "a\\?\\[b\\]\\\\"), ("a b\0", "a?b?"), ("ключ", "ключ")]
        {
            assert_eq!(of_pattern(pattern), expected);
        }
    }
}
