//! `sandhog new`: what it writes, what it refuses; and of every language and kind a project that is built, tested and run.

mod handlers;
mod mistakes;
mod npm;
mod packages;
mod project;
mod tutorial;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use insta::assert_snapshot;
use memchr::memmem;

use crate::support::program::Program;
use project::{KINDS, LANGUAGES, Project, templates};

#[test]
fn what_cannot_be_a_project_is_refused_and_nothing_is_written() {
    let program = Program::alone();
    program.file("full/mine.txt", "mine");
    program.file("file", "mine");
    let long = "x".repeat(65);
    for (name, said) in [
        ("Thumbs", "a plugin name has 1 to 64"),
        ("../up", "a plugin name has 1 to 64"),
        ("", "a plugin name has 1 to 64"),
        (&long, "a plugin name has 1 to 64"),
        ("9-lives", "`9-lives` is no name for a project"),
        ("_", "`_` is no name for a project"),
        ("full", "`full` is there already, and not an empty folder"),
        ("file", "`file` is there already, and not an empty folder"),
    ] {
        let output = program.output(&["new", name, "--lang", "rust"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(said), "{name}: {error}");
    }
    let mut left: Vec<_> =
        fs::read_dir(program.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "full"]);
    assert_eq!(fs::read_dir(program.folder().join("full")).unwrap().count(), 1);
    assert_snapshot!(program.transcript(&["new", "shop", "--lang", "cobol"]), @r"
    $ sandhog new shop --lang cobol
    --- stderr
    sandhog: invalid value `cobol` for `--lang <LANGUAGE>` [possible values: rust, python, js, ts, c, go]
    hint: a similar value exists: `c`
    --- exit code 2
    ");
}

#[test]
fn a_project_is_the_templates_with_its_name_and_the_contract() {
    let program = Program::alone();
    fs::create_dir(program.folder().join("thumb-maker")).unwrap();
    assert_snapshot!(program.transcript(&["new", "thumb-maker", "--lang", "rust"]), @r"
    $ sandhog new thumb-maker --lang rust
    made `thumb-maker/`, a worker in Rust: 36 files; its README.md is one screen
    build and test it:  cd thumb-maker && make test
    then run it there:  sandhog dev --plugins build
    --- exit code 0
    ");
    let made = program.folder().join("thumb-maker");
    let text = |file: &str| fs::read_to_string(made.join(file)).unwrap();
    assert!(text("thumb-maker.toml").contains("queue = \"thumb-maker\""));
    assert!(text("Makefile").contains("release/thumb_maker.wasm"));
    let script = fs::metadata(made.join("scripts/guest-rust.sh")).unwrap().permissions();
    let text_file = fs::metadata(made.join("Makefile")).unwrap().permissions();
    assert_eq!((script.mode() & 0o100, text_file.mode() & 0o111), (0o100, 0), "what is a program can be run");
}

/// Every file, with its place seen from the folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let place = path.strip_prefix(folder).unwrap().display().to_string();
                found.push((place, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_project_is_whole() {
    let contract = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("wit"));
    let program = Program::alone();
    for (language, kind) in templates() {
        let name = format!("a-{language}-{kind}");
        let made = program.json(&["new", &name, "--lang", &language, "--kind", &kind]);
        let files = files(&program.folder().join(&name));
        let listed: Vec<&str> =
            made["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
        let mut places: Vec<&str> = files.iter().map(|(place, _)| place.as_str()).collect();
        places.sort_by_key(|place| Path::new(*place));
        assert_eq!(listed, places, "{name}: what it says and what it wrote");
        for wanted in ["README.md", "Makefile", ".gitignore", &format!("{name}.toml")] {
            assert!(places.contains(&wanted), "{name} has no {wanted}: {places:?}");
        }
        assert!(places.iter().any(|place| place.starts_with("cases/")), "{name} has no cases");
        for (place, text) in &files {
            let text = String::from_utf8_lossy(text);
            assert!(!place.ends_with(".in") && !place.contains("{{"), "{name}: {place}");
            for placeholder in ["{{name}}", "{{ident}}"] {
                assert!(!text.contains(placeholder), "{name}: {place} has {placeholder}");
            }
        }
        for (place, text) in &contract {
            let copy = files.iter().find(|(copy, _)| copy.ends_with(&format!("wit/{place}")));
            assert_eq!(copy.map(|(_, text)| text), Some(text), "{name}: the contract's {place}");
        }
        // The program has what the folder has: Cargo does not see a file that was added.
        for place in template(&language, &kind, &name) {
            assert!(places.contains(&&*place), "{place} is not built in: touch host/cli/new/template.rs");
        }
    }
}

/// Where a template's files stand in a project.
fn template(language: &str, kind: &str, name: &str) -> Vec<String> {
    let parts = ["shared", kind].map(|part| project::folder().join(language).join(part));
    let places = parts.iter().filter(|part| part.is_dir()).flat_map(|part| files(part));
    places
        .map(|(place, _)| place.strip_suffix(".in").unwrap_or(&place).replace("{{name}}", name))
        .map(|place| place.replace("{{ident}}", &name.replace('-', "_")))
        .collect()
}

/// A project of each kind of a language.
async fn projects_build_and_do_what_they_say(language: &str) {
    for kind in KINDS {
        let project = Project::new(language, kind);
        project.make("build");
        project.make("test");
        project.serve_and_check().await;
    }
}

/// What `WARM_UP` in `project.mk` does.
#[tokio::test(flavor = "multi_thread")]
async fn a_project_begins_from_a_snapshot_where_that_is_wanted() {
    for language in ["go", "python"] {
        let name = format!("my-warm-{language}");
        let project = Project::named(&name, language, "worker");
        let file = |place: &str| project.folder().join(place);
        let settings = fs::read_to_string(file("project.mk")).unwrap();
        fs::write(file("project.mk"), format!("{settings}WARM_UP := these words are from before\n")).unwrap();
        project.make("build");
        let component = fs::read(file(&format!("build/{name}.wasm"))).unwrap();
        assert!(memmem::find(&component, b"these words").is_some(), "{name}: its memory knows of no job");
        project.make("test");
        project.serve_and_check().await;
    }
}

macro_rules! languages {
    ($($test:ident $language:literal)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                projects_build_and_do_what_they_say($language).await;
            }
        )*

        #[test]
        fn every_language_is_tested() {
            assert_eq!([$($language),*], LANGUAGES);
            let all = LANGUAGES.iter().flat_map(|language| KINDS.map(|kind| (language.to_string(), kind.to_owned())));
            let mut all: Vec<_> = all.collect();
            all.sort();
            assert_eq!(templates(), all);
        }
    };
}
languages! {
    rust_projects "rust"
    python_projects "python"
    js_projects "js"
    ts_projects "ts"
    c_projects "c"
    go_projects "go"
}
