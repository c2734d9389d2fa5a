//! Text of guests and producers, made harmless for people who read it on a terminal. The whole program has one predicate
//! (`is_unsafe`). Each function writes the escapes for one kind of output: a line, several lines, styled text, JSON.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The styles that this program prints: reset, bold, dim, italic and six colours.
const STYLES: [&str; 10] = [
    "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m",
    "\x1b[36m",
];

/// Whether a terminal does not simply print a character visibly: control characters, line and paragraph separators,
/// bidirectional controls, and characters that Unicode calls default ignorable (zero-width, fillers, selectors, tags).
pub fn is_unsafe(character: char) -> bool {
    match character {
        // The last two choose between text and emoji. They are common and change nothing else, so they are safe.
        ' '..='~' | '\u{fe0e}' | '\u{fe0f}' => false,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        other => other.is_control(),
    }
}

/// The text as one line: line feeds and tabs are escaped, too.
pub fn line(text: &str) -> Cow<'_, str> {
    replaced(text, is_unsafe, |safe, c| {
        let _ = write!(safe, "{}", c.escape_default());
    })
}

/// The text as lines: line feeds and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c| is_unsafe(c) && !matches!(c, '\n' | '\t');
    replaced(text, is_unsafe, |safe, c| {
        let _ = write!(safe, "{}", c.escape_default());
    })
}

/// Bytes as lines: line feeds and tabs stay, and a byte that is not UTF-8 becomes `\xff`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        safe.push_str(&lines(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

/// Text that this program has composed for a terminal: only its own styles, line feeds and tabs stay.
pub fn styled(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return lines(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        safe.push_str(&lines(&rest[..at]));
        let style = STYLES.iter().find(|style| rest[at..].starts_with(**style));
        safe.push_str(style.copied().unwrap_or("\\u{1b}"));
        rest = &rest[at + style.map_or(1, |style| style.len())..];
    }
    safe.push_str(&lines(rest));
    Cow::Owned(safe)
}

/// A JSON document with the same value. Outside its strings, the only such characters are line feeds, which stay.
pub fn json(document: &str) -> Cow<'_, str> {
    replaced(
        document,
        |c| is_unsafe(c) && c != '\n',
        |safe, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        },
    )
}

/// The text with each unsafe character replaced.
fn replaced(text: &str, is_unsafe: impl Fn(char) -> bool, put: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            put(&mut safe, c);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters of every kind that is escaped.
    const UNSAFE: &str = "\0\u{7}\u{8}\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{9d}\u{ad}\u{61c}\u{180e}\u{200b}\u{200c}\u{200d}\
        \u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\
        \u{3164}\u{fe00}\u{feff}\u{fff9}\u{e0001}\u{e0061}\u{e007f}\u{e0100}";

    #[test]
    fn text_cannot_forge_lines_or_drive_a_terminal() {
        for (text, expected) in [
            ("plain é text 日本 ❤\u{fe0f}", "plain é text 日本 ❤\u{fe0f}"),
            ("a\nb\r\t", "a\\nb\\r\\t"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{202e}abc\u{85}", "\\u{202e}abc\\u{85}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(line(text), expected);
        }
        for c in UNSAFE.chars() {
            assert!(is_unsafe(c), "{c:?}");
            assert!(line(&c.to_string()).is_ascii(), "{c:?}");
        }
        assert!(!(' '..='~').any(is_unsafe));
    }

    #[test]
    fn lines_keep_line_feeds_and_tabs_and_bytes_show_what_is_not_text() {
        assert_eq!(lines("a\n\tb\r\u{1b}c"), "a\n\tb\\r\\u{1b}c");
        assert_eq!(bytes(b"a\n\xff\x1b]52;c;AA\x07\xe2\x80\xae"), "a\n\\xff\\u{1b}]52;c;AA\\u{7}\\u{202e}");
    }

    #[test]
    fn only_our_own_styles_pass() {
        for (text, expected) in [
            ("\x1b[1mname\x1b[0m\tplain\n", "\x1b[1mname\x1b[0m\tplain\n"),
            ("\x1b[31m\x1b]52;c;AA\x07\x1b[0m", "\x1b[31m\\u{1b}]52;c;AA\\u{7}\x1b[0m"),
            ("\x1b[2J\x1b[8m\x1b", "\\u{1b}[2J\\u{1b}[8m\\u{1b}"),
            ("a\u{202e}b\r\n", "a\\u{202e}b\\r\n"),
            ("é\x1b\u{9b}é", "é\\u{1b}\\u{9b}é"),
        ] {
            assert_eq!(styled(text), expected);
        }
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ UNSAFE: [UNSAFE, "plain", "\u{1d11e} \\ \" /"], "n": 1 });
        for document in [format!("{value:#}\n"), format!("{value}\n")] {
            let safe = json(&document);
            assert!(!safe.contains(|c| is_unsafe(c) && c != '\n'), "{safe}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
        assert_eq!(json("\"\u{e0041}\u{2028}\""), "\"\\udb40\\udc41\\u2028\"");
    }
}
