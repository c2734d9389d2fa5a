//! Functions that were compiled for a former version of a plugin. A new version of a guest in Python or JavaScript
//! differs in few of its 20,000 functions: the compiler takes the others from here. One pack of functions for each
//! plugin, because a guest that takes over its compiler could write a pack, and must not reach other plugins.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::CacheStore;

/// Most bytes of a pack. That of a guest in Python has 24 MiB.
pub(super) const PACK_BYTES_MAX: usize = 256 << 20;
/// Bytes before an entry: the length of its key and of its value, each as 32 bits, little-endian.
const LENGTHS_BYTES: usize = 8;

/// What a compilation knows from the last one of the same plugin, and what it leaves to the next. All that was used
/// stays; functions that no version has any more go.
#[derive(Debug, Default)]
pub struct Functions {
    known: Vec<u8>,
    places: HashMap<Vec<u8>, Range<usize>>,
    met: Mutex<Met>,
}

/// What a compilation has met so far.
#[derive(Debug, Default)]
struct Met {
    known: HashSet<Vec<u8>>,
    new: HashMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl Functions {
    /// The functions of a pack. Of a damaged pack, those before the damage.
    pub fn of_pack(known: Vec<u8>) -> Self {
        let (mut places, mut at) = (HashMap::new(), 0);
        while let Some((key, value)) = entry(&known, at) {
            at = value.end;
            places.insert(known[key].to_owned(), value);
        }
        Self { known, places, met: Mutex::default() }
    }

    /// Different functions that were not known.
    pub fn compiled(&self) -> usize {
        self.met().new.len()
    }

    /// The pack for the next compilation; none if it would be the same.
    pub fn into_pack(self) -> Option<Vec<u8>> {
        let met = self.met.into_inner().unwrap_or_else(PoisonError::into_inner);
        if met.new.is_empty() && met.known.len() == self.places.len() {
            return None;
        }
        let known = met.known.iter().filter_map(|key| {
            let place = self.places.get(key)?;
            Some((key, &self.known[place.clone()]))
        });
        let new = met.new.iter().map(|(key, value)| (key, value.as_slice()));
        let mut pack = Vec::with_capacity(met.bytes);
        for (key, value) in known.chain(new) {
            // Both are bounded by `PACK_BYTES_MAX`.
            for length in [key.len(), value.len()] {
                pack.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            }
            pack.extend_from_slice(key);
            pack.extend_from_slice(value);
        }
        Some(pack)
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut met = self.met();
        if let Some(place) = self.places.get(key) {
            if met.known.insert(key.to_owned()) {
                met.bytes += LENGTHS_BYTES + key.len() + place.len();
            }
            return Some(Cow::Borrowed(&self.known[place.clone()]));
        }
        // Guests repeat functions: nearly half of those of a guest in Python have a twin.
        met.new.get(key).map(|value| Cow::Owned(value.clone()))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut met = self.met();
        let bytes = met.bytes + LENGTHS_BYTES + key.len() + value.len();
        let fits = bytes <= PACK_BYTES_MAX;
        if fits && met.new.insert(key.to_owned(), value).is_none() {
            met.bytes = bytes;
        }
        fits
    }
}

/// Where key and value of the entry at `at` are.
fn entry(pack: &[u8], at: usize) -> Option<(Range<usize>, Range<usize>)> {
    let length = |at: usize| {
        let bytes = pack.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let (key_length, value_length) = (length(at)?, length(at + 4)?);
    let key = at + LENGTHS_BYTES..(at + LENGTHS_BYTES).checked_add(key_length)?;
    let value = key.end..key.end.checked_add(value_length)?;
    (value.end <= pack.len()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(entries: &[(&str, &str)]) -> Vec<u8> {
        let functions = Functions::default();
        for (key, value) in entries {
            assert!(functions.insert(key.as_bytes(), value.as_bytes().to_vec()));
        }
        functions.into_pack().unwrap()
    }

    fn found(functions: &Functions, key: &str) -> Option<Vec<u8>> {
        functions.get(key.as_bytes()).map(Cow::into_owned)
    }

    #[test]
    fn a_pack_holds_what_the_last_compilation_used() {
        let functions = Functions::of_pack(pack(&[("a", "1"), ("b", ""), ("c", "333")]));
        assert_eq!(found(&functions, "a"), Some(b"1".to_vec()));
        assert_eq!(found(&functions, "b"), Some(b"".to_vec()));
        assert_eq!(found(&functions, "d"), None);
        functions.insert(b"d", b"new".to_vec());
        assert_eq!(found(&functions, "d"), Some(b"new".to_vec()), "twins within one component");
        let next = Functions::of_pack(functions.into_pack().unwrap());
        assert_eq!(found(&next, "c"), None, "nobody used it");
        assert_eq!(found(&next, "d"), Some(b"new".to_vec()));
    }

    #[test]
    fn a_compilation_that_finds_everything_leaves_the_pack_alone() {
        let functions = Functions::of_pack(pack(&[("a", "1")]));
        found(&functions, "a");
        assert_eq!(functions.into_pack(), None);
        assert!(Functions::of_pack(pack(&[("a", "1")])).into_pack().is_some(), "nothing of it was used");
    }

    #[test]
    fn damaged_packs_are_read_as_far_as_they_go() {
        let whole = pack(&[("a", "1")]);
        for length in 0..whole.len() {
            assert_eq!(found(&Functions::of_pack(whole[..length].to_vec()), "a"), None);
        }
        let giant = [&whole[..], &u32::MAX.to_le_bytes(), &u32::MAX.to_le_bytes(), b"x"].concat();
        let functions = Functions::of_pack(giant);
        assert_eq!(found(&functions, "a"), Some(b"1".to_vec()));
    }
}
