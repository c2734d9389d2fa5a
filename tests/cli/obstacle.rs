//! A Redis that cannot be used: the line names the problem, the hint the remedy for exactly that problem.

use redis::cmd;

use crate::support::guest;
use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::server::{PortServer, authority, old_proxy, web_server};

/// The error and the hint of a command that only reads; `run` must report the same.
#[track_caller]
fn said(program: &Program, url: &str) -> (String, String) {
    // A host without a plugin would not ask for Redis.
    program.file("plugins/noop.wasm", guest::worker("", "", "(i32.const 0)"));
    program.file("plugins/noop.toml", "kind = \"worker\"\n\n[[consume]]\nqueue = \"jobs\"\n");
    let mut seen = Vec::new();
    for arguments in [&["queues"][..], &["push", "jobs", "x"], &["run", "--start-wait", "0s"]] {
        let output = program.output(&[arguments, &["--redis", url]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let line =
            |head: &str| text.lines().find_map(|line| line.strip_prefix(head)).unwrap_or_default().to_owned();
        seen.push((line("sandhog: "), line("hint: ")));
    }
    // How the server ends such a connection is not deterministic.
    assert!(seen.iter().all(|(_, hint)| *hint == seen[0].1), "{seen:#?}");
    seen.swap_remove(0)
}

#[track_caller]
fn check(url: &str, error: &str, hint: &str) {
    let (line, remedy) = said(&Program::alone(), url);
    assert!(line.contains(error), "{url}: {line}");
    assert_eq!(remedy, hint, "{url}: {line}");
}

#[tokio::test]
async fn users_passwords_and_databases_have_their_own_hints() {
    let server = PortServer::start(&["--requirepass", "s3cret"]);
    let mut admin = redis::Client::open(format!("redis://:s3cret@127.0.0.1:{}", server.port)).unwrap();
    let _: () = cmd("ACL")
        .arg("SETUSER")
        .arg("anna")
        .arg(&["on", ">pw", "~*", "+@all", "-select"])
        .query(&mut admin)
        .unwrap();
    let url = |login: &str, rest: &str| format!("redis://{login}127.0.0.1:{}{rest}", server.port);
    check(
        &url("", ""),
        "NOAUTH",
        "this Redis requires a password: write `redis://user:password@host`, or `redis://:password@host` without a user",
    );
    check(
        &url(":wrong@", ""),
        "WRONGPASS",
        "check user and password in the URL; write `#` as `%23`, `/` as `%2F`, `?` as `%3F`, `@` as `%40`, `%` as `%25`",
    );
    check(
        &url(":s3cret@", "/99"),
        "DB index is out of range",
        "choose a database that this Redis has (`CONFIG GET databases`): `redis://host/0` names the first",
    );
    check(
        &url("anna:pw@", "/1"),
        "no permissions",
        "`sandhog acl --host` prints the line that gives a user the rights of a host: its commands, and the keys \
         `sandhog:*`, `QUEUE` and `{QUEUE}:sandhog:*` for each queue",
    );
}

#[test]
fn an_unknown_host_name_has_its_own_hint() {
    check(
        "redis://no-such-host.invalid",
        "cannot reach Redis at `redis://no-such-host.invalid:6379/0`",
        "check the host in the URL: this machine cannot resolve its name; or name another Redis with `--redis URL` or \
         `SANDHOG_REDIS_URL`",
    );
}

#[test]
fn tls_on_only_one_side_is_reported() {
    let plain = PortServer::start(&[]);
    let url = format!("rediss://127.0.0.1:{}", plain.port);
    check(&url, &url, "the server does not speak TLS on this port: write `redis://`");
    let tls = PortServer::tls();
    check(&tls.url(), &tls.url(), "the server speaks TLS on this port: write `rediss://`");
}

#[test]
fn a_refused_certificate_has_a_hint_to_the_tls_page() {
    let server = PortServer::tls();
    let page = "see docs/tls.md for the certificates that are accepted, and how to make them";
    check(&server.tls_url(), "UnknownIssuer", page);
    let program = Program::alone();
    program.file("ca.crt", server.files().ca.unwrap());
    program.file("sandhog.toml", "[redis]\nurl = \"rediss://h\"\nca = \"ca.crt\"\n");
    let (_, hint) = said(&program, &server.tls_url());
    let wanted = "this Redis requires a client certificate: set `redis.cert` and `redis.key`; see docs/tls.md for how to \
                  make one";
    assert_eq!(hint, wanted);
    program.file("ca.crt", authority("another").pem());
    let (line, hint) = said(&program, &server.tls_url());
    assert!(line.contains("UnknownIssuer"), "{line}");
    assert_eq!(hint, page);
}

#[test]
fn clusters_sentinels_and_old_protocols_are_named() {
    let cluster = PortServer::cluster();
    let is = "is a Redis Cluster, and Redis Cluster is not supported; use a server with `cluster-enabled no`";
    check(&cluster.url(), is, "");
    let select = cmd("SELECT").arg(1).query::<()>(&mut redis::Client::open(cluster.url()).unwrap());
    // Valkey 9 has databases in its clusters: one, if not configured.
    let (error, remedy) = if select.unwrap_err().to_string().contains("cluster") {
        ("SELECT is not allowed", "Redis Cluster is not supported: use a server with `cluster-enabled no`")
    } else {
        let remedy = "choose a database that this Redis has (`CONFIG GET databases`): `redis://host/0` names the first";
        ("DB index is out of range", remedy)
    };
    check(&format!("{}/1", cluster.url()), error, remedy);
    let sentinel = PortServer::sentinel();
    let is = "is a Redis Sentinel, which holds no data; use the address of the primary that it watches";
    check(&sentinel.url(), is, "");
    let remedy = "a Sentinel has no databases and no data: use the address of the primary that it watches";
    check(&format!("{}/1", sentinel.url()), "unknown command", remedy);
    check(
        &old_proxy(),
        "cannot reach Redis",
        "the server does not speak RESP3, which Sandhog needs: it is a proxy, or older than Redis 6; use the address of a \
         Redis 7 or newer",
    );
}

#[test]
fn a_server_that_is_no_redis_is_named_in_one_line() {
    check(
        &web_server(),
        "its reply is not in the protocol of Redis",
        "this server is not a Redis: it speaks another protocol, for example HTTP; check host and port in the URL",
    );
}

#[test]
fn paths_of_sockets_that_cannot_be_opened_have_their_own_hints() {
    let redis = TestRedis::start();
    check(
        &format!("{}/2", redis.url()),
        "Not a directory",
        "the path of a unix socket ends with the name of the socket: write the database as `unix:///path?db=2`",
    );
}

#[test]
fn replicas_full_and_busy_servers_have_hints_in_every_command() {
    let replica = PortServer::start(&["--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes"]);
    let lost = PortServer::start(&["--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no"]);
    let full = PortServer::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    for (server, arguments, code, hint) in [
        (&replica, &["push", "jobs", "x"][..], "READONLY", "hint: this Redis is a replica: "),
        (&replica, &["push", "jobs", "x", "--unique", "k"], "READONLY", "hint: this Redis is a replica: "),
        (&lost, &["queues"], "MASTERDOWN", "hint: this Redis is a replica: "),
        (&lost, &["push", "jobs", "x"], "READONLY", "hint: this Redis is a replica: "),
        (&full, &["push", "jobs", "x"], "OOM", "hint: the memory of Redis is full: "),
    ] {
        let said = Program::with_url(&server.url()).transcript(arguments);
        assert!(said.contains(code) && said.contains(hint), "{said}");
    }
}

#[test]
fn a_busy_server_has_the_hint_that_it_is_not_ready() {
    let server = PortServer::start(&["--busy-reply-threshold", "50"]);
    let client = redis::Client::open(server.url()).unwrap();
    let mut busy = client.get_connection().unwrap();
    let script = std::thread::spawn(move || {
        cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut busy).unwrap_err()
    });
    let begun = std::time::Instant::now();
    let mut said = String::new();
    // Until the threshold, commands are not answered.
    while !said.contains("BUSY") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{said}");
        said = Program::with_url(&server.url()).transcript(&["queues"]);
    }
    assert!(said.contains("hint: Redis is running but not ready; try again later"), "{said}");
    let _: () = cmd("SCRIPT").arg("KILL").query(&mut client.get_connection().unwrap()).unwrap();
    script.join().unwrap();
}

