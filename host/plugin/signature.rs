//! Who vouches for a component: Ed25519 signatures over its digest. They lie beside it (`thumbs.wasm.sig`) and go
//! with it through the depot; a host with `plugins.trusted_keys` takes only components that one of these has
//! signed. The manifest beside it in a plugin folder is not signed: it is the operator's own. A deploy through Redis is
//! signed as a whole (`order`).
//!
//! A signature is a line `ed25519:KEY SIGNATURE`, both in hexadecimal digits; a file may have several.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::release::Digest;
use crate::config::hex::{hex, unhex};
use crate::config::public_key::PublicKey;

/// Largest `.sig` file.
pub const SIGNATURE_BYTES_MAX: u64 = 4096;
/// Most signatures of one component that are looked at.
const SIGNATURES_MAX: usize = 16;
/// What is signed begins with this, so that it is valid for nothing else.
const DOMAIN: &str = "sandhog component v1\n";
/// What stands before the digits of a private key.
const PRIVATE: &str = "ed25519-private:";

/// Why a component is not taken; goes on after the name of its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Nobody vouches for it.
    #[error(
        "is not signed, but `plugins.trusted_keys` requires a signature; sign it: `sandhog sign FILE --key KEY`"
    )]
    Missing,
    /// What lies beside it is no signature.
    #[error("has a signature that cannot be read: line {0} is not of the form `ed25519:KEY SIGNATURE`")]
    Form(usize),
    /// Somebody else vouches for it.
    #[error("is signed by `{0}`, which is not one of `plugins.trusted_keys`")]
    Untrusted(PublicKey),
    /// It is not what was signed.
    #[error("has a signature of `{0}` that is not for this component: it was changed after it was signed")]
    Wrong(PublicKey),
}

/// One signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Who signed.
    pub key: PublicKey,
    bytes: [u8; 64],
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (key, digits) = line.split_once(' ')?;
        Some(Self { key: PublicKey::parse(key)?, bytes: unhex(digits)? })
    }

    fn is_for(&self, message: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.key.bytes());
        key.verify(message.as_bytes(), &self.bytes).is_ok()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, hex(&self.bytes))
    }
}

/// Whether a trusted key vouches for a component; `text` is what its `.sig` file holds. Without trusted keys
/// everything is taken.
pub fn verify(component: &Digest, text: Option<&str>, trusted: &[PublicKey]) -> Result<(), SignatureError> {
    if trusted.is_empty() { Ok(()) } else { verify_message(&message(component), text, trusted) }
}

/// Whether a trusted key has signed a message.
pub(super) fn verify_message(
    message: &str,
    text: Option<&str>,
    trusted: &[PublicKey],
) -> Result<(), SignatureError> {
    // The reason that is told: that of the last one who is trusted, or else of the first one.
    let mut reason = SignatureError::Missing;
    for (number, line) in text.unwrap_or_default().lines().take(SIGNATURES_MAX).enumerate() {
        let found = match Signature::parse(line.trim()) {
            _ if line.trim().is_empty() => continue,
            None => SignatureError::Form(number + 1),
            Some(signature) if !trusted.contains(&signature.key) => SignatureError::Untrusted(signature.key),
            Some(signature) if signature.is_for(message) => return Ok(()),
            Some(signature) => SignatureError::Wrong(signature.key),
        };
        if reason == SignatureError::Missing || matches!(found, SignatureError::Wrong(_)) {
            reason = found;
        }
    }
    Err(reason)
}

/// What is signed.
fn message(component: &Digest) -> String {
    format!("{DOMAIN}{component}\n")
}

/// A private key. It shows itself nowhere but in `text`.
pub struct PrivateKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// A new one; none if the system has no random numbers.
    pub fn generate() -> Option<Self> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).ok()?;
        Self::new(seed)
    }

    /// Accepts what `text` writes, with space around it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(unhex(text.trim().strip_prefix(PRIVATE)?)?)
    }

    fn new(seed: [u8; 32]) -> Option<Self> {
        // There is no public key beside the seed that it could be checked against.
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self { seed, pair })
    }

    /// As it stands in its file. It is a secret.
    pub fn text(&self) -> String {
        format!("{PRIVATE}{}", hex(&self.seed))
    }

    /// The key by which others know it.
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key().as_ref().try_into();
        PublicKey::new(bytes.expect("an Ed25519 public key has 32 bytes"))
    }

    /// Vouches for a component.
    pub fn sign(&self, component: &Digest) -> Signature {
        self.sign_message(&message(component))
    }

    /// Signs a text that begins with a domain-separation prefix.
    pub(super) fn sign_message(&self, message: &str) -> Signature {
        let signature = self.pair.sign(message.as_bytes());
        let bytes = signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        Signature { key: self.public(), bytes }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new([seed; 32]).unwrap()
    }

    #[test]
    fn only_a_trusted_key_and_only_for_this_component_counts() {
        let (ours, theirs) = (key(1), key(2));
        let (component, other) = (Digest::of(b"component"), Digest::of(b"other"));
        let trusted = [ours.public()];
        let good = ours.sign(&component).to_string();
        let foreign = theirs.sign(&component).to_string();
        let moved = ours.sign(&other).to_string();
        let mut flipped = good.clone();
        flipped.replace_range(80..81, if &good[80..81] == "0" { "1" } else { "0" });
        let forged = foreign.replace(&theirs.public().to_string(), &ours.public().to_string());
        let check = |text: Option<&str>| verify(&component, text, &trusted);
        assert_eq!(check(Some(&good)), Ok(()));
        assert_eq!(check(Some(&format!("{foreign}\n\n{moved}\n {good} \n"))), Ok(()));
        assert_eq!(check(None), Err(SignatureError::Missing));
        assert_eq!(check(Some("\n")), Err(SignatureError::Missing));
        assert_eq!(check(Some(&foreign)), Err(SignatureError::Untrusted(theirs.public())));
        for wrong in [moved, flipped, forged] {
            assert_eq!(check(Some(&wrong)), Err(SignatureError::Wrong(ours.public())), "{wrong}");
        }
        for unreadable in ["x", &good[1..], &good[..good.len() - 1], &good.replace(' ', "")] {
            assert_eq!(check(Some(unreadable)), Err(SignatureError::Form(1)), "{unreadable}");
        }
        assert_eq!(
            check(Some(&format!("{}{good}", "x\n".repeat(SIGNATURES_MAX)))),
            Err(SignatureError::Form(1))
        );
        // Without trusted keys nobody looks.
        assert_eq!(verify(&component, Some("x"), &[]), Ok(()));
    }

    #[test]
    fn a_private_key_is_read_as_it_is_written_and_shows_itself_nowhere_else() {
        let made = PrivateKey::generate().unwrap();
        let read = PrivateKey::parse(&format!("{}\n", made.text())).unwrap();
        assert_eq!((made.public(), made.text()), (read.public(), read.text()));
        assert_ne!(made.public(), PrivateKey::generate().unwrap().public());
        assert!(!format!("{made:?}").contains(&made.text()[PRIVATE.len()..]));
        assert!(PrivateKey::parse(&made.public().to_string()).is_none());
    }

    /// Made elsewhere (RFC 8032, section 7.1, test 1, has this seed and this public key), so that what we sign today
    /// is believed tomorrow.
    #[test]
    fn keys_are_those_of_the_standard() {
        let seed = "ed25519-private:9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(PrivateKey::parse(seed).unwrap().public().to_string(), public);
    }
}
