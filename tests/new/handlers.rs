//! Handlers that are `async`, and the mistakes of their authors: no job is done whose handler did not come to its end, and
//! the reason of a failure names the mistake and its line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use redis::AsyncCommands as _;
use sandhog::job::envelope::Header;

use super::project::Project;
use crate::support::host::{count, until};
use crate::support::program::Program;

/// A project of the template with another program.
fn project(language: &str, kind: &str) -> Project {
    let (folder, extension) = match language {
        "python" => ("async-python", "py"),
        _ => ("mistaken-js", "js"),
    };
    let project = Project::named(&format!("my-{folder}-{kind}"), language, kind);
    let handlers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/new/handlers");
    let text = fs::read_to_string(handlers.join(format!("{kind}.{extension}"))).unwrap();
    fs::write(project.folder().join(format!("app.{extension}")), text.replace("{{name}}", project.name()))
        .unwrap();
    project.make("build");
    project
}

/// Pushes a job of each payload, each with as few attempts as its kind may have. Returns the reasons of the dead ones by
/// payload, and the values of the keys that the handlers change.
async fn reasons(project: &Project, payloads: &[&str]) -> (BTreeMap<String, String>, BTreeMap<String, i64>) {
    let attempts = if project.name().ends_with("batch") { 2 } else { 1 };
    let few_attempts = |manifest: &str| {
        let manifest = manifest.replace("max_attempts = 5", &format!("max_attempts = {attempts}"));
        manifest.replace("16MiB", "32MiB")
    };
    let served = project.serve(few_attempts).await;
    let (mut plain, name) = (served.redis.plain().await, project.name());
    let _: u64 = plain.rpush(name, payloads).await.unwrap();
    until("the jobs have ended", async || {
        let ended = [count(&served.host, name, |c| &c.completed), count(&served.host, name, |c| &c.buried)];
        ended[0] + ended[1] + count(&served.host, name, |c| &c.discarded) == payloads.len() as u64
    })
    .await;
    let dead: Vec<Vec<u8>> = plain.zrange(format!("{{{name}}}:sandhog:dead"), 0, -1).await.unwrap();
    let dead = dead.iter().map(|record| {
        let (header, payload) = Header::decode(record).unwrap();
        let reason = header.note("!reason").unwrap_or_default().to_owned();
        (String::from_utf8_lossy(payload).into_owned(), reason)
    });
    let dead = dead.collect();
    let mut held = BTreeMap::new();
    for key in ["count:all", "count:text", "total:all", "secret"] {
        held.extend(plain.get::<_, Option<i64>>(key).await.unwrap().map(|value| (key.to_owned(), value)));
    }
    served.stop().await;
    (dead, held)
}

