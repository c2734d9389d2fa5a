//! Attacks by many jobs, by plugins that work together, and on fleets: on the processors, on Redis' memory, and on what
//! Redis keeps about connections.

use super::attack::{by_hand, when_attacking};
use super::siege::{self, Siege};
use super::table::Pending;
use crate::support::example;
use crate::support::guest::{wasi_worker, worker};

const AFTER: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
    (func $after (param i64) (result i32)))"#;
const POLL: &str = r#"(import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))"#;
const PUSH: &str = r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#;
const IMMEDIATE: &str = "[effects]\nmode = \"immediate\"";
const SERIALIZABLE: &str = "[effects]\nisolation = \"serializable\"";

/// Most bytes that wait in Redis for one connection: a plugin has 2 MiB in flight, and one value may be longer.
const OUTPUT_BYTES_MAX: u64 = 32 << 20;
/// Most keys of which Redis notes that a connection has read them. Hosts track a few keys for each queue.
const TRACKED_MAX: u64 = 10_000;

macro_rules! sieges {
    ($($name:ident: $limit:literal, $siege:expr;)*) => {
        pub(super) const ATTACKS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                siege::run(Pending::new(stringify!($name), $limit), $siege).await;
            }
        )*
    };
}

sieges! {
    polls_of_a_million_handles: "`timeout`", Siege::new().by("flood", polls(), "").jobs("flood", 4, |_| "go".to_owned());
    components_near_every_limit_of_the_engine: "pool of sandboxes", Siege::new().by("near", near_limits(), "[limits]\nkv_calls = 200")
        .jobs("near", 64, |_| "go".to_owned());
    plugins_that_push_to_each_other_without_end: "share of the processors", Siege::new()
        .by("ping", twice("pong"), IMMEDIATE).by("pong", twice("ping"), IMMEDIATE).job("ping", "go").lasting();
    a_plugin_that_grows_what_another_one_has_peeked_at: "bytes that were seen", Siege::new()
        .by("peeks", probe(), SERIALIZABLE).by("grows", probe(), IMMEDIATE)
        .job("grows", "report none\nqueue.push shared x\n")
        .jobs("peeks", 4, |_| "report none\nqueue.peek shared 1000\nrepeat 2000 kv.exists other\nkv.set peeked 1".to_owned())
        .jobs("grows", 16, |_| lines(4, |_| "queue.push shared rep:1000000:78".to_owned()));
    a_hostile_plugin_on_a_fleet_of_three_hosts: "`limits`", Siege::new().on(3).by("siege", probe(), SERIALIZABLE)
        .jobs("siege", 24, |nth| match nth % 3 {
            0 => lines(40, |n| format!("kv.set-with fleet:{n} rep:100000:78 ttl=60000")),
            1 => lines(200, |n| format!("kv.compare-and-swap fleet:{n} - rep:10000:78")),
            _ => lines(40, |_| "queue.push heap rep:100000:78".to_owned()) + "\n"
                + &lines(40, |_| "queue.pop heap front".to_owned()) + "\ntrap",
        });
    large_entries_that_are_popped_by_runs_that_fail: "bytes that go back at once", Siege::new().by("pops", probe(), "")
        .jobs("pops", 8, |_| lines(3, |_| "queue.push heap rep:1000000:78".to_owned()))
        .jobs("pops", 16, |_| lines(20, |_| "queue.pop heap front".to_owned()) + "\ntrap");
    a_million_tiny_keys: "`limits.effects`", Siege::new().by("keys", probe(), IMMEDIATE)
        .jobs("keys", 1000, |nth| format!("report none\nkv.set-many {}", pairs(nth)));
    a_storm_of_expiring_keys: "`limits.effects`", Siege::new().by("expiry", probe(), "")
        .jobs("expiry", 100, |nth| lines(990, |n| format!("kv.set-with e:{nth}:{n} x ttl=300")));
    values_of_every_size_set_and_deleted_in_turn: "`limits.effects`", Siege::new().by("holes", probe(), "")
        .jobs("holes", 60, |nth| lines(300, |n| match n % 3 {
            0 | 1 => format!("kv.set h:{nth}:{n} rep:{}:78", 1 << (n % 13)),
            _ => format!("kv.delete h:{}:{}", nth.saturating_sub(1), n - 1),
        }));
    large_replies_to_as_many_runs_as_there_are: "bytes under way", Siege::new().by("reads", probe(), IMMEDIATE)
        .job("reads", "report none\nkv.set big rep:1000000:78")
        .jobs("reads", 64, |_| "report none\nrepeat 8 kv.get big".to_owned())
        .leaves("clients", |info| at_most(info, "client_recent_max_output_buffer", OUTPUT_BYTES_MAX));
    reads_of_as_many_keys_as_there_are_calls: "connections of guests track nothing", Siege::new().by("looks", probe(), "")
        .jobs("looks", 12, |nth| lines(3000, |n| format!("kv.exists t:{nth}:{n}")))
        .leaves("stats", |info| at_most(info, "tracking_total_keys", TRACKED_MAX));
}

