//! Compiling in a child process: bombs, crashes, and compilers that do not end. What is kept of it is in `cache`,
//! what becomes of versions that are no longer used in `retired`, limits that the host inherited in `inherited`.

mod cache;
mod functions;
mod inherited;
mod retired;

use std::path::Path;
use std::time::{Duration, Instant};

use redis::Commands as _;
use rustix::process::{Pid, Signal, kill_process};
use sandhog::sandbox::{CompileLimits, Compiling, LoadError, PoolSettings, Sandbox};

use crate::support::guest::{compiling, program, terms, worker};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

const PATIENCE: Duration = Duration::from_secs(30);
const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"orders\"\n";

/// A sandbox that compiles like this.
fn sandbox(compiling: Compiling) -> Sandbox {
    let pool = PoolSettings { instances: 4, memory_bytes_max: 64 << 20 };
    Sandbox::new(&pool, compiling).unwrap()
}

/// A sandbox without a cache that compiles within these bounds.
fn bounded(memory_bytes: u64, time: Duration) -> Sandbox {
    sandbox(Compiling { limits: CompileLimits { memory_bytes, time }, ..compiling() })
}

fn refusal(sandbox: &Sandbox, component: &[u8]) -> LoadError {
    sandbox.load(terms(), component).expect_err("must be refused")
}

/// A component of 20 KB whose compilation takes more than a gigabyte and many seconds: 1000 loops within each
/// other, and as many variables that each of them may change.
fn bomb() -> Vec<u8> {
    let loops = "loop ".repeat(1000);
    let body: String = (0..1000)
        .map(|n| {
            let other = n * 3 % 1000;
            format!("local.get {n} local.get {other} i32.add local.tee {n} br_if 0 end ")
        })
        .collect();
    let locals = "i32 ".repeat(1000);
    worker("", &format!("(func $bomb (local {locals}) {loops} {body})"), "(call $bomb) i32.const 0")
}

/// The compilers that run with this bound of memory, by their process ids.
fn compilers(memory_bytes: u64) -> Vec<Pid> {
    let has = |folder: &Path| {
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&&b"compile"[..]) && words.get(3) == Some(&memory_bytes.to_string().as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    all.filter(|folder| has(folder))
        .filter_map(|folder| Pid::from_raw(folder.file_name()?.to_str()?.parse().ok()?))
        .collect()
}

/// Waits for the compiler with this bound of memory.
fn compiler(memory_bytes: u64) -> Pid {
    until("no compiler", || !compilers(memory_bytes).is_empty());
    compilers(memory_bytes)[0]
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_component_that_needs_too_much_memory_to_compile_is_refused() {
    let sandbox = bounded(128 << 20, Duration::from_secs(60));
    let error = refusal(&sandbox, &bomb());
    assert_eq!(error.to_string(), "cannot be compiled: needs more than 128 MiB of memory");
    assert!(error.hint.unwrap().contains("`compile.memory`"));
    // The next one has the same bounds and fits.
    sandbox.load(terms(), &worker("", "", "i32.const 0")).unwrap();
    assert_eq!(sandbox.compiled(), 1);
}

#[test]
fn a_component_that_needs_too_long_to_compile_is_refused() {
    let sandbox = bounded(16 << 30, Duration::from_millis(600));
    let error = refusal(&sandbox, &bomb());
    assert_eq!(error.to_string(), "cannot be compiled: needs more than 1 s of processor time");
    assert!(error.hint.unwrap().contains("`compile.time`"));
}

#[test]
fn a_compiler_that_stands_still_is_ended() {
    let memory_bytes = (16 << 30) + 1;
    let sandbox = bounded(memory_bytes, Duration::from_secs(1));
    let started = Instant::now();
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| refusal(&sandbox, &bomb()).to_string());
        kill_process(compiler(memory_bytes), Signal::STOP).unwrap();
        assert_eq!(refused.join().unwrap(), "cannot be compiled: not done after 10 s");
    });
    assert!(started.elapsed() >= Duration::from_secs(10));
    assert_eq!(compilers(memory_bytes), []);
}

#[test]
fn a_compiler_that_crashes_costs_one_component() {
    for (n, signal, expected) in [
        (2, Signal::KILL, "cannot be compiled: the compiler was killed (signal 9)"),
        (3, Signal::ABORT, "cannot be compiled: the compiler crashed (signal 6)"),
    ] {
        let memory_bytes = (16 << 30) + n;
        let sandbox = bounded(memory_bytes, Duration::from_secs(60));
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| refusal(&sandbox, &bomb()).to_string());
            kill_process(compiler(memory_bytes), signal).unwrap();
            assert_eq!(refused.join().unwrap(), expected);
        });
        sandbox.load(terms(), &worker("", "", "i32.const 0")).unwrap();
    }
}

