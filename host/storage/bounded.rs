//! Reads collections whose size others control. Redis measures each element first: an element that is too long is left
//! out, and a collection with too many elements is refused, so a key that others have filled does not use the host's
//! memory. The callers know what the elements mean, and set the bounds.

use std::sync::LazyLock;

use redis::Value;

use super::fault::Fault;
use super::link::Link;
use super::script::Script;

static BOUNDED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("script/bounded.lua")));

/// Which elements of a key are read.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// Names and values of a hash, alternating.
    Hash,
    /// The names of a hash.
    Names,
    /// The values of these fields of a hash, in this order.
    Fields(&'a [&'a str]),
    /// The first elements of a list.
    List,
    /// The members of a set.
    Set,
    /// The members of a sorted set, by score.
    Sorted,
}

/// Bounds of a read. A list may have more elements; only the first are read.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Most elements; of a hash, most pairs.
    pub elements: usize,
    /// Most bytes of each element.
    pub bytes: usize,
}

/// One element of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// The element was read.
    Whole(Vec<u8>),
    /// The element has this number of bytes and was not read.
    TooLong(u64),
    /// The field does not exist.
    Absent,
}

/// The elements read, and a sentence for each element that was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed<T> {
    /// The elements that can be used.
    pub entries: T,
    /// Why the other elements cannot be used.
    pub left_out: Vec<String>,
}

impl Element {
    /// The bytes, if they were read.
    pub fn whole(self) -> Option<Vec<u8>> {
        if let Self::Whole(bytes) = self { Some(bytes) } else { None }
    }

    /// The text, if it was read and is UTF-8.
    pub fn text(self) -> Option<String> {
        String::from_utf8(self.whole()?).ok()
    }
}

/// The elements of `key`.
///
/// # Errors
///
/// Redis gave no usable answer, the key holds another type (`WRONGTYPE`), or there are too many elements.
pub async fn read(link: &Link, key: &str, of: Of<'_>, bound: Bound) -> Result<Vec<Element>, Fault> {
    let kind = match of {
        Of::Hash => "hash",
        Of::Names => "names",
        Of::Fields(_) => "fields",
        Of::List => "list",
        Of::Set => "set",
        Of::Sorted => "zset",
    };
    let mut call = BOUNDED.call(&[key]);
    call.arg(kind).arg(bound.elements).arg(bound.bytes);
    if let Of::Fields(fields) = of {
        call.arg(fields);
    }
    let unexpected = || Fault::Unexpected(format!("the elements of `{key}` in another form"));
    let Value::Array(values) = BOUNDED.run(link, &call).await? else { return Err(unexpected()) };
    let mut values = values.into_iter();
    let Some(Value::Int(count)) = values.next() else { return Err(unexpected()) };
    if !matches!(of, Of::List) && usize::try_from(count).is_ok_and(|count| count > bound.elements) {
        let most = bound.elements;
        return Err(Fault::Unexpected(format!(
            "`{key}` has {count} elements, and {most} are read at the most"
        )));
    }
    let elements = values.map(|value| match value {
        Value::BulkString(bytes) => Ok(Element::Whole(bytes)),
        Value::Int(length) => Ok(Element::TooLong(length.unsigned_abs())),
        Value::Nil | Value::Boolean(false) => Ok(Element::Absent),
        _ => Err(unexpected()),
    });
    elements.collect()
}

/// The names of the hash `key` with their values.
///
/// # Errors
///
/// As `read`.
pub async fn pairs(link: &Link, key: &str, bound: Bound) -> Result<Vec<(Element, Element)>, Fault> {
    let mut elements = read(link, key, Of::Hash, bound).await?.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// The elements of `key` that are text and short enough. The host logs how many others there are.
///
/// # Errors
///
/// As `read`.
pub async fn texts(link: &Link, key: &str, of: Of<'_>, bound: Bound) -> Result<Vec<String>, Fault> {
    let elements = read(link, key, of, bound).await?;
    let longest =
        elements.iter().filter_map(|e| if let Element::TooLong(n) = e { Some(*n) } else { None }).max();
    if let Some(longest) = longest {
        tracing::warn!(
            "`{key}` has an element of {longest} bytes, and {} are read at the most: it is left out; remove it",
            bound.bytes
        );
    }
    Ok(elements.into_iter().filter_map(Element::text).collect())
}
