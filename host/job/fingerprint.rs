//! What failures have in common: a reason without its numbers, ids and quoted values. Pure, so that the same words
//! give the same fingerprint on every machine.

use sha2::{Digest as _, Sha256};

/// Longest text of a fingerprint, in characters: what comes later in a reason tells no two failures apart.
const TEXT_CHARS_MAX: usize = 300;
/// Shortest run of hexadecimal digits that counts as an id when letters are among them.
const HEX_DIGITS_MIN: usize = 8;
/// What stands for a number or an id.
const NUMBER: char = '#';
/// What stands for a value in quotes.
const QUOTED: &str = "\"…\"";
/// Bytes of the digest that a short name shows, as hexadecimal digits.
const NAME_BYTES: usize = 6;

/// What failures of one kind have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    text: String,
}

impl Fingerprint {
    /// Of a reason.
    pub fn of(reason: &str) -> Self {
        Self { text: generalised(reason) }
    }

    /// The reason with placeholders.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A short name: 12 hexadecimal digits.
    pub fn name(&self) -> String {
        use std::fmt::Write as _;
        let digest = Sha256::digest(&self.text);
        digest.iter().take(NAME_BYTES).fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

fn generalised(reason: &str) -> String {
    let chars: Vec<char> = reason.chars().collect();
    let mut text = String::new();
    let mut at = 0;
    let mut length = 0;
    while at < chars.len() && length < TEXT_CHARS_MAX {
        let before = at.checked_sub(1).map(|before| chars[before]);
        if let Some(end) = quoted_end(&chars, at, before) {
            text.push_str(QUOTED);
            at = end;
        } else if is_word(chars[at]) {
            let end = word_end(&chars, at);
            push_word(&mut text, &chars[at..end]);
            at = end;
        } else if chars[at].is_whitespace() {
            if !text.ends_with(' ') {
                text.push(' ');
            }
            at += 1;
        } else {
            text.push(chars[at]);
            at += 1;
        }
        length = text.chars().count();
    }
    text.chars().take(TEXT_CHARS_MAX).collect::<String>().trim().to_owned()
}

/// Where a quoted value that begins here ends. An apostrophe within a word begins none.
fn quoted_end(chars: &[char], at: usize, before: Option<char>) -> Option<usize> {
    let quote = chars[at];
    if !matches!(quote, '"' | '\'' | '`') || before.is_some_and(is_word) {
        return None;
    }
    let closes =
        |end: &usize| chars[*end] == quote && !chars.get(end + 1).is_some_and(|next| next.is_alphanumeric());
    let line = chars[at + 1..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + 1 + n);
    (at + 1..line).find(closes).map(|end| end + 1)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The end of a word; dashes between hexadecimal groups belong to it, as in a UUID.
fn word_end(chars: &[char], at: usize) -> usize {
    let plain =
        |from: usize| chars[from..].iter().position(|c| !is_word(*c)).map_or(chars.len(), |n| from + n);
    let mut end = plain(at);
    let is_hex = |from: usize, to: usize| chars[from..to].iter().all(char::is_ascii_hexdigit);
    if is_hex(at, end) && end - at == HEX_DIGITS_MIN {
        while chars.get(end) == Some(&'-') && chars.get(end + 1).is_some_and(char::is_ascii_hexdigit) {
            let next = plain(end + 1);
            if !is_hex(end + 1, next) {
                break;
            }
            end = next;
        }
    }
    end
}

/// A word with its digits replaced; as a whole where it is an id.
fn push_word(text: &mut String, word: &[char]) {
    let digits: &[char] = match word {
        ['0', 'x' | 'X', rest @ ..] => rest,
        word => word,
    };
    let is_hex = digits.iter().all(|c| c.is_ascii_hexdigit() || *c == '-');
    let is_prefixed = digits.len() < word.len();
    let has_digit = digits.iter().any(char::is_ascii_digit);
    if is_hex && has_digit && !digits.is_empty() && (is_prefixed || digits.len() >= HEX_DIGITS_MIN) {
        text.push(NUMBER);
        return;
    }
    for character in word {
        if !character.is_numeric() {
            text.push(*character);
        } else if !text.ends_with(NUMBER) {
            text.push(NUMBER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_job_to_job_is_left_out() {
        for (reason, text) in [
            ("", ""),
            ("boom", "boom"),
            ("order 17 not found", "order # not found"),
            ("order 1,234.5 not found", "order #,#.# not found"),
            ("took 30s, limit 5s", "took #s, limit #s"),
            ("user 550e8400-e29b-41d4-a716-446655440000 is gone", "user # is gone"),
            ("commit deadbeef01 failed", "commit # failed"),
            ("address 0x7fff12 is odd", "address # is odd"),
            ("a facade of decades", "a facade of decades"),
            ("key `user:17` has another type", "key \"…\" has another type"),
            ("unexpected token 'x' in \"{a: 1}\"", "unexpected token \"…\" in \"…\""),
            ("it isn't there, don't ask", "it isn't there, don't ask"),
            ("an open \"quote", "an open \"quote"),
            ("it 'isn't here' now", "it \"…\" now"),
            ("two\n  lines\t7", "two lines #"),
            ("größe 12 — ok", "größe # — ok"),
        ] {
            assert_eq!(Fingerprint::of(reason).text(), text, "{reason}");
        }
    }

    #[test]
    fn names_are_short_and_tell_texts_apart() {
        let name = |reason| Fingerprint::of(reason).name();
        assert_eq!(name("order 1"), name("order 22"));
        assert_ne!(name("order 1"), name("orders 1"));
        assert_eq!(name("boom").len(), 12);
    }

    #[test]
    fn a_fingerprint_is_its_own_and_bounded() {
        for reason in ["order 17 of 'x' at 0xff", &"long 1 ".repeat(1000), &"\u{1f980}9".repeat(1000)] {
            let once = Fingerprint::of(reason);
            assert!(once.text().chars().count() <= TEXT_CHARS_MAX);
            assert_eq!(Fingerprint::of(once.text()), once, "{reason:.20}");
        }
    }
}
