//! Plugins' own Redis users: the printed line gives exactly what the manifest grants, and Redis itself refuses the rest.

mod host;
mod own;
mod reader;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands;
use sandhog::capability::acl;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host as Kv, SetOptions};
use sandhog::capability::binding::sandhog::worker::queue::{End, Host as Queue, PushOptions, Uniqueness};
use sandhog::capability::grant::{Grants, Patterns};
use sandhog::capability::limits::Limits;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::capability::refusal::Refusal;
use sandhog::capability::view::View;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use sandhog::storage::user::PluginUser;

use crate::support::guest::all_grants;
use crate::support::log::capture;
use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::view::{patterns, refusal, scope, view};

const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "thumbnails"
[grants]
kv.read = ["r:*", "odd?[x]\\(y)"]
kv.write = ["w:*", "a \"b\""]
queue.push = ["out", "to{7}*"]
queue.pop = ["in"]
"#;

/// Each command of the rules on a name that was not granted for it, and some that nobody is granted.
const UNGRANTED: [&str; 41] = [
    "GET secret",
    "GETRANGE secret 0 1",
    "STRLEN secret",
    "EXISTS secret",
    "PTTL secret",
    "MGET r:1 secret",
    "SET r:1 x",
    "MSET w:1 x secret y",
    "UNLINK r:1",
    "DEL secret",
    "INCRBY r:1 1",
    "PEXPIRE r:1 1",
    "PERSIST r:1",
    "RPUSH in x",
    "RPUSH w:1 x",
    "LPUSH in x",
    "LPOP out",
    "RPOP out",
    "LINDEX out 0",
    "LRANGE w:1 0 1",
    "LLEN r:1",
    "LPUSH {in}:sandhog:ready x",
    "ZADD {out}:sandhog:dead 0 x",
    "HGETALL sandhog:hosts",
    "TYPE secret",
    "RPUSH {in}:sandhog:ready x",
    "KEYS *",
    "FLUSHALL",
    "CONFIG GET *",
    "ACL LIST",
    "ACL WHOAMI",
    "CLIENT LIST",
    "INFO",
    "EVAL return 0",
    "PUBLISH a b",
    "SUBSCRIBE a",
    "SELECT 1",
    "SCRIPT FLUSH",
    "RENAME w:1 w:2",
    "MONITOR",
    "EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 secret",
];

fn grants() -> Grants {
    Grants {
        kv_read: Patterns::new(&["r:*", "odd?[x]\\(y)"]),
        kv_write: Patterns::new(&["w:*", "a \"b\""]),
        queue_push: patterns("out to{7}*"),
        queue_pop: patterns("in"),
        config: Vec::new(),
    }
}

/// A view with these grants whose effects take place as `plan` says.
fn planned(link: Link, grants: Grants, plan: &Plan) -> View {
    let scope = scope(Arc::new(grants), Limits::default());
    View::new(Arc::new(scope), Some(link), Arc::default(), None, plan)
}

fn atomic(isolation: Isolation) -> Plan {
    Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None }))
}

fn unique_later() -> PushOptions {
    let unique = Some(Uniqueness { key: "u".to_owned(), ttl_ms: 1_000 });
    PushOptions { end: End::Back, delay_ms: Some(60_000), unique }
}

/// Every call, on these keys and queues; what each was answered.
async fn every_call(
    view: &mut View,
    [r, w, push, pop]: [&str; 4],
) -> Vec<(&'static str, Result<(), Refusal>)> {
    let name = str::to_owned;
    let v = || b"1".to_vec();
    let front = PushOptions { end: End::Front, delay_ms: None, unique: None };
    let with = |condition| SetOptions { ttl_ms: Some(60_000), condition };
    let swap = (Some(v()), Some(b"2".to_vec()));
    let mut calls = Vec::new();
    let prefix = r.trim_end_matches(|c| c != ':');
    calls.push(("get", view.get(name(r)).await.map(drop)));
    calls.push(("get-many", view.get_many(vec![name(r), name(r)]).await.map(drop)));
    calls.push(("exists", view.exists(name(r)).await.map(drop)));
    calls.push(("ttl", view.ttl(name(r)).await.map(drop)));
    calls.push(("list-keys", view.list_keys(name(prefix), None).await.map(drop)));
    calls.push(("set", view.set(name(w), v()).await));
    calls.push(("set-with", view.set_with(name(w), v(), with(Condition::IfPresent)).await.map(drop)));
    calls.push(("set-many", view.set_many(vec![(name(w), v())]).await));
    calls.push(("add", view.add(name(w), 1).await));
    calls.push(("increment", view.increment(name(w), -1).await.map(drop)));
    calls.push(("compare-and-swap", view.compare_and_swap(name(w), swap.0, swap.1).await.map(drop)));
    calls.push(("expire", view.expire(name(w), Some(60_000)).await.map(drop)));
    calls.push(("persist", view.expire(name(w), None).await.map(drop)));
    calls.push(("delete", view.delete(name(w)).await.map(drop)));
    calls.push(("push", view.push(name(push), v()).await.map(drop)));
    calls.push(("push-many", view.push_many(name(push), vec![v(), v()]).await.map(drop)));
    calls.push(("push-with front", view.push_with(name(push), v(), front).await.map(drop)));
    calls.push(("push-with unique", view.push_with(name(push), v(), unique_later()).await.map(drop)));
    calls.push(("length", view.length(name(push)).await.map(drop)));
    calls.push(("peek", view.peek(name(push), 3).await.map(drop)));
    calls.push(("pop", view.pop(name(pop), End::Front).await.map(drop)));
    calls.push(("pop back", view.pop(name(pop), End::Back).await.map(drop)));
    calls.push(("length of pop", view.length(name(pop)).await.map(drop)));
    calls.push(("peek of pop", view.peek(name(pop), 3).await.map(drop)));
    calls
}

