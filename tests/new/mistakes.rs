//! Mistakes that the build of a project finds, and projects without the sample's tests and cases.

use std::fs;

use redis::AsyncCommands as _;
use sandhog::job::envelope::Header;

use super::project::{KINDS, LANGUAGES, Project};
use crate::support::host::{count, until};

/// Replaces a text in a file of the project.
fn replace(project: &Project, file: &str, old: &str, new: &str) {
    let file = project.folder().join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(old), "{} has no `{old}`", file.display());
    fs::write(&file, text.replacen(old, new, 1)).unwrap();
}

/// A refusal that nobody looks at was a completed job without effects.
#[test]
fn a_call_whose_refusal_nobody_looks_at_is_not_built() {
    for (language, file, before, call, said) in [
        (
            "go",
            "worker/worker.go",
            "	found := words.Of",
            "kv.Add(\"forgotten\", 1)",
            "worker/worker.go:23:1: result of guest/sandhog/kv.Add call not used",
        ),
        (
            "go",
            "worker/worker.go",
            "	found := words.Of",
            "queue.Push(\"forgotten\", nil)",
            "worker/worker.go:23:1: result of guest/sandhog/queue.Push call not used",
        ),
        (
            "c",
            "app.c",
            "  uint64_t waiting;",
            "sandhog_worker_kv_add(&number, 1, &error);",
            "app.c:62:1: error: ignoring return value of function declared with 'warn_unused_result' attribute",
        ),
        (
            "rust",
            "src/lib.rs",
            "    let words =",
            "kv::add(\"forgotten\", 1);",
            "unused `Result` that must be used",
        ),
    ] {
        let project = Project::named(&format!("my-forgetful-{language}"), language, "worker");
        replace(&project, file, before, &format!("{call}\n{before}"));
        let refused = project.try_make("build").expect_err("it was built");
        assert!(refused.contains(said), "{language}: {refused}");
    }
}

#[test]
fn a_project_without_its_sample_tests_and_cases_passes() {
    for language in LANGUAGES.into_iter().filter(|language| !matches!(*language, "js" | "ts")) {
        let project = Project::named(&format!("my-bare-{language}"), language, KINDS[0]);
        fs::remove_dir_all(project.folder().join("cases")).unwrap();
        for test in
            ["test_app.py", "test_words.py", "test_words.c", "words/words_test.go", "worker/worker_test.go"]
        {
            let _ = fs::remove_file(project.folder().join(test));
        }
        project.make("test");
    }
}

/// The same in every language but JavaScript: no retry can widen a grant.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_grants_do_not_cover_buries_the_job() {
    for language in ["c", "go", "python", "rust"] {
        let project = Project::named(&format!("my-denied-{language}"), language, "worker");
        project.make("build");
        let served = project.serve(|manifest| manifest.replace("count:*", "other:*")).await;
        let (mut plain, name) = (served.redis.plain().await, project.name());
        let _: u64 = plain.rpush(name, "the").await.unwrap();
        until("it has ended", async || count(&served.host, name, |c| &c.buried) == 1).await;
        let dead: Vec<Vec<u8>> = plain.zrange(format!("{{{name}}}:sandhog:dead"), 0, -1).await.unwrap();
        let reason = Header::decode(&dead[0]).unwrap().0.note("!reason").unwrap_or_default().to_owned();
        assert!(reason.contains("count:the"), "{language}: {reason}");
        assert_eq!(count(&served.host, name, |c| &c.retried), 0, "{language}");
        served.stop().await;
    }
}
