//! Which source wins, what the file may hold, and the words for what it may not.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn machine() -> Machine {
    Machine { name: "box".to_owned(), state_dir: PathBuf::from("/state"), cores: 6 }
}

fn resolve(flags: &Overrides, environment: &Overrides, text: &str) -> Result<Settings, String> {
    let file = Some((Path::new("conf/sandhog.toml"), text));
    file::resolve(flags, environment, file, &machine()).map_err(|problems| problems.to_string())
}

fn from_file(text: &str) -> Result<Settings, String> {
    resolve(&Overrides::default(), &Overrides::default(), text)
}

#[test]
fn defaults_hold_without_any_source() {
    let none = Overrides::default();
    let found = file::resolve(&none, &none, None, &machine()).unwrap();
    assert_eq!(found.redis.address.to_string(), "redis://127.0.0.1:6379/0");
    assert_eq!(found.redis.timeout, Duration::from_secs(5));
    assert_eq!((found.host.name.as_str(), found.host.threads, found.host.crashes_max), ("box", 6, 3));
    assert_eq!(found.host.state_dir, PathBuf::from("/state"));
    assert_eq!(found.plugins_dir, PathBuf::from("plugins"));
    let plugins = PluginSettings {
        watch: Watch::Events,
        poll: Duration::from_secs(5),
        source: PluginsFrom::Folder,
        trusted_keys: Vec::new(),
    };
    assert_eq!(found.plugins, plugins);
    assert_eq!(found.host.drain, Duration::from_secs(30));
    assert_eq!(found.host.start_wait, Duration::from_secs(30));
    assert_eq!(
        found.dead,
        DeadSettings { count: 10_000, age: Duration::from_secs(30 * 86_400), bytes: 256 << 20 }
    );
    assert_eq!(found.ceilings, Ceilings::default());
    assert_eq!(found.compile, CompileSettings::default());
    assert_eq!(found.log, LogSettings { format: LogFormat::Text, level: "info".to_owned() });
    assert_eq!((found.file, found.warnings.len()), (None, 0));
}

#[test]
fn the_recovery_bound_is_twenty_five_seconds_by_default() {
    assert_eq!(from_file("").unwrap().recovery_max(), Duration::from_secs(25));
    let quick = from_file("[host]\nlease = \"3s\"\nreap_every = \"2s\"\n").unwrap();
    assert_eq!(quick.recovery_max(), Duration::from_secs(10));
}

#[test]
fn a_timeout_that_can_outlast_the_lease_is_warned_of() {
    for (timeout, lease, warned) in [("30s", "5s", true), ("5s", "5s", true), ("4s", "5s", false)] {
        let text = format!("[redis]\ntimeout = \"{timeout}\"\n[host]\nlease = \"{lease}\"\n");
        let warnings = from_file(&text).unwrap().warnings;
        let is_warned = warnings.iter().any(|said| said.starts_with("`redis.timeout` ("));
        assert_eq!(is_warned, warned, "{warnings:?}");
    }
}