fn probe() -> Vec<u8> {
    example::component("probe")
}

/// A script for the probe.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let lines: Vec<String> = (0..count).map(line).collect();
    format!("report none\n{}", lines.join("\n"))
}

/// A thousand tiny keys that no other job has.
fn pairs(nth: usize) -> String {
    (0..1000).map(|n| format!("k:{nth}:{n} x")).collect::<Vec<_>>().join(" ")
}

fn at_most(info: &str, field: &str, most: u64) -> Result<(), String> {
    let found = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let found: u64 = found.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if found <= most { Ok(()) } else { Err(format!("{field} is {found}, at most {most} were expected")) }
}

/// Polls lists of a million copies of one ready handle, repeatedly.
fn polls() -> Vec<u8> {
    let body = "
        (if (i32.eq (memory.grow (i32.const 80)) (i32.const -1)) (then unreachable))
        (local.set $j (call $after (i64.const 0)))
        (loop $f
            (i32.store (i32.add (i32.const 262144) (i32.mul (local.get $i) (i32.const 4))) (local.get $j))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $f (i32.lt_u (local.get $i) (i32.const 1000000))))
        (loop $p
            ;; The answer lies behind the list, each one where the last one was.
            (global.set $heap (i32.const 5242880))
            (call $poll (i32.const 262144) (i32.const 1000000) (i32.const 1024))
            (br $p))
        unreachable";
    wasi_worker(&format!("{AFTER} {POLL}"), "", &when_attacking(body))
}

/// Memories, tables, instances and locals, nearly as many of each as a component may have.
fn near_limits() -> Vec<u8> {
    let module = format!(
        "(core module $m (memory 100) {} (func (local {})))\n",
        "(table 1600 funcref)".repeat(10),
        "i64 ".repeat(40_000)
    );
    let items = module
        + &"(core instance (instantiate $m))\n".repeat(6)
        + "(core module $e)\n"
        + &"(core instance (instantiate $e))\n".repeat(45);
    // In a run, each waits for Redis until its calls are spent, so that many runs have their memories and tables at once.
    let start = "(loop $l (call $exists (i32.const 0) (i32.const 1) (i32.const 64))
        (br_if $l (i32.eqz (i32.load8_u (i32.const 64)))))";
    by_hand(start, &items)
}

/// Pushes its payload to another queue twice.
fn twice(queue: &str) -> Vec<u8> {
    let length = queue.len();
    let push = format!(
        "(call $push (i32.const 2048) (i32.const {length}) (local.get $payload) (local.get $length) (i32.const 1024))"
    );
    worker(PUSH, &format!("(data (i32.const 2048) \"{queue}\")"), &format!("{push} {push} i32.const 0"))
}
