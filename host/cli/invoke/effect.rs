//! What a run would change, told change by change: a row of a table each. Pure.

use sandhog::job::change::{Assumption, Expiry, Seen, Write};

use super::before::{Before, Content};
use crate::cli::text;

/// Characters of one value, and entries of a list, that are shown to people.
const VALUE_CHARS: usize = 60;
const ENTRIES_SHOWN: usize = 5;

/// One word for what a change does, and the key it does it to; of a job the list of its queue.
pub(super) fn name(write: &Write) -> (&'static str, &str) {
    match write {
        Write::Set { key, .. } => ("set", key),
        Write::Delete { key } => ("delete", key),
        Write::Add { key, .. } => ("add", key),
        Write::Expire { key, .. } => ("expire", key),
        Write::Pop { key, .. } => ("pop", key),
        Write::Push { key, .. } => ("push", key),
        Write::PushJob { queue, .. } => ("push-job", queue.as_str()),
    }
}

/// The cells of a row: effect, key, what becomes of what.
pub(super) fn row(write: &Write, before: &Before) -> [String; 3] {
    let (word, key) = name(write);
    [word.to_owned(), text::visible(key.as_bytes(), VALUE_CHARS), change(write, before)]
}

fn change(write: &Write, before: &Before) -> String {
    let was = held(before);
    match write {
        Write::Set { value, expiry, .. } => {
            let stays = stays(*expiry, before).map_or(String::new(), |stays| format!(", {stays}"));
            format!("{was} → {}{stays}", quoted(value))
        }
        Write::Delete { .. } => format!("{was} → none"),
        Write::Add { delta, expiry, .. } => {
            let stays = stays(*expiry, before).map_or(String::new(), |stays| format!(", {stays}"));
            match sum(before, *delta) {
                Some((number, sum)) => format!("{number} → {sum}{stays}"),
                None => format!("{was} → {delta:+}{stays}"),
            }
        }
        Write::Expire { expiry, .. } => match stays(*expiry, before) {
            Some(stays) => format!("{was}: {stays}"),
            None => format!("{was}: stays as long as before"),
        },
        Write::Pop { front, back, .. } => {
            let ends = [("front", *front), ("back", *back)];
            let taken = ends.into_iter().filter(|(_, entries)| *entries > 0);
            let taken: Vec<String> =
                taken.map(|(end, entries)| format!("{entries} from the {end}")).collect();
            format!("{was}, {}", taken.join(", "))
        }
        Write::Push { replaces, front, back, expiry, .. } => {
            let old = if *replaces { Some(0) } else { length(before) };
            let pushed = (front.len() + back.len()) as u64;
            let length =
                old.map_or(String::new(), |old| format!("{was} → list of {}", text::count(old + pushed)));
            let ends = [("back", back), ("front", front)];
            let pushes = ends.iter().filter(|(_, entries)| !entries.is_empty());
            let pushes = pushes.map(|(end, pushed)| format!("{end}: {}", entries(pushed)));
            let stays = stays(*expiry, before);
            [length]
                .into_iter()
                .chain(pushes)
                .chain(stays)
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", ")
        }
        Write::PushJob { id, payload, delay_ms, unique, .. } => {
            let due = delay_ms.map_or("ready at once".to_owned(), |ms| format!("due in {}", text::span(ms)));
            let unique = unique.as_ref().map_or(String::new(), |(key, ms)| {
                format!(", unique by {} for {}", quoted(key.as_bytes()), text::span(*ms))
            });
            format!("{} as job {id}, {due}{unique}", quoted(payload))
        }
    }
}

/// What the key holds now.
fn held(before: &Before) -> String {
    match before {
        Before::Unknown => "unknown".to_owned(),
        Before::Absent => "none".to_owned(),
        Before::Held(Content { head: Some(head), length, .. }) if head.len() as u64 == *length => {
            quoted(head)
        }
        Before::Held(Content { head: Some(head), length, .. }) => {
            format!("{} ({})", quoted(head), text::size(*length))
        }
        Before::Held(Content { kind, length, .. }) => format!("{kind} of {}", text::count(*length)),
    }
}

