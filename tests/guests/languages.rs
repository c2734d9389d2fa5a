//! The worker `orders` in every language: the same jobs, through a whole host, come to the same end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use sandhog::capability::grant::Patterns;
use sandhog::config::settings::Ceilings;
use sandhog::job::envelope::Header;
use sandhog::plugin::manifest::Manifest;
use serde::Deserialize;

use crate::support::dump::text;
use crate::support::example;
use crate::support::host::{Plugins, count, stop, until};
use crate::support::program::Program;
use crate::support::redis::TestRedis;

#[derive(Deserialize)]
struct Table {
    settings: BTreeMap<String, String>,
    job: Vec<Job>,
}

/// A job, and one of its possible ends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    payload: Option<String>,
    payload_hex: Option<String>,
    books: Option<Booked>,
    #[serde(default)]
    duplicate: bool,
    buried: Option<String>,
    retried: Option<String>,
}

#[derive(Deserialize)]
struct Booked {
    order: String,
    customer: String,
    amount_cents: i64,
}

impl Job {
    fn payload(&self) -> Vec<u8> {
        let hex = |hex: &String| {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        match &self.payload {
            Some(text) => text.clone().into_bytes(),
            None => self.payload_hex.as_ref().map(hex).expect("a job has a payload"),
        }
    }

    /// Why it died, and after how many attempts.
    fn death(&self) -> Option<(&str, u32)> {
        self.buried.as_deref().map(|reason| (reason, 1)).or(self.retried.as_deref().map(|reason| (reason, 2)))
    }
}

/// The component and the manifest of a language.
fn orders(language: &str) -> (Vec<u8>, String) {
    let path = match language {
        "rust" => example::path("orders"),
        _ => built(language),
    };
    let read = |path: &Path| {
        std::fs::read(path).unwrap_or_else(|error| {
            panic!("{}: {error}; build it with `make guests`, or see why that fails", path.display())
        })
    };
    let manifest = String::from_utf8(read(&path.with_extension("toml"))).unwrap();
    (read(&path), manifest)
}

fn built(language: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("guest-examples").join(language).join("orders/build/orders.wasm")
}

/// What became of all jobs but for their ids.
#[derive(Debug, Default, PartialEq)]
struct Books {
    keys: BTreeMap<String, i64>,
    receipts: Vec<serde_json::Value>,
    markers: usize,
    dead: BTreeMap<String, (String, u32)>,
}

impl Books {
    /// What the table says.
    fn expected(table: &Table) -> Self {
        let mut books = Self::default();
        let mut add = |key: String, by: i64| *books.keys.entry(key).or_default() += by;
        for job in &table.job {
            if let Some(Booked { order, customer, amount_cents }) = &job.books {
                add(format!("total:{customer}"), *amount_cents);
                add("total:all".to_owned(), *amount_cents);
                add("orders:count".to_owned(), 1);
                let receipt = serde_json::json!({
                    "order": order, "customer": customer, "amount_cents": amount_cents,
                    "currency": "CHF", "greeting": "dear, bob",
                });
                books.receipts.push(receipt);
                books.markers += 1;
            } else if job.duplicate {
                add("orders:duplicates".to_owned(), 1);
            } else {
                let (reason, attempts) = job.death().expect("a job comes to some end");
                books.dead.insert(text(&job.payload()), (reason.to_owned(), attempts));
            }
        }
        books
    }

