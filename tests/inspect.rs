//! Looking at queues disturbs nobody: every command is paged and bounded, none walks the database, and all work at the
//! memory limit. What they answer is tested in `jobs/inspect`, `dead` and `cli/job`.

use std::collections::BTreeMap;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// Time in Redis after which a call counts as slow: many times what a page takes, so that a busy machine does not matter,
/// and many times less than it takes to read a million jobs.
const CALL_MICROS_MAX: u64 = 25_000;

/// What is seeded by one call, so that none takes long.
const PORTION: usize = 1_000;
const WAITING: &str = r#"
    for i = ARGV[1] + 1, ARGV[2] do redis.call('RPUSH', 'orders', '{"id":' .. i .. ',"tenant":' .. i % 1000 .. '}') end"#;
const DEAD: &str = r#"
    for i = ARGV[1] + 1, ARGV[2] do
      local kind = ({'no%20luck%20' .. i, 'out%20of%20memory', 'order%20' .. i .. '%20is%20gone'})[i % 3 + 1]
      local record = '1 dead-' .. i .. ' 3 0 5 !plugin=orders !reason=' .. kind .. '\n{"id":' .. i .. '}'
      redis.call('ZADD', '{orders}:sandhog:dead', 1700000000000 + i, record)
      redis.call('HINCRBY', '{orders}:sandhog:stats', 'dead_bytes', #record)
    end"#;
const OTHERS: &str = r#"
    for i = ARGV[1] + 1, ARGV[2] do
      redis.call('ZADD', '{orders}:sandhog:delayed', 7e12 + i, '1 delayed-' .. i .. ' 1 0 5\nlater ' .. i)
      redis.call('RPUSH', '{orders}:sandhog:ready', '1 ready-' .. i .. ' 1 0 5\nready ' .. i)
    end"#;

/// Seeds `waiting` jobs in the list, `dead` dead ones in three groups, some delayed and ready ones.
async fn seed(plain: &mut MultiplexedConnection, waiting: usize, dead: usize) {
    for (script, count) in [(WAITING, waiting), (DEAD, dead), (OTHERS, 300)] {
        for from in (0..count).step_by(PORTION) {
            let mut eval = redis::cmd("EVAL");
            eval.arg(script).arg(0).arg(from).arg(count.min(from + PORTION));
            let () = eval.query_async(plain).await.unwrap();
        }
    }
}

/// What every kind of looking and editing is, as the program is called.
const CALLS: &[&[&str]] = &[
    &["queues"],
    &["queues", "orders"],
    &["hosts"],
    &["plugins"],
    &["jobs", "list", "orders"],
    &["jobs", "list", "orders", "--place", "waiting", "--limit", "100", "--cursor", "1500"],
    &["jobs", "list", "orders", "--place", "dead", "--text", "nowhere to be found"],
    &["jobs", "show", "orders", "dead-1"],
    &["jobs", "show", "orders", "delayed-7"],
    &["jobs", "groups", "orders"],
    &["jobs", "export", "orders", "--text", "out of"],
    &["jobs", "requeue", "orders", "--all", "--dry-run"],
    &["jobs", "cancel", "orders", "--text", "\"tenant\":77}", "--dry-run"],
    &["jobs", "requeue", "orders", "dead-2", "delayed-1"],
    &["jobs", "requeue", "orders", "dead-3", "--payload", "better"],
    &["jobs", "requeue", "orders", "--text", "gone", "--until", "1d"],
    &["jobs", "discard", "orders", "dead-1", "delayed-2", "ready-3"],
    &["jobs", "discard", "orders", "--text", "luck", "--yes"],
    &["jobs", "cancel", "orders", "ready-9", "delayed-9"],
    &["jobs", "cancel", "orders", "--text", "\"tenant\":77}", "--yes"],
    &["queues", "orders", "--pause"],
    &["queues", "orders", "--resume"],
    &["plugins", "pause", "orders"],
    &["plugins", "resume", "orders"],
    &["jobs", "discard", "orders", "--all", "--yes"],
];

/// Runs them all; each must succeed.
fn run_all(program: &Program) {
    for call in CALLS {
        let output = program.output(call);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{call:?}: {said}");
    }
}

/// Calls and microseconds of each command, as Redis counts them.
async fn statistics(plain: &mut MultiplexedConnection) -> BTreeMap<String, (u64, u64)> {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(plain).await.unwrap();
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
    lines
        .map(|(command, line)| {
            let value = |name: &str| {
                let found = line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                found.unwrap().parse().unwrap()
            };
            (command.to_owned(), (value("calls"), value("usec")))
        })
        .collect()
}

#[tokio::test]
async fn everything_works_at_the_memory_limit() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    seed(&mut plain, 2000, 900).await;
    let host = "web.00000001.00000000000a";
    let () = plain.zadd("sandhog:hosts", host, 8_000_000_000_000_u64).await.unwrap();
    let inflight = format!("{{orders}}:sandhog:inflight:{host}");
    let () = plain.hset(&inflight, "e7", "1 runs 0 0 5\nx").await.unwrap();
    // The scripts are known before: a script that is new takes memory, too.
    run_all(&program);
    let exported = program.output(&["jobs", "export", "orders", "--place", "delayed"]).stdout;
    program.file("delayed.jsonl", exported);
    seed(&mut plain, 2000, 900).await;
    let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query_async(&mut plain).await.unwrap();
    let refused: Result<u64, _> = plain.rpush("orders", "one more").await;
    assert!(refused.is_err_and(|error| error.code() == Some("OOM")), "Redis is at its limit");

    run_all(&program);
    let cancelled = program.json(&["jobs", "cancel", "orders", "runs"]);
    assert_eq!(cancelled["cancelled"], 1);
    program.json(&["jobs", "discard", "orders", "delayed-20"]);
    let import = program.output(&["jobs", "import", "orders", "delayed.jsonl"]);
    let said = String::from_utf8_lossy(&import.stderr).into_owned();
    assert_eq!(import.status.code(), Some(1), "what adds is refused: {said}");
    assert!(said.contains("0 jobs were imported before"), "{said}");
}

