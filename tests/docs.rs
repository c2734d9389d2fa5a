//! The pages in `docs/`: every line of their ```sh blocks is run, against a real Redis and, where the page needs one,
//! a host that serves the example `orders`. A line that fails, or a page that nobody runs, fails the test.
//!
//! The plugins of a page lie in `plugins/`; a block of TOML whose first line is a comment with a file's name is put there.
//! `text` that a block is to show stands in the page as prose; commands that do not end are not for such blocks.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandhog::config::env;

use crate::support::example;
use crate::support::host::{Plugins, stop};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// A page and what its commands need.
struct Page {
    file: &'static str,
    /// Example plugins that a host serves meanwhile; without any there is no host.
    plugins: &'static [&'static str],
    /// Pushed before the first command, each to its queue.
    jobs: &'static [(&'static str, &'static str)],
}

const PAGES: &[Page] = &[
    // What it builds and its Python are run by `new::tutorial`.
    Page { file: "tutorial.md", plugins: &[], jobs: &[] },
    Page { file: "batch.md", plugins: &[], jobs: &[] },
    Page { file: "writing-workers.md", plugins: &[], jobs: &[] },
    Page { file: "testing-workers.md", plugins: &["orders", "site-settings"], jobs: &[] },
    Page { file: "limits.md", plugins: &[], jobs: &[] },
    Page { file: "producers.md", plugins: &[], jobs: &[] },
    Page { file: "results.md", plugins: &["orders", "site-settings"], jobs: &[] },
    Page { file: "schedules.md", plugins: &[], jobs: &[] },
    Page { file: "dead-jobs.md", plugins: &[], jobs: &[] },
    Page { file: "cancel-and-pause.md", plugins: &["orders", "site-settings"], jobs: &[] },
    Page { file: "hosts.md", plugins: &["orders", "site-settings"], jobs: &[] },
    Page { file: "redis-user.md", plugins: &["orders", "site-settings"], jobs: &[] },
    Page { file: "tls.md", plugins: &[], jobs: &[] },
    Page { file: "inspection.md", plugins: &["orders", "site-settings"], jobs: &[("orders", "{}")] },
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The lines of all blocks, those that end with a backslash joined.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines: String = blocks.map(|block| format!("{}\n", block.replace("\\\n", " "))).collect();
    lines.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect()
}

/// Files that the page shows.
fn files(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks
        .filter_map(|block| {
            let name = block.lines().next()?.strip_prefix("# ")?;
            name.ends_with(".toml").then_some((name, block))
        })
        .collect()
}

/// A shell that finds this program as `sandhog`, and `redis-cli` talking to the test's server.
fn shell(program: &Program, redis: &TestRedis, line: &str) -> Command {
    let bin = program.folder().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let link = bin.join("sandhog");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sandhog"), link).unwrap();
        let socket = redis.socket().display().to_string();
        let wrapper =
            format!("#!/bin/sh\nPATH=\"{}\"\nexec redis-cli -e -s '{socket}' \"$@\"\n", env!("PATH"));
        std::fs::write(bin.join("redis-cli"), wrapper).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(bin.join("redis-cli"), mode).unwrap();
    }
    let mut command = Command::new("timeout");
    command.args(["30", "bash", "-euo", "pipefail", "-c", line]).current_dir(program.folder()).env_clear();
    command.env("PATH", format!("{}:{}", bin.display(), env!("PATH"))).env("HOME", program.folder());
    command.env("SANDHOG_REDIS_URL", redis.url()).env(env::REDIS_SERVER, env::redis_server());
    command
}

fn put(program: &Program, name: &str, bytes: &[u8]) {
    let file = program.folder().join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}

async fn run(page: &Page) {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let plugins = page.plugins.iter().fold(Plugins::new(), |plugins, name| {
        plugins.with(name, &example::component(name), &example::manifest(name))
    });
    let host = if page.plugins.is_empty() { None } else { Some(plugins.serve(&redis.url(), "h").await) };
    let mut plain = redis.plain().await;
    for (queue, payload) in page.jobs {
        let () = redis::cmd("RPUSH").arg(queue).arg(payload).query_async(&mut plain).await.unwrap();
    }
    let text = std::fs::read_to_string(docs().join(page.file)).unwrap();
    for name in page.plugins {
        for extension in ["wasm", "toml"] {
            let file = example::path(name).with_extension(extension);
            put(&program, &format!("plugins/{name}.{extension}"), &std::fs::read(file).unwrap());
        }
    }
    files(&text).iter().for_each(|(name, text)| put(&program, name, text.as_bytes()));
    let commands = commands(&text);
    assert!(!commands.is_empty(), "docs/{} shows no command", page.file);
    for line in &commands {
        let mut command = shell(&program, &redis, line);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(
            output.status.success(),
            "docs/{}: `{line}`: {}\n{}",
            page.file,
            output.status,
            said.concat()
        );
    }
    if let Some(host) = host {
        stop(host).await;
    }
}

#[tokio::test]
async fn every_command_of_every_page_runs() {
    let mut files: Vec<String> = std::fs::read_dir(docs())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    files.sort();
    let mut known: Vec<&str> = PAGES.iter().map(|page| page.file).collect();
    known.sort_unstable();
    assert_eq!(files, known, "every page of docs/ has a row in the table of this test, and no other has one");
    for page in PAGES {
        run(page).await;
    }
}

#[tokio::test]
async fn the_readme_links_every_page() {
    let readme = std::fs::read_to_string(docs().with_file_name("README.md")).unwrap();
    for page in PAGES {
        assert!(
            readme.contains(&format!("](docs/{})", page.file)),
            "the README does not link docs/{}",
            page.file
        );
    }
}
