//! Takes the answers of scripts apart by moving their bytes, never copying them. What the answers mean stands
//! with the scripts.

use redis::Value;

use crate::storage::fault::Fault;

/// Largest number that a script returns: scripts count in doubles, which are exact up to this number. A larger number,
/// from a foreign server, counts as this one, so that sums of a few of them do not overflow.
const NUMBER_MAX: u64 = 1 << 53;

/// An answer of an unknown shape.
pub(crate) fn unexpected(what: &Value) -> Fault {
    // Not the value itself: it may hold payloads.
    let shape = match what {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a string",
        Value::Array(_) => "a list",
        _ => "another type",
    };
    Fault::Unexpected(format!("{shape} from a script that never answers so"))
}

/// The elements of a list.
pub(crate) fn list(value: Value) -> Result<Vec<Value>, Fault> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(unexpected(&other)),
    }
}

/// A whole number from 0 to `NUMBER_MAX`.
pub(crate) fn number(value: &Value) -> Result<u64, Fault> {
    match value {
        Value::Int(number) => Ok((*number).try_into().unwrap_or(0).min(NUMBER_MAX)),
        other => Err(unexpected(other)),
    }
}

/// Bytes.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, Fault> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        other => Err(unexpected(&other)),
    }
}

/// Bytes that are text; what is not UTF-8 in them is replaced.
pub(crate) fn text(value: Value) -> Result<String, Fault> {
    bytes(value).map(|b| String::from_utf8_lossy(&b).into_owned())
}

/// Hands out the elements of a list in turn.
pub(crate) struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    /// Of a list.
    pub(crate) fn new(value: Value) -> Result<Self, Fault> {
        Ok(Self(list(value)?.into_iter()))
    }

    /// The next element; nothing when there is none.
    pub(crate) fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Nil)
    }

    /// The next element, a number.
    pub(crate) fn number(&mut self) -> Result<u64, Fault> {
        number(&self.next())
    }

    /// The next element, a number or nothing.
    pub(crate) fn optional_number(&mut self) -> Result<Option<u64>, Fault> {
        match self.next() {
            Value::Nil | Value::Boolean(false) => Ok(None),
            value => number(&value).map(Some),
        }
    }

    /// The next element, text.
    pub(crate) fn text(&mut self) -> Result<String, Fault> {
        text(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bounded_where_they_are_read() {
        let read = |given| number(&Value::Int(given)).unwrap();
        assert_eq!([i64::MIN, -1, 0, 7].map(read), [0, 0, 0, 7]);
        assert_eq!([1 << 53, (1 << 53) + 1, i64::MAX].map(read), [NUMBER_MAX; 3]);
    }
}