#[test]
fn every_field_of_the_file_is_read() {
    let text = r#"
        [redis]
        url = "redis://db:7000/3"
        timeout = "250ms"
        [host]
        name = "web1"
        state_dir = "state"
        lease = "1s"
        reap_every = "100ms"
        drain = "0s"
        start_wait = "2m"
        threads = 2
        crashes_max = 1
        [plugins]
        dir = "/srv/plugins"
        watch = "poll"
        poll = "1s"
        source = "both"
        trusted_keys = ["ed25519:0101010101010101010101010101010101010101010101010101010101010101"]
        [dead]
        count = 0
        age = "1h"
        bytes = "1KiB"
        [limits]
        memory = "2MiB"
        value = "1KiB"
        component = "1MiB"
        instances = 10
        [compile]
        memory = "64MiB"
        time = "1s"
        cache = "0B"
        [log]
        format = "json"
        level = "warn,guest=debug"
    "#;
    let found = from_file(text).unwrap();
    assert_eq!(found.redis.address.to_string(), "redis://db:7000/3");
    assert_eq!(found.redis.timeout, Duration::from_millis(250));
    assert_eq!((found.host.name.as_str(), found.host.threads, found.host.crashes_max), ("web1", 2, 1));
    assert_eq!(
        (found.host.lease, found.host.reap_every),
        (Duration::from_secs(1), Duration::from_millis(100))
    );
    assert_eq!(found.host.start_wait, Duration::from_secs(120));
    // Relative paths are taken from the file's own folder.
    assert_eq!(found.host.state_dir, PathBuf::from("conf/state"));
    assert_eq!(found.plugins_dir, PathBuf::from("/srv/plugins"));
    let plugins = PluginSettings {
        watch: Watch::Poll,
        poll: Duration::from_secs(1),
        source: PluginsFrom::Both,
        trusted_keys: vec![PublicKey::new([1; 32])],
    };
    assert_eq!(found.plugins, plugins);
    assert_eq!(found.dead, DeadSettings { count: 0, age: Duration::from_secs(3600), bytes: 1024 });
    let ceilings =
        Ceilings { memory_bytes: 2 << 20, value_bytes: 1024, component_bytes: 1 << 20, instances: 10 };
    assert_eq!(found.ceilings, ceilings);
    let compile = CompileSettings { memory_bytes: 64 << 20, time: Duration::from_secs(1), cache_bytes: 0 };
    assert_eq!(found.compile, compile);
    assert_eq!(found.log, LogSettings { format: LogFormat::Json, level: "warn,guest=debug".to_owned() });
    assert_eq!(found.file, Some(PathBuf::from("conf/sandhog.toml")));
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let text = "[redis]\nurl = \"redis://file\"\n[host]\nname = \"file\"\nstate_dir = \"/file\"\nstart_wait = \"9s\"\n[plugins]\ndir = \"/file\"\n[log]\nlevel = \"error\"\nformat = \"json\"\n";
    let all = |word: &str, format: &str| Overrides {
        redis_url: Some(format!("redis://{word}")),
        host_name: Some(word.to_owned()),
        state_dir: Some(PathBuf::from(format!("/{word}"))),
        plugins_dir: Some(PathBuf::from(format!("/{word}"))),
        log_level: Some("debug".to_owned()),
        log_format: Some(format.to_owned()),
        start_wait: Some(format!("{}s", word.len())),
    };
    let none = Overrides::default();
    for (flags, environment, word, level, format, wait_s) in [
        (&none, &none, "file", "error", LogFormat::Json, 9),
        (&none, &all("env", "text"), "env", "debug", LogFormat::Text, 3),
        (&all("flag", "json"), &all("env", "text"), "flag", "debug", LogFormat::Json, 4),
    ] {
        let found = resolve(flags, environment, text).unwrap();
        assert_eq!(found.redis.address.to_string(), format!("redis://{word}:6379/0"));
        assert_eq!((found.host.name.as_str(), found.host.start_wait.as_secs()), (word, wait_s));
        let dir = PathBuf::from(format!("/{word}"));
        assert_eq!((found.host.state_dir, found.plugins_dir), (dir.clone(), dir));
        assert_eq!(found.log, LogSettings { format, level: level.to_owned() });
    }
}

#[test]
fn problems_stand_with_their_source() {
    let flags = Overrides { redis_url: Some("http://secret@x".to_owned()), ..Overrides::default() };
    let environment = Overrides {
        host_name: Some("two words".to_owned()),
        log_level: Some("guest=loud".to_owned()),
        log_format: Some("xml".to_owned()),
        ..Overrides::default()
    };
    let found = resolve(&flags, &environment, "[host]\nlease = 15\nleese = 1\n\n[redsi]\n").unwrap_err();
    let expected = "\
--redis: is not a Redis URL; its forms are `redis://[user:password@]host[:port][/db]`, `rediss://…` (TLS), `unix:///path?db=0`
SANDHOG_HOST_NAME: is \"two words\": a host name has only letters, digits, `.`, `_` and `-`
SANDHOG_LOG: is \"guest=loud\": `loud` is not a level; the levels are `off`, `error`, `warn`, `info`, `debug`, `trace`, or one per target: `info,guest=debug`
SANDHOG_LOG_FORMAT: is \"xml\"; it must be \"text\" or \"json\"
conf/sandhog.toml:2: `host.lease` is 15 without a unit; write \"15s\" or \"15ms\"
conf/sandhog.toml:3: unknown field `host.leese`; did you mean `lease`?
conf/sandhog.toml:5: unknown field `redsi`; did you mean `redis`?";
    assert_eq!(found, expected);
}

