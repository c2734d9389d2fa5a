//! A look at the plugin folder: everything in it read, hashed and compared, before anything is loaded. Reads whole
//! files, so it is for threads that may block.

use std::collections::BTreeMap;
use std::path::Path;

use super::manifest::Manifest;
use super::name::PluginName;
use super::release::{Digest, Release};
use super::scan::{Source, conflicts, try_scan};
use super::signature;
use crate::config::problem::{Problem, Problems};
use crate::config::public_key::PublicKey;
use crate::config::settings::Ceilings;

/// A release of a plugin with everything that loading it takes.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What it holds.
    pub source: Source,
    /// The same as one thing.
    pub release: Release,
    /// What tells it apart from any other.
    pub id: Digest,
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

impl Offer {
    /// What files hold.
    pub fn new(source: Source) -> Self {
        let release = Release {
            component: Digest::of(&source.component),
            manifest: source.text.clone(),
            signature: source.signature.clone(),
        };
        let id = release.id();
        Self { source, release, id }
    }

    /// A release that comes from elsewhere with its `component`, which is that of the release; refused for what files
    /// would be refused for. `origin` is its name for people.
    pub fn of_release(
        name: PluginName,
        release: Release,
        component: Vec<u8>,
        origin: &str,
        ceilings: &Ceilings,
        trusted: &[PublicKey],
    ) -> Result<Self, Problems> {
        let manifest = Manifest::parse(origin, &release.manifest, ceilings);
        let vouched = signature::verify(&release.component, release.signature.as_deref(), trusted)
            .map_err(|error| Problems::one(Problem::new(origin, error.to_string())));
        let manifest = match (manifest, vouched) {
            (Ok(manifest), Ok(())) => manifest,
            (manifest, vouched) => {
                let mut problems = manifest.err().unwrap_or_default();
                problems.append(vouched.err().unwrap_or_default());
                return Err(problems);
            }
        };
        let (origin, text, signature) =
            (origin.to_owned(), release.manifest.clone(), release.signature.clone());
        let source =
            Source { name, manifest, component, component_origin: origin.clone(), origin, text, signature };
        let id = release.id();
        Ok(Self { source, release, id })
    }
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
                Ok(source) => survey.offers.push(Offer::new(source)),
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

    /// Leaves out a plugin that comes from elsewhere.
    pub fn without(&mut self, name: &PluginName) {
        self.offers.retain(|offer| offer.source.name != *name);
        self.refused.remove(name);
    }

    fn refuse(&mut self, name: PluginName, problems: Problems) {
        self.refused.entry(name).or_default().append(problems);
    }
}