fn lines(reasons: &BTreeMap<String, String>) -> String {
    reasons.iter().map(|(payload, reason)| format!("{payload}: {reason}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_handler_in_python_is_run_to_its_end_and_mistakes_are_named_with_their_line() {
    let payloads = [
        "good",
        "never",
        "exception",
        "text for bytes",
        "denied",
        "returns",
        "late import",
        "buries",
        "discards",
    ];
    let (dead, held) = reasons(&project("python", "worker"), &payloads).await;
    insta::assert_snapshot!(lines(&dead), @r"
    buries: not wanted
    denied: the grants do not cover `secret`
    exception: KeyError: 'name' (app.py:20)
    late import: module `fractions` was not imported when the component was built: import it at the head of a module (app.py:28)
    never: RuntimeError: the handler awaits something that nothing can wake: only tasks and timers can
    returns: TypeError: the handler returned dict, not None; `status.set_result` sets a job's result
    text for bytes: TypeError: kv.set: value must be bytes, not str (app.py:22)
    ");
    assert_eq!(held, BTreeMap::from([("count:all".to_owned(), 3)]), "only the good one has effects");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_batch_handler_in_python_is_run_to_its_end() {
    let project = project("python", "batch");
    let (dead, held) = reasons(&project, &["good", "buries", "good"]).await;
    insta::assert_snapshot!(lines(&dead), @"buries: not wanted");
    assert_eq!(held, BTreeMap::from([("total:all".to_owned(), 2)]));
    let (dead, held) = reasons(&project, &["good", "denied", "good"]).await;
    insta::assert_snapshot!(lines(&dead), @"denied: the grants do not cover `secret`");
    assert_eq!(
        held,
        BTreeMap::from([("total:all".to_owned(), 2)]),
        "one refused job does not bury the others"
    );
    let (dead, held) = reasons(&project, &["raises"]).await;
    insta::assert_snapshot!(lines(&dead), @"raises: ValueError: out of range (app.py:15)");
    assert!(held.is_empty());
    let (dead, _) = reasons(&project, &["number"]).await;
    insta::assert_snapshot!(lines(&dead), @"number: TypeError: the handler answered int for a job, not None, Retry, Bury or Discard");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_config_reader_in_python_is_run_to_its_end() {
    let project = project("python", "config-reader");
    follow(&project, &[("number", "the setting 'greeting' must be text, not int")]).await;
}

/// The reader follows its key; of these values it makes errors.
async fn follow(project: &Project, refused: &[(&str, &str)]) {
    let changed = |manifest: &str| format!("publish = \"seen\"\n{}", manifest.replace("16MiB", "32MiB"));
    let served = project.serve(changed).await;
    let mut plain = served.redis.plain().await;
    let seen = async || {
        let mut plain = served.redis.plain().await;
        plain.hget::<_, _, Option<String>>("seen", "greeting").await.unwrap()
    };
    until("it has answered", async || seen().await.as_deref() == Some("hello")).await;
    let key = format!("{}:greeting", project.name());
    let _: () = plain.set(&key, "ada").await.unwrap();
    until("it has followed", async || seen().await.as_deref() == Some("ada")).await;
    let component = project.built("wasm");
    for (value, reason) in refused {
        let _: () = plain.set(&key, value).await.unwrap();
        let alone = Program::alone();
        let mut invoke =
            alone.command(&["--redis", &served.redis.url(), "invoke", component.to_str().unwrap()]);
        let said = invoke.env("SANDHOG_STATE_DIR", project.state()).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(reason), "{said}");
        assert_eq!(seen().await.as_deref(), Some("ada"), "the last good settings stay");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_handler_in_javascript_is_run_to_its_end_and_mistakes_are_named_with_their_line() {
    let payloads = [
        "good",
        "awaits",
        "all at once",
        "rejects",
        "buries",
        "never",
        "sleeps",
        "denied",
        "returns",
        "exception",
    ];
    let (dead, held) = reasons(&project("js", "worker"), &payloads).await;
    insta::assert_snapshot!(lines(&dead), @r"
    buries: not wanted
    denied: the grants do not cover `secret`
    exception: SyntaxError: Expected property name or '}' in JSON at position 1 (line 1 column 2) (app.js:47)
    never: Error: the handler waits for a promise that nothing settles: there are no timers and no events
    rejects: Error: lost (app.js:33)
    returns: TypeError: the handler returned object, not undefined; `status.setResult` sets a job's result
    sleeps: Error: setTimeout with 1000 ms: a handler cannot wait; throw `new Retry(reason, ms)` to run the job later (app.js:40)
    ");
    assert_eq!(held, BTreeMap::from([("count:all".to_owned(), 3)]), "only the good ones have effects");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_batch_handler_in_javascript_is_run_to_its_end() {
    let project = project("js", "batch");
    for (payload, expected) in [
        ("rejects", "Error: lost (app.js:14)"),
        ("too few", "TypeError: the handler must return an array of 1 answers, one for each job"),
        ("number", "TypeError: an answer for a job is null, Retry, Bury or Discard"),
    ] {
        let (dead, held) = reasons(&project, &[payload]).await;
        assert_eq!((dead[payload].as_str(), held.len()), (expected, 0));
    }
    assert_eq!(reasons(&project, &["good", "good"]).await.1["total:all"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_config_reader_in_javascript_is_run_to_its_end() {
    let refused = [("rejects", "lost"), ("number", "the setting `greeting` must be text, not number")];
    follow(&project("js", "config-reader"), &refused).await;
}

#[test]
fn a_handler_in_typescript_may_be_async_and_returns_nothing_else() {
    let project = Project::named("my-async-ts", "ts", "worker");
    let app = fs::read_to_string(project.folder().join("app.ts")).unwrap();
    let with = |text: &str| {
        fs::write(project.folder().join("app.ts"), app.replace("worker((job) => {", text)).unwrap();
        project.try_make("build")
    };
    with("worker(async (job) => {\n  await Promise.resolve(1);").unwrap();
    for (text, problem) in [
        ("worker((job) => {\n  if (job.attempt > 1) return 7;", "Type 'number' is not assignable"),
        ("worker(async (job) => {\n  if (job.attempt > 1) return 7;", "Type 'number' is not assignable"),
        ("worker((job) => {\n  setTimeout(() => {}, 1000);", "is not assignable to parameter of type '0'"),
        ("worker((job) => {\n  fetch('http://x');", "Cannot find name 'fetch'"),
        ("worker((job) => {\n  Buffer.from('x');", "Cannot find name 'Buffer'"),
    ] {
        let said = with(text).unwrap_err();
        assert!(said.contains(problem), "{text}: {said}");
    }
}