#[test]
fn the_words_for_what_is_wrong_in_the_file() {
    for (text, expected) in [
        (
            "[redis]\nurl = \"redis://:s3cret@h/notadb\"",
            "2: `redis.url` names a database that is not a number; write for example `redis://host:6379/4`",
        ),
        ("[redis]\ntimeout = \"1ms\"", "2: `redis.timeout` is \"1ms\"; it must be at least \"100ms\""),
        ("[host]\nname = \"\"", "2: `host.name` is \"\": a host name has 1 to 64 bytes"),
        ("[host]\nthreads = 0", "2: `host.threads` is 0; it must be at least 1"),
        ("[limits]\nvalue = \"1GiB\"", "2: `limits.value` is \"1GiB\"; it can be \"512MiB\" at the most"),
        (
            "[log]\nformat = \"jsno\"",
            "2: `log.format` is \"jsno\"; it must be \"text\" or \"json\"; did you mean \"json\"?",
        ),
        (
            "[plugins]\nwatch = \"event\"",
            "2: `plugins.watch` is \"event\"; it must be \"events\" or \"poll\" or \"off\"; did you mean \"events\"?",
        ),
        (
            "[plugins]\ntrusted_keys = [\"ed25519:00\"]",
            "2: `plugins.trusted_keys` has an entry that is no public key; they look like `ed25519:` and 64 of `0`-`9` and `a`-`f`",
        ),
        (
            "[plugins]\ntrusted_keys = []",
            "2: `plugins.trusted_keys` is an empty list, which would trust nobody; leave it out, and no signature is needed",
        ),
        ("[plugins]\ndir = 1", "2: `plugins.dir` must be a string such as \"plugins\"; found the number 1"),
    ] {
        assert_eq!(from_file(text).unwrap_err(), format!("conf/sandhog.toml:{expected}"), "{text}");
    }
}

#[test]
fn tls_files_are_read_and_checked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandhog.toml");
    std::fs::write(dir.path().join("not.pem"), "hello").unwrap();
    let none = Overrides::default();
    let text = "[redis]\nurl = \"rediss://db\"\nca = \"missing.pem\"\ncert = \"not.pem\"\n";
    let found = file::resolve(&none, &none, Some((&path, text)), &machine()).unwrap_err().to_string();
    let found = found.replace(&format!("{}/", dir.path().display()), "");
    let expected = "\
sandhog.toml:3: `redis.ca` names `missing.pem`, which cannot be read: No such file or directory (os error 2)
sandhog.toml:4: `redis.cert` names `not.pem`, which holds no certificate (`-----BEGIN CERTIFICATE-----`)
sandhog.toml:4: `redis.cert` needs `redis.key` beside it";
    assert_eq!(found, expected);
    let authority = rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.cert.pem()).unwrap();
    let text = "[redis]\nurl = \"rediss://db\"\nca = \"ca.pem\"\n";
    let found = file::resolve(&none, &none, Some((&path, text)), &machine()).unwrap();
    assert_eq!(found.redis.address.to_string(), "rediss://db:6379/0");
    std::fs::write(dir.path().join("key.pem"), authority.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.path().join("large.pem"), authority.cert.pem().repeat(3_000)).unwrap();
    let text = "[redis]\nurl = \"rediss://db\"\nca = \"large.pem\"\n";
    let found = file::resolve(&none, &none, Some((&path, text)), &machine()).unwrap_err().to_string();
    assert!(found.ends_with("large.pem`, which has more than 1048576 bytes"), "{found}");
    let text = "[redis]\nurl = \"rediss://db\"\nca = \"key.pem\"\ncert = \"ca.pem\"\nkey = \"ca.pem\"\n";
    let found = file::resolve(&none, &none, Some((&path, text)), &machine()).unwrap_err().to_string();
    let found = found.replace(&format!("{}/", dir.path().display()), "");
    let expected = "\
sandhog.toml:3: `redis.ca` names `key.pem`, which holds no certificate (`-----BEGIN CERTIFICATE-----`)
sandhog.toml:5: `redis.key` names `ca.pem`, which holds no unencrypted private key (`-----BEGIN PRIVATE KEY-----`)";
    assert_eq!(found, expected);
    let text = "[redis]\nca = \"ca.pem\"\n";
    let found = file::resolve(&none, &none, Some((&path, text)), &machine()).unwrap_err().to_string();
    assert!(
        found.ends_with(":2: `redis.ca` is for `rediss://` addresses; the address in use is another"),
        "{found}"
    );
}

