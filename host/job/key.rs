//! Every key Sandhog keeps in Redis, built here and nowhere else.
//!
//! A queue's companion keys share its cluster slot: `{orders}:sandhog:dead`; where the name already holds a
//! valid hash tag, the tag stands: `eu{7}orders:sandhog:dead`.

use super::envelope::escape_into;
use super::name::{HostId, QueueName};

/// Sorted set of living hosts: host id by lease expiry in Redis milliseconds.
pub const HOSTS: &str = "sandhog:hosts";

/// String: the Redis time, in milliseconds, at which a host last renewed a lease or asked which leases have ended. It
/// expires after an hour, and is deleted with the last host.
pub const CONTACT: &str = "sandhog:contact";

/// String: exists for an hour after a host began to search for records of ids that are not registered.
pub const SEARCHED: &str = "sandhog:searched";

/// Set of the names of all queues that hosts ever served.
pub const QUEUES: &str = "sandhog:queues";

/// Hash with the facts about one host: `queues` (JSON array), `plugins`, `version`, `pid`, `started_ms`; `origin`,
/// its machine and the file of its seat; `lease_ms`, the length of its lease; `spared`, how often it was given a
/// lease that it did not renew itself; `successor`, the id under which its process continues; and `pop:<queue>` for
/// each queue of which it has records of popped entries.
pub fn host_info(host: &str) -> String {
    format!("sandhog:host:{host}")
}

/// List of swaps on all hosts, in JSON, the latest first.
pub const SWAPS: &str = "sandhog:swaps";

/// Sorted set of schedules: name by the Redis time, in milliseconds, at which it fires next.
pub const SCHEDULES: &str = "sandhog:schedules";

/// Hash of the schedules that hosts' settings hold: a host's seat by the time it told, and names, one a line.
pub const SCHEDULE_FILES: &str = "sandhog:schedules:files";

/// Hash of one schedule: `definition` (JSON), `timing`, `slot`, `origin`, `paused`, `last`.
pub fn schedule(name: &str) -> String {
    format!("sandhog:schedule:{name}")
}

/// Hash of what operators hold, `plugin:<name>` or `host:<seat>`, by the Redis time since when.
pub const HELD: &str = "sandhog:held";

/// String: the Redis time, in microseconds, at which the bucket of `limits.write_rate` of this plugin is full again. It
/// expires then.
pub fn write_rate(plugin: &str) -> String {
    format!("sandhog:write-rate:{plugin}")
}

/// Hash of what the fleet is to run: plugin by the wanted release, in JSON.
pub const PLUGINS: &str = "sandhog:plugins";

/// List of what was wanted of a plugin, in JSON, the latest first.
pub fn plugin_history(plugin: &str) -> String {
    let (prefix, ending) = plugin_history_parts();
    format!("{prefix}{plugin}{ending}")
}

/// What stands before and after the plugin in the key of its history; a script puts names between.
pub fn plugin_history_parts() -> (&'static str, &'static str) {
    ("sandhog:plugins:", ":history")
}

/// String that holds a release in JSON.
pub fn release(id: &str) -> String {
    format!("sandhog:release:{id}")
}

/// Hash that holds a component: `bytes`, its length, and `0`, `1`, … its chunks.
pub fn component(digest: &str) -> String {
    format!("sandhog:component:{digest}")
}

/// The same while it is gathered. Beside the components, not among them: it is none yet.
pub fn component_on_its_way(digest: &str, number: u64) -> String {
    format!("sandhog:component-on-its-way:{digest}:{number:016x}")
}

/// The companion keys of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueKeys {
    /// The producers' list.
    pub list: String,
    /// Envelopes ready again: recovered, released, or pushed with options. A list, oldest left.
    pub ready: String,
    /// Envelopes by due time in Redis milliseconds: retries and delayed pushes. A sorted set.
    pub delayed: String,
    /// Buried envelopes by time of death in Redis milliseconds. A sorted set.
    pub dead: String,
    /// Counters. A hash.
    pub stats: String,
    /// Present while an operator holds the queue.
    pub paused: String,
    /// Changed when the fleet may run more jobs of the queue again, for hosts that wait for that. A string.
    pub vacant: String,
    /// How many jobs wait for a place among those with their key: key by number, a blank by the number of all. A
    /// hash. The jobs of one key are in a list of the same name with a colon and the key after it, as envelopes.
    /// Scripts keep three keys beside it: the hash `places`, how many slots of each key are in use; the hash `audit`, the
    /// progress of comparing these numbers with the jobs (`heal`); the set `owed`, keys whose parked jobs get their
    /// slots from the next claims.
    pub parked: String,
    prefix: String,
}

impl QueueKeys {
    /// The keys of `queue`.
    pub fn new(queue: &QueueName) -> Self {
        let name = queue.as_str();
        let prefix =
            if has_hash_tag(name) { format!("{name}:sandhog:") } else { format!("{{{name}}}:sandhog:") };
        Self {
            list: name.to_owned(),
            ready: format!("{prefix}ready"),
            delayed: format!("{prefix}delayed"),
            dead: format!("{prefix}dead"),
            stats: format!("{prefix}stats"),
            paused: format!("{prefix}paused"),
            vacant: format!("{prefix}vacant"),
            parked: format!("{prefix}parked"),
            prefix,
        }
    }

    /// Hash of what `host` has claimed and not settled: `<seq>` holds a bare payload, `e<seq>` an envelope; and of
    /// what its runs have popped and not done with: `f<n>` an entry from the front of the list, `b<n>` from its
    /// back. One record is both the data and the claim.
    pub fn inflight(&self, host: &HostId) -> String {
        format!("{}{host}", self.inflight_prefix())
    }

