//! Producers with options. The program, guests' `push-with` and the script for clients without a library leave the
//! same in Redis, and the script refuses in words what hosts could not read.

mod wait;

use std::collections::BTreeMap;

use insta::assert_snapshot;
use proptest::prelude::*;
use redis::Value;
use redis::aio::MultiplexedConnection;
use sandhog::capability::binding::sandhog::worker::queue::{End, Host, PushOptions, Uniqueness};
use sandhog::job::envelope::Header;
use sandhog::job::key::QueueKeys;
use sandhog::job::name::QueueName;
use sandhog::job::producer;

use crate::support::dump::dump;
use crate::support::program::Program;
use crate::support::redis::TestRedis;
use crate::support::view::view;

const QUEUE: &str = "orders";

/// Calls the shipped script as any client would.
async fn call(
    plain: &mut MultiplexedConnection,
    queue: &str,
    arguments: &[&[u8]],
) -> redis::RedisResult<Value> {
    let script = producer::scripts().remove(0);
    assert_eq!(script.name, "push");
    let mut call = redis::cmd("EVAL");
    call.arg(script.text).arg(1).arg(queue);
    arguments.iter().for_each(|argument| {
        call.arg(*argument);
    });
    call.query_async(plain).await
}

async fn push(plain: &mut MultiplexedConnection, words: &[&str]) -> redis::RedisResult<Value> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    call(plain, QUEUE, &words).await
}

/// The database, with ids that were made up and times left out, and emptied.
async fn taken(plain: &mut MultiplexedConnection) -> BTreeMap<String, String> {
    let mut found = dump(plain).await;
    for (key, owner) in &mut found {
        if key.contains(":unique:") {
            // What follows the id.
            owner.truncate(owner.rfind(' ').unwrap());
        }
    }
    for value in found.values_mut() {
        for mark in ["push-", " 0 0 ", "!own="] {
            let mut from = 0;
            while let Some(at) = value[from..].find(mark) {
                from += at + mark.len();
                let end = value[from..]
                    .find(|c: char| !c.is_ascii_hexdigit() && c != '-')
                    .map_or(value.len(), |n| from + n);
                value.replace_range(from..end, "X");
            }
        }
        // When it is due.
        if let Some(at) = value.rfind('@') {
            value.truncate(at);
        }
    }
    let () = redis::cmd("FLUSHALL").query_async(plain).await.unwrap();
    found
}

#[tokio::test]
async fn the_program_and_any_client_leave_the_same() {
    let redis = TestRedis::start();
    let (program, mut plain) = (Program::with(&redis), redis.plain().await);
    for (flags, words) in [
        (&[][..], &[][..]),
        (&["--front"], &["front"]),
        (&["--delay", "1m"], &["delay", "60000"]),
        (&["--unique", "a key:10s"], &["unique", "a key", "10000"]),
        (&["--header", "trace id=a=b é%\n"], &["header", "trace id", "a=b é%\n"]),
        (&["--header", "empty=", "--front"], &["front", "header", "empty", ""]),
        (&["--id", "my-job.1"], &["id", "my-job.1"]),
        (&["--result-ttl", "1h"], &["result", "3600000"]),
        (&["--result-ttl", "100d", "--unique", "k:1m"], &["result", "8640000000", "unique", "k", "60000"]),
        (
            &["--delay", "1h", "--unique", "k:1d", "--header", "a=1", "--header", "b=2", "--id", "x"],
            &[
                "unique", "k", "86400000", "id", "x", "header", "a", "1", "delay", "3600000", "header", "b",
                "2",
            ],
        ),
    ] {
        let told = program.json(&[&["push", QUEUE, "pay\nload"], flags].concat());
        let left = taken(&mut plain).await;
        let answer = push(&mut plain, &[&["pay\nload"], words].concat()).await.unwrap();
        assert_eq!(taken(&mut plain).await, left, "{words:?}");
        let Value::Array(answer) = answer else { panic!("{answer:?}") };
        assert_eq!(answer[0], Value::BulkString(told["outcome"].as_str().unwrap().into()), "{words:?}");
    }
}

