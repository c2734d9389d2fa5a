//! What manifests mean, and the words for everything that can be wrong with one.

use super::*;
use crate::job::backoff::Backoff;
use crate::job::limit::{KeyLimits, KeySource, QueueLimits, Rate};
use crate::job::name::QueueName;
use crate::job::store::{Delivery, Order};

fn parse(text: &str) -> Result<Manifest, String> {
    manifest("t.toml", text, &Ceilings::default()).map_err(|problems| problems.to_string())
}

/// The problems of a text as `line: text`, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let found = parse(text).err().unwrap_or_default();
    found.lines().map(|line| line.strip_prefix("t.toml:").unwrap_or(line).to_owned()).collect()
}

#[test]
fn defaults_are_those_of_the_design() {
    let found = parse("kind = \"worker\"\n[[consume]]\nqueue = \"orders\"\n").unwrap();
    let expected = Consume {
        queue: QueueName::new("orders").unwrap(),
        order: Order::Fifo,
        delivery: Delivery::AtLeastOnce,
        concurrency: 64,
        batch: None,
        max_attempts: 5,
        timeout: Duration::from_secs(30),
        backoff: Backoff {
            base: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(600),
            jitter: 0.2,
        },
        limits: QueueLimits::default(),
        priority: 0,
        weight: 1,
    };
    assert_eq!(found.consume, [expected]);
    assert_eq!(found.kind, Kind::Worker);
    let batch = |fields: &str| {
        let text = format!("kind = \"worker\"\n[[consume]]\nqueue = \"q\"\nbatch = {{ {fields} }}");
        let found = parse(&text).unwrap();
        assert_eq!(found.kind, Kind::BatchWorker);
        found.consume[0].batch.map(|batch| (batch.size, batch.wait.as_millis()))
    };
    assert_eq!(batch(""), Some((100, 10)));
    assert_eq!(batch("size = 512, wait = \"0s\""), Some((512, 0)));
    assert_eq!(found.grants, Grants::default());
    assert_eq!((found.publish, found.config.len()), (None, 0));
    assert_eq!(found.effects, EffectsMode::Atomic(Isolation::ReadCommitted));
    let limits = Limits {
        memory_bytes: 64 << 20,
        kv_calls: 10_000,
        value_bytes: 1 << 20,
        effects: 1000,
        log_bytes: 64 << 10,
        write_rate: None,
    };
    assert_eq!(found.limits, limits);
}

#[test]
fn every_field_is_read() {
    let text = r#"
        kind = "worker"
        [[consume]]
        queue = "a"
        order = "lifo"
        delivery = "at-most-once"
        concurrency = 7
        timeout = "1m 30s"
        [[consume]]
        queue = "b"
        max_attempts = 0x0a
        backoff = { base = "10ms", factor = 3, max = "1s", jitter = 0 }
        [effects]
        mode = "atomic"
        isolation = "serializable"
        [grants]
        kv.read = ["config:*", "keyname"]
        kv.write = ["thumb:*"]
        queue.push = ["notify"]
        queue.pop = ["inbox"]
        config = ["site", "site", "ads"]
        http = []
        [config]
        size = "320"
        "other.x" = ""
        [limits]
        memory = "1MiB"
        kv_calls = 1_000
        value = "1kB"
        effects = 0
        log_bytes = "0B"
        write_rate = "10MiB / s"
        [instances]
        reuse = 1
    "#;
    let found = parse(text).unwrap();
    let [a, b] = found.consume.as_slice() else { panic!("{:?}", found.consume) };
    assert_eq!(
        (a.order, a.delivery, a.concurrency, a.max_attempts),
        (Order::Lifo, Delivery::AtMostOnce, 7, 1)
    );
    assert_eq!((a.timeout, b.max_attempts), (Duration::from_secs(90), 10));
    let backoff = (b.backoff.base, b.backoff.factor, b.backoff.max, b.backoff.jitter);
    assert_eq!(backoff, (Duration::from_millis(10), 3.0, Duration::from_secs(1), 0.0));
    assert_eq!(found.effects, EffectsMode::Atomic(Isolation::Serializable));
    assert_eq!(found.effects_of(a), EffectsMode::Immediate, "taken and forgotten: there is no completion");
    assert_eq!(found.effects_of(b), found.effects);
    let granted = |patterns: &Patterns| patterns.iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(granted(&found.grants.kv_read), ["config:*", "keyname"]);
    assert_eq!(granted(&found.grants.kv_write), ["thumb:*"]);
    assert_eq!(
        (granted(&found.grants.queue_push), granted(&found.grants.queue_pop)),
        (vec!["notify".to_owned()], vec!["inbox".to_owned()])
    );
    assert_eq!(found.grants.config, ["ads", "site"]);
    assert_eq!(found.config["size"], "320");
    let write_rate = Some(WriteRate { bytes: 10 << 20, per: Duration::from_secs(1) });
    let limits = Limits {
        memory_bytes: 1 << 20,
        kv_calls: 1000,
        value_bytes: 1000,
        effects: 0,
        log_bytes: 0,
        write_rate,
    };
    assert_eq!(found.limits, limits);
    assert_eq!(found.lines.of("consume.1.queue"), Some(10));
}

