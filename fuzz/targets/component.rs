//! Real components with some bytes changed, through the child that compiles: refused with a reason or loaded, and this
//! process lives on. The compiled code of what is loaded comes from our compiler.

#![no_main]

mod stage;

use libfuzzer_sys::fuzz_target;
use stage::{sandbox, terms};

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = sandbox().load(terms(), bytes) {
        assert!(!error.problems.is_empty());
        for problem in &error.problems {
            assert!(
                !problem.is_empty() && problem.len() < 8192 && !problem.contains("panicked"),
                "{problem}"
            );
        }
    }
});
