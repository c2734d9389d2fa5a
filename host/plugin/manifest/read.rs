//! From the text of a manifest to its meaning, collecting every problem on the way. What later versions may have is known
//! here and refused as such, so that nothing is ever ignored.

mod consume;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::consume::{per, queues};
use super::{Canary, Consume, EffectsMode, Kind, Limits, Manifest, ProfileChoice};
use crate::capability::grant::{Grants, PatternError, Patterns};
use crate::capability::plan::Isolation;
use crate::capability::write_rate::WriteRate;
use crate::config::document::Document;
use crate::config::problem::Problems;
use crate::config::settings::Ceilings;
use crate::config::table::Table;
use crate::config::unit;
use crate::plugin::name::PluginName;
use crate::sandbox::Profile;

const KINDS: [(&str, Kind); 2] = [("worker", Kind::Worker), ("config-reader", Kind::ConfigReader)];
const ISOLATIONS: [(&str, Isolation); 2] =
    [("read-committed", Isolation::ReadCommitted), ("serializable", Isolation::Serializable)];
const PROFILES: [(&str, ProfileChoice); 3] = [
    ("auto", ProfileChoice::Auto),
    ("short", ProfileChoice::Fixed(Profile::Short)),
    ("compute", ProfileChoice::Fixed(Profile::Compute)),
];

/// Most patterns in one list of grants: each is looked at for every call.
const PATTERNS_MAX: usize = 1000;
/// Most config readers whose settings a plugin sees.
const READERS_MAX: usize = 1000;
/// Most static settings, and the bytes of one name and of all together.
const STATIC_MAX: usize = 1000;
const STATIC_NAME_BYTES_MAX: usize = 256;
const STATIC_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of `limits.write_rate`: far more than one Redis can store.
const WRITE_BYTES_MAX: u64 = 1 << 40;

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longest run of a config reader: it answers from a few keys.
const READ_TIMEOUT_MAX: Duration = Duration::from_secs(600);

pub(super) fn manifest(origin: &str, text: &str, ceilings: &Ceilings) -> Result<Manifest, Problems> {
    let document = Document::parse(origin, text)?;
    let mut root = document.root();
    root.missing("kind", "write `kind = \"worker\"` or `kind = \"config-reader\"`");
    let kind = root.choice("kind", &KINDS);
    let reader = kind == Some(Kind::ConfigReader);
    let consume = if reader { no_queues(&mut root) } else { queues(&mut root, kind, ceilings) };
    let (read_timeout, publish) = reader_fields(&mut root, reader);
    let effects = effects(&mut root, reader);
    let grants = grants(root.table("grants"), reader);
    if publish.as_deref().is_some_and(|key| grants.kv_read.matches(key)) {
        root.refuse(
            "publish",
            "is among the keys of its own `grants.kv.read`: each publication would run it again",
        );
    }
    let config = static_settings(root.table("config"), &grants);
    let limits = limits(root.table("limits"), reader, ceilings);
    let reuse = reuse(&mut root, reader);
    let canary = canary(&mut root, reader);
    let profile = profile(&mut root, reader);
    root.finish();
    let is_batch = |consume: &Consume| consume.batch.is_some();
    let kind = match kind.unwrap_or(Kind::Worker) {
        Kind::Worker if consume.iter().any(is_batch) => Kind::BatchWorker,
        kind => kind,
    };
    document.finish_with(|lines| Manifest {
        kind,
        consume,
        effects,
        grants,
        config,
        limits,
        reuse,
        profile,
        read_timeout,
        publish,
        canary,
        lines,
    })
}

/// The fields that only one kind has at the top of the file.
fn reader_fields(root: &mut Table<'_>, reader: bool) -> (Duration, Option<String>) {
    const DEFAULT: Duration = Duration::from_secs(10);
    if !reader {
        root.misplaced("timeout", "belongs in a `[[consume]]` table");
        root.misplaced("publish", "is for config readers; a worker writes with `kv`");
        return (DEFAULT, None);
    }
    let timeout = root.duration("timeout", MILLISECOND..=READ_TIMEOUT_MAX, "10s").unwrap_or(DEFAULT);
    let publish = root.string("publish", "site-settings");
    if let Some(key) = &publish
        && let Err(error) = Patterns::check(key)
    {
        let error = error.to_string().replace("a pattern", "a key");
        root.refuse("publish", &format!("is \"{}\": {error}", key.escape_debug()));
    }
    (timeout, publish)
}

