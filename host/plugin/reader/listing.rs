//! The prefixes a config reader has listed, and the connection on which Redis tells of every change under them.
//! Keys it read one by one are told of on the connection that read them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::storage::address::AddressError;
use crate::storage::link::{Link, Tracking};
use crate::storage::primary::Primary;
use crate::storage::wake::Wake;

/// Most prefixes that are watched; Redis compares each with every key that is written.
pub(super) const PREFIXES_MAX: usize = 256;

/// The watch over listed prefixes.
#[derive(Debug)]
pub(super) struct Listing {
    primary: Primary,
    signal: Arc<Notify>,
    prefixes: BTreeSet<String>,
    link: Option<Link>,
}

/// What new prefixes led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extended {
    /// All were watched before the run that listed them.
    Not,
    /// Some are watched only from the next connection on: that run may have missed a change.
    Watched,
    /// There are too many to watch.
    TooMany,
}

impl Listing {
    /// Watches nothing yet; gives `signal` at every change.
    pub(super) fn new(primary: &Primary, signal: &Arc<Notify>) -> Self {
        let (primary, signal) = (primary.clone(), signal.clone());
        Self { primary, signal, prefixes: BTreeSet::new(), link: None }
    }

    /// The connection, if anything is watched.
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Watches these prefixes as well. None is ever given up: a reader whose listings change from run to run
    /// would otherwise have to run again each time.
    pub(super) fn extend(&mut self, prefixes: &BTreeSet<String>) -> Result<Extended, AddressError> {
        let wanted = without_covered(self.prefixes.union(prefixes).map(String::as_str));
        if wanted == self.prefixes {
            return Ok(Extended::Not);
        }
        if wanted.len() > PREFIXES_MAX {
            return Ok(Extended::TooMany);
        }
        let wake = Arc::new(Wake::default());
        // This connection is told of these prefixes only, so whatever it is told counts.
        wake.watch_prefix("", &self.signal);
        let tracking = Tracking::Prefixes(wake, wanted.iter().cloned().collect());
        self.link = Some(self.primary.link("config-list", tracking)?);
        self.prefixes = wanted;
        Ok(Extended::Watched)
    }
}

/// The prefixes without those that start with another one: Redis refuses to watch both.
fn without_covered<'p>(sorted: impl Iterator<Item = &'p str>) -> BTreeSet<String> {
    let mut kept: Vec<&str> = Vec::new();
    for prefix in sorted {
        // In sorted order whatever covers a prefix comes before it, with nothing but covered ones between.
        if !kept.last().is_some_and(|last| prefix.starts_with(last)) {
            kept.push(prefix);
        }
    }
    kept.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::storage::address::{Address, TlsFiles};

    fn set(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|prefix| (*prefix).to_owned()).collect()
    }

    #[test]
    fn prefixes_under_another_are_left_out() {
        for (all, kept) in [
            (&[][..], &[][..]),
            (&["a"], &["a"]),
            (&["a", "ab", "abc", "b"], &["a", "b"]),
            (&["", "a", "b"], &[""]),
            (&["config:", "config:a", "conf", "x:", "x"], &["conf", "x"]),
            (&["ab", "abc", "abd", "ac"], &["ab", "ac"]),
        ] {
            assert_eq!(without_covered(set(all).iter().map(String::as_str)), set(kept), "{all:?}");
        }
    }

    #[tokio::test]
    async fn only_what_was_not_watched_extends_the_watch() {
        let address = Address::parse("unix:///nowhere/redis.sock", TlsFiles::default()).unwrap();
        let mut listing =
            Listing::new(&Primary::at(&address, Duration::from_secs(1)), &Arc::new(Notify::new()));
        let many: BTreeSet<String> = (0..=PREFIXES_MAX).map(|n| format!("{n:04}:")).collect();
        for (prefixes, expected) in [
            (set(&[]), Extended::Not),
            (set(&["a:", "b:"]), Extended::Watched),
            (set(&["a:x"]), Extended::Not),
            (set(&["b:"]), Extended::Not),
            (many, Extended::TooMany),
            (set(&["c:"]), Extended::Watched),
            (set(&[""]), Extended::Watched),
            (set(&["anything"]), Extended::Not),
        ] {
            assert_eq!(listing.extend(&prefixes), Ok(expected), "{:?}", prefixes.first());
        }
        assert!(listing.link().is_some());
    }
}