#[tokio::test]
async fn no_command_walks_over_everything() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    seed(&mut plain, 2000, 900).await;
    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut plain).await.unwrap();
    let () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut plain).await.unwrap();
    run_all(&program);
    let seen = statistics(&mut plain).await;
    assert!(seen.contains_key("lrange") && seen.contains_key("zrange"), "commands within scripts are seen");
    // Each of these with a bound of its own; `HGETALL` reads counters and what hosts tell of themselves.
    let known = [
        "auth",
        "client",
        "client|id",
        "client|kill",
        "client|setname",
        "client|setinfo",
        "client|tracking",
        "config|resetstat",
        "del",
        "eval",
        "evalsha",
        "evalsha_ro",
        "exists",
        "get",
        "getrange",
        "hdel",
        "hello",
        "hget",
        "hscan",
        "hgetall",
        "hincrby",
        "hkeys",
        "hlen",
        "hset",
        "hsetnx",
        "hstrlen",
        "info",
        "lindex",
        "llen",
        "lmove",
        "lpop",
        "lrange",
        "lrem",
        "lset",
        "memory|usage",
        "ping",
        "rpush",
        "scard",
        "script",
        "script|load",
        "select",
        "set",
        "slowlog|reset",
        "smembers",
        "sscan",
        "time",
        "type",
        "zadd",
        "unlink",
        "zcard",
        "zrange",
        "zrem",
        "zscore",
        "multi",
        "exec",
        "hmget",
        "mget",
    ];
    let unknown: Vec<&String> = seen.keys().filter(|command| !known.contains(&command.as_str())).collect();
    assert!(unknown.is_empty(), "is each of them bounded? then add it here: {unknown:?}");
}

#[test]
fn no_script_has_an_unbounded_command() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("host");
    let mut folders = vec![folder];
    let mut scripts = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lua") {
                let text = std::fs::read_to_string(&path).unwrap();
                // It compares the number of elements with its bound before it reads any.
                if path.ends_with("storage/script/bounded.lua") {
                    continue;
                }
                let code: String = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
                for command in ["'KEYS'", "'SMEMBERS'", "'HVALS'", "'SORT'", "'LRANGE', KEYS[1], 0, -1"] {
                    assert!(!code.contains(command), "{} calls {command}", path.display());
                }
                scripts += 1;
            }
        }
    }
    assert!(scripts > 40, "{scripts} scripts: is the test looking in the right place?");
}

