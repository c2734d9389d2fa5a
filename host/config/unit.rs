//! Durations and sizes as people write them: `30s`, `1h 30m`, `64MiB`. Both always carry their unit.

use std::time::Duration;

/// Units of a size, each with its bytes. The first that fits is the one that is shown.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration; the error says what is wrong with it, without repeating it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("has no unit; write `{text}s` or `{text}ms`"));
    }
    if text.starts_with('-') {
        return Err("is negative; write a number and a unit, for example `500ms`, `30s`, `10m`".to_owned());
    }
    humantime::parse_duration(text).map_err(|_| {
        "is not a duration; write a number and a unit, for example `500ms`, `30s`, `10m`".to_owned()
    })
}

/// Reads a size in bytes; the error says what is wrong with it, without repeating it.
pub fn size(text: &str) -> Result<u64, String> {
    let form = || "is not a size; write a whole number and a unit, for example `64KiB`, `8MiB`".to_owned();
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    if number.is_empty() {
        return Err(form());
    }
    if unit.is_empty() {
        return Err(format!("has no unit; write `{number}B`, `{number}KiB` or `{number}MiB`"));
    }
    let (_, bytes) = SIZES.iter().find(|(u, _)| u.eq_ignore_ascii_case(unit)).ok_or_else(form)?;
    let number: u64 = number.parse().map_err(|_| "is larger than any memory".to_owned())?;
    number.checked_mul(*bytes).ok_or_else(|| "is larger than any memory".to_owned())
}

/// A duration in the form `duration` reads.
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size in the form `size` reads, exact.
pub fn show_size(bytes: u64) -> String {
    let whole = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    let (name, unit) = SIZES.iter().find(whole).unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in [
            ("30s", Ok(Duration::from_secs(30))),
            (" 500ms ", Ok(Duration::from_millis(500))),
            ("1h 30m", Ok(Duration::from_secs(5400))),
            ("0s", Ok(Duration::ZERO)),
            ("30", Err("has no unit; write `30s` or `30ms`")),
        ] {
            assert_eq!(duration(text), expected.map_err(str::to_owned), "{text}");
        }
        assert!(duration("-1s").unwrap_err().starts_with("is negative"));
        for bad in ["", "soon", "30 parsecs", "99999999999999999999s"] {
            assert!(duration(bad).unwrap_err().starts_with("is not a duration"), "{bad}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        for (text, expected) in [
            ("0B", Ok(0)),
            ("64KiB", Ok(65_536)),
            ("8 mib", Ok(8 << 20)),
            ("1GB", Ok(1_000_000_000)),
            ("64", Err("has no unit; write `64B`, `64KiB` or `64MiB`")),
            ("99999999TiB", Err("is larger than any memory")),
            ("99999999999999999999B", Err("is larger than any memory")),
        ] {
            assert_eq!(size(text), expected.map_err(str::to_owned), "{text}");
        }
        for bad in ["", "MiB", "1.5MiB", "-1B", "8 M iB", "8 apples"] {
            assert!(size(bad).unwrap_err().starts_with("is not a size"), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 1000, 1024, 1536, 65_536, 8 << 20, 1_000_000, 3 << 40] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes), "{bytes}");
        }
        assert_eq!(show_size(8 << 20), "8MiB");
        let thirty = Duration::from_secs(30);
        assert_eq!((show_duration(thirty).as_str(), duration("30s")), ("30s", Ok(thirty)));
    }
}
