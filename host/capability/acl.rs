//! A plugin's grants as rules of a Redis user: exactly the commands that its guests' calls use, on exactly the keys
//! they may use them on. Each kind of grant is a selector of its own, so that a right over a queue is none over a key.
//! Pure; who makes users is `storage::user`.
//!
//! Four things a rule of Redis cannot say, so that they remain with the host: that the host's own names are left out of
//! a pattern with `*`; that a listing (`SCAN`) shows only granted keys; that a key may be changed and not looked at, for
//! conditions and sums look; a blank or NUL in a pattern, for which `?` stands.

mod host;

use std::fmt::Write as _;

pub use host::{Served, host_notes, host_rules};

use super::glob::{all_or_each, is_blank, of_pattern};
use super::grant::Grants;
use crate::job::change::Write;
use crate::job::key::{QueueKeys, companions};
use crate::job::name::is_reserved;
use crate::storage::user::Ask;

/// What the user may do whatever is granted: give its connection a name and bring the host's scripts, whose commands
/// are checked one by one.
const ALWAYS: [&str; 6] = ["on", "resetkeys", "resetchannels", "-@all", "+client|setname", "+script|load"];
const READ: &str = "+exists +getrange +get +mget +strlen +pttl +evalsha_ro";
const WRITE: &str = "+set +mset +unlink +del +incrby +pexpire +persist +exists +strlen +get +evalsha";
const PUSH: &str = "+rpush +lpush +llen +lrange +exists +evalsha_ro";
const PUSH_JOB: &str = "+type +set +rpush +lpush +zadd +zcard +llen +exists +evalsha";
const POP: &str = "+lpop +rpop +lindex +llen +lrange +exists +evalsha +evalsha_ro";
/// What a config reader's connection asks besides: to be told of changes, and whether Redis still answers.
const WATCH: [&str; 2] = ["+client|tracking", "+ping"];
/// What runs in the atomic mode ask in addition, to look at what they decide on or have popped.
const ATOMIC_READ: &str = " +pexpiretime";
const ATOMIC_WRITE: &str = " +getrange +pttl +pexpiretime +evalsha_ro";
const ATOMIC_POP: &str = " +pttl +pexpire +persist +unlink";

/// The rules, each one argument of `ACL SETUSER`. `atomic`: some runs have the atomic mode. `database`: the number of
/// the database; but for 0 the user must be allowed to choose one.
pub fn rules(grants: &Grants, atomic: bool, database: i64) -> Vec<String> {
    let with = |base: &str, more: &str| if atomic { format!("{base}{more}") } else { base.to_owned() };
    let mut rules: Vec<String> = ALWAYS.iter().map(ToString::to_string).collect();
    if database != 0 {
        rules.push("+select".to_owned());
    }
    if !grants.queue_push.is_empty() {
        rules.push("+time".to_owned());
    }
    let mut read = with(READ, ATOMIC_READ);
    if grants.kv_read.iter().any(|pattern| pattern.ends_with('*')) {
        read.push_str(" +scan");
    }
    let plain = |patterns: &super::grant::Patterns| patterns.iter().map(str::to_owned).collect::<Vec<_>>();
    let pushed = grants.queue_push.iter();
    let jobs = pushed.flat_map(|queue| ["ready", "delayed", "unique:*"].map(|what| companions(queue, what)));
    let selectors = [
        selector(&read, "%R~", &plain(&grants.kv_read)),
        selector(&with(WRITE, ATOMIC_WRITE), "%RW~", &plain(&grants.kv_write)),
        selector(PUSH, "%RW~", &plain(&grants.queue_push)),
        selector(PUSH_JOB, "%RW~", &jobs.flatten().collect::<Vec<_>>()),
        selector(&with(POP, ATOMIC_POP), "%RW~", &plain(&grants.queue_pop)),
    ];
    rules.extend(selectors.into_iter().flatten());
    rules
}

/// The rules of a config reader's user, whose connection is told when a key it has read changes.
pub fn reader_rules(grants: &Grants, database: i64) -> Vec<String> {
    let mut rules = rules(grants, false, database);
    rules.splice(ALWAYS.len()..ALWAYS.len(), WATCH.map(str::to_owned));
    rules
}

