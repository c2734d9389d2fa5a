//! Limits that the host was started with: the compiler's own limits never exceed them.

use std::process::Command;

use crate::support::guest::worker;
use crate::support::program::{Program, transcript};

const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"orders\"\n";

/// Checks a component under limits, as a shell's `ulimit` sets them; returns what is printed.
fn check(component: &[u8], limits: &str) -> String {
    let program = Program::alone();
    program.file("plugin.wasm", component);
    program.file("plugin.toml", MANIFEST);
    let path = env!("CARGO_BIN_EXE_sandhog");
    let mut command = Command::new("sh");
    command.current_dir(program.folder()).env_clear().env("HOME", program.folder());
    command.arg("-c").arg(format!("{limits} && exec {path} check plugin.wasm"));
    transcript(&[limits], &command.output().unwrap())
}

#[test]
fn plugins_load_under_limits_below_those_of_the_compiler() {
    for limits in ["ulimit -f 1000000", "ulimit -t 50", "ulimit -f 1000000 && ulimit -t 50"] {
        let told = check(&worker("", "", "i32.const 0"), limits);
        assert!(told.contains("exit code 0"), "{told}");
    }
}

#[test]
fn a_component_beyond_an_inherited_limit_is_refused_with_that_limit() {
    let inherited = "the host was started with this limit: raise it (`ulimit -d`, `-v`, `-t`, `-f`)";
    // A few bytes each in the component, and more than a hundred when compiled.
    let division = |n| format!("(func (param i64) (result i64) local.get 0 i64.const {n} i64.div_s)");
    let divisions: String = (2..1002).map(division).collect();
    for (component, limits, expected) in [
        // 100 blocks of 512 bytes.
        (worker("", &divisions, "i32.const 0"), "ulimit -f 100", "its code has more than 51200 bytes"),
        (super::bomb(), "ulimit -t 2", "needs more than 1 s of processor time"),
    ] {
        let told = check(&component, limits);
        assert!(
            told.contains(&format!("plugin.wasm: cannot be compiled: {expected}; {inherited}")),
            "{told}"
        );
    }
}

#[test]
fn too_little_address_space_is_refused_with_the_setting_to_change() {
    let told = check(&worker("", "", "i32.const 0"), "ulimit -v 3000000");
    for expected in ["cannot make a pool of 4 instances", "`limits.instances`", "`ulimit -v`"] {
        assert!(told.contains(expected), "{told}");
    }
}
