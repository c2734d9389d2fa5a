//! What a run would change, and what must still be so for that, as JSON. Pure.

use sandhog::job::change::{Assumption, Changes, Expiry, Seen, Write};
use serde_json::{Value, json};

use super::before::{Before, Content};
use super::effect::name;
use crate::cli::output;

/// The changes, and the assumptions.
pub(super) fn of(changes: &Changes, before: &[Before]) -> (Value, Value) {
    let writes = changes.writes.iter().zip(before).map(|(write, before)| {
        let (effect, key) = name(write);
        let mut document = json!({ "effect": effect, "key": key, "before": content(before) });
        add_to(&mut document, write);
        document
    });
    (writes.collect(), changes.assumptions.iter().map(assumption).collect())
}

fn add_to(document: &mut Value, write: &Write) {
    match write {
        Write::Set { value, expiry, .. } => {
            document["value"] = output::payload(value);
            document["expiry"] = expiry_document(*expiry);
        }
        Write::Add { delta, expiry, .. } => {
            document["delta"] = json!(delta);
            document["expiry"] = expiry_document(*expiry);
        }
        Write::Delete { .. } => {}
        Write::Expire { expiry, .. } => document["expiry"] = expiry_document(*expiry),
        Write::Pop { front, back, .. } => {
            document["front"] = json!(front);
            document["back"] = json!(back);
        }
        Write::Push { replaces, front, back, expiry, .. } => {
            document["replaces"] = json!(replaces);
            document["front"] = payloads(front);
            document["back"] = payloads(back);
            document["expiry"] = expiry_document(*expiry);
        }
        Write::PushJob { id, payload, delay_ms, unique, .. } => {
            document["id"] = json!(id.as_str());
            document["payload"] = output::payload(payload);
            document["delay_ms"] = json!(delay_ms);
            document["unique"] = json!(unique.as_ref().map(|(key, ms)| json!({ "key": key, "ttl_ms": ms })));
        }
    }
}

fn payloads(entries: &[Vec<u8>]) -> Value {
    entries.iter().map(|entry| output::payload(entry)).collect()
}

fn expiry_document(expiry: Expiry) -> Value {
    match expiry {
        Expiry::Keep => json!("keep"),
        Expiry::Never => json!("never"),
        Expiry::In(ms) => json!({ "in_ms": ms }),
    }
}

fn content(before: &Before) -> Value {
    match before {
        Before::Unknown => json!("unknown"),
        Before::Absent => Value::Null,
        Before::Held(Content { kind, length, head, expires_in_ms }) => json!({
            "type": kind, "length": length, "head": head.as_ref().map(|head| output::payload(head)),
            "expires_in_ms": expires_in_ms,
        }),
    }
}

fn assumption(assumption: &Assumption) -> Value {
    let seen = match &assumption.seen {
        Seen::Absent => json!("absent"),
        Seen::Present => json!("present"),
        Seen::Value(value) => json!({ "value": output::payload(value) }),
        Seen::Long { length, sha1 } => json!({ "length": length, "sha1": sha1 }),
        Seen::Longer(bytes) => json!({ "longer_than": bytes }),
        Seen::Expires(at_ms) => json!({ "expires_at_ms": at_ms }),
        Seen::Length(entries) => json!({ "entries": entries }),
        Seen::Range { start, stop, entries } => {
            json!({ "start": start, "stop": stop, "entries": payloads(entries) })
        }
        Seen::Page(page) => json!({ "cursor": page.cursor, "next": page.next, "keys": payloads(&page.keys) }),
    };
    json!({ "key": assumption.key, "seen": seen })
}
