//! Each function of the WIT as a command.
//!
//! ```text
//! kv.get K | kv.get-many K… | kv.set K V | kv.set-with K V [ttl=MS] [if=absent|present] | kv.set-many K V K V…
//! kv.delete K | kv.exists K | kv.add K N | kv.increment K N | kv.compare-and-swap K EXPECTED|- REPLACEMENT|-
//! kv.expire K MS|- | kv.ttl K | kv.list-keys PREFIX CURSOR|- | kv.list-all PREFIX (every page, sorted)
//! kv.count-up K (adds one by compare-and-swap, as often as it takes: the new value)
//! queue.push Q P | queue.push-with Q P [end=front] [delay=MS] [unique=K] [unique-ttl=MS] | queue.push-many Q P…
//! queue.pop Q front|back | queue.length Q | queue.peek Q COUNT
//! config.get NAME | config.get-all | log LEVEL CONTEXT TEXT…
//! progress DONE TOTAL NOTE… | progress-until K (counts up, and tells, until the key is there) | set-result VALUE
//! ```

use crate::run::Run;
use crate::sandhog::worker::types::Error;
use crate::sandhog::worker::{kv, queue, status};
use crate::show::Show;
use crate::wasi::config::store;
use crate::wasi::logging::logging;

/// The result of the call that `name` stands for; none if it is no call.
pub(crate) fn call(run: &mut Run, name: &str, words: &[&str]) -> Option<String> {
    if let Some(name) = name.strip_prefix("kv.") {
        return kv_call(run, name, words);
    }
    if let Some(name) = name.strip_prefix("queue.") {
        return queue_call(run, name, words);
    }
    match (name, words) {
        ("config.get", [name]) => Some(store::get(&run.text(name)).show()),
        ("progress", [done, total, note @ ..]) => {
            status::progress(number(done), number(total), &note.join(" "));
            Some("ok".to_owned())
        }
        ("progress-until", [key]) => Some(progress_until(&run.text(key))),
        ("set-result", [value]) => Some(status::set_result(&run.bytes(value)).show()),
        ("config.get-all", []) => Some(store::get_all().show()),
        ("log", [level, context, text @ ..]) => {
            let text: Vec<String> = text.iter().map(|word| run.text(word)).collect();
            logging::log(log_level(level), &run.text(context), &text.join(" "));
            Some("ok".to_owned())
        }
        _ => None,
    }
}

fn progress_until(key: &str) -> String {
    let mut done = 0;
    while let Ok(false) = kv::exists(key) {
        done += 1;
        status::progress(done, 0, "looking");
    }
    "ok".to_owned()
}

fn kv_call(run: &mut Run, name: &str, words: &[&str]) -> Option<String> {
    Some(match (name, words) {
        ("get", [key]) => kv::get(&run.text(key)).show(),
        ("get-many", keys) => kv::get_many(&run.texts(keys)).show(),
        ("set", [key, value]) => kv::set(&run.text(key), &run.bytes(value)).show(),
        ("set-with", [key, value, options @ ..]) => {
            let options = kv::SetOptions {
                ttl_ms: option(options, "ttl").map(number),
                condition: match option(options, "if") {
                    Some("absent") => kv::Condition::IfAbsent,
                    Some("present") => kv::Condition::IfPresent,
                    _ => kv::Condition::Always,
                },
            };
            kv::set_with(&run.text(key), &run.bytes(value), options).show()
        }
        ("set-many", entries) => {
            let entry = |pair: &[&str]| (run.text(pair[0]), run.bytes(pair[1]));
            kv::set_many(&entries.chunks(2).map(entry).collect::<Vec<_>>()).show()
        }
        ("delete", [key]) => kv::delete(&run.text(key)).show(),
        ("exists", [key]) => kv::exists(&run.text(key)).show(),
        ("add", [key, delta]) => kv::add(&run.text(key), number(delta)).show(),
        ("increment", [key, delta]) => kv::increment(&run.text(key), number(delta)).show(),
        ("compare-and-swap", [key, expected, replacement]) => {
            let (expected, replacement) = (run.maybe(expected), run.maybe(replacement));
            kv::compare_and_swap(&run.text(key), expected.as_deref(), replacement.as_deref()).show()
        }
        ("expire", [key, ttl]) => kv::expire(&run.text(key), (*ttl != "-").then(|| number(ttl))).show(),
        ("ttl", [key]) => kv::ttl(&run.text(key)).show(),
        ("list-keys", [prefix, cursor]) => {
            let cursor = run.maybe(cursor).map(|cursor| String::from_utf8_lossy(&cursor).into_owned());
            let page = kv::list_keys(&run.text(prefix), cursor.as_deref());
            run.cursor = page.as_ref().ok().and_then(|page| page.cursor.clone());
            page.map(|page| page.keys).show()
        }
        ("list-all", [prefix]) => list_all(&run.text(prefix)).show(),
        ("count-up", [key]) => count_up(&run.text(key)).show(),
        _ => return None,
    })
}

fn list_all(prefix: &str) -> Result<Vec<String>, Error> {
    let mut page = kv::list_keys(prefix, None)?;
    let mut keys = page.keys;
    while let Some(cursor) = page.cursor {
        page = kv::list_keys(prefix, Some(&cursor))?;
        keys.append(&mut page.keys);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn count_up(key: &str) -> Result<u64, Error> {
    loop {
        let before = kv::get(key)?;
        let next = 1 + before.as_deref().map_or(0, |text| number::<u64>(&String::from_utf8_lossy(text)));
        if kv::compare_and_swap(key, before.as_deref(), Some(next.to_string().as_bytes()))? {
            return Ok(next);
        }
    }
}

fn queue_call(run: &Run, name: &str, words: &[&str]) -> Option<String> {
    Some(match (name, words) {
        ("push", [name, payload]) => queue::push(&run.text(name), &run.bytes(payload)).show(),
        ("push-with", [name, payload, options @ ..]) => {
            let ttl_ms = option(options, "unique-ttl").map_or(60_000, number);
            let key = option(options, "unique").map(|key| run.text(key));
            let options = queue::PushOptions {
                end: end(option(options, "end").unwrap_or("back")),
                delay_ms: option(options, "delay").map(number),
                unique: key.map(|key| queue::Uniqueness { key, ttl_ms }),
            };
            queue::push_with(&run.text(name), &run.bytes(payload), &options).show()
        }
        ("push-many", [name, payloads @ ..]) => {
            let payloads: Vec<Vec<u8>> = payloads.iter().map(|payload| run.bytes(payload)).collect();
            queue::push_many(&run.text(name), &payloads).show()
        }
        ("pop", [name, from]) => queue::pop(&run.text(name), end(from)).show(),
        ("length", [name]) => queue::length(&run.text(name)).show(),
        ("peek", [name, count]) => queue::peek(&run.text(name), number(count)).show(),
        _ => return None,
    })
}

/// The value of the word `name=value` among `words`.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// A number; a script with a wrong one traps.
pub(crate) fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is not a number"))
}

fn end(word: &str) -> queue::End {
    if word == "front" { queue::End::Front } else { queue::End::Back }
}

fn log_level(word: &str) -> logging::Level {
    match word {
        "trace" => logging::Level::Trace,
        "debug" => logging::Level::Debug,
        "warn" => logging::Level::Warn,
        "error" => logging::Level::Error,
        "critical" => logging::Level::Critical,
        _ => logging::Level::Info,
    }
}