/// What an operator should know of these grants as rules, each a sentence.
pub fn notes(grants: &Grants) -> Vec<String> {
    let Grants { kv_read, kv_write, queue_push, queue_pop, .. } = grants;
    let all = || [kv_read, kv_write, queue_push, queue_pop].into_iter().flat_map(|patterns| patterns.iter());
    let mut notes = Vec::new();
    // A name of the host's own begins with `sandhog:` or, for most queues, with a brace.
    let reaches_ours =
        |p: &&str| p.starts_with(['*', '{']) || p.contains('*') && "sandhog:".starts_with(head(p));
    if let Some(pattern) = all().find(reaches_ours) {
        notes.push(format!(
            "`{}` covers names of Sandhog's own, which Redis cannot leave out; the host does",
            pattern.escape_debug()
        ));
    }
    if kv_read.iter().any(|pattern| pattern.ends_with('*')) {
        notes.push(
            "Redis lets this user see the names of all keys (`SCAN`); the host shows granted ones".to_owned(),
        );
    }
    if !kv_write.is_empty() {
        notes.push(
            "Redis lets this user read the keys that it may write: conditional writes and increments read them; the host \
             refuses other reads"
                .to_owned(),
        );
    }
    if let Some(pattern) = all().find(|pattern| pattern.bytes().any(is_blank)) {
        let pattern = pattern.escape_debug();
        notes.push(format!("rules hold no blanks: in `{pattern}` any one byte passes for each of them"));
    }
    notes
}

/// The rules as one line for `redis-cli`.
pub fn line(user: &str, rules: &[String]) -> String {
    let mut line = format!("ACL SETUSER {user} reset");
    for rule in rules {
        let plain =
            rule.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\') || b == b' ');
        let _ = if plain { write!(line, " {rule}") } else { write!(line, " {}", quoted(rule)) };
    }
    line
}

/// Commands whose permission is that of a write of the atomic mode, which the host itself makes.
pub fn asks(write: &Write) -> Vec<Ask> {
    let ask = |command, key: &str, arguments| Ask { command, key: key.to_owned(), arguments };
    match write {
        Write::Set { key, .. } => vec![ask("SET", key, &["0"])],
        Write::Delete { key } => vec![ask("UNLINK", key, &[])],
        Write::Add { key, .. } => vec![ask("INCRBY", key, &["0"])],
        Write::Expire { key, .. } => vec![ask("PEXPIRE", key, &["0"])],
        Write::Pop { key, .. } => vec![ask("LPOP", key, &[])],
        // The host's own word: no guest may touch such a key.
        Write::Push { key, .. } if is_reserved(key) => Vec::new(),
        Write::Push { key, .. } => vec![ask("RPUSH", key, &["0"])],
        Write::PushJob { queue, delay_ms, unique, .. } => {
            let keys = QueueKeys::new(queue);
            let mut asks = vec![match delay_ms {
                Some(_) => ask("ZADD", &keys.delayed, &["0", "0"]),
                None => ask("RPUSH", &keys.ready, &["0"]),
            }];
            asks.extend(unique.iter().map(|(name, _)| ask("SET", &keys.unique(name), &["0"])));
            asks
        }
    }
}

/// Some commands on some keys; none without keys.
fn selector(commands: &str, flags: &str, patterns: &[String]) -> Option<String> {
    let mut text = format!("({commands}");
    for pattern in all_or_each(patterns.iter().map(|pattern| of_pattern(pattern)).collect()) {
        let rule = format!("{flags}{pattern}");
        let plain = rule.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b')'));
        let _ = if plain { write!(text, " {rule}") } else { write!(text, " {}", quoted(&rule)) };
    }
    (!patterns.is_empty()).then(|| text + ")")
}

fn head(pattern: &str) -> &str {
    pattern.split('*').next().unwrap_or_default()
}

/// In quotes, as Redis and `redis-cli` read them.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            byte if byte.is_ascii_graphic() || byte == b' ' => quoted.push(char::from(byte)),
            byte => drop(write!(quoted, "\\x{byte:02x}")),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::grant::Patterns;

    #[test]
    fn nothing_granted_is_nothing_allowed() {
        assert_eq!(rules(&Grants::default(), true, 0), ALWAYS);
        assert_eq!(notes(&Grants::default()), [""; 0]);
        assert_eq!(reader_rules(&Grants::default(), 0), [&ALWAYS[..], &WATCH[..]].concat());
    }

    #[test]
    fn a_line_is_read_as_it_is_meant() {
        let grants = Grants {
            kv_read: Patterns::new(&["a)\"b", "plain"]),
            queue_push: Patterns::new(&["mail"]),
            ..Grants::default()
        };
        let line = line("sandhog:x", &rules(&grants, false, 3));
        assert_eq!(
            line,
            "ACL SETUSER sandhog:x reset on resetkeys resetchannels -@all +client|setname +script|load +select \
             +time \"(+exists +getrange +get +mget +strlen +pttl +evalsha_ro \\\"%R~a)\\\\\\\"b\\\" %R~plain)\" \
             (+rpush +lpush +llen +lrange +exists +evalsha_ro %RW~mail) \
             (+type +set +rpush +lpush +zadd +zcard +llen +exists +evalsha %RW~{mail}:sandhog:ready \
             %RW~{mail}:sandhog:delayed %RW~{mail}:sandhog:unique:*)"
        );
    }
}
