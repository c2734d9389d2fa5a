//! What a run changed in a Redis that nobody else uses: all keys before, all keys after, and the difference.

use std::collections::BTreeMap;

use redis::{Value, cmd};
use sandhog::storage::fault::Fault;
use sandhog::storage::link::Link;

/// Keys that are looked at; a run that makes more is told so.
const KEYS_MAX: usize = 10_000;
/// Keys asked for in one step of the listing.
const SCAN_COUNT: usize = 1000;
/// Bytes of a value, and entries of a list, that are shown.
const SHOWN_BYTES: isize = 256;
const SHOWN_ENTRIES: isize = 5;

/// All keys of a server.
pub(super) struct Keys(BTreeMap<Vec<u8>, Content>);

/// What a key holds.
#[derive(PartialEq, Eq, Clone)]
pub(super) struct Content {
    /// Redis' word for the type.
    pub(super) kind: String,
    /// Bytes of a string, entries of anything else.
    pub(super) length: u64,
    /// The beginning of a string, the last entries of a list.
    pub(super) shown: Vec<Vec<u8>>,
    /// Milliseconds to live, rounded to seconds so that a second look does not differ by itself.
    pub(super) ttl_s: Option<u64>,
    /// The whole value in Redis' own form: equal if and only if nothing changed.
    dump: Vec<u8>,
}

/// One key that is not what it was.
pub(super) struct Change {
    /// The key.
    pub(super) key: Vec<u8>,
    /// Before the run; none if it is new.
    pub(super) before: Option<Content>,
    /// After the run; none if it is gone.
    pub(super) after: Option<Content>,
}

impl Keys {
    /// Looks at everything.
    pub(super) async fn look(link: &Link) -> Result<Self, Fault> {
        let mut keys = BTreeMap::new();
        let mut cursor: u64 = 0;
        loop {
            let (next, page): (u64, Vec<Vec<u8>>) =
                link.query(cmd("SCAN").arg(cursor).arg("COUNT").arg(SCAN_COUNT)).await?;
            for key in page {
                if keys.len() < KEYS_MAX
                    && let Some(content) = Content::look(link, &key).await?
                {
                    keys.insert(key, content);
                }
            }
            if next == 0 {
                return Ok(Self(keys));
            }
            cursor = next;
        }
    }

    /// What is different in `after`.
    pub(super) fn changes(&self, after: &Self) -> Vec<Change> {
        let names: std::collections::BTreeSet<&Vec<u8>> = self.0.keys().chain(after.0.keys()).collect();
        let changed = names.into_iter().filter(|key| self.0.get(*key) != after.0.get(*key));
        changed
            .map(|key| Change {
                key: key.clone(),
                before: self.0.get(key).cloned(),
                after: after.0.get(key).cloned(),
            })
            .collect()
    }
}

impl Content {
    async fn look(link: &Link, key: &[u8]) -> Result<Option<Self>, Fault> {
        let kind: String = link.query(cmd("TYPE").arg(key)).await?;
        let (length, shown): (&str, Option<Vec<Vec<u8>>>) = match kind.as_str() {
            "none" => return Ok(None),
            "string" => {
                let head: Vec<u8> = link.query(cmd("GETRANGE").arg(key).arg(0).arg(SHOWN_BYTES - 1)).await?;
                ("STRLEN", Some(vec![head]))
            }
            "list" => ("LLEN", Some(link.query(cmd("LRANGE").arg(key).arg(-SHOWN_ENTRIES).arg(-1)).await?)),
            "hash" => ("HLEN", None),
            "zset" => ("ZCARD", None),
            "set" => ("SCARD", None),
            _ => ("XLEN", None),
        };
        let ttl_ms: i64 = link.query(cmd("PTTL").arg(key)).await?;
        let dump: Value = link.query(cmd("DUMP").arg(key)).await?;
        let Value::BulkString(dump) = dump else { return Ok(None) };
        Ok(Some(Self {
            length: link.query(cmd(length).arg(key)).await?,
            shown: shown.unwrap_or_default(),
            ttl_s: u64::try_from(ttl_ms).ok().map(|ms| ms.div_ceil(1000)),
            kind,
            dump,
        }))
    }
}
