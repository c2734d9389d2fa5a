//! Memory of versions that nobody uses any more: given back, shown over 500 of them in a process of its own.

use std::process::Command;

use sandhog::sandbox::{CacheSettings, Compiling, Outcome, Sandbox};

use super::sandbox;
use crate::support::guest::{compiling, run, terms, worker};

/// Versions that come and go.
const VERSIONS: usize = 500;
/// What may stay resident of all of them together: engine and allocator keep what they will use again.
const KEPT_KIB_MAX: u64 = 16 * 1024;

/// A component of its own for each number: 1 MiB of data that its memory begins with, and some code.
fn component(n: usize) -> Vec<u8> {
    let data = format!("{n:08}").repeat(16 * 1024);
    let text = format!(r#"(data (i32.const 131072) "{data}")"#);
    let check = "(if (i32.eqz (i32.load (i32.const 131072))) (then unreachable)) i32.const 0";
    worker("", &text, check)
}

/// One figure of `/proc/self/status`, in KiB.
fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Mappings of compiled code in this process.
fn mappings(folder: &std::path::Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(folder.to_str().unwrap()) || line.contains("memfd:")).count()
}

async fn come_and_go(sandbox: &Sandbox, n: usize) {
    let version = sandbox.load(terms(), &component(n)).unwrap();
    for _ in 0..3 {
        assert_eq!(run(&version).await.outcome, Outcome::Done);
    }
}

/// What `retired_versions_give_their_memory_back` runs in a process of its own.
#[tokio::test]
#[ignore = "measures its own process: run by `retired_versions_give_their_memory_back`"]
async fn probe() {
    let folder = tempfile::tempdir().unwrap();
    // Of 500 files the cache holds a few: what is thrown out of it while in use must come back too.
    let cache = CacheSettings { folder: folder.path().join("compiled"), bytes_max: 4 << 20, make: true };
    let sandbox = sandbox(Compiling { cache: Some(cache), ..compiling() });
    for n in 0..VERSIONS / 10 {
        come_and_go(&sandbox, n).await;
    }
    let before = status_kib("VmRSS");
    for n in VERSIONS / 10..VERSIONS {
        come_and_go(&sandbox, n).await;
    }
    let after = status_kib("VmRSS");
    let mapped = mappings(folder.path());
    println!("resident after 50: {before} KiB, after {VERSIONS}: {after} KiB; mappings of code: {mapped}");
    assert_eq!(mapped, 0, "code of a version that is gone is still mapped");
    assert!(after < before + KEPT_KIB_MAX, "{before} KiB grew to {after} KiB");
    assert_eq!(sandbox.compiled(), VERSIONS as u64);
}

#[test]
fn retired_versions_give_their_memory_back() {
    let this = std::env::current_exe().unwrap();
    let probe = ["--exact", "compile::retired::probe", "--ignored", "--nocapture", "--test-threads", "1"];
    let output = Command::new(this).args(probe).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"));
}
