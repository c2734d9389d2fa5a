//! Whole hosts in a process of their own: signals, the private Redis, and that nothing is left behind.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use redis::Commands as _;
use rustix::process::Signal;
use serde_json::json;

use crate::support::program::{Program, transcript};
use crate::support::redis::TestRedis;
use crate::support::{example, guest};

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\n";
const PATIENCE: Duration = Duration::from_secs(20);

fn with_a_plugin(program: &Program) {
    program.file("plugins/noop.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/noop.toml", MANIFEST);
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn done(program: &Program) -> u64 {
    program.json(&["queues", "orders"])["queues"][0]["stats"]["completed"].as_u64().unwrap_or(0)
}

#[test]
fn run_serves_until_a_signal_and_leaves_nothing_behind() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_a_plugin(&program);
    for signal in [Signal::TERM, Signal::INT] {
        let before = done(&program);
        let mut host = program.start(&["run", "--name", "web"]);
        host.wait_for("joined");
        program.output(&["push", "orders", "x"]);
        until("the job is not done", || done(&program) == before + 1);
        let hosts = program.json(&["hosts"]);
        assert_eq!(hosts["hosts"][0]["queues"][0], "orders");
        let plugins = program.json(&["plugins"]);
        assert_eq!(plugins["plugins"][0]["hosts"], json!([hosts["hosts"][0]["host"]]));
        host.signal(signal);
        assert_eq!(host.wait(), Some(0), "{}", host.stderr());
        assert_eq!(host.stdout(), "", "logs go to standard error");
        assert_eq!(program.json(&["hosts"]), json!({ "hosts": [] }));
    }
}

#[test]
fn run_reloads_on_hang_up_and_keeps_what_works() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    with_a_plugin(&program);
    let mut host = program.start(&["run", "--log-format", "json"]);
    host.wait_for("joined");
    program.file("plugins/noop.wasm", "broken");
    program.file("plugins/second.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/second.toml", MANIFEST.replace("orders", "others"));
    host.signal(Signal::HUP);
    host.wait_for("is a text file, not a WebAssembly component");
    until("the new plugin is not served", || {
        program.json(&["hosts"])["hosts"][0]["queues"] == json!(["orders", "others"])
    });
    program.output(&["push", "orders", "x"]);
    until("the old version does not go on", || done(&program) == 1);
    for line in host.stderr().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait_for_jobs() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.file("plugins/spin.wasm", guest::worker("", "", "(loop $again (br $again)) (i32.const 0)"));
    program.file("plugins/spin.toml", MANIFEST);
    let mut host = program.start(&["run"]);
    host.wait_for("joined");
    program.output(&["push", "orders", "x"]);
    until("the job does not run", || program.json(&["queues", "orders"])["queues"][0]["inflight"] == 1);
    host.signal(Signal::TERM);
    host.wait_for("draining");
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    let queue = &program.json(&["queues", "orders"])["queues"][0];
    assert_eq!(queue["inflight"], 0);
    assert_eq!(queue["waiting"].as_u64().unwrap() + queue["ready"].as_u64().unwrap(), 1, "{queue}");
}

#[test]
fn a_log_level_that_does_not_exist_is_refused_and_not_silence() {
    let program = Program::alone();
    for (level, word) in [
        ("infoo", "`infoo` is not a level"),
        ("", "`` is not a level"),
        ("info guest=debug", "`info guest` is not a target"),
        ("guset=debug", "`guset` is not a target"),
    ] {
        let refused = |origin: &str, said: &str| {
            assert!(said.contains("--- exit code 2"), "{said}");
            assert!(said.contains(&format!("sandhog: {origin} is \"{level}\": {word}")), "{said}");
        };
        refused("--log:", &program.transcript(&["run", "--log", level]));
        program.file("level.toml", format!("[log]\nlevel = \"{level}\"\n"));
        refused("level.toml:2: `log.level`", &program.transcript(&["run", "--config", "level.toml"]));
        if !level.is_empty() {
            let mut command = program.command(&["run"]);
            let output = command.env("SANDHOG_LOG", level).output().unwrap();
            refused("SANDHOG_LOG:", &transcript(&["run"], &output));
        }
    }
}

#[test]
fn a_filter_for_guests_does_not_hide_errors_of_the_host() {
    let program = Program::with_url("redis://127.0.0.1:1");
    program.file("plugins/noop.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/noop.toml", MANIFEST);
    let said = program.transcript(&["run", "--log", "guest=debug", "--start-wait", "100ms"]);
    assert!(said.contains("Redis is not ready: waiting"), "{said}");
}

