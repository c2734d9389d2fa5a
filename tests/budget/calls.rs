//! The calls of a guest, as lines for the guest `probe`: calls with extreme arguments, alternating and many times.

use proptest::collection::vec;
use proptest::prelude::*;

/// Longest script: a payload has a mebibyte.
const SCRIPT_BYTES_MAX: usize = 900_000;
/// Most bytes of values that one case moves, so that it takes a second rather than a minute.
const MOVED_BYTES_MAX: usize = 96 << 20;

/// What the jobs of one case do.
#[derive(Debug, Clone)]
pub struct Case {
    /// How many jobs run at the same time.
    pub jobs: usize,
    /// Calls that are made in turn, and how often; `{n}` in them counts.
    pub rounds: Vec<(Vec<String>, usize)>,
    /// How each job ends.
    pub end: String,
}

impl Case {
    /// The script of each job, and how many of its lines there is room for.
    pub fn script(&self) -> String {
        let mut script = "report none\n".to_owned();
        let mut moved = 0;
        for (calls, times) in &self.rounds {
            for nth in 0..*times {
                for call in calls {
                    moved += self.jobs * moves(call);
                    if moved > MOVED_BYTES_MAX || script.len() + call.len() > SCRIPT_BYTES_MAX {
                        continue;
                    }
                    script.push_str(&call.replace("{n}", &nth.to_string()));
                    script.push('\n');
                }
            }
        }
        script + &self.end
    }
}

/// About how many bytes of values a call sends or fetches.
fn moves(call: &str) -> usize {
    let bytes = |word: &str| match word.strip_prefix("rep:") {
        Some(repeated) => repeated.split(':').next().and_then(|times| times.parse().ok()).unwrap_or(0),
        None if ["a", "b", "heavy"].contains(&word) => 1 << 20,
        None => word.len(),
    };
    call.split(' ').map(bytes).sum::<usize>().min(4 << 20)
}

fn one_of(words: &[&str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

/// Two texts of a mebibyte, numbers at the ends of 64 bits, lists of large and of many entries, a hash, the longest name,
/// and as many names as there are calls.
fn key() -> impl Strategy<Value = String> {
    let keys =
        ["a", "b", "highest", "lowest", "heavy", "many", "hash", "none", "giant", "short:{n}", "new:{n}"];
    prop_oneof![9 => one_of(&keys), 2 => Just("rep:1024:6b".to_owned()), 1 => Just("rep:1025:6b".to_owned())]
}

fn value() -> impl Strategy<Value = String> {
    one_of(&[
        "x",
        "hex:",
        "9223372036854775807",
        "-9223372036854775808",
        "rep:1024:78",
        "rep:1025:78",
        "rep:65536:78",
        "rep:1048576:78",
        "rep:1048577:78",
    ])
}

fn number() -> impl Strategy<Value = String> {
    one_of(&["0", "1", "-1", "9223372036854775807", "-9223372036854775808"])
}

/// A century, the longest delay of a push, and what is beyond.
fn time() -> impl Strategy<Value = String> {
    one_of(&[
        "1",
        "60000",
        "2592000000",
        "31536000000",
        "31536000001",
        "3153600000000",
        "18446744073709551615",
    ])
}

/// The same word, repeated.
fn wide(word: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (word, prop::sample::select(vec![1_usize, 2, 16, 100, 1000, 1001]))
        .prop_map(|(word, times)| vec![word; times].join(" "))
}

fn kv_call() -> impl Strategy<Value = String> {
    let maybe = || prop_oneof![1 => Just("-".to_owned()), 3 => value()];
    let pairs = (one_of(&["new", "short"]), value(), prop::sample::select(vec![1_usize, 100, 1000, 1001]));
    prop_oneof![
        2 => key().prop_map(|key| format!("kv.get {key}")),
        1 => wide(key()).prop_map(|keys| format!("kv.get-many {keys}")),
        2 => (key(), value()).prop_map(|(key, value)| format!("kv.set {key} {value}")),
        2 => (key(), value(), time(), one_of(&["absent", "present", "always"]))
            .prop_map(|(key, value, ttl, condition)| format!("kv.set-with {key} {value} ttl={ttl} if={condition}")),
        1 => pairs.prop_map(|(name, value, count)| {
            let pairs: Vec<String> = (0..count).map(|nth| format!("{name}:{nth} {value}")).collect();
            format!("kv.set-many {}", pairs.join(" "))
        }),
        1 => key().prop_map(|key| format!("kv.delete {key}")),
        1 => key().prop_map(|key| format!("kv.exists {key}")),
        2 => (key(), number()).prop_map(|(key, by)| format!("kv.add {key} {by}")),
        2 => (key(), number()).prop_map(|(key, by)| format!("kv.increment {key} {by}")),
        2 => (key(), maybe(), maybe()).prop_map(|(key, old, new)| format!("kv.compare-and-swap {key} {old} {new}")),
        1 => (key(), prop_oneof![Just("-".to_owned()), Just("0".to_owned()), time()])
            .prop_map(|(key, ttl)| format!("kv.expire {key} {ttl}")),
        1 => key().prop_map(|key| format!("kv.ttl {key}")),
        2 => (one_of(&["short:", "none:", "hex:", "rep:1024:6b"]), one_of(&["-", "$cursor", "8", "18446744073709551615"]))
            .prop_map(|(prefix, cursor)| format!("kv.list-keys {prefix} {cursor}")),
    ]
}

fn queue_call() -> impl Strategy<Value = String> {
    let queue = || one_of(&["heavy", "many", "a", "hash", "new-list", "q:{n}"]);
    let unique = one_of(&["", " unique=u", " unique=u:{n}", " unique=rep:1024:75", " unique=rep:1025:75"]);
    prop_oneof![
        2 => (queue(), value()).prop_map(|(queue, payload)| format!("queue.push {queue} {payload}")),
        2 => (queue(), value(), prop::option::of(time()), unique, time(), one_of(&["front", "back"])).prop_map(
            |(queue, payload, delay, unique, ttl, end)| {
                let delay = delay.map(|ms| format!(" delay={ms}")).unwrap_or_default();
                format!("queue.push-with {queue} {payload} end={end}{delay}{unique} unique-ttl={ttl}")
            }
        ),
        1 => (queue(), wide(value())).prop_map(|(queue, payloads)| format!("queue.push-many {queue} {payloads}")),
        3 => (queue(), one_of(&["front", "back"])).prop_map(|(queue, end)| format!("queue.pop {queue} {end}")),
        1 => queue().prop_map(|queue| format!("queue.length {queue}")),
        2 => (queue(), one_of(&["1", "2", "100", "1000", "1001"]))
            .prop_map(|(queue, count)| format!("queue.peek {queue} {count}")),
    ]
}

/// A case of random calls that a guest may make.
pub fn case() -> impl Strategy<Value = Case> {
    let call = prop_oneof![3 => kv_call(), 2 => queue_call()];
    let times = prop::sample::select(vec![1_usize, 3, 20, 100, 990, 3000]);
    let end =
        one_of(&["done", "trap", "bury x", "bury rep:900000:78", "retry x 1", "set-result rep:65536:78"]);
    (1_usize..5, vec((vec(call, 1..4), times), 1..4), end).prop_map(|(jobs, rounds, end)| Case {
        jobs,
        rounds,
        end,
    })
}
