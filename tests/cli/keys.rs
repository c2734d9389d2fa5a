//! `sandhog keys`: the keys under a prefix.

use std::collections::BTreeSet;

use redis::{Commands as _, Connection};
use serde_json::Value;

use crate::support::program::Program;
use crate::support::redis::TestRedis;

fn connect(redis: &TestRedis) -> Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// The names of the keys of a document, in its order.
fn names(document: &Value) -> Vec<&str> {
    document["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect()
}

#[test]
fn the_keys_of_a_prefix_are_listed_with_type_memory_and_expiry() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = connect(&redis);
    let () = connection.set("app:[x]*:large", vec![b'x'; 100_000]).unwrap();
    let () = connection.rpush("app:[x]*:list", &["a", "b"]).unwrap();
    let () = connection.set_ex("app:[x]*:short", "x", 7_200).unwrap();
    // Other keys, which a pattern would match instead of the prefix, or which share only a part of the prefix.
    for other in ["app:x:1", "app:[x]", "app:", "other"] {
        let () = connection.set(other, "x").unwrap();
    }
    let document = program.json(&["keys", "app:[x]*:"]);
    assert_eq!(names(&document)[0], "app:[x]*:large");
    assert_eq!(names(&document).into_iter().collect::<BTreeSet<_>>().len(), 3);
    let of = |name: &str| {
        let keys = document["keys"].as_array().unwrap();
        keys.iter().find(|key| key["key"] == format!("app:[x]*:{name}")).unwrap().clone()
    };
    assert_eq!((&of("large")["type"], &of("large")["ttl_ms"]), (&"string".into(), &Value::Null));
    assert!((100_000..200_000).contains(&of("large")["bytes"].as_u64().unwrap()), "{document:#}");
    assert_eq!(of("list")["type"], "list");
    assert!((7_000_000..=7_200_000).contains(&of("short")["ttl_ms"].as_u64().unwrap()), "{document:#}");
    let bytes = |key: &Value| key["bytes"].as_u64().unwrap();
    let all: u64 = document["keys"].as_array().unwrap().iter().map(bytes).sum();
    assert_eq!(
        (document["total"]["keys"].as_u64(), document["total"]["bytes"].as_u64()),
        (Some(3), Some(all))
    );
    assert_eq!(document["types"]["list"]["bytes"], of("list")["bytes"]);
    assert_eq!((&document["types"]["string"]["keys"], &document["cursor"]), (&2.into(), &Value::Null));

    let shown = String::from_utf8(program.output(&["keys", "app:[x]*:"]).stdout).unwrap();
    let line = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("large").contains("string") && line("large").ends_with("never"), "{shown}");
    assert!(line("short").ends_with("in 1 h") || line("short").ends_with("in 2 h"), "{shown}");
    assert!(line("3 keys, ").contains(": list 1, ") && line("3 keys, ").contains("; string 2, "), "{shown}");
    let none = program.output(&["keys", "nobody:"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(0), 0));
    assert_eq!(String::from_utf8(none.stderr).unwrap(), "no key begins with `nobody:`\n");
}

#[test]
fn a_listing_is_bounded_and_continues_where_it_ended() {
    const KEYS: usize = 5000;
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let mut connection = connect(&redis);
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.set(format!("app:{n}"), vec![b'x'; n]).ignore().set(format!("other:{n}"), "x").ignore();
    }
    let () = pipe.query(&mut connection).unwrap();
    // The totals count all keys; the table shows the largest.
    let largest = program.json(&["keys", "app:", "--limit", "3"]);
    assert_eq!((names(&largest).len(), &largest["total"]["keys"]), (3, &KEYS.into()));
    assert_eq!(largest["cursor"], Value::Null);
    let sizes: Vec<u64> =
        largest["keys"].as_array().unwrap().iter().map(|key| key["bytes"].as_u64().unwrap()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[2] > 4_000, "{largest:#}");
    let shown = program.transcript(&["keys", "app:", "--limit", "3"]);
    assert!(shown.contains("5,000 keys, ") && shown.contains("only the largest are shown"), "{shown}");
    // A part of Redis at a time.
    let (mut cursor, mut found, mut listings) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let page = program.json(&["keys", "app:", "--look", "1", "--limit", "10000", "--cursor", &cursor]);
        found.extend(names(&page).into_iter().map(str::to_owned));
        listings += 1;
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(found.len(), KEYS);
    assert!((5..=40).contains(&listings), "{listings} listings of about 1,000 keys");
    let part = program.transcript(&["keys", "app:", "--look", "1"]);
    assert!(part.contains("examined about 1,000 keys of Redis; continue with `--cursor "), "{part}");
}
