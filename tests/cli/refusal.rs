//! What is refused before anything is done: exit code 2, one line, a remedy.

use std::process::Stdio;

use insta::assert_snapshot;

use crate::support::program::Program;

#[test]
fn help_lists_the_commands() {
    let program = Program::alone();
    assert_snapshot!(program.transcript(&["--help"]), @r#"
    $ sandhog --help
    Runs untrusted job handlers as WebAssembly components on Redis queues

    Usage: sandhog [OPTIONS] <COMMAND>

    Commands:
      run           Serves the queues of all plugins of the folder until SIGTERM or SIGINT
      dev           Runs a host with a private Redis, and loads plugins anew when their files change
      demo          Shows what Sandhog promises, on a Redis of its own, and counts whether it held
      new           Makes a project for a plugin, in the language you like
      check         Says whether plugins would be loaded, and if not, everything that is wrong with them
      acl           Prints the line that gives a Redis user the rights of a plugin, or of a host
      invoke        Runs a worker on one payload, or a config reader, and tells what it would change
      test          Runs cases of plugins from files, and shows what differs
      deploy        Puts a plugin into Redis and makes it the version that the fleet is to run
      rollback      Makes a former version of a plugin the one that is run
      push          Pushes jobs to a queue
      queues        Shows how many jobs each queue holds, and where; holds and resumes queues
      jobs          Shows and moves single jobs
      keys          Lists the keys that begin with a prefix, the largest first
      schedule      Pushes jobs at certain times: cron expressions or fixed periods
      scripts       Prints the Redis scripts that any client can call with EVALSHA, for producers in any
                    language
      plugins       Shows the plugins of the folder and the hosts that serve them; pauses plugins
      hosts         Shows the hosts, what they serve, and how long their leases last; drains hosts
      componentize  Makes a component of a core module with embedded WIT, which is what most compilers
                    write
      snapshot      Makes a component that begins where another one stands once it has started: its runs
                    need not start it
      keygen        Makes a key to sign components with
      sign          Signs a component: writes `FILE.sig` beside it
      bench         Measures a host on this machine
      completions   Prints a completion script
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --redis <URL>    Redis to work with: `redis://`, `rediss://` or `unix://`; goes before
                           settings and environment
          --config <FILE>  The settings file; `sandhog.toml` of this folder, if there is one, when not
                           given
          --json           Prints one JSON document instead of text
          --wide           Shows tables whole: they are not cut to the width of the terminal
    --- exit code 0
    "#);
    let bare = program.output(&[]);
    assert_eq!((bare.status.code(), bare.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&bare.stderr).contains("Usage: sandhog"));
}

#[test]
fn wrong_pushes_are_refused_in_one_line() {
    let program = Program::alone();
    assert_snapshot!(program.session(&[
        &["push"],
        &["push", "orders", "x", "--dealy", "10s"],
        &["push", "orders", "x", "--delay", "soon"],
        &["push", "orders", "x", "--header", "no-value"],
        &["push", "orders", "x", "--file", "y"],
        &["push", "", "x"],
        &["push", "{orders}:sandhog:dead", "x"],
        &["push", "{orders}", "x"],
    ]), @r#"
    $ sandhog push
    --- stderr
    sandhog: the following required arguments were not provided: <QUEUE> <PAYLOAD>
    hint: usage: `sandhog push <QUEUE> <PAYLOAD>`
    --- exit code 2

    $ sandhog push orders x --dealy 10s
    --- stderr
    sandhog: unexpected argument `--dealy` found
    hint: a similar argument exists: `--delay`
    --- exit code 2

    $ sandhog push orders x --delay soon
    --- stderr
    sandhog: invalid value `soon` for `--delay <TIME>`: not a time; write for example `500ms`, `10s`, `2h`
    --- exit code 2

    $ sandhog push orders x --header no-value
    --- stderr
    sandhog: invalid value `no-value` for `--header <KEY=VALUE>`: not of the form `key=value`
    --- exit code 2

    $ sandhog push orders x --file y
    --- stderr
    sandhog: the argument `[PAYLOAD]` cannot be used with `--file <FILE>`
    hint: usage: `sandhog push <QUEUE> <PAYLOAD>`
    --- exit code 2

    $ sandhog push  x
    --- stderr
    sandhog: invalid value `` for `<QUEUE>`: a queue name cannot be empty
    --- exit code 2

    $ sandhog push {orders}:sandhog:dead x
    --- stderr
    sandhog: invalid value `{orders}:sandhog:dead` for `<QUEUE>`: names with `:sandhog:` in them, or `sandhog:` before them, are the host's own
    --- exit code 2

    $ sandhog push {orders} x
    --- stderr
    sandhog: invalid value `{orders}` for `<QUEUE>`: a queue cannot have the name of another queue in braces: both would use the same keys
    --- exit code 2
    "#);
}

#[test]
fn wrong_command_lines_are_refused_in_one_line() {
    let program = Program::alone();
    assert_snapshot!(program.session(&[
        &["pusch", "orders"],
        &["jobs", "list", "orders", "--place", "nowhere"],
        &["jobs", "list", "orders", "--limit", "0"],
        &["jobs", "requeue", "orders"],
        &["queues", "--pause"],
        &["completions", "tcsh"],
        &["invoke"],
        &["demo", "--redis", "redis://127.0.0.1"],
    ]), @r#"
    $ sandhog pusch orders
    --- stderr
    sandhog: unrecognized subcommand `pusch`
    hint: did you mean `sandhog push`?
    --- exit code 2

    $ sandhog jobs list orders --place nowhere
    --- stderr
    sandhog: invalid value `nowhere` for `--place <PLACE>` [possible values: all, waiting, ready, inflight, delayed, parked, dead]
    --- exit code 2

    $ sandhog jobs list orders --limit 0
    --- stderr
    sandhog: invalid value `0` for `--limit <LIMIT>`: 0 is not in 1..=1000
    --- exit code 2

    $ sandhog jobs requeue orders
    --- stderr
    sandhog: it is not said which jobs are meant
    hint: name them, describe them (`--text`, `--fingerprint`, …), or say `--all`
    --- exit code 2

    $ sandhog queues --pause
    --- stderr
    sandhog: the following required arguments were not provided: <QUEUES>...
    hint: usage: `sandhog queues --pause <QUEUES>...`
    --- exit code 2

    $ sandhog completions tcsh
    --- stderr
    sandhog: invalid value `tcsh` for `<SHELL>` [possible values: bash, elvish, fish, powershell, zsh]
    hint: a similar value exists: `zsh`
    --- exit code 2

    $ sandhog invoke
    --- stderr
    sandhog: the following required arguments were not provided: <COMPONENT>
    hint: usage: `sandhog invoke <COMPONENT>`
    --- exit code 2

    $ sandhog demo --redis redis://127.0.0.1
    --- stderr
    sandhog: the demo starts a Redis of its own; leave `--redis` out
    --- exit code 2
    "#);
}

#[test]
fn a_redis_that_is_not_there_is_a_refusal_with_a_hint() {
    let program = Program::alone();
    assert_snapshot!(program.session(&[
        &["push", "orders", "x", "--redis", "redis://127.0.0.1:1"],
        &["queues", "--redis", "unix:///nonexistent.sock"],
        &["hosts", "--redis", "localhost"],
    ]), @r#"
    $ sandhog push orders x --redis redis://127.0.0.1:1
    --- stderr
    sandhog: cannot reach Redis at `redis://127.0.0.1:1/0`: Connection refused (os error 111)
    hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`
    --- exit code 2

    $ sandhog queues --redis unix:///nonexistent.sock
    --- stderr
    sandhog: cannot reach Redis at `unix:///nonexistent.sock?db=0`: No such file or directory (os error 2)
    hint: start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`
    --- exit code 2

    $ sandhog hosts --redis localhost
    --- stderr
    sandhog: --redis: is not a Redis URL; its forms are `redis://[user:password@]host[:port][/db]`, `rediss://…` (TLS), `unix:///path?db=0`
    --- exit code 2
    "#);
}

#[test]
fn a_password_is_never_printed() {
    let program = Program::alone();
    for url in ["redis://anna:s3cret@127.0.0.1:1", "http://anna:s3cret@127.0.0.1", "redis://:s3cret@:x"] {
        for command in [&["queues"][..], &["run", "--start-wait", "0s"], &["bench"], &["push", "q", "x"]] {
            let shown = program.transcript(&[command, &["--redis", url]].concat()).replace(url, "[URL]");
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!(shown.contains("--- exit code 2"), "{shown}");
        }
    }
}

#[test]
fn all_problems_of_the_settings_are_told_at_once() {
    let program = Program::alone();
    program.file("sandhog.toml", "[redis]\nurl = 5\n\n[hsot]\nname = \"x\"\n\n[host]\nlease = \"soon\"\n");
    assert_snapshot!(program.session(&[&["queues"], &["queues", "--config", "other.toml"]]), @r#"
    $ sandhog queues
    --- stderr
    sandhog: the settings are not valid: 3 problems
      sandhog.toml:2: `redis.url` must be a string such as "redis://127.0.0.1:6379"; found the number 5
      sandhog.toml:4: unknown field `hsot`; did you mean `host`?
      sandhog.toml:8: `host.lease` = "soon" is not a duration; write a number and a unit, for example `500ms`, `30s`, `10m`
    --- exit code 2

    $ sandhog queues --config other.toml
    --- stderr
    sandhog: other.toml: cannot read the settings file: No such file or directory (os error 2)
    --- exit code 2
    "#);
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let program = Program::alone();
    let mut child = program.command(&["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut error = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut error).unwrap();
    assert_eq!(error, "");
}

#[test]
fn completions_are_scripts() {
    let program = Program::alone();
    for (shell, word) in [("bash", "_sandhog"), ("zsh", "#compdef sandhog"), ("fish", "complete -c sandhog")]
    {
        let output = program.output(&["completions", shell]);
        assert!(String::from_utf8_lossy(&output.stdout).contains(word), "{shell}");
    }
}

#[test]
fn negative_times_and_a_unique_key_for_no_time_are_refused_with_the_reason() {
    let program = Program::alone();
    for (flags, reason) in [
        (["--delay", "-1s"], "a time cannot be negative"),
        (["--result-ttl", "-1s"], "a time cannot be negative"),
        (["--unique", "k:0s"], "the time of the unique key is 0"),
    ] {
        let said = program.transcript(&[&["push", "jobs", "x"][..], &flags].concat());
        assert!(said.contains(reason) && said.contains("exit code 2"), "{said}");
    }
}

#[test]
fn the_wrong_part_of_a_redis_url_is_named() {
    let program = Program::alone();
    for (url, reason) in [
        ("redis://h:port", "names a port that is not a number from 1 to 65535"),
        (
            "redis://::1:6379",
            "names an IPv6 address without brackets; write for example `redis://[::1]:6379`",
        ),
        ("redis://:6379", "does not name a host"),
        ("redis://anna@h", "names a user without a password"),
    ] {
        let said = program.transcript(&["queues", "--redis", url]);
        assert!(said.contains(&format!("--redis: {reason}")) && said.contains("exit code 2"), "{said}");
    }
}
