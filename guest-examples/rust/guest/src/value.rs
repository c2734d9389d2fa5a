//! What Redis holds, as the types of Rust: bytes, text, whole numbers in decimal, and JSON.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// What can be written under a key, or pushed to a queue.
pub trait ToValue {
    /// The bytes that Redis is to hold.
    fn to_value(&self) -> Cow<'_, [u8]>;
}

/// What can be read from a key, or taken from a queue.
pub trait FromValue: Sized {
    /// What it is called where something else was found: "text", "whole number".
    const WANTED: &'static str;

    /// The value; none if the bytes are something else.
    fn from_value(bytes: Vec<u8>) -> Option<Self>;
}

/// The value under `name`, or an error that names it.
pub(crate) fn read<T: FromValue>(name: &str, bytes: Vec<u8>) -> Result<T> {
    T::from_value(bytes).ok_or_else(|| Error::Malformed(format!("`{name}` holds no {}", T::WANTED)))
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Cow<'_, [u8]> {
        (**self).to_value()
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl FromValue for Vec<u8> {
    const WANTED: &'static str = "bytes";

    fn from_value(bytes: Vec<u8>) -> Option<Self> {
        Some(bytes)
    }
}

impl ToValue for str {
    fn to_value(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.as_bytes())
    }
}

impl FromValue for String {
    const WANTED: &'static str = "UTF-8 text";

    fn from_value(bytes: Vec<u8>) -> Option<Self> {
        Self::from_utf8(bytes).ok()
    }
}

/// Whole numbers are decimal text, as Redis' own counters are.
macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl ToValue for $number {
            fn to_value(&self) -> Cow<'_, [u8]> {
                Cow::Owned(self.to_string().into_bytes())
            }
        }

        impl FromValue for $number {
            const WANTED: &'static str = "whole number that fits";

            fn from_value(bytes: Vec<u8>) -> Option<Self> {
                std::str::from_utf8(&bytes).ok()?.parse().ok()
            }
        }
    )*};
}
whole_numbers!(i32, i64, u32, u64, usize);

/// A value as JSON: `kv::get::<Json<Cart>>("cart:7")`, `kv::set("cart:7", &Json(cart))`.
#[cfg(feature = "serde")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(
    /// What is written or was read.
    pub T,
);

#[cfg(feature = "serde")]
impl<T: serde::Serialize> ToValue for Json<T> {
    /// # Panics
    ///
    /// Where JSON cannot say it: a map whose keys are no text.
    fn to_value(&self) -> Cow<'_, [u8]> {
        Cow::Owned(serde_json::to_vec(&self.0).expect("what is written as JSON has text for keys"))
    }
}

#[cfg(feature = "serde")]
impl<T: serde::de::DeserializeOwned> FromValue for Json<T> {
    const WANTED: &'static str = "JSON of the right shape";

    fn from_value(bytes: Vec<u8>) -> Option<Self> {
        serde_json::from_slice(&bytes).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        fn back<T: ToValue + FromValue + PartialEq>(value: T) -> bool {
            T::from_value(value.to_value().into_owned()) == Some(value)
        }
        assert!(back(vec![0, 255]) && back("żółw".to_owned()) && back(String::new()));
        assert!(back(i64::MIN) && back(u64::MAX) && back(-7_i32) && back(7_u32) && back(7_usize));
        #[cfg(feature = "serde")]
        assert!(back(Json(vec![("ada".to_owned(), 1)])));
    }

    #[test]
    fn what_is_something_else_is_said_with_its_name() {
        let read = |bytes: &[u8]| super::read::<u32>("count", bytes.into()).unwrap_err().to_string();
        for bytes in [&b""[..], b"-1", b"1.5", b" 1", b"4294967296", b"\xff"] {
            assert_eq!(read(bytes), "`count` holds no whole number that fits");
        }
        let text = super::read::<String>("name", vec![0xff]).unwrap_err();
        assert_eq!(text.to_string(), "`name` holds no UTF-8 text");
    }
}
