//! The password of a URL is nowhere to be seen: not in what any command prints, not in the arguments of its children,
//! not in Redis.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redis::cmd;
use rustix::process::Signal;

use crate::support::dump::dump;
use crate::support::guest::worker;
use crate::support::program::{Program, transcript};
use crate::support::redis::TestRedis;

const SECRET: &str = "s3cretZq7";
const MANIFEST: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\n[grants]\nkv.read = [\"a\"]\n";

/// Every command that ends by itself and needs no private Redis.
const COMMANDS: [&[&str]; 24] = [
    &["check", "plugins"],
    &["acl", "thumbs"],
    &["invoke", "plugins/thumbs.wasm", "--payload", "x"],
    &["deploy", "plugins/thumbs.wasm"],
    &["deploy", "plugins/thumbs.wasm", "--wait", "--timeout", "100ms"],
    &["rollback", "thumbs"],
    &["push", "jobs", "x"],
    &["push", "jobs", "x", "--delay", "1h"],
    &["queues"],
    &["queues", "--json"],
    &["jobs", "list", "jobs"],
    &["jobs", "show", "jobs", "nothing"],
    &["jobs", "requeue", "jobs", "--all"],
    &["jobs", "discard", "jobs", "nothing"],
    &["plugins"],
    &["plugins", "--history"],
    &["plugins", "--json"],
    &["hosts"],
    &["hosts", "--json"],
    &["componentize", "plugins/thumbs.wasm", "-o", "out.wasm"],
    &["keygen", "--output", "key"],
    &["sign", "plugins/thumbs.wasm", "--key", "key"],
    &["completions", "bash"],
    &["run", "--plugins", "nowhere", "--start-wait", "0s"],
];

/// A folder with a plugin, and with its settings in a file or in the environment.
fn program(url: &str, in_file: bool) -> Program {
    let program = if in_file { Program::alone() } else { Program::with_url(url) };
    program.file("plugins/thumbs.wasm", worker("", "", "(i32.const 0)"));
    program.file("plugins/thumbs.toml", MANIFEST);
    if in_file {
        program.file("sandhog.toml", format!("[redis]\nurl = \"{url}\"\ntimeout = \"500ms\"\n"));
    }
    program
}

#[track_caller]
fn look(what: &str) {
    assert!(!what.contains(SECRET), "{what}");
}

/// A server that asks for the password.
async fn guarded() -> TestRedis {
    let redis = TestRedis::start();
    let mut acl = cmd("ACL");
    acl.arg("SETUSER").arg("anna").arg(&["on", &format!(">{SECRET}"), "~*", "&*", "+@all"]);
    let _: () = acl.query_async(&mut redis.plain().await).await.unwrap();
    redis
}

#[tokio::test]
async fn no_command_prints_the_password() {
    let redis = guarded().await;
    let good = format!("{}?user=anna&pass={SECRET}", redis.url());
    let wrong = format!("{}?user=anna&pass=x{SECRET}", redis.url());
    let down = format!("redis://anna:{SECRET}@127.0.0.1:1/0");
    let unusable = format!("redis://anna:{SECRET}@127.0.0.1:notaport/0");
    let (mut done, mut is_said) = (0, 0);
    for (url, in_file) in [(&good, false), (&good, true), (&wrong, false), (&down, false), (&unusable, true)]
    {
        let program = program(url, in_file);
        for arguments in COMMANDS {
            let output = program.output(arguments);
            look(&transcript(arguments, &output));
            is_said += u32::from(!output.stderr.is_empty());
            done += u32::from(output.status.success());
        }
        let output = program.output(&["queues", "--redis", url]);
        look(&transcript(&["queues"], &output));
    }
    assert!(done > 40 && is_said > 40, "{done} did it, {is_said} complained: is this the test it was?");
    look(&format!("{:?}", dump(&mut redis.plain().await).await));
}

#[tokio::test]
async fn a_host_neither_logs_nor_stores_nor_passes_on_the_password() {
    let redis = guarded().await;
    for url in
        [format!("{}?user=anna&pass={SECRET}", redis.url()), format!("redis://anna:{SECRET}@127.0.0.1:1")]
    {
        for level in ["trace", "info"] {
            let program = program(&url, true);
            let log =
                format!("[log]\nlevel = \"{level}\"\n[redis]\nurl = \"{url}\"\nper_plugin_users = true\n");
            program.file("sandhog.toml", log);
            let is_up = !url.contains("127.0.0.1");
            let mut host = program.start(&["run", "--start-wait", "0s"]);
            if is_up {
                host.wait_for("joined");
                let _ = program.output(&["push", "jobs", "x"]);
                host.signal(Signal::TERM);
            }
            host.wait();
            look(&host.stdout());
            look(&host.stderr());
            assert!(!is_up || host.stderr().contains("others can read it"), "{}", host.stderr());
        }
    }
    let mut plain = redis.plain().await;
    look(&format!("{:?}", dump(&mut plain).await));
    let names: Vec<String> = cmd("ACL").arg("USERS").query_async(&mut plain).await.unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("sandhog:")).count(), 0, "{names:?}");
}

#[test]
fn children_are_not_given_the_password() {
    let program = program(&format!("redis://anna:{SECRET}@127.0.0.1:1"), true);
    program.file("plugins/orders.wasm", crate::support::example::component("orders"));
    program.file("plugins/orders.toml", MANIFEST.replace("jobs", "orders"));
    let mut command: Command = program.command(&["check", "plugins"]);
    let mut check = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", check.id());
    let (mut seen, begun) = (0, Instant::now());
    while check.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        for child in std::fs::read_to_string(&children).unwrap_or_default().split_whitespace() {
            for file in ["cmdline", "environ"] {
                let told = std::fs::read(format!("/proc/{child}/{file}")).unwrap_or_default();
                seen += usize::from(!told.is_empty() && file == "cmdline");
                look(&String::from_utf8_lossy(&told));
            }
        }
    }
    assert!(seen > 0, "no child was seen");
}