/// Runs the line as an operator would, and adds a password.
fn paste(redis: &TestRedis, line: &str) {
    let mut cli = Command::new("redis-cli");
    cli.arg("-s").arg(redis.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut cli = cli.spawn().unwrap();
    let lines = format!("{line} >s3cret\n");
    cli.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let said = cli.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "OK", "{line}");
}

#[tokio::test]
async fn the_printed_line_gives_what_the_plugin_may_and_nothing_else() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let program = Program::alone();
    program.file("plugins/thumbs.toml", MANIFEST);
    let line = String::from_utf8(program.output(&["acl", "thumbs"]).stdout).unwrap();
    assert!(line.starts_with("ACL SETUSER sandhog:thumbs reset on resetkeys resetchannels -@all "), "{line}");
    paste(&redis, line.trim_end());
    let url = format!("{}?user=sandhog:thumbs&pass=s3cret", redis.url());
    let address = Address::parse(&url, TlsFiles::default()).unwrap();
    let user = Link::new(&address, "test", Duration::from_secs(5), Tracking::Off).unwrap();
    for plan in [Plan::Immediate, atomic(Isolation::ReadCommitted), atomic(Isolation::Serializable)] {
        for names in [["r:1", "w:1", "out", "in"], ["odd?[x]\\(y)", "a \"b\"", "to{7}x", "in"]] {
            let _: () = plain.del(&names[..]).await.unwrap();
            let _: () = plain.set(names[0], "x").await.unwrap();
            let _: () = plain.rpush("in", vec!["a", "b", "c"]).await.unwrap();
            let mut view = planned(user.clone(), grants(), &plan);
            for (call, answer) in every_call(&mut view, names).await {
                // A listing needs a pattern that ends with `*`.
                let is_listing = call == "list-keys" && names[0] != "r:1";
                assert!(answer.is_ok() != is_listing, "{call} on {names:?} in {plan:?}: {answer:?}");
            }
        }
    }
    // Straight to Redis, past the host: each command of the rules on a name that was not granted for it.
    let _: () = plain.set("secret", "x").await.unwrap();
    for command in UNGRANTED {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.fold(&mut cmd, |cmd, word| cmd.arg(word));
        if command.starts_with("EVAL ") {
            cmd.arg(0);
        }
        let fault = user.query::<redis::Value>(&cmd).await.expect_err(command);
        assert!(fault.is_code("NOPERM"), "{command}: {fault}");
    }
}

#[tokio::test]
async fn what_a_bug_lets_through_redis_refuses() {
    let redis = TestRedis::start();
    let rules = acl::rules(&grants(), true, 0);
    let name = "sandhog:test".to_owned();
    let user = PluginUser::make(&redis.link(), name, rules).await.unwrap();
    for plan in [Plan::Immediate, atomic(Isolation::ReadCommitted)] {
        // As a mistake in the host would have it: everything is granted.
        let mut view = planned(user.link().clone(), (*all_grants()).clone(), &plan);
        let names = ["secret:1", "secret:2", "secret:3", "secret:4"];
        let immediate = matches!(plan, Plan::Immediate);
        let mut denied = 0;
        for (call, answer) in every_call(&mut view, names).await {
            // What changes something without a look at it is refused when it is to take place, at the commit.
            let waits =
                ["set", "set-many", "add", "delete", "increment", "compare-and-swap", "expire", "persist"];
            let is_held = !immediate && (waits.contains(&call) || call == "set-with");
            // Redis has no keys to compare a listing with.
            if call == "list-keys" || is_held {
                continue;
            }
            let said = refusal(answer);
            assert!(said.starts_with("denied secret:"), "{call}: {said}");
            denied += 1;
        }
        assert!(denied >= 14, "{denied} calls were denied in {plan:?}");
    }
    let mut plain = redis.plain().await;
    let left: Vec<String> = plain.keys("*").await.unwrap();
    assert_eq!(left, [""; 0], "nothing was changed");
    // The same calls as the host's own user.
    let answers = every_call(&mut view(redis.link()), ["r:1", "w:1", "out", "in"]).await;
    assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
}

#[tokio::test]
async fn refused_calls_are_counted_and_heard_of_as_denied() {
    use crate::support::guest::{context, job, sandbox, terms, worker};
    use sandhog::sandbox::{Outcome, Terms};
    let redis = TestRedis::start();
    let rules = acl::rules(&grants(), false, 0);
    let name = "sandhog:test".to_owned();
    let user = PluginUser::make(&redis.link(), name, rules).await.unwrap();
    // A guest that reads `secret` and ends well if it is told of `denied`.
    let component = worker(
        "(import \"sandhog:worker/kv@0.1.0\" \"get\" (func $get (param i32 i32 i32)))",
        "(data (i32.const 4096) \"secret\")",
        "(call $get (i32.const 4096) (i32.const 6) (i32.const 1024))
         (if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 1)) (then unreachable))
         (if (i32.ne (i32.load8_u (i32.const 1028)) (i32.const 0)) (then unreachable))
         i32.const 0",
    );
    let lines = capture();
    // A name of its own: a plugin complains once a second, and other tests load `test`.
    let terms = Terms { plugin: "heard".to_owned(), grants: all_grants(), ..terms() };
    let version = sandbox().load(terms, &component).unwrap();
    let report = version.run_job(job(b""), &context(user.link().clone())).await;
    assert_eq!((report.outcome, report.usage.denied), (Outcome::Done, 1));
    let told = |line: &&String| line.contains("denied a call about `secret` that the grants cover");
    assert_eq!(lines.lines().iter().filter(told).count(), 1, "{:?}", lines.lines());
}
