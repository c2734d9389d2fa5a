//! A look at the plugin folder: everything in it read, hashed and compared, before anything is loaded. Reads whole
//! files, so it is for threads that may block.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::name::PluginName;
use super::scan::{Source, conflicts, try_scan};
use crate::config::problem::Problems;
use crate::config::public_key::PublicKey;
use crate::config::settings::Ceilings;

/// What the two files of a plugin hold, and what tells it apart from what they held before.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What they hold.
    pub source: Source,
    /// SHA-256 of the component, 64 hex digits.
    pub digest: String,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Plugins whose files are right as far as can be seen without loading them.
    pub offers: Vec<Offer>,
    /// Plugins whose files are not, and why.
    pub refused: BTreeMap<PluginName, Problems>,
    /// What is wrong with files that belong to no plugin.
    pub others: Problems,
    /// The folder could not be read: nothing is known of its plugins.
    pub unreadable: bool,
}

impl Survey {
    /// Looks at the folder.
    pub fn of(folder: &Path, ceilings: &Ceilings, trusted: &[PublicKey]) -> Self {
        let (pairs, others) = match try_scan(folder) {
            Ok(found) => found,
            Err(problem) => {
                return Self { others: Problems::one(problem), unreadable: true, ..Self::default() };
            }
        };
        let mut survey = Self { others, ..Self::default() };
        for pair in &pairs {
            match pair.read(ceilings, trusted) {
                Ok(source) => {
                    let digest = digest(&source.component);
                    survey.offers.push(Offer { source, digest });
                }
                Err(refused) => survey.refuse(pair.name.clone(), refused),
            }
        }
        let seen = survey.offers.iter().map(|offer| &offer.source);
        let seen: Vec<_> = seen.map(|s| (&s.name, s.origin.as_str(), &s.manifest)).collect();
        for (name, problem) in conflicts(&seen) {
            survey.offers.retain(|offer| offer.source.name != name);
            survey.refuse(name, Problems::one(problem));
        }
        survey
    }

    /// Whether the folder has this plugin, good or not.
    pub fn has(&self, name: &PluginName) -> bool {
        self.refused.contains_key(name) || self.offers.iter().any(|offer| offer.source.name == *name)
    }

    fn refuse(&mut self, name: PluginName, problems: Problems) {
        self.refused.entry(name).or_default().append(problems);
    }
}

/// SHA-256 in 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
