//! What a host must survive.
//!
//! ```text
//! spin | spin-calls (an endless loop, without calls and with `kv.exists`) | trap | panic | recurse
//! grow MIB (allocates and touches that much) | fill MIB (allocates that much and writes it full for ever)
//! grow-pages N (`memory.grow` itself: the old size, or `refused`)
//! memory (pages now) | counter (calls of it in this sandbox: 1 in a fresh one)
//! ```

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::calls::number;
use crate::sandhog::worker::kv;

/// The result of the deed that `name` stands for, if it has one; none if it is no deed.
pub(crate) fn act(name: &str, words: &[&str]) -> Option<String> {
    Some(match (name, words) {
        ("spin", []) => loop {
            black_box(());
        },
        ("spin-calls", []) => loop {
            drop(black_box(kv::exists("spin")));
        },
        ("trap", []) => trap(),
        ("panic", []) => panic!("the script says so"),
        ("recurse", []) => format!("ok {}", recurse(0)),
        ("grow", [mib]) => grow(number(mib)),
        ("fill", [mib]) => fill(number(mib)),
        ("grow-pages", [pages]) => grow_pages(number(pages)),
        ("memory", []) => format!("ok {}", pages()),
        ("counter", []) => {
            static CALLS: AtomicU64 = AtomicU64::new(0);
            format!("ok {}", CALLS.fetch_add(1, Relaxed) + 1)
        }
        _ => return None,
    })
}

/// Calls itself until the stack is used up.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == u64::MAX { 0 } else { recurse(black_box(depth + 1)) + frame[3] }
}

fn grow(mib: usize) -> String {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(mib << 20).is_err() {
        return "refused".to_owned();
    }
    memory.resize(mib << 20, 1);
    format!("ok {}", black_box(memory).len() >> 20)
}

fn fill(mib: usize) -> String {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(mib << 20).is_err() {
        return "refused".to_owned();
    }
    loop {
        memory.clear();
        memory.resize(mib << 20, black_box(1));
        black_box(&memory);
    }
}

#[cfg(target_arch = "wasm32")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(target_arch = "wasm32")]
fn pages() -> usize {
    core::arch::wasm32::memory_size::<0>()
}

#[cfg(target_arch = "wasm32")]
fn grow_pages(pages: usize) -> String {
    match core::arch::wasm32::memory_grow::<0>(pages) {
        usize::MAX => "refused".to_owned(),
        before => format!("ok {before}"),
    }
}

// Only so that the unit tests build where they run.
#[cfg(not(target_arch = "wasm32"))]
fn trap() -> ! {
    std::process::abort()
}

#[cfg(not(target_arch = "wasm32"))]
fn pages() -> usize {
    0
}

#[cfg(not(target_arch = "wasm32"))]
fn grow_pages(_pages: usize) -> String {
    "refused".to_owned()
}
