//! What hosts read of a fleet: releases, what is wanted, reports, signatures, keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandhog::config::public_key::PublicKey;
use sandhog::job::report::{PluginReport, Swap};
use sandhog::plugin::release::{Digest, Release, Wanted};
use sandhog::plugin::signature::{PrivateKey, verify};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(release) = serde_json::from_slice::<Release>(bytes) {
        let again = serde_json::to_vec(&release).expect("it can be written");
        let again: Release = serde_json::from_slice(&again).expect("it can be read again");
        assert_eq!((again.id(), &again), (release.id(), &release));
    }
    let _ = serde_json::from_slice::<Wanted>(bytes);
    let _ = serde_json::from_slice::<Vec<PluginReport>>(bytes);
    let _ = serde_json::from_slice::<Swap>(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Digest::parse(text);
    let trusted = PublicKey::new([7; 32]);
    assert!(verify(&Digest::of(b"component"), Some(text), &[trusted]).is_err(), "nobody has its private key");
    if let Some(key) = PublicKey::parse(text) {
        assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
    }
    let _ = PrivateKey::parse(text);
});
