//! The script's words.
//!
//! | word | stands for |
//! |---|---|
//! | `hex:00ff` | these bytes; `hex:` alone is empty |
//! | `rep:1025:61` | 1,025 times the byte 61 (hexadecimal) |
//! | `$id` `$queue` `$attempt` `$max` `$payload` | the job's; `$payload` is everything after the line `end` |
//! | `$results` | all results so far, joined by `; ` |
//! | `$cursor` | the cursor of the last page listed |
//! | `-` | none, where a value may be missing |
//! | anything else | itself |

/// The lines up to `end`, without empty ones and comments (`#`), and what follows that line.
pub(crate) fn split(payload: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut lines = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let at = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = at.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 1..]));
        rest = after;
        match String::from_utf8_lossy(line).trim() {
            "end" => break,
            line if line.is_empty() || line.starts_with('#') => {}
            line => lines.push(line.to_owned()),
        }
    }
    (lines, rest.to_vec())
}

/// The bytes of a `hex:` or `rep:` word, or the word itself; none if it is malformed.
pub(crate) fn bytes(word: &str) -> Option<Vec<u8>> {
    if let Some(digits) = word.strip_prefix("hex:") {
        return hex(digits);
    }
    if let Some(repeated) = word.strip_prefix("rep:") {
        let (times, byte) = repeated.split_once(':')?;
        return Some(hex(byte)?.repeat(times.parse().ok()?));
    }
    Some(word.as_bytes().to_vec())
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_bytes() {
        assert_eq!(bytes("plain"), Some(b"plain".to_vec()));
        assert_eq!(bytes("hex:00ff"), Some(vec![0, 255]));
        assert_eq!(bytes("hex:"), Some(vec![]));
        assert_eq!(bytes("rep:3:61"), Some(b"aaa".to_vec()));
        for malformed in ["hex:0", "hex:zz", "rep:3", "rep:x:61"] {
            assert_eq!(bytes(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn lines_end_where_the_payload_begins() {
        let (lines, payload) = split(b"# comment\nkv.get a\n\n  done\nend\n\xff\nend\n");
        assert_eq!(lines, ["kv.get a", "done"]);
        assert_eq!(payload, b"\xff\nend\n");
        assert_eq!(split(b""), (vec![], vec![]));
    }
}
