//! What a key holds: as a case writes it, as Redis has it, and whether the two are the same.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use redis::cmd;
use sandhog::storage::fault::Fault;
use sandhog::storage::link::Link;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::cli::text;

/// How much less a time to live may be than the case says: what the run took, and some.
const TTL_SLACK_MS: i64 = 60_000;
/// A key without a time to live, as PTTL says it.
const FOR_EVER: i64 = -1;
/// Most characters of a value that are shown.
const SHOWN_CHARS: usize = 200;
/// Keys of one page of a listing.
const PAGE: u32 = 1000;

/// What a case says of a key: a string or a list, perhaps with a time to live; or that there is none.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub(in crate::cli) struct Held(Option<Content>);

#[derive(Debug, Clone)]
struct Content {
    is_list: bool,
    values: Vec<Value>,
    /// How long it stays, in milliseconds.
    ttl_ms: Option<u64>,
}

/// Bytes, or JSON whatever the order of its fields and its spaces.
#[derive(Debug, Clone)]
enum Value {
    Bytes(Vec<u8>),
    Json(serde_json::Value),
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a key holds a string, a list of entries, `{ text = …, ttl = \"7d\" }`, `{ base64 = … }`, `{ json = … }`, \
                 `{ list = […] }`, or `false`: nothing"
)]
enum Written {
    Nothing(bool),
    Text(String),
    List(Vec<Entry>),
    Table(Table),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an entry is a string, `{ base64 = … }` or `{ json = … }`")]
enum Entry {
    Text(String),
    Table(Table),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    text: Option<String>,
    base64: Option<String>,
    json: Option<serde_json::Value>,
    list: Option<Vec<Entry>>,
    #[serde(default, deserialize_with = "span")]
    ttl: Option<u64>,
}

impl TryFrom<Written> for Held {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let table = match written {
            Written::Nothing(false) => return Ok(Self(None)),
            Written::Nothing(true) => {
                return Err("`false` says that a key is not there; `true` says nothing".to_owned());
            }
            Written::Text(text) => Table { text: Some(text), ..Table::default() },
            Written::List(list) => Table { list: Some(list), ..Table::default() },
            Written::Table(table) => table,
        };
        let ttl_ms = table.ttl;
        let (is_list, values) = match table {
            Table { list: Some(list), text: None, base64: None, json: None, .. } => {
                (true, list.into_iter().map(Value::try_from).collect::<Result<_, _>>()?)
            }
            Table { list: Some(_), .. } => return Err("a key holds a list or a string, not both".to_owned()),
            table => (false, vec![Value::of(table)?]),
        };
        Ok(Self(Some(Content { is_list, values, ttl_ms })))
    }
}

impl TryFrom<Entry> for Value {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        match entry {
            Entry::Text(text) => Ok(Self::Bytes(text.into_bytes())),
            Entry::Table(Table { ttl: Some(_), .. } | Table { list: Some(_), .. }) => {
                Err("an entry of a list has no `ttl` and no `list`".to_owned())
            }
            Entry::Table(table) => Self::of(table),
        }
    }
}

/// A time such as `"7d"`, in milliseconds.
pub(super) fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    let span = humantime::parse_duration(&text);
    let span =
        span.map_err(|error| D::Error::custom(format!("\"{text}\" is no time such as \"7d\": {error}")))?;
    Ok(Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

/// What Redis has under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    kind: String,
    /// The string, or the entries of a list.
    values: Vec<Vec<u8>>,
    /// Milliseconds it stays; -1: for ever.
    ttl_ms: i64,
}

impl Value {
    fn of(table: Table) -> Result<Self, String> {
        match table {
            Table { text: Some(text), base64: None, json: None, .. } => Ok(Self::Bytes(text.into_bytes())),
            Table { text: None, base64: Some(base64), json: None, .. } => BASE64
                .decode(&base64)
                .map(Self::Bytes)
                .map_err(|error| format!("\"{base64}\" is not base64: {error}")),
            Table { text: None, base64: None, json: Some(json), .. } => Ok(Self::Json(json)),
            _ => Err("a value has one of `text`, `base64` and `json`".to_owned()),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Json(json) => json.to_string().into_bytes(),
        }
    }

    fn is(&self, found: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == found,
            Self::Json(json) => {
                serde_json::from_slice(found).is_ok_and(|found: serde_json::Value| found == *json)
            }
        }
    }
}