    /// What the keys of all hosts' records start with; the scripts append the host.
    pub fn inflight_prefix(&self) -> String {
        format!("{}inflight:", self.prefix)
    }

    /// Changed when jobs that `host` runs were cancelled, for it to look at what it still owns. A string.
    pub fn word(&self, host: &HostId) -> String {
        format!("{}word:{host}", self.prefix)
    }

    /// String that holds the owner of this unique key: the id of the living job, a space, and its note `!own`.
    pub fn unique(&self, unique_key: &str) -> String {
        format!("{}unique:{unique_key}", self.prefix)
    }

    /// String that tells how far a job is: `<done> <total> <words>`.
    pub fn progress(&self, job: &str) -> String {
        format!("{}progress:{job}", self.prefix)
    }

    /// List with the result of a job as its one entry.
    pub fn result(&self, job: &str) -> String {
        format!("{}result:{job}", self.prefix)
    }

    /// List of the jobs that wait for a place among those with this key.
    pub fn parked_of(&self, key: &str) -> String {
        let mut list = format!("{}:", self.parked);
        escape_into(&mut list, key);
        list
    }

    /// What every unique key starts with; the scripts append to it.
    pub fn unique_prefix(&self) -> String {
        format!("{}unique:", self.prefix)
    }
}

/// The companion keys `what` of all queues that a pattern covers, as patterns; `*` stands for any run of bytes.
pub fn companions(pattern: &str, what: &str) -> Vec<String> {
    let braced = format!("{{{pattern}}}:sandhog:{what}");
    let bare = format!("{pattern}:sandhog:{what}");
    let fixed = pattern.split('*').next().unwrap_or_default();
    match (has_hash_tag(fixed), fixed.len() < pattern.len()) {
        (true, _) => vec![bare],
        (false, false) => vec![braced],
        // What the star stands for may hold a tag.
        (false, true) => vec![braced, bare],
    }
}

/// Whether a queue of this name would have the companion keys of another one: `{orders}` those of `orders`.
pub(super) fn is_other_in_braces(name: &str) -> bool {
    let inside = name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    inside.is_some_and(|inside| has_hash_tag(name) && !has_hash_tag(inside))
}

/// Whether Redis Cluster would hash only a part of `name`: a `{`, and after it a `}` with something between.
fn has_hash_tag(name: &str) -> bool {
    let Some(open) = name.find('{') else { return false };
    matches!(name[open + 1..].find('}'), Some(length) if length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_share_the_slot_of_their_queue() {
        for (name, dead) in [
            ("orders", "{orders}:sandhog:dead"),
            ("eu{7}orders", "eu{7}orders:sandhog:dead"),
            ("a{}b", "{a{}b}:sandhog:dead"),
            ("open{only", "{open{only}:sandhog:dead"),
        ] {
            assert_eq!(QueueKeys::new(&QueueName::new(name).unwrap()).dead, dead);
        }
    }

    #[test]
    fn companions_of_a_pattern_are_those_of_every_queue_it_covers() {
        for (pattern, expected) in [
            ("mail", vec!["{mail}:sandhog:ready"]),
            ("a{b}*", vec!["a{b}*:sandhog:ready"]),
            ("mail*", vec!["{mail*}:sandhog:ready", "mail*:sandhog:ready"]),
        ] {
            assert_eq!(companions(pattern, "ready"), expected);
        }
    }

    /// The keys of a queue with fixed names, and the prefix of all others.
    fn keys_of(queue: &QueueName) -> (Vec<String>, String) {
        let keys = QueueKeys::new(queue);
        let named =
            [&keys.list, &keys.ready, &keys.delayed, &keys.dead, &keys.stats, &keys.paused, &keys.vacant];
        (named.into_iter().cloned().collect(), keys.prefix)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_two_queues_share_a_key(names in proptest::collection::vec("([{}ab:]|sandhog|:sandhog|ready){1,5}", 12)) {
            let queues: std::collections::BTreeSet<QueueName> =
                names.iter().flat_map(|name| [name.clone(), format!("{{{name}}}"), format!("{name}:sandhog")])
                    .filter_map(|name| QueueName::new(name).ok()).collect();
            for (one, other) in queues.iter().flat_map(|one| queues.iter().map(move |other| (one, other))) {
                let ((named, prefix), (others, other_prefix)) = (keys_of(one), keys_of(other));
                if one != other {
                    proptest::prop_assert!(named.iter().all(|key| !others.contains(key)), "{one} and {other}");
                    proptest::prop_assert_ne!(&prefix, &other_prefix, "{} and {}", one, other);
                    proptest::prop_assert!(!other.as_str().starts_with(&prefix), "{one} and {other}");
                }
            }
        }
    }

    #[test]
    fn a_queue_in_braces_that_would_be_another_is_none() {
        for bad in ["{orders}", "{a{}", "{{}}}", "{:}", "{a}{b}"] {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
        for good in ["{orders}eu", "eu{orders}", "a{b}", "{{a}}", "{}", "{}}"] {
            assert!(QueueName::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn records_of_two_hosts_are_two_keys() {
        let keys = QueueKeys::new(&QueueName::new("orders").unwrap());
        let host = |seat| HostId::new("web", seat, 7).unwrap();
        assert_ne!(keys.inflight(&host(1)), keys.inflight(&host(2)));
        assert!(keys.inflight(&host(1)).starts_with("{orders}:sandhog:inflight:web.00000001."));
    }
}
