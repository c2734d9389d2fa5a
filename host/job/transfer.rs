//! Jobs as lines of JSON: exported to a file, and imported into another queue or another Redis (`import`). A payload
//! that is not text is in base64, so that every byte survives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::envelope::{HEADER_MADE_BYTES_MAX, Header};
use super::inspect::{JobRow, Place};
use super::name::JobId;

/// Largest time: what Redis keeps exactly.
const TIME_MAX_MS: u64 = 1 << 53;

/// One job in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    place: String,
    id: String,
    attempts: u32,
    crashes: u32,
    first_seen_ms: u64,
    /// When it died or is due.
    at_ms: Option<u64>,
    headers: Vec<Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    key: String,
    value: String,
}

/// A job read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Where it belongs.
    pub place: Place,
    /// Its id.
    pub id: JobId,
    /// When it died or is due, in Redis milliseconds.
    pub(super) at_ms: u64,
    /// The record that it gets in Redis.
    pub(super) record: Vec<u8>,
    /// The same for the same job elsewhere.
    pub(super) identity: Identity,
}

/// A digest of what does not change in the life of a job: its id, when it was first seen, its producer's headers, its
/// payload. Jobs with equal identities cannot be told apart, so they are counted.
pub(super) type Identity = [u8; 20];

/// The identity of a job. The host's own notes among `notes` are left out.
pub(super) fn identity(
    id: &JobId,
    first_seen_ms: u64,
    notes: &[(String, String)],
    payload: &[u8],
) -> Identity {
    let notes = notes.iter().filter(|(key, _)| !key.starts_with('!')).cloned().collect();
    let header = Header { id: id.clone(), attempts: 0, crashes: 0, first_seen_ms, notes };
    let mut digest = sha1_smol::Sha1::new();
    digest.update(header.encode().as_bytes());
    digest.update(payload);
    digest.digest().bytes()
}

/// A job as a line, without the line feed; its row has the whole payload as its preview. None for what is no job of
/// ours, put there by somebody's hand.
pub fn line(row: &JobRow) -> Option<String> {
    let place = match row.place {
        Place::Dead => "dead",
        Place::Delayed => "delayed",
        Place::Ready => "ready",
        Place::Waiting | Place::Inflight | Place::Parked => return None,
    };
    let text = std::str::from_utf8(&row.preview).ok();
    let line = Line {
        place: place.to_owned(),
        id: row.id.as_ref()?.to_string(),
        attempts: row.attempts,
        crashes: row.crashes,
        first_seen_ms: row.first_seen_ms.unwrap_or(0),
        at_ms: row.at_ms,
        headers: row.notes.iter().map(|(k, v)| Note { key: k.clone(), value: v.clone() }).collect(),
        payload: text.map(str::to_owned),
        payload_base64: text.is_none().then(|| STANDARD.encode(&row.preview)),
    };
    Some(serde_json::to_string(&line).expect("strings and numbers always make JSON"))
}

/// Reads a line; says what is wrong with it.
pub fn read(line: &str) -> Result<Carried, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // Where in the line helps nobody, and reads as if it were where in the file.
        let error = error.to_string();
        error.split(" at line ").next().unwrap_or_default().to_owned()
    })?;
    let place = match line.place.as_str() {
        "dead" => Place::Dead,
        "delayed" => Place::Delayed,
        "ready" => Place::Ready,
        other => return Err(format!("`place` is `{other}`, not `dead`, `delayed` or `ready`")),
    };
    let id = JobId::new(line.id).map_err(|error| format!("`id`: {error}"))?;
    let payload = match (line.payload, line.payload_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|error| format!("`payload_base64` is not base64: {error}"))?
        }
        _ => return Err("it needs either `payload` or `payload_base64`".to_owned()),
    };
    let at_ms = match (place, line.at_ms) {
        (Place::Ready, at_ms) => at_ms.unwrap_or(0),
        (_, Some(at_ms)) => at_ms,
        (_, None) => return Err("`at_ms` is missing: when it died, or is due".to_owned()),
    };
    if at_ms > TIME_MAX_MS {
        return Err("`at_ms` is no time in milliseconds".to_owned());
    }
    // The slot of its key and its unique key are not exported.
    let notes = line.headers.into_iter().map(|note| (note.key, note.value));
    let notes: Vec<_> =
        notes.filter(|(key, _)| !["!key", "!rated", "!own"].contains(&key.as_str())).collect();
    let (attempts, crashes, first_seen_ms) = (line.attempts, line.crashes, line.first_seen_ms);
    let identity = identity(&id, first_seen_ms, &notes, &payload);
    let mut header = Header { id: id.clone(), attempts, crashes, first_seen_ms, notes };
    header.fit();
    let header = header.encode();
    if header.len() > HEADER_MADE_BYTES_MAX {
        return Err(format!("its headers have {} bytes; at most 16,384 fit", header.len()));
    }
    Ok(Carried { place, id, at_ms, record: [header.as_bytes(), &payload].concat(), identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(payload: &[u8]) -> JobRow {
        JobRow {
            place: Place::Dead,
            id: Some(JobId::new("job-1").unwrap()),
            attempts: 3,
            crashes: 1,
            first_seen_ms: Some(50),
            at_ms: Some(100),
            host: None,
            reason: Some("no luck".to_owned()),
            payload_bytes: payload.len() as u64,
            preview: payload.to_vec(),
            notes: vec![("k\n".to_owned(), "v=1".to_owned()), ("!reason".to_owned(), "no luck".to_owned())],
            progress: None,
        }
    }

    #[test]
    fn every_byte_survives() {
        let every: Vec<u8> = (0..=255).collect();
        for payload in [&b""[..], b"text \"and\" lines\n\x00", "\u{2028}é".as_bytes(), b"\xff\x00", &every] {
            let line = line(&row(payload)).unwrap();
            assert!(!line.contains('\n'), "{line}");
            let carried = read(&line).unwrap();
            let (header, found) = Header::decode(&carried.record).unwrap();
            assert_eq!((found, header.attempts, header.crashes, carried.at_ms), (payload, 3, 1, 100));
            assert_eq!(header.notes, row(b"").notes);
        }
    }

    #[test]
    fn a_line_is_documented() {
        assert_eq!(
            line(&row(b"\xff")).unwrap(),
            r#"{"place":"dead","id":"job-1","attempts":3,"crashes":1,"first_seen_ms":50,"at_ms":100,"headers":[{"key":"k\n","value":"v=1"},{"key":"!reason","value":"no luck"}],"payload_base64":"/w=="}"#
        );
    }

    #[test]
    fn what_is_no_job_is_refused_with_the_reason() {
        let good = line(&row(b"x")).unwrap();
        let with = |from: &str, to: &str| read(&good.replace(from, to)).unwrap_err();
        assert!(read("").unwrap_err().contains("EOF"));
        assert!(with("\"dead\"", "\"waiting\"").contains("`place` is `waiting`"));
        assert!(with("\"job-1\"", "\"job 1\"").starts_with("`id`: "));
        assert!(with("\"payload\":\"x\"", "\"payload_base64\":\"%\"").contains("not base64"));
        assert!(with(",\"payload\":\"x\"", "").contains("either `payload` or `payload_base64`"));
        assert!(with("\"at_ms\":100", "\"at_ms\":null").contains("`at_ms` is missing"));
        assert!(with("\"at_ms\":100", "\"at_ms\":9999999999999999").contains("no time"));
        assert!(with("\"attempts\"", "\"attempt\"").contains("unknown field"));
        let long = "x".repeat(20_000);
        assert!(with("v=1", &long).contains("at most 16,384 fit"));
    }
}
