//! Every script with every companion key set to every wrong type: either the script refuses, names the key and writes
//! nothing, or it does all of its work and no job is lost or duplicated.

mod act;
mod operate;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use redis::Script;

use self::act::{ACTS, Act};
use super::{FOREVER, Scene, host};
use crate::support::redis::TestRedis;

/// The keys of a host, each with its type.
const KEYS: [(&str, &str); 31] = [
    ("q", "list"),
    (":ready", "list"),
    (":delayed", "zset"),
    (":dead", "zset"),
    (":stats", "hash"),
    (":paused", "string"),
    (":vacant", "string"),
    (":parked", "hash"),
    (":parked:a", "list"),
    (":places", "hash"),
    (":audit", "hash"),
    (":owed", "set"),
    (":rate", "string"),
    (":rate:a", "string"),
    (":inflight:HOST", "hash"),
    (":inflight:OTHER", "hash"),
    (":word:HOST", "string"),
    (":unique:u8", "string"),
    (":progress:i8", "string"),
    (":result:i8", "list"),
    ("sandhog:hosts", "zset"),
    ("sandhog:contact", "string"),
    ("sandhog:searched", "string"),
    ("sandhog:queues", "set"),
    ("sandhog:host:HOST", "hash"),
    ("sandhog:host:OTHER", "hash"),
    ("sandhog:swaps", "list"),
    ("sandhog:schedules", "zset"),
    ("sandhog:schedules:files", "hash"),
    ("sandhog:schedule:nightly", "hash"),
    ("sandhog:held", "hash"),
];

/// Commands that make a key of each type.
const TYPES: [(&str, &[&str]); 6] = [
    ("string", &["SET", "KEY", "spoiled"]),
    ("list", &["RPUSH", "KEY", "spoiled"]),
    ("hash", &["HSET", "KEY", "spoiled", "1"]),
    ("set", &["SADD", "KEY", "spoiled"]),
    ("zset", &["ZADD", "KEY", "1", "spoiled"]),
    ("stream", &["XADD", "KEY", "*", "spoiled", "1"]),
];

/// A queue with a job in every state. Each payload is `job-` and two digits, so that each job can be counted.
const SEEDS: [&[&str]; 27] = [
    &["ZADD", "sandhog:hosts", FOREVER, "HOST", "1000", "OTHER"],
    &["SADD", "sandhog:queues", "q"],
    &["HSET", "sandhog:host:HOST", "queues", "[\"q\"]", "pop:q", ""],
    &["HSET", "sandhog:host:OTHER", "queues", "[\"q\"]", "pop:q", ""],
    &["RPUSH", "q", "job-01", "job-02"],
    &["RPUSH", ":ready", "1 r3 0 0 5 !unique=u3 !result=9000\njob-03", "1 r4 0 0 5 t=a !key=a\njob-04"],
    &["ZADD", ":delayed", "5", "1 d5 1 0 5 t=b !key=b\njob-05", FOREVER, "1 d6 1 0 5\njob-06"],
    &["ZADD", ":dead", FOREVER, "1 x7 3 0 5 !reason=r\njob-07"],
    &["HSET", ":stats", "claimed", "1", "dead_jobs", "1", "dead_bytes", "27"],
    &[
        "HSET",
        ":inflight:HOST",
        "e10",
        "1 i8 0 0 5 t=a !key=a !unique=u8 !result=9000\njob-08",
        "11",
        "job-09",
    ],
    &["HSET", ":inflight:HOST", "e12", "1 i10 0 0 5 t=b !key=b\njob-10", "f13", "job-11"],
    &["HSET", ":inflight:OTHER", "e1", "1 i12 0 2 5 t=a !key=a\njob-12", "2", "job-13", "f3", "job-14"],
    &["HSET", ":parked", " ", "2", "a", "1", "b", "1"],
    &["RPUSH", ":parked:a", "1 p15 0 0 5 t=a !key=a\njob-15"],
    &["RPUSH", ":parked:b", "1 p16 0 0 5 t=b !key=b\njob-16"],
    &["HSET", ":places", " ", "1", "a", "1", "b", "1"],
    &["SADD", ":owed", "b"],
    &["SET", ":unique:u3", "r3"],
    &["SET", ":unique:u8", "i8"],
    &["SET", ":vacant", "1"],
    &["SET", ":word:HOST", "w"],
    &["RPUSH", ":result:i8", "old"],
    &["SET", ":rate", "1"],
    &["ZADD", "sandhog:schedules", "5", "nightly"],
    &[
        "HSET",
        "sandhog:schedule:nightly",
        "timing",
        "t",
        "slot",
        "5",
        "origin",
        "redis",
        "definition",
        act::DEFINITION,
    ],
    &["HSET", "sandhog:held", "plugin:x", "1"],
    &["SET", "k", "v"],
];

