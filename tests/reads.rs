//! The table of reads in `host/storage/reads.md`, compared with the code: a command that reads what others may have written
//! is in a row with its bound, and each row has its command.

mod giant;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Commands whose replies grow with what others have written. `LIST` and `USERS` are of `CLIENT` and `ACL`.
const COMMANDS: &[&str] = &[
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "DUMP",
    "EVAL_RO",
    "GET",
    "GETDEL",
    "GETEX",
    "GETRANGE",
    "GETSET",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HMGET",
    "HRANDFIELD",
    "HSCAN",
    "HVALS",
    "KEYS",
    "LINDEX",
    "LIST",
    "LMOVE",
    "LMPOP",
    "LPOP",
    "LRANGE",
    "MGET",
    "RANDOMKEY",
    "RPOP",
    "RPOPLPUSH",
    "SCAN",
    "SDIFF",
    "SINTER",
    "SMEMBERS",
    "SORT",
    "SORT_RO",
    "SPOP",
    "SRANDMEMBER",
    "SSCAN",
    "SUBSTR",
    "SUNION",
    "USERS",
    "XRANGE",
    "XREAD",
    "XREVRANGE",
    "ZMPOP",
    "ZPOPMAX",
    "ZPOPMIN",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZSCAN",
];

/// How often a file has each command.
type Commands = BTreeMap<String, usize>;

fn host() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("host")
}

/// A file's code, without comments and without the unit tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let comment = if path.extension().is_some_and(|extension| extension == "lua") { "--" } else { "//" };
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with(comment));
    without_checks(&lines.map(|line| format!("{line}\n")).collect::<String>())
}

/// The code without the checks of rights, which name commands and call none.
fn without_checks(code: &str) -> String {
    let mut parts = code.split("refusal(");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut open = 1;
        let end = part.find(|c| {
            open += i32::from(c == '(') - i32::from(c == ')');
            open == 0
        });
        rest.push_str(end.map_or(part, |end| &part[end..]));
    }
    rest
}

/// The commands in quotes, including those that are not the first argument of a call.
fn commands(code: &str) -> Commands {
    let mut found = Commands::new();
    for command in COMMANDS {
        let times = ['"', '\''].map(|quote| code.matches(&format!("{quote}{command}{quote}")).count());
        let times: usize = times.iter().sum();
        if times > 0 {
            found.insert((*command).to_owned(), times);
        }
    }
    found
}

/// The commands of every file of the host, by its name in the table.
fn places() -> BTreeMap<String, Commands> {
    let mut found = BTreeMap::new();
    let mut folders = vec![host()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "lua") {
                let commands = commands(&code(&path));
                if !commands.is_empty() {
                    let name = path.strip_prefix(host()).unwrap().display().to_string();
                    found.insert(name, commands);
                }
            }
        }
    }
    found
}

/// One row of the table.
struct Row {
    file: String,
    /// None for a folder, whose files may have any.
    commands: Option<Commands>,
    bound: String,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(host().join("storage/reads.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [file, commands, _, bound] = cells[..] else { panic!("not four cells: {line}") };
        let commands = (commands != "any").then(|| {
            let each = commands.split(", ").map(|command| {
                let (name, times) = command.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}"));
                (name.trim_matches('`').to_owned(), times.parse().unwrap())
            });
            each.collect()
        });
        Row { file: file.trim_matches('`').to_owned(), commands, bound: bound.to_owned() }
    })
    .collect()
}

#[test]
fn every_read_of_redis_is_in_the_table_with_its_bound() {
    let (mut places, mut problems) = (places(), Vec::new());
    for row in rows() {
        if row.bound.is_empty() {
            problems.push(format!("{}: no bound", row.file));
        }
        let Some(expected) = row.commands else {
            let before = places.len();
            places.retain(|file, _| !(row.file.ends_with('/') && file.starts_with(&row.file)));
            if places.len() == before {
                problems.push(format!("{}: there is no such folder with reads", row.file));
            }
            continue;
        };
        match places.remove(&row.file) {
            None => problems.push(format!("{}: has no reads", row.file)),
            Some(found) if found != expected => {
                problems.push(format!("{}: has {found:?}, and the table {expected:?}", row.file));
            }
            Some(_) => {}
        }
    }
    problems.extend(places.iter().map(|(file, found)| format!("{file}: {found:?} is not in the table")));
    assert!(
        problems.is_empty(),
        "{}\ngive each read a bound, and correct the table in host/storage/reads.md",
        problems.join("\n")
    );
}

#[test]
fn the_reads_that_the_table_is_about_are_seen() {
    let code = "link.query(cmd(\"HGETALL\"))\nredis.call('GET', 'GETX') -- 'HKEYS'\n";
    let expected = [("GET".to_owned(), 1), ("HGETALL".to_owned(), 1), ("HKEYS".to_owned(), 1)].into();
    assert_eq!(commands(code), expected, "a comment behind code counts, too, which does no harm");
    let places = places();
    for file in ["job/script/turn.lua", "storage/script/bounded.lua", "plugin/depot.rs"] {
        assert!(places.contains_key(file), "{file}");
    }
}

/// The client library has a method for each command, which the search for quoted names would not see.
#[test]
fn the_host_reads_redis_only_by_the_names_of_commands() {
    let mut folders = vec![host()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = code(&path);
                for word in ["AsyncCommands", "redis::Commands"] {
                    assert!(!code.contains(word), "{}: `{word}`; use `redis::cmd`", path.display());
                }
            }
        }
    }
}
