//! The state of its plugins that a host publishes to the fleet and to operators.

use std::collections::BTreeSet;

use super::Served;
use crate::job::report::PluginReport;
use crate::plugin::name::PluginName;

/// Longest published refusal, in characters; the log has the whole text.
const REFUSAL_CHARS_MAX: usize = 2000;

impl Served {
    /// The plugins as they are now.
    pub(in crate::app) fn view(&self) -> Vec<PluginReport> {
        let refused = |name: &PluginName, report: PluginReport| {
            let Some(refusal) = self.refusals.get(name) else { return report };
            let lines: Vec<String> = refusal.problems.list.iter().map(ToString::to_string).collect();
            let text = lines.join("; ").chars().take(REFUSAL_CHARS_MAX).collect();
            let (refused, refused_deploy) = refusal
                .release
                .as_ref()
                .map_or((None, 0), |(id, number)| (Some(id.as_str().to_owned()), *number));
            PluginReport { refusal: Some(text), refused, refused_deploy, ..report }
        };
        let loading = |name: &PluginName, report| PluginReport {
            loading: self.loads.has(name),
            compiling: self.loads.is_compiling(name),
            ..report
        };
        let served = self.plugins.iter();
        let mut views: Vec<PluginReport> =
            served.map(|(name, plugin)| loading(name, refused(name, plugin.view()))).collect();
        let unserved: BTreeSet<&PluginName> = self.refusals.keys().chain(self.loads.names()).collect();
        let unserved = unserved.into_iter().filter(|name| !self.plugins.contains_key(*name));
        views.extend(unserved.map(|name| {
            let report = PluginReport { name: name.as_str().to_owned(), ..PluginReport::default() };
            loading(name, refused(name, report))
        }));
        views
    }
}
