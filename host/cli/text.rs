//! Values as people read them: bytes that are not ours made harmless for a terminal, sizes, ages, counts.
//! Pure functions; what is printed where is the business of the subcommands.

use sandhog::escape;

/// What stands for text that was cut.
const CUT: char = '…';

/// Bytes of unknown origin as one line of harmless text of at most `chars_max` characters. Characters that `escape`
/// calls unsafe, and bytes that are not UTF-8, appear as escapes.
pub(crate) fn visible(bytes: &[u8], chars_max: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(chars_max));
    let mut chars = 0;
    let mut push = |piece: &str| {
        let length = piece.chars().count();
        if chars + length > chars_max {
            return false;
        }
        chars += length;
        text.push_str(piece);
        true
    };
    let whole = 'all: {
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                if !push(&escaped(character)) {
                    break 'all false;
                }
            }
            for byte in chunk.invalid() {
                if !push(&format!("\\x{byte:02x}")) {
                    break 'all false;
                }
            }
        }
        true
    };
    if !whole {
        while text.chars().count() >= chars_max.max(1) {
            text.pop();
        }
        text.push(CUT);
    }
    text
}

/// One character, or its escape if a terminal would do something else than print it.
fn escaped(character: char) -> String {
    match character {
        c if escape::is_unsafe(c) => c.escape_default().to_string(),
        c => c.to_string(),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 job`, `2 jobs`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A size: `512 B`, `1.5 KiB`, `64 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" || value >= 100.0 || value.fract() < 0.05 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A span of time in its largest fitting unit: `850 ms`, `12 s`, `3 min`, `5 h`, `2 d`.
pub(crate) fn span(ms: u64) -> String {
    const SECOND: u64 = 1000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match ms {
        0..SECOND => format!("{ms} ms"),
        SECOND..MINUTE => format!("{} s", ms / SECOND),
        MINUTE..HOUR => format!("{} min", ms / MINUTE),
        HOUR..DAY => format!("{} h", ms / HOUR),
        _ => format!("{} d", ms / DAY),
    }
}

/// How long ago, or in how long, seen from `now_ms`.
pub(crate) fn when(at_ms: u64, now_ms: u64) -> String {
    if at_ms > now_ms {
        format!("in {}", span(at_ms - now_ms))
    } else {
        format!("{} ago", span(now_ms - at_ms))
    }
}

/// A short measured time: `4.2 µs`, `1.31 ms`, `2.05 s`.
pub(crate) fn elapsed(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.001 {
        format!("{:.1} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_cannot_reach_the_terminal() {
        for (bytes, shown) in [
            (&b"plain {\"id\":1}"[..], "plain {\"id\":1}"),
            (b"two\nlines\tand\r", "two\\nlines\\tand\\r"),
            (b"\x1b[31mred\x07", "\\u{1b}[31mred\\u{7}"),
            (b"\xff\x00ok", "\\xff\\u{0}ok"),
            ("a\u{202e}b\u{9b}c".as_bytes(), "a\\u{202e}b\\u{9b}c"),
            ("żółw".as_bytes(), "żółw"),
            (b"", ""),
        ] {
            assert_eq!(visible(bytes, 100), shown);
        }
    }

    #[test]
    fn long_text_is_cut_to_the_width() {
        assert_eq!(visible(b"0123456789", 10), "0123456789");
        assert_eq!(visible(b"0123456789x", 10), "012345678…");
        assert_eq!(visible(b"01234567\x1b", 10), "01234567…");
        assert_eq!(visible(b"ab", 1), "…");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 1536, 67_108_864].map(size),
            ["0 B", "1023 B", "1 KiB", "1.5 KiB", "64 MiB"]
        );
        assert_eq!(
            [0, 1500, 61_000, 7_200_000, 200_000_000].map(span),
            ["0 ms", "1 s", "1 min", "2 h", "2 d"]
        );
        assert_eq!((when(1_000, 61_000), when(61_000, 1_000)), ("1 min ago".into(), "in 1 min".into()));
        assert_eq!(counted(1, "job", "jobs"), "1 job");
    }
}
