//! Which plugin serves a queue that several plugins name. The plugins of a folder are compared with each other when
//! the folder is read; this module compares a release that has just been loaded with the plugins that are served.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Served;
use crate::config::problem::{Problem, Problems};
use crate::job::name::QueueName;
use crate::plugin::load::Loaded;
use crate::plugin::name::PluginName;
use crate::plugin::survey::Survey;

/// The queues that the plugins of a folder name, and the plugin of each. Plugins that name the same queue were
/// refused before.
pub(super) type Offered = BTreeMap<QueueName, PluginName>;

/// The queues that the plugins of a folder name.
pub(super) fn queues_of(survey: &Survey) -> Offered {
    let manifests = survey.offers.iter().map(|offer| (&offer.source.name, &offer.source.manifest));
    manifests
        .flat_map(|(name, manifest)| {
            manifest.consume.iter().map(move |consume| (consume.queue.clone(), name.clone()))
        })
        .collect()
}

impl Served {
    /// Decides who serves the queues of a release that has been loaded: of deploy `number`, or of the folder if
    /// `number` is 0. An earlier version gives up a queue to the plugin that names it now. Such a version replaces a
    /// refused release (`stands_in`), or is still served although the folder has given the queue to another plugin.
    ///
    /// # Errors
    ///
    /// Two deploys name the same queue; the later one is refused.
    pub(super) fn settle_queues(
        &mut self,
        loaded: &mut Loaded,
        number: u64,
        stands_in: bool,
    ) -> Result<(), Problems> {
        let own = loaded.name.clone();
        let (mut problems, mut lost, mut won) = (Problems::default(), Vec::new(), Vec::new());
        for queue in loaded.manifest.consume.iter().map(|consume| consume.queue.clone()) {
            let server = self.plugins.iter().find(|(name, plugin)| **name != own && plugin.serves(&queue));
            let offered = self.offered.get(&queue).filter(|name| stands_in && **name != own);
            let Some(other) = server.map(|(name, _)| name).or(offered).cloned() else { continue };
            let is_former = server.is_some_and(|(name, plugin)| {
                plugin.claim.stands_in || (number == 0 && !self.wanted.contains_key(name))
            });
            match (stands_in, is_former) {
                (true, _) => lost.push((queue, other)),
                (false, true) => won.push((queue, other)),
                (false, false) => {
                    let queue = queue.as_str().escape_debug();
                    let text = format!("queue `{queue}` is served by plugin `{other}` already");
                    problems.push(Problem::new(format!("plugin `{own}`"), text));
                }
            }
        }
        problems.into_result(())?;
        for (queue, other) in lost {
            warn_given_up(&own, &queue, &other);
            Arc::make_mut(&mut loaded.manifest).consume.retain(|consume| consume.queue != queue);
        }
        for (queue, other) in won {
            warn_given_up(&other, &queue, &own);
            self.plugins.get_mut(&other).into_iter().for_each(|plugin| plugin.give_up(&queue));
        }
        Ok(())
    }
}

fn warn_given_up(former: &PluginName, queue: &QueueName, now: &PluginName) {
    let (plugin, queue) = (former.as_str(), queue.as_str());
    tracing::warn!(
        plugin,
        queue,
        "an earlier version of this plugin gave up the queue: plugin `{now}` names it now"
    );
}
