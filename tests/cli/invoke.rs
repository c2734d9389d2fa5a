//! invoke: how a run ended, what it would change, and that it changes nothing unless it is told to.

use std::sync::atomic::{AtomicBool, Ordering};

use insta::assert_snapshot;
use redis::Commands as _;
use serde_json::{Value, json};

use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::{example, guest};

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\ntimeout = \"200ms\"\n";
const ORDER: &str = r#"{"id":"A-1","customer":"ada","amount_cents":5}"#;

/// A worker that completes every job.
fn good() -> Vec<u8> {
    guest::worker("", "", "(i32.const 0)")
}

/// A plugin that does what its payload says, and may.
fn probe(program: &Program) -> String {
    let manifest = "kind = \"worker\"\n\n[[consume]]\nqueue = \"probe\"\n\n[grants]\nkv.read = [\"*\"]\n\
                    kv.write = [\"*\"]\nqueue.push = [\"*\"]\nqueue.pop = [\"*\"]\n";
    program.file("probe.toml", manifest);
    program.file("probe.wasm", example::component("probe")).display().to_string()
}

fn connect(redis: &TestRedis) -> redis::Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

fn keys(connection: &mut redis::Connection) -> Vec<String> {
    let mut keys: Vec<String> = connection.keys("*").unwrap();
    keys.sort();
    keys
}

/// `effect key` of all changes.
fn changes(document: &Value) -> Vec<String> {
    let change = |change: &Value| {
        format!("{} {}", change["effect"].as_str().unwrap(), change["key"].as_str().unwrap())
    };
    document["changes"].as_array().unwrap().iter().map(change).collect()
}

#[test]
fn invoke_tells_how_a_run_ended() {
    let program = Program::alone();
    program.file("good.wasm", good());
    program.file("good.toml", MANIFEST);
    program.file("trap.wasm", guest::worker("", "", "unreachable"));
    program.file("trap.toml", MANIFEST);
    program.file("spin.wasm", guest::worker("", "", "(loop $again (br $again)) (i32.const 0)"));
    program.file("spin.toml", MANIFEST);
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[
            &["invoke", "good.wasm", "--payload", "{}"],
            &["invoke", "trap.wasm", "--payload", "{}"],
            &["invoke", "spin.wasm", "--payload", "{}"],
            &["invoke", "good.wasm"],
            &["invoke", "good.wasm", "--payload-file", "missing"],
            &["invoke", "good.wasm", "--payload", "x", "--queue", "others"],
        ]), @r#"
        $ sandhog invoke good.wasm --payload {}
        plugin     good [VERSION]
        outcome    done
        time       [TIME] to compile, [TIME] to instantiate, [TIME] to run
        compiler   Winch, for a quick start; for figures, add `--optimized`
        memory     256 KiB at the most
        calls      0 calls, 0 effects, 0 denied
        effects    none
        --- exit code 0

        $ sandhog invoke trap.wasm --payload {}
        plugin     trap [VERSION]
        outcome    trapped
        reason     trapped: wasm `unreachable` instruction executed
                   guest!handle
        time       [TIME] to compile, [TIME] to instantiate, [TIME] to run
        compiler   Winch, for a quick start; for figures, add `--optimized`
        memory     256 KiB at the most
        calls      0 calls, 0 effects, 0 denied
        effects    none: the run did not end well
        --- stderr
        sandhog: the run ended: trapped: wasm `unreachable` instruction executed
        --- exit code 1

        $ sandhog invoke spin.wasm --payload {}
        plugin     spin [VERSION]
        outcome    timed-out
        reason     timed out
        time       [TIME] to compile, [TIME] to instantiate, [TIME] to run
        compiler   Winch, for a quick start; for figures, add `--optimized`
        memory     256 KiB at the most
        calls      0 calls, 0 effects, 0 denied
        effects    none: the run did not end well
        --- stderr
        sandhog: the run ended: timed out
        --- exit code 1

        $ sandhog invoke good.wasm
        --- stderr
        sandhog: a worker needs a job: give `--payload` or `--payload-file`
        --- exit code 2

        $ sandhog invoke good.wasm --payload-file missing
        --- stderr
        sandhog: cannot read `missing`: No such file or directory (os error 2)
        --- exit code 2

        $ sandhog invoke good.wasm --payload x --queue others
        --- stderr
        sandhog: the manifest has no queue `others`
        --- exit code 2
        "#);
    });
}

