//! Verifies who has ordered what the fleet runs. Anybody with write access to Redis can exchange a release there, so
//! hosts with `plugins.trusted_keys` require a signed order. The signature covers the plugin's name, the release
//! (component, manifest and signature of the component), its number, and the time of signing. A host records the time
//! of the latest order that it has accepted for each plugin, and refuses earlier orders: an old signed order cannot
//! bring back an old version. For a rollback, the holder of a key signs a new order for the former release.
//! A host without such a record, because its state folder is new, accepts any order that was ever signed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::name::PluginName;
use super::release::{Digest, Signed, Wanted};
use super::signature::{self, PrivateKey, SignatureError};
use crate::config::public_key::PublicKey;
use crate::config::unit::show_duration;

/// Domain-separation prefix of the signed text.
const DOMAIN: &str = "sandhog order v1\n";
/// Longest record of an accepted order, in bytes.
const NOTE_BYTES_MAX: u64 = 32;

/// Why an order is refused; the text follows the order's number and the plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The order has no signature.
    #[error(
        "is not signed, but `plugins.trusted_keys` requires a signature; deploy it with `sandhog deploy FILE --key KEY`"
    )]
    Missing,
    /// The signature cannot be read.
    #[error("has a signature that cannot be read; deploy it again")]
    Form,
    /// A key that is not trusted has signed the order.
    #[error("is signed by `{0}`, which is not one of `plugins.trusted_keys`")]
    Untrusted(PublicKey),
    /// The order differs from the signed one.
    #[error(
        "has a signature of `{0}` that is not for this order: the release, the number or the plugin's name was \
         changed after signing"
    )]
    Wrong(PublicKey),
    /// The host has accepted a later order.
    #[error(
        "was signed {} before the latest one that this host has accepted; to return to a former version, use \
         `sandhog rollback PLUGIN --key KEY`",
        show_duration(*.0)
    )]
    Old(Duration),
}

impl From<SignatureError> for OrderError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Missing => Self::Missing,
            SignatureError::Form(_) => Self::Form,
            SignatureError::Untrusted(key) => Self::Untrusted(key),
            SignatureError::Wrong(key) => Self::Wrong(key),
        }
    }
}

/// Signs the order to run a release of a plugin; `at_ms` is the time by the signer's clock.
pub fn sign(key: &PrivateKey, plugin: &PluginName, release: &Digest, number: u64, at_ms: u64) -> Signed {
    let signature = key.sign_message(&message(plugin, release, number, at_ms)).to_string();
    Signed { at_ms, signature }
}

/// Returns when one of these keys has signed the order.
///
/// # Errors
/// None of these keys has signed it.
pub fn verify(plugin: &PluginName, wanted: &Wanted, trusted: &[PublicKey]) -> Result<u64, OrderError> {
    let signed = wanted.signed.as_ref().ok_or(OrderError::Missing)?;
    let message = message(plugin, &wanted.release, wanted.number, signed.at_ms);
    signature::verify_message(&message, Some(&signed.signature), trusted)?;
    Ok(signed.at_ms)
}

/// The text that is signed.
fn message(plugin: &PluginName, release: &Digest, number: u64, at_ms: u64) -> String {
    format!("{DOMAIN}{plugin}\n{release}\n{number}\n{at_ms}\n")
}

/// The orders that a host has accepted.
#[derive(Debug)]
pub struct Orders {
    trusted: Vec<PublicKey>,
    folder: PathBuf,
}

impl Orders {
    /// For a host with these keys and this state folder. Without keys it accepts every order.
    pub fn new(trusted: &[PublicKey], state_dir: &Path) -> Self {
        Self { trusted: trusted.to_vec(), folder: state_dir.join("orders") }
    }

