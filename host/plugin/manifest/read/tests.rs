//! What manifests mean, and the words for everything that can be wrong with one.

use super::*;

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
        max_attempts: 5,
        timeout: Duration::from_secs(30),
        backoff: Backoff {
            base: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(600),
            jitter: 0.2,
        },
    };
    assert_eq!(found.consume, [expected]);
    assert_eq!(found.kind, Kind::Worker);
    assert_eq!(found.grants, Grants::default());
    assert_eq!((found.publish, found.config.len()), (None, 0));
    let limits = Limits {
        memory_bytes: 64 << 20,
        kv_calls: 10_000,
        value_bytes: 8 << 20,
        effects: 1000,
        log_bytes: 64 << 10,
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
        mode = "immediate"
        isolation = "read-committed"
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
    let granted = |patterns: &Patterns| patterns.iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(granted(&found.grants.kv_read), ["config:*", "keyname"]);
    assert_eq!(granted(&found.grants.kv_write), ["thumb:*"]);
    assert_eq!(
        (granted(&found.grants.queue_push), granted(&found.grants.queue_pop)),
        (vec!["notify".to_owned()], vec!["inbox".to_owned()])
    );
    assert_eq!(found.grants.config, ["ads", "site"]);
    assert_eq!(found.config["size"], "320");
    let limits =
        Limits { memory_bytes: 1 << 20, kv_calls: 1000, value_bytes: 1000, effects: 0, log_bytes: 0 };
    assert_eq!(found.limits, limits);
    assert_eq!(found.lines.of("consume.1.queue"), Some(10));
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
    const WORKER: &str = "kind = \"worker\"\nconsume = [{ queue = \"q\" }]\n";
    let consume = |fields: &str| format!("kind = \"worker\"\n[[consume]]\nqueue = \"q\"\n{fields}\n");
    let worker = |rest: &str| format!("{WORKER}{rest}\n");
    for (text, expected) in [
        ("".to_owned(), "1: missing `kind`; write `kind = \"worker\"` or `kind = \"config-reader\"`"),
        ("kind = 1".to_owned(), "1: `kind` must be \"worker\" or \"config-reader\"; found the number 1"),
        (
            "kind = \"wroker\"".to_owned(),
            "1: `kind` is \"wroker\"; it must be \"worker\" or \"config-reader\"; did you mean \"worker\"?",
        ),
        (
            "kind = \"worker\"".to_owned(),
            "1: missing `consume`; a worker serves at least one queue: write `[[consume]]` and `queue = \"…\"`",
        ),
        (
            "kind = \"worker\"\nconsume = []".to_owned(),
            "2: `consume` is empty; a worker serves at least one queue",
        ),
        (
            "kind = \"worker\"\n\n[consume]\nqueue = \"q\"".to_owned(),
            "3: `consume` must be a list of tables: `[[consume]]`; found a table",
        ),
        (
            "kind = \"worker\"\n[[consume]]".to_owned(),
            "2: missing `consume.queue`; name the Redis list that producers push to: `queue = \"orders\"`",
        ),
        (
            "kind = \"worker\"\n[[consume]]\nqeue = \"q\"".to_owned(),
            "3: unknown field `consume.qeue`; did you mean `queue`?",
        ),
        (consume("[[consume]]\nqueue = \"q\""), "5: `consume.queue` is \"q\" again; line 3 has it already"),
        (
            consume("order = \"FIFO\""),
            "4: `consume.order` is \"FIFO\"; it must be \"fifo\" or \"lifo\"; did you mean \"fifo\"?",
        ),
        (consume("timeout = 30"), "4: `consume.timeout` is 30 without a unit; write \"30s\" or \"30ms\""),
        (consume("timeout = \"30\""), "4: `consume.timeout` = \"30\" has no unit; write `30s` or `30ms`"),
        (consume("timeout = \"2d\""), "4: `consume.timeout` is \"2days\"; it can be \"1day\" at the most"),
        (consume("timeout = true"), "4: `consume.timeout` must be a duration such as \"30s\"; found `true`"),
        (consume("concurrency = 0"), "4: `consume.concurrency` is 0; it must be at least 1"),
        (
            consume("concurrency = 1001"),
            "4: `consume.concurrency` is 1001; this host runs 1000 jobs at once at the most (its `limits.instances`)",
        ),
        (
            consume("max_attempts = \"5\""),
            "4: `consume.max_attempts` must be a whole number such as 5; found the string \"5\"",
        ),
        (consume("max_attempts = 1001"), "4: `consume.max_attempts` is 1001; it can be 1000 at the most"),
        (
            consume("max_attempts = 99999999999999999999999"),
            "4: `consume.max_attempts` is 99999999999999999999999; it can be 1000 at the most",
        ),
        (
            consume("delivery = \"at-most-once\"\nmax_attempts = 3"),
            "5: `consume.max_attempts` means nothing with `delivery = \"at-most-once\"`: there is one attempt; leave it out",
        ),
        (
            consume("backoff = { base = \"2s\", max = \"1s\" }"),
            "4: `consume.backoff.max` is shorter than `base`, the first wait",
        ),
        (consume("backoff = { jitter = 1.5 }"), "4: `consume.backoff.jitter` is 1.5; it must be from 0 to 1"),
        (
            consume("backoff = { factor = nan }"),
            "4: `consume.backoff.factor` is NaN; it must be from 1 to 100",
        ),
        (
            consume("kind = \"worker\""),
            "4: `consume.kind` belongs at the top of the file, before the first `[table]`",
        ),
        (worker("timeout = \"3s\""), "3: `timeout` belongs in a `[[consume]]` table"),
        (worker("publish = \"x\""), "3: `publish` is for config readers; a worker writes with `kv`"),
        (
            worker("colour = 1"),
            "3: unknown field `colour`; known here: `kind`, `consume`, `effects`, `grants`, `config`, `limits`, `instances`",
        ),
        (worker("[grant]"), "3: unknown field `grant`; did you mean `grants`?"),
        (
            worker("[effects]\nmode = \"atomic\""),
            "4: `effects.mode` is \"atomic\", which is not yet supported; write \"immediate\" or leave it out",
        ),
        (
            worker("[effects]\nisolation = \"serializable\""),
            "4: `effects.isolation` is \"serializable\", which is not yet supported; leave it out",
        ),
        (
            worker("[instances]\nreuse = 2"),
            "4: `instances.reuse` above 1 is not yet supported; write 1 or leave it out",
        ),
        (
            worker("[canary]\nshare = 0.1"),
            "3: `canary` is not yet supported; leave it out: a new version takes over at once",
        ),
        (
            worker("engine.profile = \"small\""),
            "3: `engine` is not yet supported; leave it out: there is one profile",
        ),
        (
            worker("[grants]\nhttp = [\"a\"]"),
            "4: `grants.http` is not yet supported: plugins reach no network; leave it empty",
        ),
        (worker("[grants]\nkv = [\"a\"]"), "4: `grants.kv` must be a table: `[grants.kv]`; found a list"),
        (
            worker("[grants]\nkv.read = \"a\""),
            "4: `grants.kv.read` must be a list of strings such as [\"config:*\"]; found the string \"a\"",
        ),
        (
            worker("[grants]\nkv.read = [\n\"a\",\n\"sandhog:*\"]"),
            "6: `grants.kv.read` has \"sandhog:*\": names with `:sandhog:` in them, or `sandhog:` before them, are the host's own",
        ),
        (worker("[grants]\nkv.raed = []"), "4: unknown field `grants.kv.raed`; did you mean `read`?"),
        (
            worker("[grants]\nconfig = [\"Site\"]"),
            "4: `grants.config` has \"Site\": it takes names of config readers, and a plugin name has 1 to 64 of `a`-`z`, `0`-`9`, `_` and `-`",
        ),
        (
            worker("[config]\nsize = 320"),
            "4: `config.size` must be a string such as \"320\"; found the number 320",
        ),
        (
            worker("[grants]\nconfig = [\"a\"]\n[config]\n\"a.x\" = \"\""),
            "6: `config.a.x` begins with \"a.\", as the settings of the config reader `a` do; choose another name",
        ),
        (
            worker("[limits]\nmemory = 64"),
            "4: `limits.memory` is 64 without a unit; write \"64B\" or \"64MiB\"",
        ),
        (
            worker("[limits]\nmemory = \"2GiB\""),
            "4: `limits.memory` is \"2GiB\"; this host allows \"1GiB\" at the most (its `limits.memory`)",
        ),
        (
            worker("[limits]\nmemory = \"1KiB\""),
            "4: `limits.memory` is \"1KiB\"; it must be at least \"64KiB\"",
        ),
        (worker("[limits]\nkv_calls = -1"), "4: `limits.kv_calls` is -1; it must be at least 0"),
        (
            "kind = \"config-reader\"\n[[consume]]\nqueue = \"q\"".to_owned(),
            "2: `consume` is for workers; a config reader has no queues",
        ),
        (
            "kind = \"config-reader\"\n[effects]".to_owned(),
            "2: `effects` is for workers; a config reader changes nothing",
        ),
        (
            "kind = \"config-reader\"\ngrants.kv.write = []".to_owned(),
            "2: `grants.kv.write` is for workers; a config reader changes nothing",
        ),
        (
            "kind = \"config-reader\"\ngrants.queue.pop = []".to_owned(),
            "2: `grants.queue` is for workers; a config reader has no queues",
        ),
        (
            "kind = \"config-reader\"\ngrants.config = []".to_owned(),
            "2: `grants.config` is not yet supported in a config reader: it sees its own `[config]` only",
        ),
        (
            "kind = \"config-reader\"\nlimits.effects = 1".to_owned(),
            "2: `limits.effects` is for workers; a config reader changes nothing",
        ),
        (
            "kind = \"config-reader\"\npublish = \"sandhog:x\"".to_owned(),
            "2: `publish` is \"sandhog:x\": names with `:sandhog:` in them, or `sandhog:` before them, are the host's own",
        ),
        (
            "kind = \"config-reader\"\npublish = \"config:all\"\ngrants.kv.read = [\"config:*\"]".to_owned(),
            "2: `publish` is among the keys of its own `grants.kv.read`: each publication would run it again",
        ),
    ] {
        assert_eq!(problems(&text), [expected], "of:\n{text}");
    }
}

#[test]
fn all_problems_come_together_in_the_order_of_the_lines() {
    let text = "kind = \"worker\"\n[limits]\nmemory = \"0B\"\n[[consume]]\nqueue = \"\"\nordr = \"fifo\"\n[canary]\n[grants]\nkv.read = [\"\"]\n";
    let lines: Vec<String> = problems(text).iter().map(|p| p.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["3", "5", "6", "7", "9"]);
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
