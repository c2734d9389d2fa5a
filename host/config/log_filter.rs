//! Reads the log filter: a level, or one level per target. The library treats a word that is not a level as a target,
//! so that one wrong letter would silence a host. This file therefore checks every word.

use super::problem::nearest;

/// The levels, from the fewest lines to the most.
pub const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// The targets that write lines: this program, guests, and the libraries that log.
const TARGETS: [&str; 4] = ["sandhog", "guest", "wasmtime_wasi", "wasmtime_wasi_io"];
/// The level of targets that a filter does not name, so that a filter for one target does not hide errors of others.
const UNNAMED: &str = "warn";

/// A filter with only known words, in the library's form. The text of the error follows the name of the setting.
pub fn read(text: &str) -> Result<String, String> {
    let mut filter = Vec::new();
    let mut has_default = false;
    for entry in text.split(',').map(str::trim) {
        let (target, level) = match entry.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim().to_ascii_lowercase()),
            None => (None, entry.to_ascii_lowercase()),
        };
        if let Some(target) = target
            && !is_target(target)
        {
            let known = format!("the targets are {}, as in `info,guest=debug`", quoted(&TARGETS));
            return Err(unknown(text, target, "target", &TARGETS, &known));
        }
        if !LEVELS.contains(&level.as_str()) {
            let word = entry.rsplit('=').next().unwrap_or(entry).trim();
            let known = format!("the levels are {}, or one per target: `info,guest=debug`", quoted(&LEVELS));
            return Err(unknown(text, word, "level", &LEVELS, &known));
        }
        has_default |= target.is_none();
        filter.push(target.map_or(level.clone(), |target| format!("{target}={level}")));
    }
    if !has_default {
        filter.insert(0, UNNAMED.to_owned());
    }
    Ok(filter.join(","))
}

fn is_target(word: &str) -> bool {
    let (root, inner) = word.split_once("::").unwrap_or((word, "all"));
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    // Guests have no modules here.
    TARGETS.contains(&root)
        && (root != "guest" || word == root)
        && !inner.is_empty()
        && inner.chars().all(is_path)
}

fn unknown(text: &str, word: &str, what: &str, all: &[&str], known: &str) -> String {
    let meant = nearest(word, all.iter().copied()).map(|near| format!(" (did you mean `{near}`?)"));
    let meant = meant.unwrap_or_default();
    format!("is \"{}\": `{}` is not a {what}{meant}; {known}", text.escape_debug(), word.escape_debug())
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_that_exist_are_read() {
        for (text, filter) in [
            ("info", "info"),
            ("INFO", "info"),
            ("off", "off"),
            ("info,guest=debug", "info,guest=debug"),
            (" info , guest = Debug", "info,guest=debug"),
            (
                "debug,sandhog::worker=trace,wasmtime_wasi=off",
                "debug,sandhog::worker=trace,wasmtime_wasi=off",
            ),
            // A filter for guests does not hide errors of the host.
            ("guest=debug", "warn,guest=debug"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(filter), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_neither_a_level_nor_a_target_is_named() {
        for (text, said) in [
            (
                "infoo",
                "is \"infoo\": `infoo` is not a level (did you mean `info`?); the levels are `off`, `error`, ",
            ),
            ("", "is \"\": `` is not a level; "),
            ("info,", "is \"info,\": `` is not a level; "),
            ("3", "is \"3\": `3` is not a level; "),
            ("guest=", "is \"guest=\": `` is not a level; "),
            ("guest=loud", "is \"guest=loud\": `loud` is not a level; "),
            (
                "guset=debug",
                "is \"guset=debug\": `guset` is not a target (did you mean `guest`?); the targets are ",
            ),
            ("=debug", "is \"=debug\": `` is not a target; "),
            ("info guest=debug", "is \"info guest=debug\": `info guest` is not a target"),
            ("info,[job]=debug", "is \"info,[job]=debug\": `[job]` is not a target; "),
            ("guest::x=debug", "is \"guest::x=debug\": `guest::x` is not a target"),
            ("sandhog::=debug", "is \"sandhog::=debug\": `sandhog::` is not a target"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
