//! Commands that parse foreign components and modules do it in a process with bounds of memory and processor time.

use std::fs::{File, read_to_string};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::guest;
use crate::support::program::Program;

const PATIENCE: Duration = Duration::from_secs(30);

/// The soft limit that `/proc` shows for a process, in bytes or seconds.
fn limit(process: &str, name: &str) -> Option<u64> {
    let limits = read_to_string(format!("/proc/{process}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Starts a command that does not end, and waits until its child has these bounds. Then sends the child the kernel's
/// signal for processor time: the child ends, and the command fails.
#[track_caller]
fn assert_bounded(program: &Program, arguments: &[&str], memory_bytes: u64, processor_s: u64) {
    let mut running = program.start(arguments);
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let started = Instant::now();
    let child = loop {
        let all = read_to_string(&children).unwrap_or_default();
        let is_bounded = |child: &&str| {
            limit(child, "Max data size") == Some(memory_bytes)
                && limit(child, "Max cpu time") == Some(processor_s)
        };
        if let Some(child) = all.split_whitespace().find(is_bounded) {
            break child.parse().unwrap();
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{arguments:?}: no such child in {all:?}: {}",
            running.stderr()
        );
        std::thread::sleep(Duration::from_millis(5));
    };
    kill_process(Pid::from_raw(child).unwrap(), Signal::XCPU).unwrap();
    assert_eq!(running.wait(), Some(2), "{}", running.stderr());
    let text = format!(
        "sandhog: reading `{}` needs more than {processor_s} s of processor time\nhint: ",
        arguments[1]
    );
    assert!(running.stderr().contains(&text), "{}", running.stderr());
    assert!(!program.folder().join("out.wasm").exists());
}

#[test]
fn a_component_that_becomes_a_snapshot_is_parsed_within_bounds() {
    let program = Program::alone();
    program.file("spin.wasm", guest::worker("", "", "(loop $again (br $again)) (i32.const 0)"));
    let manifest =
        "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\ntimeout = \"60s\"\n[limits]\nmemory = \"1MiB\"\n";
    program.file("spin.toml", manifest);
    program.file("sandhog.toml", "[compile]\nmemory = \"200MiB\"\ntime = \"7s\"\n");
    let snapshot = ["snapshot", "spin.wasm", "-o", "out.wasm", "--payload", "x"];
    // Six times the guest's memory; twice the times to compile, to start and to run.
    assert_bounded(&program, &snapshot, (200 + 6) << 20, 2 * (7 + 5 + 60));
}

#[test]
fn a_module_that_becomes_a_component_is_parsed_within_bounds() {
    let program = Program::alone();
    // Opening this pipe waits, because nothing writes to it.
    assert!(Command::new("mkfifo").arg(program.folder().join("core.wasm")).status().unwrap().success());
    assert_bounded(&program, &["componentize", "core.wasm", "-o", "out.wasm"], 4 << 30, 120);
}

#[test]
fn a_file_that_is_larger_than_any_component_is_not_read_to_its_end() {
    let program = Program::alone();
    File::create(program.folder().join("zero.wasm")).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(program.output(&["keygen"]).status.success());
    for arguments in [&["sign", "zero.wasm"][..], &["snapshot", "zero.wasm", "-o", "out.wasm"]] {
        let output = program.output(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(said, "sandhog: cannot read `zero.wasm`: it is larger than 64 MiB\n", "{arguments:?}");
    }
}