    /// What is in Redis.
    async fn found(plain: &mut MultiplexedConnection, settings: &BTreeMap<String, String>) -> Self {
        let mut books = Self::default();
        let all: Vec<String> = plain.keys("*").await.unwrap();
        for key in all.into_iter().filter(|key| !key.contains("sandhog") && !settings.contains_key(key)) {
            if let Some(order) = key.strip_prefix("order:seen:") {
                let ttl: i64 = plain.ttl(&key).await.unwrap();
                assert!((6 * 86_400..=7 * 86_400).contains(&ttl), "`{order}` is remembered for {ttl} s");
                books.markers += 1;
            } else if key == "receipts" {
                let receipts: Vec<Vec<u8>> = plain.lrange(&key, 0, -1).await.unwrap();
                books.receipts = receipts.iter().map(|one| serde_json::from_slice(one).unwrap()).collect();
            } else if key != "site-settings" {
                books.keys.insert(key.clone(), plain.get(&key).await.unwrap());
            }
        }
        let dead: Vec<Vec<u8>> = plain.zrange("{orders}:sandhog:dead", 0, -1).await.unwrap();
        for envelope in dead {
            let (header, payload) = Header::decode(&envelope).unwrap();
            let reason = header.note("!reason").unwrap_or_default().to_owned();
            books.dead.insert(text(payload), (reason, header.attempts));
        }
        books
    }
}

/// Runs the table through a host.
async fn books_of(language: &str, (component, manifest): (Vec<u8>, String), table: &Table) -> Books {
    // So that a job that wants to run again has its last attempt at once.
    let hasty = manifest.replace("max_attempts = 5", "max_attempts = 2").replace("\"1s\"", "\"1ms\"");
    assert_ne!(hasty, manifest, "{language}: the manifest is that of the Rust worker");
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for (key, value) in &table.settings {
        let _: () = plain.set(key, value).await.unwrap();
    }
    let plugins = Plugins::new().with("orders", &component, &hasty).with(
        "site-settings",
        &example::component("site-settings"),
        &example::manifest("site-settings"),
    );
    let host = plugins.serve(&redis.url(), "h").await;
    for (at, job) in table.job.iter().enumerate() {
        let _: u64 = plain.rpush("orders", job.payload()).await.unwrap();
        let settled = at as u64 + 1;
        until("the job is settled", async || {
            count(&host, "orders", |c| &c.completed) + count(&host, "orders", |c| &c.buried) == settled
        })
        .await;
    }
    let books = Books::found(&mut plain, &table.settings).await;
    stop(host).await;
    books
}

/// Puts what a pattern stands for in its place, if it fits.
fn fill(expected: &mut Books, found: &Books) {
    for (payload, (reason, _)) in &mut expected.dead {
        if let Some((said, _)) = found.dead.get(payload)
            && Patterns::new(&[&reason]).matches(said)
        {
            reason.clone_from(said);
        }
    }
}

async fn check(language: &str) {
    check_plugin(language, orders(language)).await;
}

async fn check_plugin(language: &str, plugin: (Vec<u8>, String)) {
    let table: Table = toml::from_str(include_str!("orders.toml")).unwrap();
    let found = books_of(language, plugin, &table).await;
    let mut expected = Books::expected(&table);
    fill(&mut expected, &found);
    for (payload, expected) in &expected.dead {
        assert_eq!(found.dead.get(payload), Some(expected), "{language}: {payload}");
    }
    assert_eq!(found, expected, "{language}");
}

macro_rules! languages {
    ($($language:ident),*) => {$(
        #[tokio::test]
        async fn $language() {
            check(stringify!($language)).await;
        }
    )*
        const LANGUAGES: &[&str] = &[$(stringify!($language)),*];
    };
}

languages!(rust, python, js, ts, c, go);

/// Its runtime has started before, and handled a job of no customer's.
#[tokio::test]
async fn go_from_a_snapshot() {
    let (component, manifest) = orders("go");
    let program = Program::alone();
    program.file("orders.wasm", component);
    program.file("orders.toml", &manifest);
    let warm = r#"{"id": "warm", "customer": "nobody", "amount_cents": 1}"#;
    program.json(&["snapshot", "orders.wasm", "-o", "warm.wasm", "--payload", warm]);
    let snapshot = std::fs::read(program.folder().join("warm.wasm")).unwrap();
    check_plugin("go, a snapshot", (snapshot, manifest)).await;
}

#[test]
fn every_language_is_tested_and_has_the_same_manifest() {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples")).unwrap();
    for folder in folders.map(|entry| entry.unwrap()).filter(|entry| entry.path().join("orders").is_dir()) {
        let name = folder.file_name().into_string().unwrap();
        assert!(LANGUAGES.contains(&name.as_str()), "add `{name}` to the languages tested here");
    }
    let parse = |language: &str| {
        let manifest = Manifest::parse("orders.toml", &orders(language).1, &Ceilings::default()).unwrap();
        Manifest { lines: Default::default(), limits: Default::default(), ..manifest }
    };
    for language in LANGUAGES {
        assert_eq!(parse(language), parse("rust"), "{language}");
    }
}
