//! The rights of a host's own Redis user: the commands of its scripts and connections, on its own keys, on the queues
//! of its plugins with their companion keys, and on the keys granted to those plugins, because the host calls Redis
//! for them.

use super::super::glob::{all_or_each, of_pattern};
use super::super::grant::Grants;
use crate::job::key::companions;

/// The commands that every host needs, whatever it serves. `HELLO` needs no right. `EVAL_RO` loads scripts if a provider
/// refuses `SCRIPT LOAD`.
const CONNECTION: &str = "+client|id +client|kill +client|setname +client|tracking +config|get +eval_ro +evalsha \
                          +evalsha_ro +info +ping +role +script|load";
/// The commands of all scripts, and those that are sent outside of scripts.
const COMMANDS: &str = "+blmove +del +exists +get +getex +getrange +hdel +hexists +hget +hgetall +hincrby +hkeys +hlen \
                        +hmget +hscan +hset +hsetnx +hstrlen +incr +incrby +lindex +llen +lmove +lpop +lpush +lrange +lrem \
                         +lset +ltrim +memory|usage +mget +mset +persist +pexpire +pexpiretime +pttl +rename +rpop +rpush \
                         +sadd +scan +scard +set +smembers +spop +strlen +time +type +unlink +zadd +zcard +zcount +zpopmin +zrange \
                         +zrangebyscore +zrem +zrevrange +zscan +zscore";
/// The commands that create and delete users for plugins, and check that their connections are at the same server.
const USERS: &str = "+acl|deluser +acl|dryrun +acl|setuser +acl|users +client|list";

/// What a host serves, as far as the rights of its user depend on it.
#[derive(Debug, Default)]
pub struct Served<'m> {
    /// Queues that it consumes, and queues that its schedules push to.
    pub queues: Vec<&'m str>,
    /// The grants of its plugins.
    pub grants: Vec<&'m Grants>,
    /// Hashes that its config readers publish to.
    pub published: Vec<&'m str>,
    /// Whether its plugins are not known, so that the user needs all keys.
    pub is_unknown: bool,
}

/// The ACL rules of a host's user, each one argument of `ACL SETUSER`. `database` is the number of its database; any
/// but 0 needs `SELECT`. `per_plugin_users`: whether the host creates a user for each plugin.
pub fn host_rules(served: &Served<'_>, database: i64, per_plugin_users: bool) -> Vec<String> {
    let mut rules: Vec<String> = ["on", "resetkeys", "resetchannels", "-@all"].map(str::to_owned).into();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    rules.extend(words(CONNECTION));
    if database != 0 {
        rules.push("+select".to_owned());
    }
    rules.extend(words(COMMANDS));
    if per_plugin_users {
        rules.extend(words(USERS));
    }
    if served.is_unknown {
        rules.push("~*".to_owned());
        return rules;
    }
    let mut keys = vec!["sandhog:*".to_owned()];
    let granted = |grants: &&'_ Grants| [grants.queue_push.clone(), grants.queue_pop.clone()];
    let granted: Vec<_> = served.grants.iter().flat_map(granted).collect();
    let queues = served.queues.iter().copied().chain(granted.iter().flat_map(|patterns| patterns.iter()));
    for queue in queues {
        keys.push(queue.to_owned());
        keys.extend(companions(queue, "*"));
    }
    for grants in &served.grants {
        keys.extend(grants.kv_read.iter().chain(grants.kv_write.iter()).map(str::to_owned));
    }
    keys.extend(served.published.iter().map(|&key| key.to_owned()));
    let mut keys: Vec<String> = keys.iter().map(|key| of_pattern(key)).collect();
    keys.sort();
    keys.dedup();
    rules.extend(all_or_each(keys).iter().map(|key| format!("~{key}")));
    rules
}

/// What an operator should know about these rules, one sentence each.
pub fn host_notes(served: &Served<'_>, per_plugin_users: bool) -> Vec<String> {
    let mut notes =
        vec!["the user has no password: add `>PASSWORD`, and write it into the host's URL".to_owned()];
    if per_plugin_users {
        notes.push(
            "`redis.per_plugin_users` needs `ACL SETUSER`, which lets this user give any right to any user, itself \
             included"
                .to_owned(),
        );
    }
    if served.is_unknown {
        notes.push("the plugins are not known here, so the line allows all keys".to_owned());
    } else {
        notes.push(
            "the keys are those of the plugins and schedules found here; every host of a fleet needs those of all \
             plugins of the fleet, and of the schedules that `sandhog schedule add` made"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::grant::Patterns;

    #[test]
    fn keys_are_those_of_the_queues_their_companions_and_the_grants() {
        let grants = Grants {
            kv_read: Patterns::new(&["r:*"]),
            kv_write: Patterns::new(&["w?"]),
            queue_push: Patterns::new(&["mail*"]),
            ..Grants::default()
        };
        let served = Served {
            queues: vec!["a b", "eu{7}x"],
            grants: vec![&grants],
            published: vec!["h"],
            is_unknown: false,
        };
        let rules = host_rules(&served, 0, false);
        let keys: Vec<&str> = rules.iter().map(String::as_str).filter(|rule| rule.starts_with('~')).collect();
        assert_eq!(
            keys,
            [
                "~a?b",
                "~eu{7}x",
                "~eu{7}x:sandhog:*",
                "~h",
                "~mail*",
                "~mail*:sandhog:*",
                "~r:*",
                "~sandhog:*",
                "~w\\?",
                "~{a?b}:sandhog:*",
                "~{mail*}:sandhog:*",
            ]
        );
        assert!(!rules.iter().any(|rule| rule.starts_with("+acl") || rule == "+select"));
        let everything = Grants { kv_read: Patterns::new(&["*", "r:*"]), ..Grants::default() };
        let served = Served { queues: vec!["jobs"], grants: vec![&everything], ..Served::default() };
        let rules = host_rules(&served, 0, true);
        let keys: Vec<&str> = rules.iter().map(String::as_str).filter(|rule| rule.starts_with('~')).collect();
        assert_eq!(keys, ["~*"], "Redis refuses any pattern after this one");
        let rules = host_rules(&Served { is_unknown: true, ..Served::default() }, 1, true);
        assert!(
            ["+acl|setuser", "+select", "~*"].iter().all(|wanted| rules.iter().any(|rule| rule == wanted))
        );
    }
}
