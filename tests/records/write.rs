//! Records of every kind, as anybody with write access to Redis can leave them. The fuzz target `records` uses this
//! file, too.

use redis::{Cmd, Value, cmd};
use sandhog::storage::link::Link;

/// A host that is dead, and left records.
pub const DEAD: &str = "o.00000002.0000000003e8";
/// The id of a job that records name.
pub const JOB: &str = "id-1";
/// A SHA-256: of a release, and of a component.
pub const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The fields about a host.
const INFO: [&str; 11] = [
    "queues",
    "plugins",
    "fleet",
    "version",
    "pid",
    "origin",
    "lease_ms",
    "spared",
    "successor",
    "started_ms",
    "pop:jobs",
];
/// What a round of healing remembers.
const AUDIT: [&str; 6] = ["  stage", "  at", "  next", "  host", "  moment", "  ended"];
/// What the fields of a host's records begin with.
const FIELD: [&str; 5] = ["", "e", "f", "b", "x"];
/// Single keys that hold a number or a word.
const STRINGS: [&str; 7] = [
    "sandhog:contact",
    "sandhog:searched",
    "{jobs}:sandhog:rate",
    "{jobs}:sandhog:rate:a",
    "{jobs}:sandhog:vacant",
    "{jobs}:sandhog:progress:id-1",
    "{jobs}:sandhog:unique:a",
];

/// One record: its kind, and what it is made of. Not each kind has a use for everything.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub kind: u8,
    /// Which of several.
    pub which: u8,
    pub name: Vec<u8>,
    pub number: Vec<u8>,
    pub text: Vec<u8>,
}

/// How many kinds there are.
pub const KINDS: u8 = 25;

impl Record {
    /// The commands that write it.
    fn commands(&self) -> Vec<Cmd> {
        let Self { which, name, number, text, .. } = self;
        let of = |words: &[&'static str]| words[usize::from(*which) % words.len()].as_bytes().to_vec();
        let jobs = |what: &str| ["{jobs}:sandhog:", what].concat().into_bytes();
        let registered = || command("ZADD", &[b"sandhog:hosts", b"1000", DEAD.as_bytes()]);
        let field = || [of(&FIELD), number.clone()].concat();
        let scheduled = [b"sandhog:schedule:".as_slice(), name].concat();
        let held_by = |host: &str| [jobs("inflight:"), host.as_bytes().to_vec()].concat();
        match self.kind % KINDS {
            0 => vec![command("RPUSH", &[b"jobs", text])],
            1 => vec![command("RPUSH", &[&jobs("ready"), text])],
            2 => vec![command("ZADD", &[&jobs("delayed"), number, text])],
            3 => vec![command("ZADD", &[&jobs("dead"), number, text])],
            4 => vec![command("RPUSH", &[&[jobs("parked:"), name.clone()].concat(), text])],
            5 => vec![command("HSET", &[&jobs("parked"), name, number])],
            6 => vec![command("HSET", &[&jobs("places"), name, number])],
            7 => vec![command("SADD", &[&jobs("owed"), name])],
            8 => vec![command("HSET", &[&jobs("audit"), &of(&AUDIT), text])],
            9 => vec![command("HSET", &[&jobs("audit"), name, number])],
            10 => vec![
                command("HSET", &[&held_by(DEAD), &field(), text]),
                command("HSET", &[format!("sandhog:host:{DEAD}").as_bytes(), b"queues", b"[\"jobs\"]"]),
                registered(),
            ],
            11 => vec![command("ZADD", &[b"sandhog:hosts", number, name])],
            12 => vec![
                command("HSET", &[format!("sandhog:host:{DEAD}").as_bytes(), &of(&INFO), text]),
                registered(),
            ],
            13 => vec![command("HSET", &[format!("sandhog:host:{DEAD}").as_bytes(), &of(&INFO), number])],
            14 => vec![
                command("ZADD", &[b"sandhog:schedules", b"1000", name]),
                command("HSET", &[&scheduled, b"slot", number, b"definition", text, b"origin", b"redis"]),
            ],
            15 => vec![command(
                "HSET",
                &[&scheduled, &of(&["fired", "timing", "paused", "last", "slot"]), text],
            )],
            16 => vec![command("ZADD", &[b"sandhog:schedules", number, name])],
            17 => vec![command("HSET", &[b"sandhog:schedules:files", name, text])],
            18 => vec![command(
                "HSET",
                &[&jobs("stats"), &of(&["dead_jobs", "dead_bytes", "dead_recount"]), text],
            )],
            19 => vec![command("RPUSH", &[&jobs("result:id-1"), text])],
            20 => vec![command("HSET", &[b"sandhog:held", name, number])],
            21 => vec![command("LPUSH", &[&of(&["sandhog:swaps", "sandhog:plugins:p:history"]), text])],
            22 => vec![command("SET", &[&of(&STRINGS), text]), command("SADD", &[b"sandhog:queues", name])],
            23 => vec![command("HSET", &[b"sandhog:plugins", name, text])],
            _ => vec![
                command("SET", &[format!("sandhog:release:{DIGEST}").as_bytes(), text]),
                command(
                    "HSET",
                    &[format!("sandhog:component:{DIGEST}").as_bytes(), b"bytes", number, b"0", text],
                ),
            ],
        }
    }
}

fn command(name: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = cmd(name);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

/// Writes records. Records that Redis refuses, for example with a score that is not a number, are left out.
pub async fn write(link: &Link, records: &[Record]) {
    for command in records.iter().flat_map(Record::commands) {
        let _ = link.query::<Value>(&command).await;
    }
}