impl Held {
    /// Puts it into Redis.
    pub(in crate::cli) async fn put(&self, link: &Link, key: &str) -> Result<(), Fault> {
        let Some(Content { is_list, values, ttl_ms }) = &self.0 else { return Ok(()) };
        let bytes: Vec<Vec<u8>> = values.iter().map(Value::bytes).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        let verb = if *is_list { "RPUSH" } else { "SET" };
        link.query::<redis::Value>(cmd(verb).arg(key).arg(bytes)).await?;
        if let Some(ttl_ms) = ttl_ms {
            link.query::<u64>(cmd("PEXPIRE").arg(key).arg(*ttl_ms)).await?;
        }
        Ok(())
    }

    /// Whether it is what was found. A time to live that the case does not name is to be what it was before.
    pub(super) fn is(&self, found: Option<&Found>, was: Option<&Found>) -> bool {
        let content = self.0.as_ref().filter(|content| !content.values.is_empty());
        let (Some(content), Some(found)) = (content, found) else {
            return content.is_none() && found.is_none();
        };
        let ttl_ms = content.ttl_ms.and_then(|ttl_ms| i64::try_from(ttl_ms).ok());
        found.kind == (if content.is_list { "list" } else { "string" })
            && content.values.len() == found.values.len()
            && content.values.iter().zip(&found.values).all(|(value, found)| value.is(found))
            && found.stays(ttl_ms.or(was.map(|was| was.ttl_ms)).unwrap_or(FOR_EVER))
    }

    /// In words.
    pub(super) fn show(&self) -> String {
        let Some(Content { is_list, values, ttl_ms }) = &self.0 else { return "nothing".to_owned() };
        let values: Vec<String> = values.iter().map(|value| shown(&value.bytes())).collect();
        let ttl = ttl_ms.map_or(String::new(), |ttl_ms| format!(", expires in {}", text::span(ttl_ms)));
        show_values(*is_list, &values) + &ttl
    }
}

impl Found {
    /// Whether nothing has changed; a time to live may have gone on.
    pub(super) fn is_same(was: Option<&Self>, is: Option<&Self>) -> bool {
        match (was, is) {
            (Some(was), Some(is)) => was.kind == is.kind && was.values == is.values && is.stays(was.ttl_ms),
            (was, is) => was.is_none() && is.is_none(),
        }
    }

    /// Whether it stays so many milliseconds, or for ever; a little less is what has gone by.
    fn stays(&self, ttl_ms: i64) -> bool {
        match ttl_ms {
            FOR_EVER => self.ttl_ms == FOR_EVER,
            ttl_ms => (0.max(ttl_ms - TTL_SLACK_MS)..=ttl_ms).contains(&self.ttl_ms),
        }
    }

    /// In words, with the time to live if it has one.
    pub(super) fn show(&self) -> String {
        if !matches!(self.kind.as_str(), "string" | "list") {
            return format!("a {}", self.kind);
        }
        let values: Vec<String> = self.values.iter().map(|value| shown(value)).collect();
        // What is left of seven days a moment later is shown as seven days.
        let ttl = u64::try_from(self.ttl_ms).map(|ttl| text::span(ttl.next_multiple_of(1000)));
        let ttl = ttl.map_or(String::new(), |ttl| format!(", expires in {ttl}"));
        show_values(self.kind == "list", &values) + &ttl
    }
}

fn show_values(is_list: bool, values: &[String]) -> String {
    if is_list { format!("[{}]", values.join(", ")) } else { values.concat() }
}

fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", text::visible(bytes, SHOWN_CHARS))
}

/// All keys but the host's own, and what they hold.
pub(super) async fn look(link: &Link) -> Result<BTreeMap<String, Found>, Fault> {
    let (mut all, mut cursor) = (BTreeMap::new(), "0".to_owned());
    loop {
        let (next, keys): (String, Vec<String>) =
            link.query(cmd("SCAN").arg(&cursor).arg("COUNT").arg(PAGE)).await?;
        for key in keys.into_iter().filter(|key| !key.contains(":sandhog:") && !key.starts_with("sandhog:")) {
            let kind: String = link.query(cmd("TYPE").arg(&key)).await?;
            let values = match kind.as_str() {
                "string" => vec![link.query(cmd("GET").arg(&key)).await?],
                "list" => link.query(cmd("LRANGE").arg(&key).arg(0).arg(-1)).await?,
                _ => Vec::new(),
            };
            let ttl_ms = link.query(cmd("PTTL").arg(&key)).await?;
            all.insert(key, Found { kind, values, ttl_ms });
        }
        if next == "0" {
            return Ok(all);
        }
        cursor = next;
    }
}