#[tokio::test]
async fn a_million_jobs_are_looked_at_in_short_calls() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    seed(&mut plain, 1_000_000, 100_000).await;
    assert_eq!(plain.llen::<_, u64>("orders").await.unwrap(), 1_000_000);
    let mut set = redis::cmd("CONFIG");
    let () = set
        .arg(&["SET", "slowlog-log-slower-than", &CALL_MICROS_MAX.to_string(), "slowlog-max-len", "100000"])
        .query_async(&mut plain)
        .await
        .unwrap();
    let () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut plain).await.unwrap();
    let () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut plain).await.unwrap();
    for call in [
        &["queues", "orders"][..],
        &["jobs", "list", "orders"],
        &["jobs", "list", "orders", "--place", "waiting", "--limit", "100", "--cursor", "500000"],
        &["jobs", "list", "orders", "--place", "dead", "--text", "nowhere to be found"],
        &["jobs", "groups", "orders"],
        &["jobs", "show", "orders", "dead-1"],
        &["jobs", "requeue", "orders", "dead-1", "dead-50000"],
        &["jobs", "discard", "orders", "--text", "{\"id\":7", "--yes"],
        &["jobs", "cancel", "orders", "--text", "\"id\":50000,", "--dry-run"],
    ] {
        let output = program.output(call);
        assert_eq!(output.status.code(), Some(0), "{call:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let statistics = statistics(&mut plain).await;
    let (calls, micros) = statistics
        .iter()
        .filter(|(name, _)| name.starts_with("evalsha"))
        .fold((0, 0), |(calls, micros), (_, (c, m))| (calls + c, micros + m));
    println!("{calls} calls of {} µs each", micros / calls);
    assert!(calls > 10_000, "{calls} calls are too few to have looked at all jobs a page at a time");
    let slow: usize = redis::cmd("SLOWLOG").arg("LEN").query_async(&mut plain).await.unwrap();
    // A machine that is busy interrupts some calls, whatever they do (a `TYPE` among them); not one in five hundred.
    assert!(slow as u64 <= 2 + calls / 500, "{slow} of {calls} calls took more than {CALL_MICROS_MAX} µs");
}

/// The names in a JSON document, in their order; of lists those of the first element.
fn shape(document: &Value) -> Value {
    match document {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(list) => Value::Array(list.first().map(shape).into_iter().collect()),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn json_has_the_shapes_that_are_documented() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    seed(&mut plain, 1, 3).await;
    let shapes: Vec<String> = [
        &["queues", "orders"][..],
        &["jobs", "list", "orders", "--place", "dead", "--limit", "1"],
        &["jobs", "show", "orders", "dead-1"],
        &["jobs", "groups", "orders"],
        &["jobs", "requeue", "orders", "dead-1"],
        &["jobs", "cancel", "orders", "--text", "nothing", "--dry-run"],
        &["jobs", "discard", "orders", "--all", "--yes"],
        &["plugins", "pause", "orders"],
    ]
    .into_iter()
    .map(|call| format!("{}\n{}", call.join(" "), shape(&program.json(call))))
    .collect();
    insta::assert_snapshot!(shapes.join("\n"), @r#"
    queues orders
    {"queues":[{"dead":"number","delayed":"number","inflight":"number","parked":"number","paused":false,"queue":"text","ready":"number","stats":{"dead_bytes":"number"},"waiting":"number"}]}
    jobs list orders --place dead --limit 1
    {"jobs":[{"at_ms":"number","attempts":"number","crashes":"number","first_seen_ms":"number","headers":[{"key":"text","value":"text"}],"host":null,"id":"text","payload_bytes":"number","place":"text","preview":"text","reason":"text"}],"next":{"dead":"text"}}
    jobs show orders dead-1
    {"at_ms":"number","attempts":"number","crashes":"number","first_seen_ms":"number","headers":[{"key":"text","value":"text"}],"host":null,"id":"text","payload":"text","payload_bytes":"number","place":"text","preview":"text","reason":"text"}
    jobs groups orders
    {"groups":[{"example":{"id":"text","reason":"text"},"failure":"text","fingerprint":"text","first_ms":"number","jobs":"number","last_ms":"number"}],"other_jobs":"number","queue":"text"}
    jobs requeue orders dead-1
    {"duplicates":"number","queue":"text","requeued":"number"}
    jobs cancel orders --text nothing --dry-run
    {"dry_run":true,"matched":"number","queue":"text"}
    jobs discard orders --all --yes
    {"discarded":"number","queue":"text"}
    plugins pause orders
    {"plugins":[{"changed":true,"paused":true,"plugin":"text"}]}
    "#);
}

#[tokio::test]
async fn a_page_of_large_jobs_ends_early_and_goes_on_where_it_ended() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut plain = redis.plain().await;
    for n in 0..20 {
        let payload = format!("{n} {}", "x".repeat(1 << 20));
        let () = plain.rpush("orders", payload).await.unwrap();
    }
    let link = redis.link();
    let queue = sandhog::job::name::QueueName::new("orders").unwrap();
    let page =
        sandhog::job::inspect::list(&link, &queue, sandhog::job::inspect::Place::Waiting, None, 100).await;
    let (rows, next) = page.unwrap();
    assert!((2..8).contains(&rows.len()), "{} MiB were read at once", rows.len());
    assert_eq!(next, Some(rows.len().to_string()));
    let all = program.json(&["jobs", "list", "orders", "--place", "waiting", "--limit", "100"]);
    assert_eq!(all["jobs"].as_array().unwrap().len(), 20, "the command goes on by itself");
}
