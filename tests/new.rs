//! `sandhog new`: what it writes, what it refuses.

use std::fs;

use insta::assert_snapshot;

use crate::support::program::Program;

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