fn no_queues(root: &mut Table<'_>) -> Vec<Consume> {
    root.misplaced("consume", "is for workers; a config reader has no queues");
    Vec::new()
}

fn canary(root: &mut Table<'_>, reader: bool) -> Option<Canary> {
    const MINUTES: Duration = Duration::from_secs(120);
    if reader {
        root.misplaced("canary", "is for workers; a config reader is asked once before it takes over");
        return None;
    }
    let is_wanted = root.has("canary");
    let mut table = root.table("canary");
    let share = table.number("share", 0.001..=1.0, 0.1);
    let length = table.duration("for", MILLISECOND..=DAY, "2m");
    let max_failure_rate = table.number("max_failure_rate", 0.0..=1.0, 0.05);
    table.finish();
    is_wanted.then(|| Canary {
        share: share.unwrap_or(0.1),
        length: length.unwrap_or(MINUTES),
        max_failure_rate: max_failure_rate.unwrap_or(0.05),
    })
}

/// Runs in one instance.
fn reuse(root: &mut Table<'_>, reader: bool) -> u32 {
    if reader {
        root.misplaced("instances", "is for workers; a config reader starts afresh each time");
        return 1;
    }
    let mut table = root.table("instances");
    let reuse = table.integer("reuse", 1..=u64::from(u32::MAX), 1);
    table.finish();
    reuse.and_then(|reuse| u32::try_from(reuse).ok()).unwrap_or(1)
}

fn profile(root: &mut Table<'_>, reader: bool) -> ProfileChoice {
    if reader {
        root.misplaced("engine", "is for workers; a config reader runs too seldom to gain");
        return ProfileChoice::default();
    }
    let mut table = root.table("engine");
    let profile = table.choice("profile", &PROFILES).unwrap_or_default();
    table.finish();
    profile
}

fn effects(root: &mut Table<'_>, reader: bool) -> EffectsMode {
    if reader {
        root.misplaced("effects", "is for workers; a config reader changes nothing");
        return EffectsMode::Immediate;
    }
    let mut table = root.table("effects");
    let is_atomic = table.choice("mode", &[("atomic", true), ("immediate", false)]).unwrap_or(true);
    let isolation = table.choice("isolation", &ISOLATIONS).unwrap_or_default();
    if !is_atomic && table.has("isolation") {
        table
            .refuse("isolation", "is for the atomic mode; in the immediate one no two calls belong together");
    }
    table.finish();
    if is_atomic { EffectsMode::Atomic(isolation) } else { EffectsMode::Immediate }
}

fn grants(mut table: Table<'_>, reader: bool) -> Grants {
    let mut kv = table.table("kv");
    let kv_read = patterns(&mut kv, "read", "config:*", Patterns::check);
    let (mut kv_write, mut queue_push, mut queue_pop) = Default::default();
    let mut config = Vec::new();
    if reader {
        kv.misplaced("write", "is for workers; a config reader changes nothing");
        table.misplaced("queue", "is for workers; a config reader has no queues");
        table.misplaced("config", "is not yet supported in a config reader: it sees its own `[config]` only");
    } else {
        kv_write = patterns(&mut kv, "write", "thumb:*", Patterns::check);
        let mut queue = table.table("queue");
        queue_push = patterns(&mut queue, "push", "notify", Patterns::check_queue);
        queue_pop = patterns(&mut queue, "pop", "inbox", Patterns::check_queue);
        queue.finish();
        config = readers(&mut table);
    }
    kv.finish();
    let http = table.strings("http", "api.example");
    if http.is_some_and(|hosts| !hosts.is_empty()) {
        table.refuse("http", "is not yet supported: plugins reach no network; leave it empty");
    }
    table.finish();
    Grants { kv_read, kv_write, queue_push, queue_pop, config }
}

fn patterns(
    table: &mut Table<'_>,
    name: &'static str,
    example: &str,
    check: fn(&str) -> Result<(), PatternError>,
) -> Patterns {
    let items = table.strings(name, example).unwrap_or_default();
    if items.len() > PATTERNS_MAX {
        table.refuse(name, &format!("has {} patterns; it can have {PATTERNS_MAX} at the most", items.len()));
    }
    for item in &items {
        if let Err(error) = check(&item.text) {
            let shown: String = item.text.chars().take(60).collect();
            table.refuse_at(item.line, name, &format!("has \"{}\": {error}", shown.escape_debug()));
        }
    }
    let items: Vec<String> = items.into_iter().map(|item| item.text).collect();
    Patterns::new(&items)
}

