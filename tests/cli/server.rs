//! Which program the private servers of `invoke`, `test`, `dev` and `demo` run.

use std::os::unix::fs::PermissionsExt as _;

use sandhog::config::env;

use crate::support::guest;
use crate::support::program::Program;

const MANIFEST: &str = "kind = \"worker\"\n\n[[consume]]\nqueue = \"orders\"\n";

/// A folder with a plugin.
fn program() -> Program {
    let program = Program::alone();
    program.file("good.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("good.toml", MANIFEST);
    program
}

#[test]
fn a_private_server_runs_the_named_program() {
    let program = program();
    let stand_in =
        program.file("server", format!("#!/bin/sh\n: >started\nexec {} \"$@\"\n", env::redis_server()));
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = program.command(&["invoke", "good.wasm", "--payload", "x"]);
    let output = command.env(env::REDIS_SERVER, &stand_in).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(program.folder().join("started").exists(), "another program was started");
}

#[test]
fn a_missing_server_program_is_reported_with_a_hint() {
    let program = program();
    let mut command = program.command(&["invoke", "good.wasm", "--payload", "x"]);
    let output = command.env(env::REDIS_SERVER, "no-such-server").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["there is no `no-such-server` program", "SANDHOG_REDIS_SERVER"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}