#[tokio::test]
async fn guests_and_any_client_leave_the_same() {
    let redis = TestRedis::start();
    let (mut view, mut plain) = (view(redis.link()), redis.plain().await);
    let unique = || Some(Uniqueness { key: "k ü".to_owned(), ttl_ms: 5000 });
    for (end, delay_ms, unique, words) in [
        (End::Back, None, None, &[][..]),
        (End::Front, None, None, &["front"]),
        (End::Back, Some(60_000), None, &["delay", "60000"]),
        (End::Back, None, unique(), &["unique", "k ü", "5000"]),
        (End::Back, Some(0), unique(), &["delay", "0", "unique", "k ü", "5000"]),
    ] {
        let options = PushOptions { end, delay_ms, unique };
        view.push_with(QUEUE.to_owned(), b"pay".to_vec(), options).await.unwrap();
        let left = taken(&mut plain).await;
        push(&mut plain, &[&["pay"], words].concat()).await.unwrap();
        assert_eq!(taken(&mut plain).await, left, "{words:?}");
    }
}

#[tokio::test]
async fn what_hosts_could_not_read_is_refused_in_words() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let long = "x".repeat(17_000);
    for (words, expected) in [
        (&["delay"][..], "`delay` needs a whole number of milliseconds"),
        (&["delay", "-1"], "`delay` needs a whole number of milliseconds"),
        (&["delay", "1.5"], "`delay` needs a whole number of milliseconds"),
        (&["unique", "k"], "`unique KEY` needs a whole number of milliseconds"),
        (&["unique", "k", "0"], "`unique KEY` needs a whole number of milliseconds"),
        (&["unique", "", "10"], "a unique key must have 1 to 1,024 bytes of UTF-8"),
        (&["unique", &long, "10"], "a unique key must have 1 to 1,024 bytes of UTF-8"),
        (&["header", "a"], "`header` needs a name"),
        (&["header", "", "b"], "`header` needs a name"),
        (&["header", "!reason", "b"], "`header` needs a name, which does not begin with `!`"),
        (&["header", "a", &long], "the headers of the job are longer than 16,384 bytes"),
        (&["header", "a", &"é".repeat(3000)], "the headers of the job are longer than 16,384 bytes"),
        (&["id", ""], "an id must have 1 to 128 visible ASCII characters"),
        (&["id", "a b"], "an id must have 1 to 128 visible ASCII characters"),
        (&["id", &long], "an id must have 1 to 128 visible ASCII characters"),
        (&["fronts"], "`fronts` is no option; known are delay, unique, header, id, result, front"),
    ] {
        let error = push(&mut plain, &[&["pay"], words].concat()).await.unwrap_err().to_string();
        assert!(error.contains("SANDHOG") && error.contains(expected), "{words:?}: {error}");
    }
    for queue in ["", "sandhog:hosts", "{q}:sandhog:ready"] {
        let error = call(&mut plain, queue, &[b"x"]).await.unwrap_err().to_string();
        assert!(error.contains("SANDHOG"), "{queue}: {error}");
    }
    for bytes in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"a\x80",
    ] {
        for words in [
            [&b"p"[..], b"header", bytes, b"x"],
            [b"p", b"header", b"x", bytes],
            [b"p", b"unique", bytes, b"5"],
        ] {
            let error = call(&mut plain, QUEUE, &words).await.unwrap_err().to_string();
            assert!(error.contains("UTF-8"), "{words:?}: {error}");
        }
    }
    assert!(dump(&mut plain).await.is_empty(), "something was written");
    let () =
        redis::cmd("SET").arg("{orders}:sandhog:delayed").arg("x").query_async(&mut plain).await.unwrap();
    let error = push(&mut plain, &["p", "unique", "k", "5", "delay", "5"]).await.unwrap_err().to_string();
    assert!(error.contains("the key `{orders}:sandhog:delayed` holds another type"), "{error}");
    assert_eq!(dump(&mut plain).await.len(), 1);
}