/// The number before and after.
fn sum(before: &Before, delta: i64) -> Option<(String, i64)> {
    match before {
        Before::Absent => Some(("none".to_owned(), delta)),
        Before::Held(Content { head: Some(head), .. }) => {
            let number: i64 = std::str::from_utf8(head).ok()?.parse().ok()?;
            Some((number.to_string(), number.checked_add(delta)?))
        }
        _ => None,
    }
}

/// Entries in the list now.
fn length(before: &Before) -> Option<u64> {
    match before {
        Before::Absent => Some(0),
        Before::Held(content) => Some(content.length),
        Before::Unknown => None,
    }
}

/// How long the key stays, where that is worth a word.
fn stays(expiry: Expiry, before: &Before) -> Option<String> {
    let expires = matches!(before, Before::Held(Content { expires_in_ms: Some(_), .. }));
    match expiry {
        Expiry::Keep => None,
        Expiry::Never => expires.then(|| "does not expire any more".to_owned()),
        Expiry::In(0) => Some("expires at once".to_owned()),
        Expiry::In(ms) => Some(format!("expires in {}", text::span(ms))),
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", text::visible(bytes, VALUE_CHARS))
}

fn entries(all: &[Vec<u8>]) -> String {
    let mut shown: Vec<String> = all.iter().take(ENTRIES_SHOWN).map(|entry| quoted(entry)).collect();
    if all.len() > ENTRIES_SHOWN {
        shown.push(format!("… ({} in all)", text::count(all.len() as u64)));
    }
    shown.join(" ")
}

/// The cells of a row about something that must still be so: key, and what it must be.
pub(super) fn assumed(assumption: &Assumption, now_ms: u64) -> [String; 2] {
    let must = match &assumption.seen {
        Seen::Absent => "absent".to_owned(),
        Seen::Present => "there".to_owned(),
        Seen::Value(value) => quoted(value),
        Seen::Long { length, .. } => format!("the value of {} that was read", text::size(*length)),
        Seen::Longer(bytes) => format!("a value of more than {}", text::size(*bytes)),
        Seen::Expires(-2) => "absent".to_owned(),
        Seen::Expires(at_ms) => match u64::try_from(*at_ms) {
            Ok(at_ms) => format!("to expire {}", text::when(at_ms, now_ms)),
            Err(_) => "without expiry".to_owned(),
        },
        Seen::Length(length) => format!("a list of {}", text::count(*length)),
        Seen::Range { start, stop, entries: seen } => format!("{start} to {stop}: {}", entries(seen)),
        Seen::Page(page) => format!("a page of {}", text::counted(page.keys.len() as u64, "key", "keys")),
    };
    [text::visible(assumption.key.as_bytes(), VALUE_CHARS), must]
}

#[cfg(test)]
mod tests {
    use sandhog::job::change::Page;
    use sandhog::job::name::{JobId, QueueName};

    use super::*;

    fn string(value: &str) -> Before {
        let head = Some(value.as_bytes().to_owned());
        Before::Held(Content { kind: "string".into(), length: value.len() as u64, head, expires_in_ms: None })
    }

    fn list(length: u64) -> Before {
        Before::Held(Content { kind: "list".into(), length, head: None, expires_in_ms: None })
    }

    fn passing(before: Before) -> Before {
        let Before::Held(content) = before else { panic!("{before:?} is not there") };
        Before::Held(Content { expires_in_ms: Some(5000), ..content })
    }

    fn bytes(all: &[&str]) -> Vec<Vec<u8>> {
        all.iter().map(|one| one.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_changed_string_shows_what_it_was() {
        let set = |expiry| Write::Set { key: "k".into(), value: b"a\n".to_vec(), expiry };
        let add = |delta| Write::Add { key: "k".into(), delta, expiry: Expiry::Keep };
        let expire = |expiry| Write::Expire { key: "k".into(), expiry };
        let long = Before::Held(Content {
            kind: "string".into(),
            length: 2048,
            head: Some(b"abc".to_vec()),
            expires_in_ms: None,
        });
        for (write, before, shown) in [
            (set(Expiry::Never), Before::Absent, "none → \"a\\n\""),
            (set(Expiry::Never), passing(string("1")), "\"1\" → \"a\\n\", does not expire any more"),
            (set(Expiry::In(7000)), Before::Unknown, "unknown → \"a\\n\", expires in 7 s"),
            (set(Expiry::Keep), list(3), "list of 3 → \"a\\n\""),
            (Write::Delete { key: "k".into() }, long, "\"abc\" (2 KiB) → none"),
            (add(3), string("4"), "4 → 7"),
            (add(-3), Before::Absent, "none → -3"),
            (add(1), string("9223372036854775807"), "\"9223372036854775807\" → +1"),
            (add(1), Before::Unknown, "unknown → +1"),
            (expire(Expiry::In(0)), string("x"), "\"x\": expires at once"),
            (expire(Expiry::Never), passing(string("x")), "\"x\": does not expire any more"),
        ] {
            assert_eq!(change(&write, &before), shown, "{write:?}");
        }
    }

    #[test]
    fn a_pop_shows_how_many_entries_it_takes() {
        let pop = |front, back| change(&Write::Pop { key: "k".into(), front, back }, &list(9));
        assert_eq!(pop(2, 0), "list of 9, 2 from the front");
        assert_eq!(pop(1, 3), "list of 9, 1 from the front, 3 from the back");
    }

    #[test]
    fn pushes_show_their_entries_and_their_end() {
        let push = |replaces, front: &[&str], back: &[&str]| Write::Push {
            key: "k".into(),
            replaces,
            front: bytes(front),
            back: bytes(back),
            expiry: Expiry::Keep,
        };
        for (write, before, shown) in [
            (push(false, &[], &["a"]), Before::Absent, "none → list of 1, back: \"a\""),
            (
                push(false, &["b"], &["a", "c"]),
                list(2),
                "list of 2 → list of 5, back: \"a\" \"c\", front: \"b\"",
            ),
            (push(true, &[], &["a"]), list(9), "list of 9 → list of 1, back: \"a\""),
            (
                push(false, &["a"; 6], &[]),
                Before::Unknown,
                "front: \"a\" \"a\" \"a\" \"a\" \"a\" … (6 in all)",
            ),
        ] {
            assert_eq!(change(&write, &before), shown, "{write:?}");
        }
        let job = |delay_ms, unique| Write::PushJob {
            queue: QueueName::new("mails").expect("legal"),
            id: JobId::new("push-1").expect("legal"),
            payload: b"hi".to_vec(),
            delay_ms,
            unique,
        };
        let at_once = row(&job(None, Some(("u".into(), 60_000))), &Before::Absent);
        assert_eq!(
            at_once,
            ["push-job", "mails", "\"hi\" as job push-1, ready at once, unique by \"u\" for 1 min"]
        );
        assert_eq!(row(&job(Some(5000), None), &Before::Absent)[2], "\"hi\" as job push-1, due in 5 s");
    }

    #[test]
    fn what_was_taken_for_granted_is_said_in_a_few_words() {
        let page = Page {
            cursor: 0,
            looks: 10,
            enough: 5,
            key_bytes_max: 9,
            looked: 0,
            next: 0,
            keys: bytes(&["a", "b"]),
        };
        for (seen, shown) in [
            (Seen::Absent, "absent"),
            (Seen::Present, "there"),
            (Seen::Value(b"5".to_vec()), "\"5\""),
            (Seen::Long { length: 2048, sha1: "00".into() }, "the value of 2 KiB that was read"),
            (Seen::Expires(-1), "without expiry"),
            (Seen::Expires(-2), "absent"),
            (Seen::Expires(6000), "to expire in 5 s"),
            (Seen::Length(3), "a list of 3"),
            (Seen::Range { start: 0, stop: 1, entries: bytes(&["a", "b"]) }, "0 to 1: \"a\" \"b\""),
            (Seen::Page(page), "a page of 2 keys"),
        ] {
            let shown = ["k\\u{1b}".to_owned(), shown.to_owned()];
            assert_eq!(assumed(&Assumption { key: "k\x1b".into(), seen }, 1000), shown);
        }
    }
}