fn readers(table: &mut Table<'_>) -> Vec<String> {
    let items = table.strings("config", "site").unwrap_or_default();
    if items.len() > READERS_MAX {
        table.refuse("config", &format!("has {} names; it can have {READERS_MAX} at the most", items.len()));
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    for item in items {
        if let Err(error) = PluginName::new(item.text.clone()) {
            let text = format!(
                "has \"{}\": it takes names of config readers, and {error}",
                item.text.escape_debug()
            );
            table.refuse_at(item.line, "config", &text);
        }
        seen.insert(item.text);
    }
    seen.into_iter().collect()
}

fn static_settings(table: Table<'_>, grants: &Grants) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut bytes = 0;
    for (name, item) in table.all_strings() {
        bytes += name.len() + item.text.len();
        if name.is_empty() || name.len() > STATIC_NAME_BYTES_MAX {
            table.refuse_at(
                item.line,
                "config",
                &format!("has a name of {} bytes; it must have 1 to {STATIC_NAME_BYTES_MAX}", name.len()),
            );
        }
        let reader = name.split_once('.').map(|(reader, _)| reader);
        if let Some(reader) = reader.filter(|reader| grants.config.iter().any(|r| r == reader)) {
            let text = format!(
                "begins with \"{reader}.\", as the settings of the config reader `{reader}` do; choose another name"
            );
            table.refuse_at(item.line, &name, &text);
        }
        settings.insert(name, item.text);
    }
    if settings.len() > STATIC_MAX {
        table.refuse_at(
            table.line(),
            "settings",
            &format!("has {} settings; it can have {STATIC_MAX} at the most", settings.len()),
        );
    }
    if bytes > STATIC_BYTES_MAX {
        table.refuse_at(table.line(), "settings", "has more than 1MiB of names and values");
    }
    settings
}

/// `10MiB/s`, `1GiB/1h`.
fn write_rate(table: &mut Table<'_>, reader: bool) -> Option<WriteRate> {
    if reader {
        table.misplaced("write_rate", "is for workers; a config reader changes nothing");
        return None;
    }
    let text = table.string("write_rate", "10MiB/s")?;
    let rate = text.split_once('/').and_then(|(size, time)| {
        let bytes = unit::size(size).ok().filter(|bytes| (1..=WRITE_BYTES_MAX).contains(bytes))?;
        Some(WriteRate { bytes, per: per(time)? })
    });
    if rate.is_none() {
        let shown: String = text.chars().take(60).collect();
        let form = format!(
            "is \"{}\"; write a size up to 1TiB, a slash and a time up to a day: \"10MiB/s\", \"1GiB/1h\"",
            shown.escape_debug()
        );
        table.refuse("write_rate", &form);
    }
    rate
}

fn limits(mut table: Table<'_>, reader: bool, ceilings: &Ceilings) -> Limits {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    let memory = ceiling(&mut table, "memory", 64 * KIB, 64 * MIB, ceilings.memory_bytes);
    let value = ceiling(&mut table, "value", 1, MIB, ceilings.value_bytes);
    let kv_calls = table.integer("kv_calls", 0..=10_000_000, 10_000).unwrap_or(10_000);
    let effects = if reader {
        table.misplaced("effects", "is for workers; a config reader changes nothing");
        0
    } else {
        table.integer("effects", 0..=1_000_000, 1000).unwrap_or(1000)
    };
    let write_rate = write_rate(&mut table, reader);
    let log_bytes = table.size("log_bytes", 0..=64 * MIB, "64KiB").unwrap_or(64 * KIB);
    table.finish();
    Limits { memory_bytes: memory, kv_calls, value_bytes: value, effects, log_bytes, write_rate }
}

/// A size that the host bounds; the default gives way to the bound.
fn ceiling(table: &mut Table<'_>, name: &'static str, least: u64, default: u64, most: u64) -> u64 {
    use crate::config::unit::show_size;
    let size = table.size(name, least..=u64::MAX, &show_size(default));
    if let Some(size) = size.filter(|size| *size > most) {
        let (size, most) = (show_size(size), show_size(most));
        table.refuse(
            name,
            &format!("is \"{size}\"; this host allows \"{most}\" at the most (its `limits.{name}`)"),
        );
    }
    size.unwrap_or(default.min(most))
}

#[cfg(test)]
mod tests;