#[tokio::test]
async fn companion_keys_are_those_of_hosts() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for queue in ["orders", "eu{7}orders", "a{}b", "a{}b{c}", "open{only", "{{a}}", "a}b{c", "with space"] {
        call(&mut plain, queue, &[b"x", b"header", b"a", b"b"]).await.unwrap();
        let expected = QueueKeys::new(&QueueName::new(queue).unwrap()).ready;
        assert_eq!(dump(&mut plain).await.into_keys().collect::<Vec<_>>(), [expected]);
        let () = redis::cmd("FLUSHALL").query_async(&mut plain).await.unwrap();
    }
    for queue in ["{orders}", "{{a}", "{a}{b}"] {
        let refused = call(&mut plain, queue, &[b"x", b"header", b"a", b"b"]).await.unwrap_err().to_string();
        assert!(refused.contains("the name of another queue in braces"), "{queue}: {refused}");
    }
    assert!(dump(&mut plain).await.is_empty());
}

#[tokio::test]
async fn at_the_memory_limit_nothing_is_half_done() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let () = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").query_async(&mut plain).await.unwrap();
    let error = push(&mut plain, &["p", "unique", "k", "5000"]).await.unwrap_err().to_string();
    assert!(error.contains("OOM"), "{error}");
    assert!(dump(&mut plain).await.is_empty());
}

#[test]
fn any_text_comes_through_a_header() {
    let redis = TestRedis::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plain = runtime.block_on(redis.plain());
    let text = || proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) };
    proptest!(config, |(name in text(), value in text(), payload in any::<Vec<u8>>())| {
        prop_assume!(!name.is_empty() && !name.starts_with('!'));
        let words = [&payload[..], b"header", name.as_bytes(), value.as_bytes()];
        let mut plain = plain.clone();
        let pop = redis::cmd("LPOP").arg("{orders}:sandhog:ready").to_owned();
        let envelope: Vec<u8> = runtime.block_on(async {
            call(&mut plain, QUEUE, &words).await.unwrap();
            pop.query_async(&mut plain).await.unwrap()
        });
        let (header, read) = Header::decode(&envelope).unwrap();
        prop_assert_eq!((header.note(&name), read), (Some(value.as_str()), &payload[..]));
    });
}

#[test]
fn scripts_are_texts_to_the_byte() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let output = program.output(&["scripts", "push"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut plain = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let sha1: String = redis::cmd("SCRIPT").arg("LOAD").arg(&text).query(&mut plain).unwrap();
    assert_eq!(program.output(&["scripts", "push", "--sha1"]).stdout, format!("{sha1}\n").into_bytes());
    let listed = program.json(&["scripts"]);
    assert_eq!(
        (&listed["scripts"][0]["sha1"], &listed["scripts"][0]["text"]),
        (&sha1.clone().into(), &text.into())
    );
    assert!(listed["scripts"][0]["contract"].as_str().unwrap().contains("delay MS"));
    let told: Vec<String> = redis::cmd("EVALSHA")
        .arg(&sha1)
        .arg(1)
        .arg("q")
        .arg("x")
        .arg("id")
        .arg("mine")
        .query(&mut plain)
        .unwrap();
    assert_eq!(told, ["waiting", "mine", "1"]);
    let mut filters = program.filters();
    filters.add_filter("[0-9a-f]{40}", "[SHA1]");
    filters.bind(|| {
        assert_snapshot!(program.session(&[&["scripts"], &["scripts", "pull"]]), @r#"
    $ sandhog scripts
    script  sha1                                      does
    push    [SHA1]  pushes a job with options
    result  [SHA1]  tells what became of a job whose result was asked for
    --- exit code 0

    $ sandhog scripts pull
    --- stderr
    sandhog: there is no script `pull`
    hint: there are: `push`, `result`
    --- exit code 2
    "#)
    });
}