    /// Accepts an order, and records its time.
    ///
    /// # Errors
    /// The order is not signed by a trusted key, or the host has accepted a later one.
    pub fn accept(&self, plugin: &PluginName, wanted: &Wanted) -> Result<(), OrderError> {
        if self.trusted.is_empty() {
            return Ok(());
        }
        let at_ms = verify(plugin, wanted, &self.trusted)?;
        let latest_ms = self.latest_ms(plugin);
        if at_ms < latest_ms {
            return Err(OrderError::Old(Duration::from_millis(latest_ms - at_ms)));
        }
        if at_ms > latest_ms
            && let Err(error) = self.note(plugin, at_ms)
        {
            tracing::warn!(
                plugin = plugin.as_str(),
                %error,
                "cannot save which order was accepted; after a restart the host would accept an earlier one, too"
            );
        }
        Ok(())
    }

    /// The time of the latest accepted order; 0 if there is none.
    fn latest_ms(&self, plugin: &PluginName) -> u64 {
        let read = || -> io::Result<String> {
            let mut text = String::new();
            File::open(self.file(plugin))?.take(NOTE_BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        };
        read().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn note(&self, plugin: &PluginName, at_ms: u64) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        writeln!(new, "{at_ms}")?;
        new.persist(self.file(plugin))?;
        Ok(())
    }

    fn file(&self, plugin: &PluginName) -> PathBuf {
        self.folder.join(plugin.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PluginName {
        PluginName::new(text).unwrap()
    }

    fn order(key: &PrivateKey, release: &[u8], number: u64, at_ms: u64) -> Wanted {
        let release = Digest::of(release);
        let signed = Some(sign(key, &name("thumbs"), &release, number, at_ms));
        Wanted { release, component: Digest::of(b"c"), number, at_ms: 5, by: "here".to_owned(), signed }
    }

    #[test]
    fn an_order_is_good_for_its_plugin_release_and_number_and_for_nothing_else() {
        let (key, foreign) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let trusted = [key.public()];
        let good = order(&key, b"1", 1, 100);
        assert_eq!(verify(&name("thumbs"), &good, &trusted), Ok(100));
        let wrong = Err(OrderError::Wrong(key.public()));
        assert_eq!(verify(&name("other"), &good, &trusted), wrong);
        let other_time = Some(Signed { at_ms: 101, ..good.signed.clone().unwrap() });
        for changed in [
            Wanted { release: Digest::of(b"2"), ..good.clone() },
            Wanted { number: 2, ..good.clone() },
            Wanted { signed: other_time, ..good.clone() },
        ] {
            assert_eq!(verify(&name("thumbs"), &changed, &trusted), wrong, "{changed:?}");
        }
        let unsigned = Wanted { signed: None, ..good.clone() };
        assert_eq!(verify(&name("thumbs"), &unsigned, &trusted), Err(OrderError::Missing));
        let of_foreign = order(&foreign, b"1", 1, 100);
        let refused = verify(&name("thumbs"), &of_foreign, &trusted);
        assert_eq!(refused, Err(OrderError::Untrusted(foreign.public())));
        let of_component = Signed { at_ms: 100, signature: key.sign(&good.release).to_string() };
        let other_kind = Wanted { signed: Some(of_component), ..good };
        assert_eq!(verify(&name("thumbs"), &other_kind, &trusted), wrong, "it is valid for a component only");
    }

    #[test]
    fn an_order_before_the_latest_is_refused_by_whoever_accepted_that_also_after_a_restart() {
        let (dir, key) = (tempfile::tempdir().unwrap(), PrivateKey::generate().unwrap());
        let orders = || Orders::new(&[key.public()], dir.path());
        let (old, new) = (order(&key, b"1", 1, 100), order(&key, b"2", 2, 5_100));
        assert_eq!(orders().accept(&name("thumbs"), &old), Ok(()));
        assert_eq!(orders().accept(&name("thumbs"), &new), Ok(()));
        assert_eq!(orders().accept(&name("thumbs"), &new), Ok(()), "the latest stays good");
        let refused = orders().accept(&name("thumbs"), &old);
        assert_eq!(refused, Err(OrderError::Old(Duration::from_secs(5))));
        // A rollback is a new order for the former release.
        assert_eq!(orders().accept(&name("thumbs"), &order(&key, b"1", 3, 5_101)), Ok(()));
        let anybody = Orders::new(&[], dir.path());
        assert_eq!(anybody.accept(&name("thumbs"), &Wanted { signed: None, ..old }), Ok(()));
    }
}
