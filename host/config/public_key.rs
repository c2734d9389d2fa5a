//! The name by which a signer is trusted: an Ed25519 public key, written `ed25519:` and 64 hexadecimal digits. What
//! is signed, and how, is in `plugin::signature`.

use std::fmt;

use super::hex::{hex, unhex};

/// What stands before the digits.
const ALGORITHM: &str = "ed25519:";

/// A public key. That it is one of the curve shows only when a signature is checked with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Accepts what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text.strip_prefix(ALGORITHM)?).map(Self)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = PublicKey::new([7; 32]);
        let text = format!("ed25519:{}", "07".repeat(32));
        assert_eq!((key.to_string(), PublicKey::parse(&text)), (text.clone(), Some(key)));
        for bad in ["", &text[8..], &text[..70], &text.to_uppercase(), "ed25519:", "rsa:00"] {
            assert_eq!(PublicKey::parse(bad), None, "{bad}");
        }
    }
}
