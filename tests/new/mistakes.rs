//! Mistakes that the build of a project finds, and projects without the sample's tests and cases.

use std::fs;

use super::project::{KINDS, LANGUAGES, Project};

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
            "worker/worker.go:23:1: result of guest/bindings/sandhog_worker_kv.Add call not used",
        ),
        (
            "go",
            "worker/worker.go",
            "	found := words.Of",
            "sandhog.Check(queue.Push(\"forgotten\", nil))",
            "worker/worker.go:23:1: result of guest/sandhog.Check call not used",
        ),
        (
            "c",
            "app.c",
            "  uint64_t waiting;",
            "sandhog_worker_kv_add(&number, 1, &error);",
            "app.c:61:1: error: ignoring return value of function declared with 'warn_unused_result' attribute",
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
        for test in ["test_app.py", "test_words.py", "test_words.c", "words/words_test.go"] {
            let _ = fs::remove_file(project.folder().join(test));
        }
        project.make("test");
    }
}
