//! What the keys that a run would change hold before it does. Looked at in two round trips, however many there are;
//! somebody else may change them in between.

use redis::{FromRedisValue, Pipeline, Value, cmd};
use sandhog::storage::fault::Fault;
use sandhog::storage::link::Link;

/// Bytes of a value that are fetched.
const HEAD_BYTES: usize = 256;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// We may not look, or it changed while we did.
    Unknown,
    /// There is no such key.
    Absent,
    /// Something.
    Held(Content),
}

/// What there is under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Redis' word for the type.
    pub(super) kind: String,
    /// Bytes of a string, entries of anything else.
    pub(super) length: u64,
    /// The beginning of a string.
    pub(super) head: Option<Vec<u8>>,
    /// How long it stays; none: for ever.
    pub(super) expires_in_ms: Option<u64>,
}

/// Looks at all `keys`; the answers stand in the same order.
pub(super) async fn look(link: &Link, keys: &[&str]) -> Result<Vec<Before>, Fault> {
    let mut first = Pipeline::new();
    for key in keys {
        first.add_command(cmd("TYPE").arg(key).to_owned()).add_command(cmd("PTTL").arg(key).to_owned());
    }
    let answers = ask(link, &first).await?;
    let kinds: Vec<Option<String>> = answers.iter().step_by(2).map(read).collect();
    let mut second = Pipeline::new();
    for (key, kind) in keys.iter().zip(&kinds) {
        let size = match kind.as_deref() {
            Some("string") => "STRLEN",
            Some("list") => "LLEN",
            Some("hash") => "HLEN",
            Some("set") => "SCARD",
            Some("zset") => "ZCARD",
            Some("stream") => "XLEN",
            _ => "EXISTS",
        };
        second.add_command(cmd(size).arg(key).to_owned());
        second.add_command(cmd("GETRANGE").arg(key).arg(0).arg(HEAD_BYTES - 1).to_owned());
    }
    let contents = ask(link, &second).await?;
    let expiries = answers.iter().skip(1).step_by(2);
    Ok(kinds
        .into_iter()
        .zip(expiries)
        .zip(contents.chunks(2))
        .map(|((kind, expiry), content)| before(kind, expiry, content))
        .collect())
}

/// What a key held, out of the answers about it.
fn before(kind: Option<String>, expiry: &Option<Value>, content: &[Option<Value>]) -> Before {
    let Some(kind) = kind else { return Before::Unknown };
    if kind == "none" {
        return Before::Absent;
    }
    let head = if kind == "string" { read(&content[1]) } else { None };
    let Some(length) = read(&content[0]) else { return Before::Unknown };
    let expires_in_ms = read::<i64>(expiry).and_then(|ms| u64::try_from(ms).ok());
    Before::Held(Content { kind, length, head, expires_in_ms })
}

/// What Redis answered each command; none where it refused one.
async fn ask(link: &Link, pipe: &Pipeline) -> Result<Vec<Option<Value>>, Fault> {
    if pipe.is_empty() {
        return Ok(Vec::new());
    }
    Ok(link.pipeline(pipe).await?.into_iter().map(Result::ok).collect())
}

fn read<T: FromRedisValue>(value: &Option<Value>) -> Option<T> {
    value.as_ref().and_then(|value| T::from_redis_value_ref(value).ok())
}
