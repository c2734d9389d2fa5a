//! How results look.
//!
//! `ok`, `ok true`, `ok 12`, `ok none`, `ok some "text"`, `ok ["a", none]`, `err denied "key"`. Bytes that are
//! not plain ASCII are `hex:00ff`; more than 256 of them only tell their number, `bytes:1048576`.

use crate::exports::sandhog::worker::handler::Job;
use crate::sandhog::worker::queue::PushOutcome;
use crate::sandhog::worker::types::Error;
use crate::wasi::config::store;

/// Longest bytes shown in full.
const SHOWN_BYTES_MAX: usize = 256;

/// Something that can stand in a result line.
pub(crate) trait Show {
    /// Its text.
    fn show(&self) -> String;
}

impl Show for () {
    fn show(&self) -> String {
        String::new()
    }
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for i64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for String {
    fn show(&self) -> String {
        self.as_bytes().to_vec().show()
    }
}

impl Show for Vec<u8> {
    fn show(&self) -> String {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'"';
        if self.len() > SHOWN_BYTES_MAX {
            format!("bytes:{}", self.len())
        } else if self.iter().all(plain) {
            format!("\"{}\"", String::from_utf8_lossy(self))
        } else {
            self.iter().fold("hex:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
        }
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or("none".to_owned(), |value| format!("some {}", value.show()))
    }
}

impl Show for Vec<Option<Vec<u8>>> {
    fn show(&self) -> String {
        list(self.iter().map(Show::show))
    }
}

impl Show for Vec<Vec<u8>> {
    fn show(&self) -> String {
        list(self.iter().map(Show::show))
    }
}

impl Show for Vec<String> {
    fn show(&self) -> String {
        list(self.iter().map(Show::show))
    }
}

impl Show for Vec<(String, String)> {
    fn show(&self) -> String {
        list(self.iter().map(|(name, value)| format!("{name}={}", value.show())))
    }
}

impl Show for PushOutcome {
    fn show(&self) -> String {
        match self {
            PushOutcome::Pushed(waiting) => format!("pushed {waiting}"),
            PushOutcome::Delayed(id) => format!("delayed {}", id.show()),
            PushOutcome::Duplicate => "duplicate".to_owned(),
        }
    }
}

impl Show for Error {
    fn show(&self) -> String {
        let (name, detail) = match self {
            Error::Denied(detail) => ("denied", detail),
            Error::WrongType(detail) => ("wrong-type", detail),
            Error::Quota(detail) => ("quota", detail),
            Error::Unavailable(detail) => ("unavailable", detail),
        };
        format!("{name} {}", detail.show())
    }
}

impl Show for store::Error {
    fn show(&self) -> String {
        match self {
            store::Error::Upstream(detail) => format!("upstream {}", detail.show()),
            store::Error::Io(detail) => format!("io {}", detail.show()),
        }
    }
}

impl Show for Job {
    fn show(&self) -> String {
        format!(
            "id={} queue={} payload={} attempt={}/{} first-seen={} headers={}",
            self.id.show(),
            self.queue.show(),
            self.payload.show(),
            self.attempt,
            self.max_attempts,
            self.first_seen_ms,
            self.headers.show()
        )
    }
}

impl<T: Show, E: Show> Show for Result<T, E> {
    fn show(&self) -> String {
        match self {
            Ok(value) => format!("ok {}", value.show()).trim_end().to_owned(),
            Err(error) => format!("err {}", error.show()),
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
