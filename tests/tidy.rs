//! The picture in ARCHITECTURE.md and the house style, checked: who may import whom, how long files are, what
//! stands at their heads. The length of functions is clippy's business.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 400;
/// Most lines the median file of the host may have: long files stay exceptions.
const MEDIAN_LINES_MAX: usize = 200;

/// Every part of the host, and the parts it may import.
const IMPORTS: [(&str, &[&str]); 13] = [
    ("main", &["cli"]),
    (
        "cli",
        &[
            "app",
            "capability",
            "config",
            "escape",
            "job",
            "panics",
            "plugin",
            "sandbox",
            "storage",
            "telemetry",
            "worker",
        ],
    ),
    (
        "app",
        &["capability", "config", "job", "panics", "plugin", "sandbox", "storage", "telemetry", "worker"],
    ),
    ("worker", &["job", "panics", "plugin", "sandbox", "storage"]),
    ("plugin", &["capability", "config", "job", "panics", "sandbox", "storage"]),
    ("sandbox", &["capability", "escape", "panics", "storage"]),
    ("capability", &["escape", "job", "panics", "storage"]),
    ("config", &["job", "storage"]),
    ("job", &["storage"]),
    ("storage", &[]),
    ("telemetry", &["config", "escape", "panics"]),
    ("escape", &[]),
    ("panics", &[]),
];

struct File {
    /// From the root of the project.
    name: String,
    text: String,
}

impl File {
    /// The top-level part it belongs to: `job` for `host/job.rs` and `host/job/store.rs`.
    fn part(&self) -> &str {
        let inner = self.name.trim_start_matches("host/");
        inner.split(['/', '.']).next().unwrap_or(inner)
    }

    fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Its text without comments and without the unit tests at its end.
    fn code(&self) -> String {
        let code = self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file with this extension in a folder of the project.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("built") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push(File { name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file in {folder}: is the test looking in the right place?");
    found
}

fn rust_files() -> Vec<File> {
    ["host", "tests", "guest-examples", "fuzz/targets"]
        .into_iter()
        .flat_map(|folder| files(folder, "rs"))
        .collect()
}

/// Fails with every problem found and with what to do about them.
#[track_caller]
fn report(problems: &[String], remedy: &str) {
    assert!(problems.is_empty(), "{}\n{remedy}", problems.join("\n"));
}

#[test]
fn files_are_short() {
    let long = rust_files().into_iter().filter(|file| file.lines() > FILE_LINES_MAX);
    let long: Vec<String> = long.map(|file| format!("{}: {} lines", file.name, file.lines())).collect();
    report(&long, &format!("a file has at most {FILE_LINES_MAX} lines: give a part of it a file of its own"));

    let mut lengths: Vec<usize> = files("host", "rs").iter().map(File::lines).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN_LINES_MAX, "half of host/ has more than {median} lines a file: split some");
}

#[test]
fn files_say_what_lives_in_them() {
    let mute = rust_files().into_iter().filter(|file| !file.text.starts_with("//! "));
    let mute: Vec<String> = mute.map(|file| file.name).collect();
    report(&mute, "start the file with `//! `: what lives here, and what deliberately does not");

    let old = rust_files().into_iter().map(|file| file.name).filter(|name| name.ends_with("/mod.rs"));
    report(&old.collect::<Vec<_>>(), "name the file after its module, beside the folder of the same name");
}

#[test]
fn scripts_begin_with_their_contract() {
    let mut problems = Vec::new();
    for script in files("host", "lua") {
        let lines = script.text.lines();
        // The flags in the first line are for Redis.
        let head: Vec<&str> = lines
            .skip_while(|line| line.starts_with("#!"))
            .take_while(|line| line.starts_with("--"))
            .collect();
        let body = script.text.lines().filter(|line| !line.starts_with("--")).collect::<String>();
        // Parts are pasted into scripts; their heads say what they answer in words.
        let answers = !script.name.contains("/part/");
        let wanted = [("KEYS", body.contains("KEYS[")), ("ARGV", body.contains("ARGV[")), ("Reply", answers)];
        let told = |word: &str| head.iter().any(|line| line[2..].trim_start().starts_with(word));
        let missing = wanted.iter().filter(|(word, used)| *used && !told(word)).map(|(word, _)| *word);
        let missing: Vec<&str> = missing.collect();
        if head.is_empty() || !missing.is_empty() {
            problems.push(format!(
                "{}: no {}",
                script.name,
                if head.is_empty() { "head".into() } else { missing.join(", ") }
            ));
        }
    }
    report(&problems, "begin the script with its contract as comments: what it does, KEYS, ARGV, Reply");
}

/// The parts that a part's code names, with the file that does.
fn imports() -> BTreeMap<(String, String), String> {
    let parts = IMPORTS.map(|(part, _)| part);
    let parts: Vec<&str> = parts.into_iter().filter(|part| *part != "main").collect();
    let mut found = BTreeMap::new();
    for file in files("host", "rs").into_iter().filter(|file| file.name != "host/lib.rs") {
        let code = file.code();
        // The program sees the library by its name; elsewhere `sandhog::` is the package of the WIT.
        let roots: &[&str] =
            if ["main", "cli"].contains(&file.part()) { &["sandhog::"] } else { &["crate::"] };
        for root in roots {
            for after in code.split(root).skip(1) {
                let named =
                    after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                let group = after.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or(named);
                for part in group.split(',').map(|item| item.trim().split("::").next().unwrap_or_default()) {
                    if parts.contains(&part) && part != file.part() {
                        found.insert((file.part().to_owned(), part.to_owned()), file.name.clone());
                    }
                }
            }
        }
        if file.name == "host/main.rs" && code.contains("mod cli;") {
            found.insert(("main".to_owned(), "cli".to_owned()), file.name.clone());
        }
    }
    found
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.into();
    let mut problems = Vec::new();
    for ((part, imported), file) in imports() {
        match allowed.get(part.as_str()) {
            None => problems.push(format!("{file}: `{part}` is not in the table")),
            Some(parts) if !parts.contains(&imported.as_str()) => {
                problems.push(format!("{file}: `{part}` imports `{imported}`"));
            }
            Some(_) => {}
        }
    }
    report(
        &problems,
        "the direction of imports is part of the design: move what is shared down, or change the table here and \
         in ARCHITECTURE.md in one commit, and say why",
    );
    for expected in [("main", "cli"), ("cli", "storage"), ("job", "storage")] {
        let (part, imported) = expected;
        let found = imports().contains_key(&(part.to_owned(), imported.to_owned()));
        assert!(found, "`{part}` imports `{imported}`, and the test does not see it any more: fix the test");
    }
}

#[test]
fn the_architecture_page_shows_the_same_table() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut problems = Vec::new();
    for (part, imports) in IMPORTS {
        let quoted: Vec<String> = imports.iter().map(|import| format!("`{import}`")).collect();
        let row =
            format!("| `{part}` | {} |", if quoted.is_empty() { "–".into() } else { quoted.join(", ") });
        if !page.contains(&row) {
            problems.push(format!("missing: {row}"));
        }
    }
    report(&problems, "copy the rows into the table of imports in ARCHITECTURE.md");
}

#[test]
fn only_the_program_uses_anyhow_and_prints() {
    let mut problems = Vec::new();
    for file in files("host", "rs").into_iter().filter(|file| !["main", "cli"].contains(&file.part())) {
        let code = file.code();
        for word in ["anyhow", "println!", "eprintln!", "io::stdout"] {
            if code.contains(word) {
                problems.push(format!("{}: `{word}`", file.name));
            }
        }
    }
    report(
        &problems,
        "the library answers typed errors (`thiserror`) and logs with `tracing`; only cli/ prints",
    );
}

#[test]
fn only_config_reads_the_environment() {
    let reads = ["env::var", "env::vars", "env::var_os"];
    let mut problems = Vec::new();
    for file in files("host", "rs").into_iter().filter(|file| file.part() != "config") {
        let code = file.code();
        problems.extend(
            reads.iter().filter(|read| code.contains(**read)).map(|read| format!("{}: `{read}`", file.name)),
        );
    }
    report(&problems, "take it from `config::env`, so that settings have one source");
}

#[test]
fn every_task_has_a_name_and_panics_in_a_test() {
    // The file that names tasks, and the executor, which runs tasks that others have named. Commands end with a panic
    // anyway.
    let exempt = ["host/panics.rs", "host/worker/executor.rs"];
    let roles = fs::read_to_string(root().join("tests/panics/roles.rs")).unwrap();
    let helpers = ["named(\"", "thread(\"", "contained(\"", "contained_while(\""];
    let mut problems = Vec::new();
    let is_checked = |file: &File| file.part() != "cli" && !exempt.contains(&file.name.as_str());
    for file in files("host", "rs").into_iter().filter(is_checked) {
        let code: String = file.code().split_whitespace().collect();
        for start in ["spawn(", "spawn_blocking(", "spawn_scoped(", "spawn_local("] {
            for task in code.split(start).skip(1) {
                let head: String = task.chars().take(60).collect();
                // `spawn` without arguments starts a process.
                if !head.starts_with(')') && !helpers.iter().any(|helper| head.contains(helper)) {
                    problems.push(format!("{}: {start}{head}", file.name));
                }
            }
        }
        for helper in helpers {
            let names = code.split(helper).skip(1).filter_map(|rest| rest.split('"').next());
            let unknown = names.filter(|name| !roles.contains(&format!("\"{name}\"")));
            problems.extend(unknown.map(|name| format!("{}: no test for `{name}`", file.name)));
        }
    }
    report(
        &problems,
        "start tasks with `panics::named`, threads with `panics::thread`, and add their names to \
         tests/panics/roles.rs: the line about a panic has them",
    );
}

#[test]
fn there_is_no_unsafe_code() {
    // Guests have an allocator and call WASI by hand; the host maps code that it has compiled itself.
    let allowed = [
        "guest-examples/rust/guest/src/heap.rs",
        "guest-examples/rust/wasi-probe/src/preview1.rs",
        "host/sandbox/compile/artefact.rs",
    ];
    let keywords =
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code", "expect(unsafe_code"];
    let mut problems = Vec::new();
    for file in rust_files() {
        let here = file.name == "tests/tidy.rs" || allowed.contains(&file.name.as_str());
        if !here && keywords.iter().any(|keyword| file.code().contains(keyword)) {
            problems.push(file.name);
        }
    }
    report(
        &problems,
        "write it without `unsafe`; if that is impossible, say why here and in ARCHITECTURE.md",
    );
}

#[test]
fn every_example_guest_is_tested() {
    let tests: String = files("tests", "rs").into_iter().map(|file| file.text).collect();
    let mut problems = Vec::new();
    for entry in fs::read_dir(root().join("guest-examples/rust")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        if manifest.contains("cdylib") && !tests.contains(&format!("\"{name}\"")) {
            problems.push(format!("guest-examples/rust/{name} is named in no test"));
        }
    }
    report(&problems, "run it in tests/guests/ (`support::example::plugin`)");
}

#[test]
fn the_handler_in_the_readme_is_the_one_that_is_built() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = |language: &str| {
        let fence = format!("```{language}\n");
        readme.split(&fence).nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default().to_owned()
    };
    let built =
        |file: &str| fs::read_to_string(root().join("guest-examples/rust/greeter").join(file)).unwrap();
    let handler = shown("rust").replace("path: \"wit\"", "path: \"../../../wit\"");
    assert!(handler.lines().count() <= 20, "the README promises a handler in 20 lines");
    for (shown, file) in [(handler, "src/lib.rs"), (shown("toml"), "greeter.toml")] {
        assert!(!shown.is_empty(), "the README shows no {file} any more");
        assert!(built(file).ends_with(&shown), "the README and guest-examples/rust/greeter/{file} differ");
    }
}