#[tokio::test]
async fn a_missing_right_during_a_command_has_a_hint() {
    let redis = TestRedis::start();
    let mut acl = cmd("ACL");
    acl.arg("SETUSER").arg("anna").arg(&["on", ">pw", "~other", "+@all"]);
    let _: () = acl.query_async(&mut redis.plain().await).await.unwrap();
    let program = Program::with_url(&format!("{}?user=anna&pass=pw", redis.url()));
    let output = program.output(&["push", "jobs", "x"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("NOPERM") && text.contains("hint: `sandhog acl --host` prints the line"), "{text}");
}

#[test]
fn an_invalid_url_is_refused_without_showing_its_password() {
    let program = Program::alone();
    for (url, line) in [
        ("redis://127.0.0.1:1/3?db=4", "--redis: names two databases, 3 and 4; leave one out"),
        ("redis://127.0.0.1:1?foo=bar", "--redis: has the unknown parameter `foo`; known: db"),
        (
            "redis://a:1234?s3cret@127.0.0.1:1",
            "--redis: has a `?` that ends the user, password or path it is part of",
        ),
        (
            "redis://a:s3cret#1@127.0.0.1:1",
            "--redis: has a `#` that ends the user, password or path it is part of",
        ),
    ] {
        let (said, _) = said(&program, url);
        assert!(said.starts_with(line) && !said.contains("s3cret"), "{url}: {said}");
    }
    program.file("sandhog.toml", "[redis]\nurl = redis://u:s3cret@h\n");
    let said = program.transcript(&["queues"]);
    let line = "sandhog.toml:2: not valid TOML; put the URL in quotes: `url = \"redis://…\"`";
    assert!(said.contains(line) && !said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn the_db_parameter_selects_the_database() {
    let server = PortServer::start(&[]);
    let program = Program::with_url(&format!("{}/?db=4", server.url()));
    assert!(program.output(&["push", "jobs", "x"]).status.success());
    let mut connection = redis::Client::open(format!("{}/4", server.url())).unwrap();
    assert_eq!(cmd("LLEN").arg("jobs").query::<u64>(&mut connection).unwrap(), 1);
}
