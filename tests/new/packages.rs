//! Python projects: packages of others, what the build says of what cannot run, and the stubs for editors and unit tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use redis::AsyncCommands as _;
use sandhog::job::envelope::Header;

use super::project::Project;
use crate::support::host::{count, until};

const REQUIREMENTS: &str = "attrs==26.1.0\npython-dateutil==4.0.0\n";

/// Puts a file of the test into the project.
fn replace(project: &Project, name: &str) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/new/packages").join(name);
    fs::copy(own, project.folder().join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_project_takes_packages_of_pure_python() {
    let project = Project::named("my-packages", "python", "worker");
    fs::write(project.folder().join("requirements.txt"), REQUIREMENTS).unwrap();
    fs::remove_dir_all(project.folder().join("cases")).unwrap();
    for name in ["app.py", "test_app.py"] {
        replace(&project, name);
    }
    project.make("test");
    let changed =
        |manifest: &str| manifest.replace("max_attempts = 5", "max_attempts = 1").replace("16MiB", "64MiB");
    let served = project.serve(changed).await;
    let (mut plain, name) = (served.redis.plain().await, project.name());
    let payloads = ["2024-01-31", "2024-01-31", "not a day at all", "nested", "bound", "options"];
    let _: u64 = plain.rpush(name, &payloads).await.unwrap();
    until("the jobs have ended", async || {
        let ended = count(&served.host, name, |c| &c.completed) + count(&served.host, name, |c| &c.buried);
        ended == payloads.len() as u64
    })
    .await;
    let days: Vec<String> = plain.lrange("word-counts", 0, -1).await.unwrap();
    assert_eq!(days, ["2024-02-29"]);
    let dead: Vec<Vec<u8>> = plain.zrange(format!("{{{name}}}:sandhog:dead"), 0, -1).await.unwrap();
    let reason = |record: &Vec<u8>| Header::decode(record).unwrap().0.note("!reason").unwrap().to_owned();
    let mut reasons: Vec<String> = dead.iter().map(reason).collect();
    reasons.sort();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    TypeError: kv.set_with: options.ttl_ms must be int, not str (app.py:25)
    TypeError: queue.push_many: payloads[1] must be bytes, not int (app.py:21)
    ValueError: Length of 'text' must be <= 10: 16 (app.py:28)
    ValueError: kv.expire: ttl_ms is -1, not 0 to 18446744073709551615 (app.py:23)
    ");
    served.stop().await;
}

#[test]
fn what_cannot_be_built_in_python_is_told_in_a_line() {
    let project = Project::named("my-mistakes", "python", "worker");
    let file = |name: &str| project.folder().join(name);
    let app = fs::read_to_string(file("app.py")).unwrap();
    for (text, said) in [
        (
            format!("import nosuch\n{app}"),
            "app.py:1: ModuleNotFoundError: No module named 'nosuch'; name the package that has it in requirements.txt, \
             if it is a package of pure Python",
        ),
        (format!("{app}\nHandler = 1 / 0\n"), "app.py:25: ZeroDivisionError: division by zero"),
        (format!("{app}\ndef broken(:\n"), "app.py:25: SyntaxError: invalid syntax"),
    ] {
        fs::write(file("app.py"), text).unwrap();
        let refused = project.try_make("build").expect_err("it was built");
        let lines: Vec<&str> = refused.lines().filter(|line| !line.starts_with("make")).collect();
        assert_eq!(lines, [said], "{refused}");
    }
    fs::write(file("app.py"), app).unwrap();
    fs::write(file("requirements.txt"), "numpy\n").unwrap();
    let refused = project.try_make("build").expect_err("it was built");
    assert!(refused.contains("a component takes only packages of pure Python"), "{refused}");
}

#[test]
fn imports_that_cannot_work_in_python_are_warned_of_when_it_is_built() {
    let project = Project::named("my-warnings", "python", "worker");
    let text = "import os, requests\nfrom urllib import request\nimport urllib.parse\nfrom concurrent import futures\n\
                import threading as threads\n\nTABLE = open('table')\n\n\ndef handle(job):\n    open('/tmp/out')\n";
    fs::write(project.folder().join("app.py"), text).unwrap();
    let mut command = Command::new("python3");
    command.args(["-B", "tools/imports.py", "app.py", "words.py"]).current_dir(project.folder());
    let output = command.output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    app.py:1: warning: `requests`: a component has no network
    app.py:2: warning: `urllib.request`: a component has no network
    app.py:4: warning: `concurrent.futures`: a component cannot start threads or processes
    app.py:5: warning: `threading`: a component cannot start threads
    app.py:11: warning: `open`: a job has no files
    ");
}

#[test]
fn a_python_project_has_stubs_with_documentation_and_defaults() {
    for kind in super::project::KINDS {
        let project = Project::named(&format!("my-stubs-{kind}"), "python", kind);
        project.make("build/stubs");
        let stub = fs::read_to_string(project.folder().join("build/stubs/wit_world/imports/kv.py")).unwrap();
        for wanted in [
            "    ttl_ms: Optional[int] = None\n    condition: Condition = Condition.ALWAYS\n",
            "Adds `delta` to the decimal integer at `key` (absent counts as 0).",
        ] {
            assert!(stub.contains(wanted), "{kind} has no `{wanted}`");
        }
    }
}
