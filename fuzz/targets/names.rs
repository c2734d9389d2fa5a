//! Names, grants and patterns: our matcher against a plain one, ours in Redis' language against Redis' own rules.
//! Input: a pattern, a line feed, a name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandhog::capability::glob::{of_pattern, of_prefix};
use sandhog::capability::grant::Patterns;
use sandhog::job::key::{QueueKeys, companions};
use sandhog::job::name::{HostId, JobId, QueueName, is_reserved};
use sandhog::plugin::name::PluginName;

/// `*` is any run of bytes, anything else itself.
fn plain(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for byte in pattern {
        if *byte == b'*' {
            let first = reached.iter().position(|is| *is).unwrap_or(reached.len());
            reached[first..].fill(true);
        } else {
            for at in (1..reached.len()).rev() {
                reached[at] = reached[at - 1] && name[at - 1] == *byte;
            }
            reached[0] = false;
        }
    }
    reached[name.len()]
}

/// What Redis does with the globs we make: `\` takes the next byte as it is, `?` is one byte.
fn redis(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' => {
                let first = reached.iter().position(|is| *is).unwrap_or(reached.len());
                reached[first..].fill(true);
                continue;
            }
            b'[' => panic!("a class in {pattern:?}"),
            _ => {}
        }
        let exact = match byte {
            b'\\' => Some(bytes.next().expect("something follows")),
            b'?' => None,
            byte => Some(byte),
        };
        for at in (1..reached.len()).rev() {
            reached[at] = reached[at - 1] && exact.is_none_or(|byte| name[at - 1] == *byte);
        }
        reached[0] = false;
    }
    reached[name.len()]
}

fuzz_target!(|text: &str| {
    let (pattern, name) = text.split_once('\n').unwrap_or((text, text));
    let (pattern, name) = (pattern.get(..pattern.floor_char_boundary(256)).unwrap_or(""), name);
    let name = &name[..name.floor_char_boundary(256)];
    let granted = Patterns::new(&[pattern]);
    let matches = granted.matches(name);
    assert_eq!(matches, plain(pattern.as_bytes(), name.as_bytes()) && !is_reserved(name));
    if granted.covers_prefix(name) {
        for more in ["", "x", ":y", "\0"] {
            let longer = format!("{name}{more}");
            assert!(granted.matches(&longer) || is_reserved(&longer));
        }
    }
    let glob = of_pattern(pattern);
    assert!(!matches || redis(glob.as_bytes(), name.as_bytes()), "a rule refuses what is granted: {glob:?}");
    if !pattern.bytes().any(|b| matches!(b, 0 | b' ' | 9..=13)) {
        assert_eq!(redis(glob.as_bytes(), name.as_bytes()), plain(pattern.as_bytes(), name.as_bytes()));
    }
    let listed = of_prefix(pattern);
    assert_eq!(redis(listed.as_bytes(), name.as_bytes()), name.as_bytes().starts_with(pattern.as_bytes()));
    if let Ok(queue) = QueueName::new(name) {
        let keys = QueueKeys::new(&queue);
        for key in [&keys.ready, &keys.delayed, &keys.unique("u")] {
            assert!(is_reserved(key) && !granted.matches(key), "{key}");
        }
        let covered =
            |key: &str| companions(pattern, "ready").iter().any(|p| plain(p.as_bytes(), key.as_bytes()));
        assert!(!matches || covered(&keys.ready), "the companion of {name:?} is not covered by {pattern:?}");
    }
    if let Some(host) = HostId::parse(name) {
        assert!(host.as_str() == name && host.seat().starts_with(host.name()) && host.epoch_ms() < 1 << 48);
    }
    let _ = (JobId::new(name), PluginName::new(name));
});
