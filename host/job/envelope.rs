//! The envelope around a payload once Sandhog has something to remember about a job: one header line, then the
//! producer's bytes untouched. `1 <id> <attempts> <crashes> <first_seen_ms> [key=value …]\n<payload>`.
//!
//! Keys and values are percent-encoded. Keys that start with `!` are the host's own notes (`!reason`,
//! `!trace`, `!version`, `!plugin`, `!unique`, `!kept`, `!own`, `!key`, `!rated`, `!single`, `!outages`, `!n`); guests
//! see only the others. Lua appends and replaces header lines made here; it never parses or re-encodes a payload.

use super::name::JobId;

/// The note of a job that was in a call for many jobs when that failed: it runs by itself until it has an answer.
pub const SINGLE: &str = "!single";
/// Version of the format, first word of the header.
const FORMAT: &str = "1";
/// Longest header line that is written outside of scripts, in bytes. A longer one is shortened (`fit`) or refused.
pub const HEADER_MADE_BYTES_MAX: usize = 16 * 1024;
/// Bytes left for the notes that scripts append to a header of that length (`!kept`, `!own`, `!key`, `!rated`, `!n`),
/// and for counters that grow.
pub const SCRIPT_NOTES_BYTES: usize = 512;
/// Longest header line that is read, in bytes.
pub const HEADER_BYTES_MAX: usize = HEADER_MADE_BYTES_MAX + SCRIPT_NOTES_BYTES;

/// What a job remembers between runs, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Kept through all attempts.
    pub id: JobId,
    /// Runs that reached the guest and failed.
    pub attempts: u32,
    /// Runs that ended with their host.
    pub crashes: u32,
    /// Redis time of the first claim (or of the push, for one with options).
    pub first_seen_ms: u64,
    /// The producer's headers and the host's notes, in order.
    pub notes: Vec<(String, String)>,
}

/// Why bytes are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job envelope: {0}")]
pub struct EnvelopeError(pub &'static str);

impl Header {
    /// The value of the note or header `key`.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Sets the note `key`, replacing what it held.
    pub fn set_note(&mut self, key: &str, value: impl Into<String>) {
        self.notes.retain(|(k, _)| k != key);
        self.notes.push((key.to_owned(), value.into()));
    }

    /// Forgets the note `key`.
    pub fn drop_note(&mut self, key: &str) {
        self.notes.retain(|(k, _)| k != key);
    }

    /// What guests see: the producer's headers.
    pub fn producer_headers(&self) -> impl Iterator<Item = &(String, String)> {
        self.notes.iter().filter(|(k, _)| !k.starts_with('!'))
    }

    /// The header line, with its line feed.
    pub fn encode(&self) -> String {
        let mut line =
            format!("{FORMAT} {} {} {} {}", self.id, self.attempts, self.crashes, self.first_seen_ms);
        for (key, value) in &self.notes {
            line.push(' ');
            escape_into(&mut line, key);
            line.push('=');
            escape_into(&mut line, value);
        }
        line.push('\n');
        line
    }

    /// Shortens the host's own notes, the longest first, until the header can be read back: the headers of a producer
    /// may leave little room for a backtrace. `!unique` with `!kept` and `!own`, and `!key` are never shortened,
    /// because they are compared byte by byte.
    pub fn fit(&mut self) {
        let needed = ["!unique", "!kept", "!own", "!key"];
        let is_own = |key: &str| key.starts_with('!') && !needed.contains(&key);
        while self.encode().len() > HEADER_MADE_BYTES_MAX {
            let own = self.notes.iter_mut().filter(|(key, _)| is_own(key)).map(|(_, value)| value);
            let own: Vec<&mut String> = own.collect();
            let longest = own.iter().map(|value| value.len()).max().unwrap_or(0);
            if longest == 0 {
                self.notes.retain(|(key, _)| !is_own(key));
                return;
            }
            // All that are long at once: one after the other, a header of thousands takes seconds.
            for value in own {
                value.truncate(value.floor_char_boundary(longest / 2));
            }
        }
    }

    /// Splits an envelope into its header and the payload, which stays where it is.
    pub fn decode(envelope: &[u8]) -> Result<(Self, &[u8]), EnvelopeError> {
        let window = &envelope[..envelope.len().min(HEADER_BYTES_MAX)];
        let end = window.iter().position(|b| *b == b'\n').ok_or(EnvelopeError("no header line"))?;
        let line =
            std::str::from_utf8(&window[..end]).map_err(|_| EnvelopeError("the header is not UTF-8"))?;
        let mut words = line.split(' ');
        if words.next() != Some(FORMAT) {
            return Err(EnvelopeError("an unknown format"));
        }
        let id = words.next().and_then(|w| JobId::new(w).ok()).ok_or(EnvelopeError("no job id"))?;
        let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
        let attempts = number().and_then(|n| n.try_into().ok()).ok_or(EnvelopeError("no attempts"))?;
        let crashes = number().and_then(|n| n.try_into().ok()).ok_or(EnvelopeError("no crashes"))?;
        let first_seen_ms = number().ok_or(EnvelopeError("no time"))?;
        let mut notes = Vec::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or(EnvelopeError("a header without a value"))?;
            notes.push((unescape(key)?, unescape(value)?));
        }
        Ok((Self { id, attempts, crashes, first_seen_ms, notes }, &envelope[end + 1..]))
    }
}