#[test]
fn a_password_that_others_can_read_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sandhog.toml");
    for (url, mode, warned) in [
        ("redis://:s3cret@h", 0o644, true),
        ("redis://:s3cret@h", 0o640, true),
        ("redis://:s3cret@h", 0o604, true),
        ("redis://:s3cret@h", 0o600, false),
        ("redis://:s3cret@h", 0o400, false),
        ("redis://h", 0o644, false),
    ] {
        let text = format!("[redis]\nurl = \"{url}\"\n");
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let none = Overrides::default();
        let found = file::resolve(&none, &none, Some((&path, &text)), &machine()).unwrap();
        let file = path.display();
        let text = format!("`{file}` holds a password and others can read it; run `chmod 600 {file}`");
        assert_eq!(found.warnings, if warned { vec![text] } else { Vec::new() }, "{url} {mode:o}");
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let flags = Overrides::default();
    let found = Settings::resolve(&flags, Some(Path::new("/nowhere/sandhog.toml"))).unwrap_err().to_string();
    assert!(
        found.starts_with("/nowhere/sandhog.toml: cannot read the settings file: No such file"),
        "{found}"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.toml");
    std::fs::write(&path, vec![b'#'; 300 * 1024]).unwrap();
    let found = Settings::resolve(&flags, Some(&path)).unwrap_err().to_string();
    assert!(found.ends_with("cannot read the settings file: it is larger than 256KiB"), "{found}");
}

#[test]
fn the_example_file_shows_the_defaults() {
    let none = Overrides::default();
    let text = include_str!("../../../sandhog.example.toml");
    let shown = file::resolve(&none, &none, Some((Path::new("sandhog.toml"), text)), &machine()).unwrap();
    let default = file::resolve(&none, &none, None, &machine()).unwrap();
    let of = |settings: Settings| format!("{:?}", Settings { file: None, ..settings });
    assert_eq!(of(shown), of(default));
    for name in
        [env::REDIS_URL, env::HOST_NAME, env::STATE_DIR, env::PLUGINS_DIR, env::LOG_LEVEL, env::LOG_FORMAT]
    {
        assert!(text.contains(&format!("`{name}`")), "{name} is not explained");
    }
    // What is commented out is known as well.
    let all = text.replace("# ca =", "ca =").replace("# cert =", "cert =").replace("# key =", "key =");
    let all = all.replace("# name =", "name =").replace("# state_dir =", "state_dir =");
    let all = all.replace("# trusted_keys =", "trusted_keys =").replace("# [[schedule]]", "[[schedule]]");
    let fields = ["name", "queue", "cron", "timezone", "jitter", "payload", "missed", "headers"];
    let all =
        fields.iter().fold(all, |all, field| all.replace(&format!("\n# {field} ="), &format!("\n{field} =")));
    let problems = from_file(&all.replace("# threads =", "threads =")).unwrap_err();
    assert!(!problems.contains("unknown field") && !problems.contains("schedule"), "{problems}");
}