/// Empties the database and runs the commands: for each the number of words, then the words.
const SEED: &str = r"
redis.call('FLUSHALL')
local at = 1
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end";

/// Every key, its type and its contents, one after the other.
const DUMP: &str = r"
local read = {string = {'GET'}, list = {'LRANGE', 0, -1}, hash = {'HGETALL'}, set = {'SMEMBERS'}, stream = {'XLEN'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'}}
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local words = read[kind]
  local held = redis.call(words[1], key, unpack(words, 2))
  all[#all + 1] = key
  all[#all + 1] = kind .. ' ' .. (type(held) == 'table' and table.concat(held, '\31') or tostring(held))
end
return all";

type Dump = BTreeMap<String, String>;

impl Scene {
    async fn seed_spoiled(&mut self, spoiled: &str, spoil: &[&str]) {
        let gone: &[&str] = &["DEL", spoiled];
        let spoil: Vec<&str> =
            spoil.iter().map(|word| if *word == "KEY" { spoiled } else { *word }).collect();
        let script = Script::new(SEED);
        let mut call = script.prepare_invoke();
        for command in SEEDS.iter().copied().chain([gone, &spoil]) {
            call.arg(command.len());
            for word in command {
                call.arg(self.full(word));
            }
        }
        call.invoke_async::<()>(&mut self.plain).await.unwrap();
        self.next_seq = 100;
    }

    /// Expands the names of hosts and keys in a word of a command.
    fn full(&self, word: &str) -> String {
        let word = word.replace("HOST", self.host.as_str()).replace("OTHER", host(2).as_str());
        if word.starts_with(':') { format!("{{q}}:sandhog{word}") } else { word }
    }

    async fn dump_spoiled(&mut self) -> Dump {
        let all: Vec<String> = Script::new(DUMP).invoke_async(&mut self.plain).await.unwrap();
        all.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}

/// How often each job exists.
fn jobs(dump: &Dump) -> BTreeMap<String, usize> {
    let mut jobs = BTreeMap::new();
    for held in dump.values() {
        for (at, _) in held.match_indices("job-") {
            *jobs.entry(held[at..at + 6].to_owned()).or_default() += 1;
        }
    }
    jobs
}

/// What is wrong after the act, if anything.
fn verdict(name: &str, spoiled: &str, act: &Act, before: &Dump, after: &Dump) -> Option<String> {
    if let Some(error) = &act.refused {
        let is_named = error.contains(&format!("`{spoiled}`"));
        // The registry is a single key, and Redis' own error is clear enough.
        if !is_named && !name.starts_with("registry: ") {
            return Some(format!("refused without the name of the key: {error}"));
        }
        if act.ended.is_empty() && before != after {
            return Some(format!(
                "refused ({error}), and yet something was written: {}",
                changes(before, after)
            ));
        }
    }
    let (before_jobs, after_jobs) = (jobs(before), jobs(after));
    if let Some((job, times)) = after_jobs.iter().find(|(_, times)| **times != 1) {
        return Some(format!("{job} is there {times} times"));
    }
    let gone: Vec<&str> =
        before_jobs.keys().filter(|job| !after_jobs.contains_key(*job)).map(String::as_str).collect();
    let new: Vec<&str> =
        after_jobs.keys().filter(|job| !before_jobs.contains_key(*job)).map(String::as_str).collect();
    if gone.len() != act.ended_count() || gone.iter().any(|job| !act.ended.contains(job)) {
        return Some(format!("{gone:?} are gone, not {} of {:?}", act.ended_count(), act.ended));
    }
    if new.len() != act.added_count() || new.iter().any(|job| !act.added.contains(job)) {
        return Some(format!("{new:?} are new, not {} of {:?}", act.added_count(), act.added));
    }
    act.missing_effect(after).map(|effect| format!("{effect}: {}", changes(before, after)))
}

fn changes(before: &Dump, after: &Dump) -> String {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed.map(|key| format!("\n    {key}: {:?} -> {:?}", before.get(key), after.get(key))).collect()
}

#[tokio::test]
async fn a_script_that_meets_a_key_of_a_wrong_type_writes_nothing_or_everything() {
    let mut scene = Scene::on(TestRedis::start(), super::ROOMY).await;
    let mut problems = Vec::new();
    for (key, kind) in KEYS {
        for (wrong, spoil) in TYPES {
            if wrong == kind {
                continue;
            }
            for (name, _) in ACTS {
                scene.seed_spoiled(key, spoil).await;
                let before = scene.dump_spoiled().await;
                let act = act::act(&mut scene, name).await;
                let after = scene.dump_spoiled().await;
                if let Some(problem) = verdict(name, &scene.full(key), &act, &before, &after) {
                    problems.push(format!("{name}, `{key}` a {wrong}: {problem}"));
                }
            }
        }
    }
    let shown = problems.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(problems.is_empty(), "{} problems\n{shown}", problems.len());
}

#[tokio::test]
async fn each_act_does_something_if_no_key_is_spoiled() {
    let mut scene = Scene::new().await;
    for (name, _) in ACTS {
        scene.seed_spoiled("unused", &["SET", "KEY", "x"]).await;
        let before = scene.dump_spoiled().await;
        let act = act::act(&mut scene, name).await;
        let after = scene.dump_spoiled().await;
        assert_eq!(act.refused, None, "{name}");
        assert_eq!(verdict(name, "unused", &act, &before, &after), None, "{name}");
        assert!(act::READS.contains(&name) != (before != after), "{name}: {}", changes(&before, &after));
    }
}

#[test]
fn every_script_and_every_kind_of_key_is_tried() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/job");
    let mut scripts = BTreeSet::new();
    for folder in ["", "producer/"] {
        for entry in std::fs::read_dir(root.join("script").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            scripts.extend(name.strip_suffix(".lua").map(|name| format!("{folder}{name}")));
        }
    }
    let tried: BTreeSet<String> =
        ACTS.iter().flat_map(|(_, scripts)| scripts.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(tried, scripts, "tried, and there");

    // The names of keys as `key.rs` builds them; these scripts do not use those of the fleet's plugins and of guests.
    let text = std::fs::read_to_string(root.join("key.rs")).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    for literal in text.split('"').skip(1).step_by(2) {
        let name = ["{prefix}", "{}", "sandhog:"].iter().find_map(|start| literal.strip_prefix(start));
        let Some(name) = name else { continue };
        let name = name.split(['{', '"']).next().unwrap().trim_end_matches(':');
        if name.is_empty()
            || ["plugins", "release", "component", "write-rate"].iter().any(|own| name.starts_with(own))
        {
            continue;
        }
        assert!(KEYS.iter().any(|(key, _)| key.contains(name)), "no key `{name}` is spoiled");
    }
}