#[test]
fn invoke_tells_every_kind_of_change() {
    let program = Program::alone();
    probe(&program);
    let script = "report none
        kv.set text new
        kv.set-with marker hex: if=absent ttl=90000
        kv.add count 2
        kv.delete old
        kv.expire stays 5900
        queue.push list b
        queue.push-with list a end=front
        queue.push-with mails hello delay=300000 unique=u
        kv.compare-and-swap text new newer";
    program.file("script", script);
    let keys = ["--set", "text=before", "--set", "count=40", "--set", "old=x", "--set", "stays=y"];
    let arguments = [&["invoke", "probe.wasm", "--payload-file", "script"], &keys[..]].concat();
    program.filters().bind(|| {
        assert_snapshot!(program.session(&[&arguments]), @r#"
        $ sandhog invoke probe.wasm --payload-file script --set text=before --set count=40 --set old=x --set stays=y
        plugin     probe [VERSION]
        outcome    done
        time       [TIME] to compile, [TIME] to instantiate, [TIME] to run
        compiler   Winch, for a quick start; for figures, add `--optimized`
        memory     256 KiB at the most
        calls      9 calls, 9 effects, 0 denied
                   kv.set 1, kv.set-with 1, kv.add 1, kv.delete 1, kv.expire 1, queue.push 1, queue.push-with 2, kv.compare-and-swap 1
        effects    7 changes, not made

        effect    key     before → after
        add       count   40 → 42
        push      list    none → list of 2, back: "b", front: "a"
        set       marker  none → "", expires in 1 min
        delete    old     "x" → none
        expire    stays   "y": expires in 5 s
        set       text    "before" → "newer"
        push-job  mails   "hello" as job [JOB], due in 5 min, unique by "u" for 1 min

        key                       must still be
        marker                    absent
        old                       there
        stays                     there
        {mails}:sandhog:unique:u  absent
        --- exit code 0
        "#);
    });
}

#[test]
fn invoke_shows_what_the_example_would_change() {
    let program = Program::alone();
    let orders = example::path("orders").display().to_string();
    let told = program.json(&["invoke", &orders, "--payload", ORDER, "--set", "total:ada=7"]);
    assert_eq!((&told["outcome"], &told["committed"]), (&json!("done"), &json!(false)));
    assert_eq!(
        changes(&told),
        ["set order:seen:A-1", "add orders:count", "push receipts", "add total:ada", "add total:all"]
    );
    assert_eq!(
        (&told["changes"][3]["delta"], &told["changes"][3]["before"]["head"]),
        (&json!(5), &json!("7"))
    );
    assert_eq!(told["assumptions"], json!([{ "key": "order:seen:A-1", "seen": "absent" }]));
    let reader = example::path("site-settings").display().to_string();
    let read = program.json(&["invoke", &reader, "--set", "keyname=bob"]);
    assert_eq!((&read["settings"]["greeting"], &read["changes"]), (&json!("hello, bob"), &Value::Null));
    let bad = program.output(&["invoke", &reader, "--set", "config:currency=euro"]);
    assert_eq!(bad.status.code(), Some(1));
}

#[test]
fn invoke_reads_a_real_redis_and_changes_it_only_when_told_to() {
    let redis = TestRedis::start();
    let mut plain = connect(&redis);
    let () = plain.set("total:ada", 7).unwrap();
    let program = Program::alone();
    let orders = example::path("orders").display().to_string();
    let (url, bad) = (redis.url(), r#"{"id":"A-1","customer":"ada","amount_cents":-5}"#);
    let on_redis = |payload: &str, more: &[&str]| {
        program
            .output(&[&["invoke", &orders, "--payload", payload, "--redis", &url, "--json"], more].concat())
    };
    let told = |output: &std::process::Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let looked = told(&on_redis(ORDER, &[]));
    assert_eq!((&looked["committed"], &looked["changes"][3]["before"]["head"]), (&json!(false), &json!("7")));
    assert_eq!(keys(&mut plain), ["total:ada"]);
    // A run that does not end well changes nothing, whatever was asked for.
    let buried = on_redis(bad, &["--commit"]);
    assert_eq!(buried.status.code(), Some(1));
    assert_eq!((&told(&buried)["changes"], &told(&buried)["committed"]), (&Value::Null, &json!(false)));
    assert_eq!(keys(&mut plain), ["total:ada"]);

    assert_eq!(told(&on_redis(ORDER, &["--commit"]))["committed"], true);
    assert_eq!(keys(&mut plain), ["order:seen:A-1", "orders:count", "receipts", "total:ada", "total:all"]);
    assert_eq!(plain.get::<_, i64>("total:ada").unwrap(), 12);
    let second = told(&on_redis(ORDER, &["--commit"]));
    assert_eq!(changes(&second), ["add orders:duplicates"]);
}

#[test]
fn invoke_pops_only_when_it_commits() {
    let redis = TestRedis::start();
    let mut plain = connect(&redis);
    let () = plain.rpush("inbox", &["a", "b", "c"]).unwrap();
    let program = Program::alone();
    let (probe, url) = (probe(&program), redis.url());
    let script = "report none\nqueue.pop inbox front\nqueue.pop inbox back";
    let invoke = ["invoke", &probe, "--payload", script, "--redis", &url];
    let told = program.json(&invoke);
    assert_eq!(changes(&told), ["pop inbox"]);
    assert_eq!((&told["changes"][0]["front"], &told["changes"][0]["back"]), (&json!(1), &json!(1)));
    assert_eq!(plain.llen::<_, u64>("inbox").unwrap(), 3);
    assert_eq!(program.json(&[&invoke[..], &["--commit"]].concat())["committed"], true);
    assert_eq!(plain.lrange::<_, Vec<String>>("inbox", 0, -1).unwrap(), ["b"]);
}

#[test]
fn invoke_commits_nothing_that_has_changed_since_the_run_looked() {
    let redis = TestRedis::start();
    let program = Program::alone();
    let (probe, url) = (probe(&program), redis.url());
    let script = "report none\nkv.set other x\nkv.increment busy 1\nrepeat 2000 kv.get nothing";
    let stop = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut plain = connect(&redis);
            while !stop.load(Ordering::Relaxed) {
                let _: i64 = plain.incr("busy", 1).unwrap();
            }
        });
        let output = program.output(&["invoke", &probe, "--payload", script, "--redis", &url, "--commit"]);
        stop.store(true, Ordering::Relaxed);
        output
    });
    let (said, told) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("nothing was changed: `busy` is not any more what the run saw"), "{said}");
    assert!(told.contains("2 changes, refused"), "{told}");
    assert_eq!((output.status.code(), keys(&mut connect(&redis))), (Some(1), vec!["busy".to_owned()]));
}

#[test]
fn invoke_refuses_flags_that_do_not_go_together() {
    let program = Program::alone();
    program.file("good.wasm", good());
    program.file("good.toml", MANIFEST);
    assert_snapshot!(program.session(&[
        &["invoke", "good.wasm", "--payload", "x", "--commit"],
        &["invoke", "good.wasm", "--payload", "x", "--redis", "redis://127.0.0.1:1", "--set", "a=b"],
        &["invoke", "good.wasm", "--payload", "x", "--redis", "redis://127.0.0.1:1"],
    ]), @r#"
    $ sandhog invoke good.wasm --payload x --commit
    --- stderr
    sandhog: `--commit` needs `--redis URL`: name the server that is changed
    --- exit code 2

    $ sandhog invoke good.wasm --payload x --redis redis://127.0.0.1:1 --set a=b
    --- stderr
    sandhog: `--set` is for the private Redis: nothing is set on one of yours
    --- exit code 2

    $ sandhog invoke good.wasm --payload x --redis redis://127.0.0.1:1
    --- stderr
    sandhog: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)
    hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`
    --- exit code 2
    "#);
}
