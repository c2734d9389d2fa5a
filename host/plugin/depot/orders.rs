//! Reads which release of each plugin is wanted, and which ones were wanted before. Anybody with write access to Redis
//! can write there, so an entry that is too long is not fetched, and an invalid entry does not hide the others.

use std::collections::BTreeMap;

use super::{Depot, DepotError, HISTORY_MAX, PLUGINS_MAX};
use crate::job::key;
use crate::plugin::name::PluginName;
use crate::plugin::release::Wanted;
use crate::storage::bounded::{self, Bound, Element, Listed, Of};
use crate::storage::fault::Fault;

/// Longest entry in JSON (two digests, two numbers, a short text that may be escaped), and the longest name of one.
pub(super) const ENTRY_BYTES_MAX: usize = 4096;
/// Most characters of an invalid name in a message.
const NAME_CHARS_MAX: usize = 64;

impl Depot {
    /// The release that is wanted of each plugin.
    pub async fn wanted(&self) -> Result<Listed<BTreeMap<PluginName, Wanted>>, DepotError> {
        let bound = Bound { elements: PLUGINS_MAX as usize, bytes: ENTRY_BYTES_MAX };
        let pairs = bounded::pairs(&self.link, Self::KEY, bound).await;
        let mut wanted = Listed::<BTreeMap<_, _>>::default();
        for (name, entry) in pairs.map_err(|fault| at_key(fault, Self::KEY))? {
            match plugin(name) {
                Err(reason) => wanted.left_out.push(format!("`{}` {reason}; remove it", Self::KEY)),
                Ok(plugin) => match read(entry) {
                    Ok(entry) => drop(wanted.entries.insert(plugin, entry)),
                    Err(reason) => wanted.left_out.push(format!(
                        "the entry `{plugin}` of `{}` {reason}; it is left out until `{plugin}` is deployed again",
                        Self::KEY
                    )),
                },
            }
        }
        Ok(wanted)
    }

    /// The releases of a plugin that were wanted, the latest first, at most `HISTORY_MAX`.
    pub async fn history(&self, plugin: &PluginName) -> Result<Listed<Vec<Wanted>>, DepotError> {
        let key = key::plugin_history(plugin.as_str());
        let bound = Bound { elements: HISTORY_MAX, bytes: ENTRY_BYTES_MAX };
        let mut history = Listed::<Vec<Wanted>>::default();
        for (nth, element) in self.elements(&key, Of::List, bound).await?.into_iter().enumerate() {
            match read(element) {
                Ok(entry) => history.entries.push(entry),
                Err(reason) => {
                    history.left_out.push(format!("entry {nth} of `{key}` {reason}; it is left out"))
                }
            }
        }
        Ok(history)
    }

    pub(super) async fn elements(
        &self,
        key: &str,
        of: Of<'_>,
        bound: Bound,
    ) -> Result<Vec<Element>, DepotError> {
        bounded::read(&self.link, key, of, bound).await.map_err(|fault| at_key(fault, key))
    }
}

pub(super) fn at_key(fault: Fault, key: &str) -> DepotError {
    if fault.is_code("WRONGTYPE") { DepotError::WrongType(key.to_owned()) } else { fault.into() }
}

/// The plugin of an entry, or the problem with its name.
fn plugin(name: Element) -> Result<PluginName, String> {
    let name = match name {
        Element::Whole(name) => String::from_utf8_lossy(&name).into_owned(),
        Element::TooLong(bytes) => return Err(format!("has an entry with a name of {bytes} bytes")),
        Element::Absent => return Err("has an entry without a name".to_owned()),
    };
    PluginName::new(name.clone()).map_err(|_| {
        let begin: String = name.chars().take(NAME_CHARS_MAX).collect();
        format!("has an entry `{}`, which is not the name of a plugin", begin.escape_debug())
    })
}

/// An entry, or the problem with it.
fn read(entry: Element) -> Result<Wanted, String> {
    match entry {
        Element::Whole(text) => {
            serde_json::from_slice(&text).map_err(|error| format!("cannot be read: {error}"))
        }
        Element::TooLong(bytes) => {
            Err(format!("has {bytes} bytes, and can have {ENTRY_BYTES_MAX} at the most"))
        }
        Element::Absent => Err("is gone".to_owned()),
    }
}
