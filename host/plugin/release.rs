//! What a fleet is to run: a component and its manifest as one thing with one id, and which of them is wanted.
//! Where they are kept is in `depot`.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::hex::{hex, unhex};

/// What an id is made over begins with this, so that it is not the digest of anything else.
const DOMAIN: &[u8] = b"sandhog release v1\n";

/// The highest number in an entry of the depot. Scripts in Redis count in doubles, which cannot hold every whole number
/// above it.
pub const NUMBER_MAX: u64 = 1 << 53;

/// A SHA-256, shown as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 64 of `0`-`9` and `a`-`f`")]
pub struct DigestError;

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new().chain_update(bytes))
    }

    fn finish(hasher: Sha256) -> Self {
        Self(hex(&hasher.finalize()))
    }

    /// Accepts 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        unhex::<32>(text).map(|_| Self(text.to_owned())).ok_or(DigestError)
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough digits to tell versions apart for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// A component with the terms it runs on. It never changes: another manifest is another release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The component.
    pub component: Digest,
    /// The text of its manifest.
    pub manifest: String,
    /// Who vouches for the component: the text of its `.sig` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Release {
    /// Its name: a digest over all of it.
    pub fn id(&self) -> Digest {
        let mut hasher = Sha256::new().chain_update(DOMAIN);
        for part in [self.component.as_str(), &self.manifest, self.signature.as_deref().unwrap_or_default()] {
            // With its length before it, no part can pass for the end of another.
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        Digest::finish(hasher)
    }
}

/// Which release of a plugin the fleet is to run, since when, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The release.
    pub release: Digest,
    /// Its component, for people and for tidying up.
    pub component: Digest,
    /// Grows with every deploy of the plugin: of two deploys, the one with the higher number is wanted. At most
    /// `NUMBER_MAX`.
    #[serde(deserialize_with = "counted")]
    pub number: u64,
    /// Redis time. At most `NUMBER_MAX`.
    #[serde(deserialize_with = "counted")]
    pub at_ms: u64,
    /// The machine it was deployed from, or whatever else was given.
    pub by: String,
    /// The signature over the order (`plugin::order`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// The signature of an order, and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The time by the signer's clock. At most `NUMBER_MAX`.
    #[serde(deserialize_with = "counted")]
    pub at_ms: u64,
    /// A line as in a `.sig` file.
    pub signature: String,
}

/// A number that scripts in Redis can increment exactly.
fn counted<'d, D: Deserializer<'d>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > NUMBER_MAX {
        return Err(D::Error::custom(format!("the number {number} is above {NUMBER_MAX}")));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(manifest: &str, signature: Option<&str>) -> Release {
        let signature = signature.map(str::to_owned);
        Release { component: Digest::of(b"component"), manifest: manifest.to_owned(), signature }
    }

    #[test]
    fn a_digest_is_what_sha256sum_prints() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(Digest::parse(empty), Ok(Digest::of(b"")));
        for bad in ["", &empty[1..], &empty.to_uppercase(), &format!("{empty}0"), &empty.replace('e', "g")] {
            assert_eq!(Digest::parse(bad), Err(DigestError), "{bad}");
        }
    }

    #[test]
    fn another_part_is_another_release() {
        let ids = [
            release("ab", None),
            release("a", Some("b")),
            release("", Some("ab")),
            Release { component: Digest::of(b"other"), ..release("ab", None) },
        ]
        .map(|release| release.id());
        for (n, id) in ids.iter().enumerate() {
            assert!(!ids[n + 1..].contains(id), "{n}");
        }
        // Hosts of other versions must find the same.
        let expected = "d2eb98a2bafb27f23e41aa062608e20cce91d7e3948ea1d061e8c01dbc510934";
        assert_eq!(ids[0].as_str(), expected);
    }

    #[test]
    fn what_is_stored_is_read_again_and_nothing_else() {
        for release in [release("kind = \"worker\"\n", None), release("", Some("s"))] {
            let text = serde_json::to_string(&release).unwrap();
            assert_eq!(serde_json::from_str::<Release>(&text).unwrap(), release);
        }
        let wanted = |number: &str| {
            let digest = Digest::of(b"");
            let text = format!(
                r#"{{"release":"{digest}","component":"{digest}","number":{number},"at_ms":1,"by":"x"}}"#
            );
            serde_json::from_str::<Wanted>(&text).map(|wanted| wanted.number)
        };
        assert_eq!(wanted("9007199254740992").unwrap(), NUMBER_MAX);
        let refused = wanted("9007199254740993").unwrap_err().to_string();
        assert!(refused.starts_with("the number 9007199254740993 is above 9007199254740992"), "{refused}");
        for bad in ["18446744073709551616", "1.844674407371e+19", "-1", "1.5"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
        let short = r#"{"component":"00","manifest":""}"#;
        assert!(serde_json::from_str::<Release>(short).is_err());
    }
}
