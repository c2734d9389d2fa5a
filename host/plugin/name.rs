//! The name of a plugin: what its two files are called, and what logs, grants and settings call it.

use std::fmt;

use crate::job::name::NameError;

/// Longest name in bytes: it stands in every log line of the plugin.
pub const PLUGIN_NAME_BYTES_MAX: usize = 64;

/// A plugin, as its files are named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(String);

impl PluginName {
    /// Accepts 1 to 64 of `a`-`z`, `0`-`9`, `_` and `-`.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > PLUGIN_NAME_BYTES_MAX || !name.bytes().all(fits) {
            return Err(NameError("a plugin name has 1 to 64 of `a`-`z`, `0`-`9`, `_` and `-`"));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_file_names_everywhere() {
        for good in ["a", "site-settings", "v2_b", "0", &"x".repeat(64)] {
            assert_eq!(PluginName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "a.b", "a b", "../a", "ключ", &"x".repeat(65)] {
            assert!(PluginName::new(bad).is_err(), "{bad}");
        }
    }
}