#[test]
fn the_immediate_mode_is_for_those_who_ask_for_it() {
    let text = "kind = \"worker\"\nconsume = [{ queue = \"q\" }]\neffects.mode = \"immediate\"\n";
    let found = parse(text).unwrap();
    assert_eq!(found.effects, EffectsMode::Immediate);
    assert_eq!(found.effects_of(&found.consume[0]), EffectsMode::Immediate);
}

#[test]
fn a_config_reader_reads_and_publishes() {
    let text = "kind = \"config-reader\"\ntimeout = \"2s\"\npublish = \"site-settings\"\ngrants.kv.read = [\"config:*\"]\n";
    let found = parse(text).unwrap();
    assert_eq!(found.kind, Kind::ConfigReader);
    assert_eq!(
        (found.read_timeout, found.publish.as_deref()),
        (Duration::from_secs(2), Some("site-settings"))
    );
    assert!(found.consume.is_empty() && found.grants.kv_read.matches("config:a"));
}

#[test]
fn the_words_for_what_is_wrong() {
    let cases = include_str!("refusals.txt").split("\n----\n");
    let mut count = 0;
    for case in cases {
        let (text, expected) = case.rsplit_once("=> ").expect("a case has an arrow");
        assert_eq!(problems(text), [expected.trim_end()], "of:\n{text}");
        count += 1;
    }
    assert!(count > 50, "only {count} cases were read");
}

#[test]
fn limits_of_the_fleet_are_read() {
    let limits = |fields: &str| {
        let found = parse(&format!("kind = \"worker\"\n[[consume]]\nqueue = \"q\"\n{fields}"));
        found.map(|manifest| manifest.consume[0].limits.clone())
    };
    let second = Duration::from_secs(1);
    assert_eq!(
        limits("fleet_concurrency = 3\nrate = \"100/s\"").unwrap(),
        QueueLimits { fleet_concurrency: Some(3), rate: Some(Rate { count: 100, per: second }), key: None }
    );
    let key = |fields: &str| limits(fields).unwrap().key.unwrap();
    assert_eq!(
        key("key = \"header:tenant\"\nkey_concurrency = 2\nkey_rate = \"5 / 2m\""),
        KeyLimits {
            source: KeySource::Header("tenant".to_owned()),
            concurrency: Some(2),
            rate: Some(Rate { count: 5, per: Duration::from_secs(120) }),
            in_order: false,
        }
    );
    let ordered = key("key = \"/a/b\"\nkey_order = true");
    assert_eq!((ordered.source, ordered.concurrency), (KeySource::Payload("/a/b".to_owned()), Some(1)));
}

#[test]
fn a_serial_queue_runs_one_job_of_the_fleet_at_a_time() {
    let consume = |fields: &str| {
        let text = format!("kind = \"worker\"\n[[consume]]\nqueue = \"q\"\n{fields}");
        let consume = parse(&text).unwrap().consume.remove(0);
        (consume.concurrency, consume.limits.fleet_concurrency)
    };
    assert_eq!(consume("serial = true"), (1, Some(1)));
    assert_eq!(consume("serial = true\nconcurrency = 1\nfleet_concurrency = 1"), (1, Some(1)));
    assert_eq!(consume("serial = false\nconcurrency = 5"), (5, None));
    assert_eq!(consume("concurrency = 1"), (1, None));
}