#[test]
fn a_program_that_is_no_compiler_is_told() {
    let with = |program: &str| sandbox(Compiling { program: program.into(), ..compiling() });
    let component = worker("", "", "i32.const 0");
    let text = refusal(&with("/nonexistent"), &component).to_string();
    assert!(text.starts_with("cannot be compiled: no compiler: No such file"), "{text}");
    let text = refusal(&with("/bin/true"), &component).to_string();
    assert_eq!(text, "cannot be compiled: no compiler: it answered nothing");
    let text = refusal(&with("/bin/false"), &component).to_string();
    assert!(text.starts_with("cannot be compiled: the compiler crashed (exit status: 1)"), "{text}");
    let text = refusal(&with("/bin/echo"), &component).to_string();
    assert!(text.starts_with("cannot be compiled: failed to load code"), "{text}");
}

#[test]
fn the_compiler_dies_with_its_host() {
    let program = Program::alone();
    let bytes = (2049_u64 << 20).to_string();
    program.file("sandhog.toml", "[compile]\nmemory = \"2049MiB\"\ntime = \"1h\"\n");
    program.file("bomb.toml", MANIFEST);
    program.file("bomb.wasm", bomb());
    let mut check = program.start(&["check", "bomb.wasm"]);
    let memory_bytes = bytes.parse().unwrap();
    compiler(memory_bytes);
    check.signal(Signal::KILL);
    assert_eq!(check.wait(), None);
    until("the compiler goes on", || compilers(memory_bytes).is_empty());
}

#[test]
fn check_says_what_a_bomb_would_be_refused_for() {
    let program = Program::alone();
    program.file("sandhog.toml", "[compile]\nmemory = \"64MiB\"\n");
    program.file("bomb.toml", MANIFEST);
    program.file("bomb.wasm", bomb());
    let said = program.transcript(&["check", "bomb.wasm"]);
    let expected = "bomb.wasm: cannot be compiled: needs more than 64 MiB of memory; \
                    to allow more, raise `compile.memory` in the host's settings\n";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_host_goes_on_while_a_bomb_is_refused() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program.file("sandhog.toml", "[compile]\ntime = \"1s\"\nmemory = \"16GiB\"\n");
    program.file("plugins/good.wasm", worker("", "", "i32.const 0"));
    program.file("plugins/good.toml", MANIFEST);
    let mut host = program.start(&["run"]);
    host.wait_for("joined");
    program.file("plugins/good.wasm", bomb());
    host.signal(Signal::HUP);
    until("no compiler", || !compilers(16 << 30).is_empty());
    let mut plain = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let () = plain.rpush("orders", &["1", "2", "3"]).unwrap();
    let mut completed =
        || plain.hget::<_, _, Option<u64>>("{orders}:sandhog:stats", "completed").unwrap().unwrap_or(0);
    until("jobs do not run", || completed() == 3);
    host.wait_for("needs more than 1 s of processor time");
    let () = plain.rpush("orders", &["4"]).unwrap();
    let mut completed =
        || plain.hget::<_, _, Option<u64>>("{orders}:sandhog:stats", "completed").unwrap().unwrap_or(0);
    until("the old version does not go on", || completed() == 4);
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
}

#[test]
fn a_cold_host_serves_and_stops_while_a_bomb_is_compiled() {
    const MEMORY_BYTES: u64 = (16 << 30) + (1 << 20);
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    program
        .file("sandhog.toml", format!("[compile]\ntime = \"1h\"\nmemory = \"{}MiB\"\n", MEMORY_BYTES >> 20));
    program.file("plugins/bomb.wasm", bomb());
    program.file("plugins/bomb.toml", MANIFEST.replace("orders", "bombs"));
    program.file("plugins/good.wasm", worker("", "", "i32.const 0"));
    program.file("plugins/good.toml", MANIFEST);
    let mut host = program.start(&["run"]);
    host.wait_for("other plugins are still being loaded count=1 loading=\"bomb\"");
    assert!(host.stderr().contains("joined"), "{}", host.stderr());
    let mut plain = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let () = plain.rpush("orders", &["1", "2", "3"]).unwrap();
    let mut completed =
        || plain.hget::<_, _, Option<u64>>("{orders}:sandhog:stats", "completed").unwrap().unwrap_or(0);
    until("jobs do not run", || completed() == 3);
    assert_eq!(compilers(MEMORY_BYTES).len(), 1);
    assert!(!host.stderr().contains("all plugins are loaded"), "{}", host.stderr());
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
    until("the compiler goes on", || compilers(MEMORY_BYTES).is_empty());
}

#[test]
fn a_host_whose_program_was_replaced_still_compiles() {
    let redis = TestRedis::start();
    let here = Program::with(&redis);
    let copy = here.folder().join("sandhog");
    std::fs::copy(program(), &copy).unwrap();
    here.file("plugins/first.wasm", worker("", "", "i32.const 0"));
    here.file("plugins/first.toml", MANIFEST);
    let mut host = here.start_other(&copy, &["run"]);
    host.wait_for("joined");
    let other = here.file("other", "#!/bin/false\n");
    std::fs::rename(other, &copy).unwrap();
    here.file("plugins/second.wasm", worker("", "(func $new)", "i32.const 0"));
    here.file("plugins/second.toml", MANIFEST.replace("orders", "others"));
    host.signal(Signal::HUP);
    host.wait_for("plugin was loaded plugin=\"second\"");
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), Some(0), "{}", host.stderr());
}
