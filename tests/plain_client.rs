//! A producer and a consumer that know nothing of Sandhog: Python's `redis` client on the same lists and keys, in
//! `plain_client/`, and the snippets of the README.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use sandhog::app::Host;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::example;
use crate::support::host::{Plugins, stop};
use crate::support::python;
use crate::support::redis::TestRedis;

/// How long a client may wait for its host.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with the example plugins `orders` and `site-settings`.
async fn serve(redis: &TestRedis) -> (Plugins, Host) {
    let plugins = ["orders", "site-settings"].into_iter().fold(Plugins::new(), |plugins, name| {
        plugins.with(name, &example::component(name), &example::manifest(name))
    });
    let host = plugins.serve(&redis.url(), "h").await;
    (plugins, host)
}

async fn run(command: &mut Command) -> Output {
    let ended = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = ended.expect("the client came to no end").unwrap();
    let said =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    assert!(output.status.success(), "the client failed:\n{said}");
    output
}

#[tokio::test]
async fn a_plain_client_produces_and_consumes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plain_client/shop.py");
    for python in python::all() {
        let redis = TestRedis::start();
        let (_plugins, host) = serve(&redis).await;
        run(Command::new(python).arg(&script).arg(redis.socket())).await;
        stop(host).await;
    }
}

#[tokio::test]
async fn a_plain_client_pushes_with_options() {
    let redis = TestRedis::start();
    let (_plugins, host) = serve(&redis).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plain_client/producer.py");
    let text = Command::new(env!("CARGO_BIN_EXE_sandhog")).args(["scripts", "push"]).output().await.unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    run(Command::new(python::newest()).arg(script).arg(redis.socket()).arg(text)).await;
    stop(host).await;
}

#[tokio::test]
async fn the_snippets_of_the_readme_do_what_they_say() {
    let redis = TestRedis::start();
    let (_plugins, host) = serve(&redis).await;
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let socket = format!("unix_socket_path={:?}", redis.socket());
    let mut said = Vec::new();
    for snippet in readme.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let snippet = snippet.replace("port=9999", &socket);
        let output = run(Command::new(python::newest()).arg("-c").arg(snippet)).await;
        said.push(String::from_utf8(output.stdout).unwrap());
    }
    stop(host).await;
    assert_eq!(said.len(), 2, "the README shows two snippets");
    for setting in ["'greeting': 'hello, ada'", "'currency': 'EUR'"] {
        assert!(said[0].contains(setting), "{} has no {setting}", said[0]);
    }
    assert!(said[1].contains("A-17") && said[1].contains("hello, ada"), "{}", said[1]);
    assert!(said[1].trim_end().ends_with(" 1250"), "{}", said[1]);
}
