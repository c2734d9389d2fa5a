//! The scripts behind `make`, where a tool is missing: each says which, and what to do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What the scripts take for granted.
const BASICS: [&str; 8] = ["bash", "env", "dirname", "realpath", "mkdir", "cut", "sed", "sha256sum"];

/// A folder with the basics and these stand-ins for tools, to be the whole of `PATH`.
fn path(tools: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::Builder::new().prefix("path-").tempdir().unwrap();
    for name in BASICS {
        let found = std::env::split_paths(env!("PATH")).map(|dir| dir.join(name)).find(|file| file.exists());
        let found = found.unwrap_or_else(|| panic!("there is no `{name}` on this machine"));
        std::os::unix::fs::symlink(found, folder.path().join(name)).unwrap();
    }
    for (name, body) in tools {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("#!/usr/bin/env bash\n{body}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Runs `scripts/fuzz.sh` with nothing but this to be found; its exit code and what it said.
fn fuzz(tools: &[(&str, &str)]) -> (Option<i32>, String) {
    let path = path(tools);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fuzz.sh");
    let mut command = Command::new(script);
    command.arg(env!("CARGO_BIN_EXE_sandhog")).arg("1").env_clear().env("PATH", path.path());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Runs `scripts/install-redis.sh` with only these tools in the path; returns exit code, standard output and error.
fn server(wanted: &[&str], tools: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let path = path(tools);
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install-redis.sh"));
    command.args(wanted).env_clear().env("PATH", path.path()).env("XDG_CACHE_HOME", path.path());
    let output = command.output().unwrap();
    let folder = path.path().display().to_string();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "[PATH]");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_server_under_test_can_be_chosen() {
    const REDIS: (&str, &str) = ("redis-server", "echo Redis server v=7.0.15 sha=0");
    const OLD: (&str, &str) = ("redis-server", "echo Redis server v=6.2.1 sha=0");
    const VALKEY: (&str, &str) = ("my-valkey", "echo Valkey server v=9.1.2 sha=0");
    let found = |printed: &str| (Some(0), format!("[PATH]/{printed}\n"), String::new());
    assert_eq!(server(&[], &[REDIS, VALKEY]), found("redis-server"));
    assert_eq!(server(&["my-valkey"], &[REDIS, VALKEY]), found("my-valkey"));

    let refused = |said: &str| (Some(1), String::new(), format!("{said}\n"));
    let old = "[PATH]/redis-server is too old: `Redis server v=6.2.1 sha=0`; version 7 or newer is needed";
    assert_eq!(server(&[], &[OLD]), refused(old));
    let missing = "there is no server program `/no/server`\n\
                   hint: REDIS=redis, REDIS=valkey, or the path of a program";
    assert_eq!(server(&["/no/server"], &[REDIS]), refused(missing));
    let no_apt = "there is no apt-get to fetch `valkey-server`\n\
                  hint: name a server program that you have: REDIS=/path/to/valkey-server";
    assert_eq!(server(&["valkey"], &[REDIS]), refused(no_apt));
}

#[test]
fn fuzzing_without_its_tools_says_what_to_install() {
    const STABLE: (&str, &str) = ("cargo", "exit 101");
    const NIGHTLY: (&str, &str) = ("cargo", "[ \"$1\" = +nightly ]");
    let no_tool = (Some(1), "fuzzing needs cargo-fuzz\nhint: cargo install cargo-fuzz\n".to_owned());
    // Without nightly Rust it continues with the installed one.
    for (tools, said) in [
        (&[STABLE][..], no_tool.clone()),
        (&[STABLE, ("rustup", "exit 1")][..], no_tool.clone()),
        (&[NIGHTLY][..], no_tool),
    ] {
        assert_eq!(fuzz(tools), said, "with {tools:?}");
    }
}
