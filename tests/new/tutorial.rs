//! `docs/tutorial.md`: its projects are built from the files that it shows, and its Python prints what it says, with
//! each pinned version of the plain client.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::project::Project;
use crate::support::host::{Plugins, serve, stop};
use crate::support::python;
use crate::support::redis::TestRedis;

/// How long the Python of one part may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the page begins to use a host.
const SECOND_PART: &str = "\n## Part 2";

/// The code blocks in a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    page.split(&*fence).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

/// The file that a block names in the comment of its first line, and the block.
fn file<'a>(block: &'a str, comment: &str) -> (&'a str, &'a str) {
    let head = block.lines().next().and_then(|line| line.strip_prefix(comment));
    let name = head.and_then(|line| line.split(':').next());
    (name.unwrap_or_else(|| panic!("which file is this?\n{block}")), block)
}

/// A project of the page, built.
fn built(page: &str, name: &str, kind: &str) -> Project {
    let project = Project::named(name, "js", kind);
    let code = blocks(page, "js").into_iter().map(|block| file(block, "// "));
    let manifests = blocks(page, "toml").into_iter().map(|block| file(block, "# "));
    for (file, text) in code.chain(manifests) {
        if let Some(file) = file.strip_prefix(&format!("{name}/")) {
            let path = project.folder().join(file);
            assert!(path.exists(), "{name}: the template has no `{file}` to replace");
            fs::write(path, text).unwrap();
        }
    }
    project.make("build");
    project
}

/// What the comments behind `print(…)` say.
fn promised(code: &str) -> Vec<&str> {
    let prints = code.lines().filter(|line| line.starts_with("print("));
    prints
        .map(|line| line.split_once("# ").unwrap_or_else(|| panic!("what does `{line}` print?")).1)
        .collect()
}

/// Runs the Python of a part in one interpreter, and compares what it prints with its comments.
async fn follow(part: &str, python: &Path, redis: &TestRedis) {
    let code = blocks(part, "python").join("\n");
    // The page's port may be in use on this machine.
    let here = code.replace("port=9999", &format!("unix_socket_path={:?}", redis.socket()));
    assert_ne!(here, code, "the page does not use port 9999");
    let mut command = Command::new(python);
    command.arg("-c").arg(here).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("the Python came to no end").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", python.display());
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed.lines().collect::<Vec<_>>(), promised(&code), "{}", python.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_does_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorial.md");
    let page = fs::read_to_string(page).unwrap();
    let (first, second) = page.split_once(SECOND_PART).unwrap();
    let projects = [built(&page, "site", "config-reader"), built(&page, "hello", "worker")];
    let plugins = projects.iter().fold(Plugins::new(), |plugins, project| {
        let manifest = fs::read_to_string(project.built("toml")).unwrap();
        plugins.with(project.name(), &fs::read(project.built("wasm")).unwrap(), &manifest)
    });
    for python in python::all() {
        let redis = TestRedis::start();
        follow(first, &python, &redis).await;
        let mut settings = plugins.settings(&redis.url(), "tutorial");
        settings.host.state_dir = projects[0].state();
        let host = serve(settings).await;
        follow(second, &python, &redis).await;
        stop(host).await;
    }
}