pub(super) fn escape_into(line: &mut String, text: &str) {
    use std::fmt::Write;
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b'=' {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "%{byte:02x}");
        }
    }
}

fn unescape(text: &str) -> Result<String, EnvelopeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        let byte = hex.and_then(|h| u8::from_str_radix(h, 16).ok());
        bytes.push(byte.ok_or(EnvelopeError("a broken escape in a header"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| EnvelopeError("a header that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(notes: &[(&str, &str)]) -> Header {
        Header {
            id: JobId::new("web.00000001.018c00000000-17").unwrap(),
            attempts: 2,
            crashes: 1,
            first_seen_ms: 1_700_000_000_000,
            notes: notes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn envelopes_round_trip_with_any_text_and_any_payload() {
        let header = header(&[("trace id", "a=b c%d\nline\u{e9}"), ("!reason", "boom"), ("empty", "")]);
        for payload in [&b""[..], b"\n\n", b"1 x 0 0 0\n", &[0, 255, 10, 13]] {
            let mut bytes = header.encode().into_bytes();
            bytes.extend_from_slice(payload);
            assert_eq!(Header::decode(&bytes), Ok((header.clone(), payload)));
        }
        assert_eq!(header.producer_headers().count(), 2);
    }

    #[test]
    fn hostile_bytes_are_refused_not_trusted() {
        let endless = format!("1 id 0 0 0 k={}\n", "x".repeat(HEADER_BYTES_MAX));
        for bad in [
            "",
            "1 id 0 0 0",
            "2 id 0 0 0\n",
            "1  0 0 0\n",
            "1 id -1 0 0\n",
            "1 id 99999999999 0 0\n",
            "1 id 0 0 0 novalue\n",
            "1 id 0 0 0 k=%f\n",
            "1 id 0 0 0 k=%zz\n",
            "1 id 0 0 0 k=%ff\n",
            &endless,
        ] {
            assert!(Header::decode(bad.as_bytes()).is_err(), "{bad:.40}");
        }
    }

    #[test]
    fn notes_give_way_where_the_producer_left_little_room() {
        let theirs = "h".repeat(HEADER_MADE_BYTES_MAX - 200);
        let mut header = header(&[("theirs", &theirs), ("!unique", "k")]);
        header.set_note("!reason", "\u{e9}".repeat(512));
        header.set_note("!trace", "\n".repeat(4096));
        assert!(header.encode().len() > HEADER_BYTES_MAX);
        header.fit();
        assert!(header.encode().len() <= HEADER_MADE_BYTES_MAX, "scripts have room for their notes");
        let bytes = header.encode().into_bytes();
        let (read, payload) = Header::decode(&bytes).unwrap();
        assert_eq!((&read, payload), (&header, &b""[..]));
        assert_eq!((read.note("theirs"), read.note("!unique")), (Some(theirs.as_str()), Some("k")));
        let mut roomy = self::header(&[("!trace", "at f")]);
        roomy.fit();
        assert_eq!(roomy.note("!trace"), Some("at f"), "nothing is cut without need");
    }

    #[test]
    fn thousands_of_notes_are_shortened_in_no_time() {
        let mut header = header(&[]);
        header.notes = vec![("!".to_owned(), "\u{e9}\u{e9}".to_owned()); 2300];
        let begun = std::time::Instant::now();
        header.fit();
        assert!(begun.elapsed().as_millis() < 300, "{:?}", begun.elapsed());
        assert!(header.encode().len() <= HEADER_MADE_BYTES_MAX);
    }

    #[test]
    fn a_note_is_kept_once() {
        let mut header = header(&[("!reason", "old")]);
        header.set_note("!reason", "new");
        assert_eq!(header.note("!reason"), Some("new"));
        assert_eq!(header.notes.len(), 1);
    }
}