#[test]
fn all_problems_come_together_in_the_order_of_the_lines() {
    let text = "kind = \"worker\"\n[limits]\nmemory = \"0B\"\n[[consume]]\nqueue = \"\"\nordr = \"fifo\"\n[canaries]\n[grants]\nkv.read = [\"\"]\n";
    let lines: Vec<String> = problems(text).iter().map(|p| p.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["3", "5", "6", "7", "9"]);
}

#[test]
fn a_text_full_of_problems_is_refused_with_the_first_ones_and_their_number() {
    let fields: String = std::iter::successors(Some(0), |n| Some(n + 1))
        .map(|n| format!("field-{n} = 1\n"))
        .scan(0, |bytes, field| {
            *bytes += field.len();
            (*bytes < 256 * 1024).then_some(field)
        })
        .collect();
    let count = fields.lines().count();
    let found = problems(&format!("kind = \"config-reader\"\n{fields}"));
    assert_eq!(found.len(), 21);
    for (n, problem) in found[..20].iter().enumerate() {
        assert!(problem.starts_with(&format!("{}: unknown field `field-{n}`; ", n + 2)), "{problem}");
    }
    assert_eq!(found[20], format!("22: and {} more from this line on", count - 20));
}

#[test]
fn what_a_text_costs_does_not_grow_with_the_length_of_its_names() {
    // The paths of all fields together would be a GiB long.
    let name = "x".repeat(100 * 1024);
    let fields: String = (0..10_000).map(|n| format!("f{n}=1\n")).collect::<Vec<_>>().concat();
    let found = problems(&format!("kind = \"config-reader\"\n[{name}]\n{fields}"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2: unknown field `xxx") && found[0].len() < 1000, "{:.100}", found[0]);
    // Keys that are nested deeper than the parser goes.
    let deep = format!("kind = \"config-reader\"\n{} = 1\n", vec!["a"; 50_000].join("."));
    assert!(!problems(&deep).is_empty());
    let names = format!(
        "kind = \"worker\"\nconsume = [{{ queue = \"q\" }}]\ngrants.config = [{}]\n",
        "\"a\",".repeat(1001)
    );
    assert_eq!(problems(&names), ["3: `grants.config` has 1001 names; it can have 1000 at the most"]);
}

#[test]
fn ceilings_lower_the_defaults_too() {
    let ceilings = Ceilings { memory_bytes: 1 << 20, value_bytes: 1024, instances: 2, ..Ceilings::default() };
    let found = manifest("t.toml", "kind = \"worker\"\nconsume = [{ queue = \"q\" }]\n", &ceilings).unwrap();
    let limits = (found.limits.memory_bytes, found.limits.value_bytes, found.consume[0].concurrency);
    assert_eq!(limits, (1 << 20, 1024, 2));
}

#[test]
fn no_text_makes_the_reader_panic() {
    for text in [
        "[",
        "kind",
        "[[consume]]\n[consume]",
        "a.b.c = 1\na = 2",
        "\0",
        "kind = \"\\u0000\"",
        "[consume.x]",
        "consume = [[1]]",
        "[[grants]]",
        "[[limits]]\n[[limits]]",
        "config = 3",
        "[[config]]",
    ] {
        assert!(!problems(text).is_empty(), "{text}");
    }
}

#[test]
fn the_example_manifest_shows_the_defaults() {
    let text = include_str!("../../../../plugin.example.toml");
    let shown = parse(text).unwrap();
    let default = parse("kind = \"worker\"\nconsume = [{ queue = \"thumbnails\" }]\n").unwrap();
    assert_eq!(shown.consume, default.consume);
    assert_eq!((shown.effects, shown.limits), (default.effects, default.limits));
    assert_eq!((shown.reuse, shown.profile), (default.reuse, default.profile));
    assert_eq!(shown.read_timeout, default.read_timeout);
    assert!(text.contains("# timeout = \"10s\"") && default.read_timeout == Duration::from_secs(10));
}