#[test]
fn run_refuses_what_it_cannot_serve() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    std::fs::create_dir(program.folder().join("empty")).unwrap();
    program.file("bad/noop.toml", MANIFEST);
    program.file("bad/noop.wasm", "text");
    program.file("bad/other.toml", "kind = 1\n");
    program.file("bad/other.wasm", "");
    assert_snapshot!(program.session(&[
        &["run", "--plugins", "empty", "--log", "error"],
        &["run", "--plugins", "missing", "--log", "error"],
        &["run", "--plugins", "bad", "--log", "error"],
        &["run", "--plugins", "bad", "--log", "sandhog=loud"],
        &["run", "--plugins", "bad", "--redis", "redis://127.0.0.1:1", "--log", "error", "--start-wait", "0s"],
        &["bench"],
        &["demo"],
    ]), @r#"
    $ sandhog run --plugins empty --log error
    --- stderr
    sandhog: no plugins in `empty`
    hint: put `name.wasm` and `name.toml` there, or name another folder with `--plugins DIR`
    --- exit code 2

    $ sandhog run --plugins missing --log error
    --- stderr
    sandhog: missing: cannot read the plugin folder: No such file or directory (os error 2)
    --- exit code 2

    $ sandhog run --plugins bad --log error
    --- stderr
    sandhog: no plugin could be loaded: 2 problems
      bad/noop.wasm: is a text file, not a WebAssembly component
      bad/other.toml:1: `kind` must be "worker" or "config-reader"; found the number 1
    --- exit code 2

    $ sandhog run --plugins bad --log sandhog=loud
    --- stderr
    sandhog: --log: is "sandhog=loud": `loud` is not a level; the levels are `off`, `error`, `warn`, `info`, `debug`, `trace`, or one per target: `info,guest=debug`
    --- exit code 2

    $ sandhog run --plugins bad --redis redis://127.0.0.1:1 --log error --start-wait 0s
    --- stderr
    sandhog: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)
    hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`
    --- exit code 2

    $ sandhog bench
    --- stderr
    sandhog: there is no component `guest-examples/built/noop.wasm`
    hint: build the examples with `make guests`, or name one with `--component FILE`
    --- exit code 2

    $ sandhog demo
    --- stderr
    sandhog: there is no plugin `orders` in `guest-examples/built`
    hint: build the examples with `make guests`, or name their folder with `--plugins DIR`
    --- exit code 2
    "#);
}

/// The address of the private Redis that `dev` prints.
fn url_in(told: &str) -> String {
    told.split_whitespace().find(|word| word.starts_with("redis://")).unwrap().to_owned()
}

#[test]
fn dev_brings_its_own_redis_and_follows_the_folder() {
    let program = Program::alone();
    with_a_plugin(&program);
    let mut host = program.start(&["dev"]);
    host.wait_for("Ctrl-C");
    let url = url_in(&host.stdout());
    let mut redis = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    let () = redis.rpush("orders", "x").unwrap();
    let mut completed = |queue: &str| {
        let stats = format!("{{{queue}}}:sandhog:stats");
        redis.hget::<_, _, Option<u64>>(stats, "completed").unwrap().unwrap_or(0)
    };
    until("the job is not done", || completed("orders") == 1);
    program.file("plugins/second.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/second.toml", MANIFEST.replace("orders", "others"));
    host.wait_for("second");
    let () = redis.rpush("others", "x").unwrap();
    let mut completed = |queue: &str| {
        let stats = format!("{{{queue}}}:sandhog:stats");
        redis.hget::<_, _, Option<u64>>(stats, "completed").unwrap().unwrap_or(0)
    };
    until("the new plugin does not serve", || completed("others") == 1);
    host.signal(Signal::INT);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    assert!(redis::Client::open(url).unwrap().get_connection().is_err(), "its Redis still runs");
}

#[test]
fn dev_keeps_what_it_compiled_for_the_next_start_and_for_invoke() {
    let program = Program::alone();
    with_a_plugin(&program);
    let mut host = program.start(&["dev"]);
    host.wait_for("all plugins are loaded");
    host.signal(Signal::INT);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    let log = host.stderr();
    for line in
        ["compiling plugin=\"noop\" version=\"", "size=\"2 KiB\"", "compiled plugin=\"noop\"", "took_ms="]
    {
        assert!(log.contains(line), "no `{line}` in:\n{log}");
    }
    let plugin = program.folder().join("plugins/noop.wasm").display().to_string();
    let told = program.json(&["invoke", &plugin, "--payload", "x"]);
    assert_eq!(told["from_cache"], true);
    let kept = std::fs::read_dir(program.folder().join(".local/state/sandhog")).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, ["compiled"], "everything else ends with dev's Redis");
    let mut host = program.start(&["dev"]);
    host.wait_for("all plugins are loaded");
    assert!(!host.stderr().contains("compil"), "{}", host.stderr());
}

#[test]
fn run_never_takes_what_dev_has_compiled() {
    let program = Program::alone();
    with_a_plugin(&program);
    let mut dev = program.start(&["dev"]);
    dev.wait_for("all plugins are loaded");
    dev.wait_for("Ctrl-C");
    let url = url_in(&dev.stdout());
    for compiles in [true, false] {
        let mut host = program.start(&["--redis", &url, "run"]);
        host.wait_for("all plugins are loaded");
        assert_eq!(host.stderr().contains("compiling plugin=\"noop\""), compiles, "{}", host.stderr());
        host.signal(Signal::TERM);
        assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    }
}

#[test]
fn dev_says_that_its_port_is_in_use_and_which_one_it_has_instead() {
    let program = Program::alone();
    with_a_plugin(&program);
    // Hosts of other tests may have the port for a while.
    let mut taken = None;
    until("the port does not become free", || {
        taken = TcpListener::bind(("127.0.0.1", 6390)).ok();
        taken.is_some()
    });
    let mut host = program.start(&["dev"]);
    host.wait_for("(port 6390 is in use)");
    host.wait_for("Ctrl-C");
    let told = host.stdout();
    let url = told.split_whitespace().find(|word| word.starts_with("redis://")).unwrap();
    assert!(redis::Client::open(url).unwrap().get_connection().is_ok(), "{told}");
}

#[test]
fn dev_has_the_port_that_was_asked_for_or_does_not_start() {
    let program = Program::alone();
    with_a_plugin(&program);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = program.transcript(&["dev", "--port", &port]);
    let why = format!("sandhog: port {port} of 127.0.0.1 is in use\n");
    assert!(refused.contains(&why) && refused.contains("exit code 2"), "{refused}");
    let both = program.transcript(&["dev", "--port", &port, "--redis", "redis://127.0.0.1:1"]);
    assert!(both.contains("leave out `--port` or `--redis`") && both.contains("exit code 2"), "{both}");
    drop(taken);
    let mut host = program.start(&["dev", "--port", &port]);
    host.wait_for(&format!("redis://127.0.0.1:{port}"));
    host.wait_for("Ctrl-C");
    assert!(!host.stdout().contains("is in use"), "{}", host.stdout());
}

#[test]
fn a_killed_dev_leaves_no_redis_behind() {
    let program = Program::alone();
    with_a_plugin(&program);
    let mut host = program.start(&["dev", "--json"]);
    host.wait_for("\"redis\"");
    until("the document is not whole", || serde_json::from_str::<serde_json::Value>(&host.stdout()).is_ok());
    let told: serde_json::Value = serde_json::from_str(&host.stdout()).unwrap();
    let client = redis::Client::open(told["redis"].as_str().unwrap()).unwrap();
    assert!(client.get_connection().is_ok());
    host.signal(Signal::KILL);
    assert_eq!(host.wait(), None);
    until("its Redis still runs", || client.get_connection().is_err());
}

#[test]
fn a_good_plugin_goes_on_beside_a_hostile_one() {
    let program = Program::alone();
    let component = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let probes = example::path("orders").parent().unwrap().join("probes").display().to_string();
    let bench = ["bench", "--workload", "neighbour", "--time", "500ms", "--component", &component];
    for attack in ["endless loop", "traps"] {
        let told = program.json(&[&bench[..], &["--probes", &probes, "--attack", attack]].concat());
        let beside = &told["attacks"][0];
        assert_eq!((&beside["attack"], &beside["lease_kept"]), (&attack.into(), &true.into()), "{told}");
        assert!(beside["of_fair_share"].as_f64().unwrap() > 0.2, "{told}");
        assert!(beside["attacks"].as_u64().unwrap() > 0, "{told}");
    }
    let slow = ["--probes", &probes, "--attack", "slow jobs", "--runs", "2"];
    let told = program.json(&[&bench[..], &slow].concat());
    let (beside, alone) = (&told["attacks"][0], told["quiet_jobs_per_s"].as_f64().unwrap());
    assert!(beside["attacks"].as_f64().unwrap() > 0.0 && told["runs"] == 2, "{told}");
    assert!(beside["kept"].as_f64().unwrap() > 0.2 && alone > 0.0, "{told}");
    let unknown = program.transcript(&[&bench[..], &["--attack", "nothing of the kind"]].concat());
    assert!(unknown.contains("no attack has `nothing of the kind` in its name"), "{unknown}");
}

#[test]
fn the_demo_holds_what_it_promises() {
    let program = Program::alone();
    let plugins = example::path("orders").parent().unwrap().display().to_string();
    let demo = program.json(&["demo", "--plugins", &plugins, "--orders", "2000"]);
    assert_eq!(demo["held"], true, "{demo}");
    assert_eq!(demo["promises"].as_array().unwrap().len(), 12);
    assert_eq!(
        demo["dead"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum::<u64>(),
        12
    );
}
