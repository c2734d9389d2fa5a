//! Any bytes as a job's envelope: what is read is written and read the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandhog::job::envelope::{HEADER_BYTES_MAX, Header};

fuzz_target!(|bytes: &[u8]| {
    let Ok((mut header, payload)) = Header::decode(bytes) else { return };
    let line = header.encode();
    if line.len() <= HEADER_BYTES_MAX {
        let again = [line.as_bytes(), payload].concat();
        assert_eq!(Header::decode(&again), Ok((header.clone(), payload)));
    }
    header.fit();
    let own_only = header.producer_headers().next().is_none() && header.note("!unique").is_none();
    assert!(!own_only || header.encode().len() <= HEADER_BYTES_MAX);
});
