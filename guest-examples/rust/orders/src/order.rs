//! An order as its producer wrote it, checked. Pure.

use serde::Deserialize;

/// Longest id or customer, in bytes: both become part of a key.
const NAME_BYTES_MAX: usize = 200;

/// `{"id": "A-17", "customer": "ada", "amount_cents": 1234}`; further fields are ignored.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Order {
    /// Chosen by the producer; the same id is the same order.
    pub(crate) id: String,
    /// Whose total grows.
    pub(crate) customer: String,
    /// What it is worth, above zero.
    pub(crate) amount_cents: i64,
}

impl Order {
    /// Reads a payload; says in one line what is wrong with it.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, String> {
        let order: Self =
            serde_json::from_slice(payload).map_err(|error| format!("malformed order: {error}"))?;
        for (field, value) in [("id", &order.id), ("customer", &order.customer)] {
            if value.is_empty() || value.len() > NAME_BYTES_MAX {
                return Err(format!("`{field}` has {} bytes, not 1 to {NAME_BYTES_MAX}", value.len()));
            }
        }
        if order.amount_cents <= 0 {
            return Err(format!("`amount_cents` is {}, not above zero", order.amount_cents));
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_order_is_read() {
        let order = Order::parse(br#"{"id": "A-1", "customer": "ada", "amount_cents": 1, "note": "x"}"#);
        assert_eq!(order, Ok(Order { id: "A-1".into(), customer: "ada".into(), amount_cents: 1 }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = format!(r#"{{"id": "{}", "customer": "a", "amount_cents": 1}}"#, "x".repeat(201));
        for (payload, part) in [
            ("", "malformed order: EOF"),
            ("[1]", "malformed order: "),
            ("{\"id\": \"A-1\"", "malformed order: EOF"),
            (r#"{"id": "A-1", "amount_cents": 1}"#, "missing field `customer`"),
            (r#"{"id": "A-1", "customer": "a", "amount_cents": 1.5}"#, "floating point"),
            (r#"{"id": "A-1", "customer": "a", "amount_cents": 99999999999999999999}"#, "malformed order: "),
            (r#"{"id": "", "customer": "a", "amount_cents": 1}"#, "`id` has 0 bytes, not 1 to 200"),
            (&long, "`id` has 201 bytes"),
            (r#"{"id": "A-1", "customer": "", "amount_cents": 1}"#, "`customer` has 0 bytes"),
            (r#"{"id": "A-1", "customer": "a", "amount_cents": 0}"#, "`amount_cents` is 0, not above zero"),
            (r#"{"id": "A-1", "customer": "a", "amount_cents": -5}"#, "`amount_cents` is -5"),
        ] {
            let said = Order::parse(payload.as_bytes()).unwrap_err();
            assert!(said.contains(part), "{payload}: {said}");
        }
        assert!(Order::parse(b"\xff\xfe").is_err());
    }
}
