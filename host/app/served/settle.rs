//! Serves each plugin as soon as it is loaded. A plugin waits only for the loads that it depends on.

use super::{Ended, Served};
use crate::plugin::name::PluginName;

/// Most plugins that one log line names.
const NAMED_MAX: usize = 10;

impl Served {
    /// Whether a plugin is being loaded.
    pub(in crate::app) fn is_loading(&self) -> bool {
        !self.loads.is_idle() || !self.held_back.is_empty()
    }

    /// Whether every offered plugin is served or refused, and all config readers have answered.
    pub(in crate::app) fn is_settled(&self) -> bool {
        !self.is_loading()
            && !self.readers.is_any_awaited()
            && self.plugins.values().all(|plugin| !plugin.lacks_lanes())
    }

    /// Accepts loaded plugins. An earlier version waits for deploys that are being loaded, because they may consume its
    /// queues: it is worse to run a job with the wrong plugin than to let it wait.
    pub(in crate::app) fn arrive(&mut self, ended: Ended) {
        match ended.stands_in && self.loads.has_deploys() {
            true => self.held_back.push(ended),
            false => self.take_in(ended),
        }
        self.take_in_held_back();
    }

    /// Accepts earlier versions that have waited long enough.
    pub(super) fn take_in_held_back(&mut self) {
        if self.loads.has_deploys() {
            return;
        }
        for former in std::mem::take(&mut self.held_back) {
            // In the meantime, a later version may have been accepted, or the plugin removed.
            if !self.plugins.contains_key(&former.name) && self.refusals.contains_key(&former.name) {
                self.take_in(former);
            }
        }
    }

    /// Starts feeders for lanes that have none, except those of plugins that wait for a config reader they use. The host
    /// must have joined.
    pub(in crate::app) fn begin(&mut self) {
        self.readers.note_answers();
        let (loads, held_back, readers) = (&self.loads, &self.held_back, &self.readers);
        let served: Vec<PluginName> = self.plugins.keys().cloned().collect();
        let is_awaited = |reader: &PluginName| {
            let is_coming = loads.has(reader) || held_back.iter().any(|ended| ended.name == *reader);
            (is_coming && !served.contains(reader)) || readers.is_awaited(reader)
        };
        for plugin in self.plugins.values_mut() {
            let used = plugin.loaded().manifest.grants.config.iter();
            let mut used = used.filter_map(|name| PluginName::new(name.as_str()).ok());
            if !used.any(|reader| is_awaited(&reader)) {
                plugin.open_lanes(&mut self.lanes);
            }
        }
        self.publish();
        self.tell_settled();
    }

    /// Logs which plugins are still being loaded.
    pub(in crate::app) fn tell_loading(&self) {
        let mut names: Vec<&str> = self.loads.names().map(PluginName::as_str).collect();
        names.sort_unstable();
        let (count, more) = (names.len(), names.len().saturating_sub(NAMED_MAX));
        names.truncate(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let loading = format!("{}{more}", names.join(", "));
        if count > 0 {
            tracing::info!(count, loading, "other plugins are still being loaded");
        }
    }

    /// Logs once that all plugins of the start are loaded.
    fn tell_settled(&self) {
        if *self.settled.borrow() || !self.is_settled() {
            return;
        }
        let (plugins, refused) = (self.plugins.len(), self.refusals.len());
        tracing::info!(plugins, refused, "all plugins are loaded");
        self.settled.send_replace(true);
    }
}
