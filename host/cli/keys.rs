//! `sandhog keys`: lists the keys that begin with a prefix, for example those of a plugin. `job::stored` walks the
//! keys.

use std::collections::BTreeMap;

use sandhog::capability::glob::of_prefix;
use sandhog::job::stored::{PART_KEYS, StoredKey, StoredKeys};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::table::{Column, Table};
use crate::cli::{output, text};

/// Longest name of a key in a table, in characters.
const NAME_CHARS_MAX: usize = 80;
/// Most keys that are shown.
const LIMIT_MAX: i64 = 10_000;

const EXAMPLES: &str = "\
Examples:
  sandhog keys total:
  sandhog keys '{orders}:sandhog:' --limit 10
  sandhog keys session: --json";

/// Lists the keys that begin with a prefix, the largest first.
///
/// Walks the keys of Redis with SCAN, with pauses. The size of a key is the memory of its name and value, as MEMORY USAGE
/// estimates it. A key may be counted twice while Redis resizes its table of keys.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The prefix of the keys.
    prefix: String,
    /// Shows this many of the largest keys; the totals include all keys.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LIMIT_MAX))]
    limit: u32,
    /// Examines about this many keys of Redis, with and without the prefix.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    look: u64,
    /// Continues from the cursor that an incomplete listing printed.
    #[arg(long, default_value_t = 0)]
    cursor: u64,
}

/// A number of keys and their memory.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    keys: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The keys found, with their totals.
#[derive(Debug, Default)]
struct Found {
    /// The largest keys.
    largest: Vec<StoredKey>,
    total: Sum,
    kinds: BTreeMap<String, Sum>,
    /// The cursor to continue from; none if all keys were examined.
    cursor: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let link = context.link().await?;
    let pattern = of_prefix(&args.prefix);
    let mut walk = StoredKeys::new(&link, &pattern, args.cursor);
    let (mut found, mut looked) = (Found::default(), 0);
    let limit = args.limit as usize;
    while looked < args.look
        && let Some(keys) = walk.part().await?
    {
        looked += PART_KEYS;
        found.add(keys, limit);
    }
    found.keep(limit);
    found.cursor = walk.cursor();
    if context.out.is_json() {
        return Ok(context.out.document(&document(&args.prefix, &found))?);
    }
    if found.total.keys == 0 {
        let prefix = text::visible(args.prefix.as_bytes(), NAME_CHARS_MAX);
        context.note(&format!("no key begins with `{prefix}`"));
    } else {
        context.out.text(&format!("{}\n{}\n", context.out.fitted(&table(&found.largest)), sums(&found)))?;
    }
    if found.largest.len() as u64 != found.total.keys {
        context.note(&format!("only the largest are shown: `--limit` shows up to {LIMIT_MAX}"));
    }
    if let Some(cursor) = found.cursor {
        let looked = text::count(looked);
        context.note(&format!("examined about {looked} keys of Redis; continue with `--cursor {cursor}`"));
    }
    Ok(())
}

impl Found {
    fn add(&mut self, keys: Vec<StoredKey>, limit: usize) {
        for key in keys {
            self.total.add(key.bytes);
            self.kinds.entry(key.kind.clone()).or_default().add(key.bytes);
            self.largest.push(key);
        }
        // Sorting after each part would be slow: a part may have a single key.
        if self.largest.len() > 2 * limit {
            self.keep(limit);
        }
    }

    /// Keeps the `limit` largest keys.
    fn keep(&mut self, limit: usize) {
        self.largest.sort_unstable_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        self.largest.truncate(limit);
    }
}

fn table(keys: &[StoredKey]) -> Table {
    let mut table = Table::new(&[
        Column::Long("key"),
        Column::Text("type"),
        Column::Number("memory"),
        Column::Text("expires"),
    ]);
    for key in keys {
        table.row([
            text::visible(&key.name, NAME_CHARS_MAX),
            text::visible(key.kind.as_bytes(), 20),
            text::size(key.bytes),
            key.ttl_ms.map_or_else(|| "never".to_owned(), |ttl| format!("in {}", text::span(ttl))),
        ]);
    }
    table
}

/// `7 keys, 12 KiB: hash 1, 10 KiB; string 6, 2 KiB`.
fn sums(found: &Found) -> String {
    let kind = |(kind, sum): (&String, &Sum)| {
        let kind = text::visible(kind.as_bytes(), 20);
        format!("{kind} {}, {}", text::count(sum.keys), text::size(sum.bytes))
    };
    let kinds: Vec<String> = found.kinds.iter().map(kind).collect();
    let keys = text::counted(found.total.keys, "key", "keys");
    format!("{keys}, {}: {}", text::size(found.total.bytes), kinds.join("; "))
}

fn document(prefix: &str, found: &Found) -> Value {
    let sum = |sum: &Sum| json!({ "keys": sum.keys, "bytes": sum.bytes });
    let key = |key: &StoredKey| json!({ "key": output::payload(&key.name), "type": key.kind, "bytes": key.bytes, "ttl_ms": key.ttl_ms });
    let kinds: BTreeMap<&String, Value> = found.kinds.iter().map(|(kind, of)| (kind, sum(of))).collect();
    json!({
        "prefix": prefix,
        "keys": found.largest.iter().map(key).collect::<Vec<_>>(),
        "total": sum(&found.total),
        "types": kinds,
        // As text: many JSON readers keep whole numbers exactly only up to 2^53.
        "cursor": found.cursor.map(|cursor| cursor.to_string()),
    })
}
