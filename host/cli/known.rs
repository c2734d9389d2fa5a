//! Names of queues and plugins that may be misspelt: the nearest name that this Redis knows.

use sandhog::job::inspect;
use sandhog::job::lease::Leases;
use sandhog::job::name::QueueName;
use sandhog::plugin::name::PluginName;
use sandhog::storage::link::Link;

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::text;

/// Longest name in a note.
const NAME_CHARS_MAX: usize = 80;
/// Edits by which a misspelt name may differ, at most a third of its characters.
const EDITS_MAX: usize = 3;

/// Says on standard error that no host has served this queue, with the nearest name of one that was served. Returns
/// whether a host has served it.
pub(crate) async fn question_queue(context: &Context, link: &Link, queue: &QueueName) -> Outcome<bool> {
    let known = inspect::known_queues(link).await?;
    if known.contains(queue) {
        return Ok(true);
    }
    let names = known.iter().map(QueueName::as_str);
    let name = shown(queue.as_str());
    context.note(&format!("no host has served the queue `{name}`{}", did_you_mean(queue.as_str(), names)));
    Ok(false)
}

/// The names of plugins that living hosts serve.
pub(crate) async fn served_plugins(link: &Link) -> Outcome<Vec<String>> {
    let rows = Leases::new(link.clone()).list().await?;
    let living = rows.into_iter().filter(|row| row.expires_in_ms > 0);
    Ok(living.flat_map(|row| row.info.plugins).map(|plugin| plugin.name).collect())
}

/// `; did you mean …?` for a plugin that nobody serves, or nothing.
pub(crate) fn did_you_mean_plugin(plugin: &PluginName, served: &[String]) -> String {
    did_you_mean(plugin.as_str(), served.iter().map(String::as_str))
}

fn did_you_mean<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    nearest(name, known).map_or(String::new(), |nearest| format!("; did you mean `{}`?", shown(nearest)))
}

fn shown(name: &str) -> String {
    text::visible(name.as_bytes(), NAME_CHARS_MAX)
}

/// The known name from which `name` differs in the fewest edits, if these are few.
pub(crate) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let most = (name.chars().count() / 3).clamp(1, EDITS_MAX);
    let edits = known.map(|known| (strsim::osa_distance(name, known), known));
    edits.filter(|(edits, _)| *edits <= most).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_name_is_suggested() {
        let commands = ["new", "run", "queues", "completions", "plugins", "keys"];
        let suggested = |name| nearest(name, commands.into_iter());
        assert_eq!(suggested("nwe"), Some("new"));
        assert_eq!(suggested("queue"), Some("queues"));
        assert_eq!(suggested("plguin"), Some("plugins"));
        assert_eq!(suggested("metrics"), None);
        assert_eq!(suggested("x"), None);
    }
}
