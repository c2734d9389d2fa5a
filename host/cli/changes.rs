//! How people tell releases apart: by component and release, and by what differs between two manifests.

use std::collections::{BTreeMap, BTreeSet};

use sandhog::plugin::depot::Depot;
use sandhog::plugin::release::Wanted;
use toml::{Table, Value};

use crate::cli::context::Context;
use crate::cli::text;

/// Digits of a release beside those of its component.
pub(crate) const RELEASE_DIGITS: usize = 8;
/// Longest line about one field.
const FIELD_CHARS_MAX: usize = 200;

/// Component and release: releases with the same component differ in the manifest.
pub(crate) fn release_name(wanted: &Wanted) -> String {
    let release = wanted.release.as_str().get(..RELEASE_DIGITS).unwrap_or_default();
    format!("{}/{release}", wanted.component.short())
}

/// What differs between the manifests of two releases in Redis; nothing if one of them cannot be read.
pub(crate) async fn of_releases(depot: &Depot, former: &Wanted, new: &Wanted) -> Vec<String> {
    match tokio::join!(depot.release(&former.release), depot.release(&new.release)) {
        (Ok(Some(former)), Ok(Some(new))) => between(&former.manifest, &new.manifest),
        _ => Vec::new(),
    }
}

/// Says what differs, a line for each field.
pub(crate) fn tell(context: &Context, changed: &[String]) {
    for field in changed {
        context.note(&format!("manifest: {}", text::visible(field.as_bytes(), FIELD_CHARS_MAX)));
    }
}

/// One phrase for each field that differs, by its path: `limits.timeout "5s" → "6s"`. Empty if one of the texts is not a
/// manifest.
fn between(former: &str, new: &str) -> Vec<String> {
    let (Some(former), Some(new)) = (fields(former), fields(new)) else { return Vec::new() };
    let paths: BTreeSet<&String> = former.keys().chain(new.keys()).collect();
    let changed = paths.into_iter().filter(|path| former.get(*path) != new.get(*path));
    changed
        .map(|path| match (former.get(path), new.get(path)) {
            (Some(former), Some(new)) => format!("{path} {former} → {new}"),
            (Some(former), None) => format!("{path} {former} → default"),
            (None, new) => format!("{path} default → {}", new.map_or("default", String::as_str)),
        })
        .collect()
}

/// All values of a manifest by their paths.
fn fields(text: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    add(&Value::Table(text.parse::<Table>().ok()?), "", &mut fields);
    Some(fields)
}

fn add(value: &Value, path: &str, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                add(value, &path, fields);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            for (nth, value) in values.iter().enumerate() {
                // Most plugins have one queue.
                let path = if values.len() == 1 { path.to_owned() } else { format!("{path}[{nth}]") };
                add(value, &path, fields);
            }
        }
        value => {
            fields.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared_by_their_paths() {
        let former =
            "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\ntimeout = \"5s\"\n[limits]\nmemory = \"16MiB\"\n";
        let new = "kind = \"worker\"\n[[consume]]\ntimeout = \"6s\"\nqueue = \"q\"\n[grants]\nkv.read = [\"a\", \"b\"]\n";
        let expected = [
            "consume.timeout \"5s\" → \"6s\"",
            "grants.kv.read default → [\"a\", \"b\"]",
            "limits.memory \"16MiB\" → default",
        ];
        assert_eq!(between(former, new), expected);
        assert!(between(former, former).is_empty());
        assert!(between(former, "no manifest").is_empty());
    }

    #[test]
    fn queues_are_told_apart_by_their_number() {
        let text = |timeout: &str| {
            format!("[[consume]]\nqueue = \"a\"\n[[consume]]\nqueue = \"b\"\ntimeout = \"{timeout}\"\n")
        };
        assert_eq!(between(&text("1s"), &text("2s")), ["consume[1].timeout \"1s\" → \"2s\""]);
    }
}
