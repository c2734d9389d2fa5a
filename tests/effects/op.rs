//! One call of `kv` or `queue`, as a value: made by proptest, played on a view, answered as text that can be
//! compared. Names and values are few, so that calls meet.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host as Kv, SetOptions};
use sandhog::capability::binding::sandhog::worker::queue::{
    End, Host as Queue, PushOptions, PushOutcome, Uniqueness,
};
use sandhog::capability::refusal::Refusal;
use sandhog::capability::view::View;

use crate::support::view::refusal;

/// Times to live are multiples of this, and far apart: so what is left of one tells which it was.
pub const TTL_UNIT_MS: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub enum Op {
    Get(String),
    GetMany(Vec<String>),
    Set(String, Vec<u8>),
    SetWith(String, Vec<u8>, Option<u64>, Condition),
    SetMany(Vec<(String, Vec<u8>)>),
    Delete(String),
    Exists(String),
    Add(String, i64),
    Increment(String, i64),
    Swap(String, Option<Vec<u8>>, Option<Vec<u8>>),
    Expire(String, Option<u64>),
    Ttl(String),
    Keys(String),
    Push(String, Vec<u8>, End),
    PushMany(String, Vec<Vec<u8>>),
    PushJob(String, Vec<u8>, bool, Option<String>),
    Pop(String, End),
    Length(String),
    Peek(String, u32),
}

pub fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ba", "c"]).prop_map(str::to_owned)
}

pub fn value() -> impl Strategy<Value = Vec<u8>> {
    let long = "x".repeat(1500);
    let values = ["", "0", "7", "-3", "9223372036854775807", "-9223372036854775808", "007", "text", &long];
    prop::sample::select(values.map(|text| text.as_bytes().to_vec()).to_vec())
}

fn delta() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 1, -1, 5, i64::MAX, i64::MIN])
}

/// Whole units; 0 is now.
fn ttl() -> impl Strategy<Value = Option<u64>> {
    of(0_u64..4)
}

fn end() -> impl Strategy<Value = End> {
    prop::sample::select(vec![End::Front, End::Back])
}

pub fn op() -> impl Strategy<Value = Op> {
    let condition = prop::sample::select(vec![Condition::Always, Condition::IfAbsent, Condition::IfPresent]);
    let unique = of(prop::sample::select(vec!["u", "v"]).prop_map(str::to_owned));
    prop_oneof![
        3 => key().prop_map(Op::Get),
        1 => vec(key(), 0..5).prop_map(Op::GetMany),
        2 => (key(), value()).prop_map(|(k, v)| Op::Set(k, v)),
        2 => (key(), value(), of(1_u64..4), condition).prop_map(|(k, v, t, c)| Op::SetWith(k, v, t, c)),
        1 => vec((key(), value()), 0..4).prop_map(Op::SetMany),
        2 => key().prop_map(Op::Delete),
        1 => key().prop_map(Op::Exists),
        2 => (key(), delta()).prop_map(|(k, d)| Op::Add(k, d)),
        2 => (key(), delta()).prop_map(|(k, d)| Op::Increment(k, d)),
        2 => (key(), of(value()), of(value())).prop_map(|(k, e, r)| Op::Swap(k, e, r)),
        2 => (key(), ttl()).prop_map(|(k, t)| Op::Expire(k, t)),
        2 => key().prop_map(Op::Ttl),
        1 => prop::sample::select(vec!["", "b", "z"]).prop_map(|prefix| Op::Keys(prefix.to_owned())),
        3 => (key(), value(), end()).prop_map(|(k, v, e)| Op::Push(k, v, e)),
        1 => (key(), vec(value(), 0..4)).prop_map(|(k, v)| Op::PushMany(k, v)),
        2 => (key(), value(), any::<bool>(), unique).prop_map(|(k, v, d, u)| Op::PushJob(k, v, d, u)),
        3 => (key(), end()).prop_map(|(k, e)| Op::Pop(k, e)),
        2 => key().prop_map(Op::Length),
        2 => (key(), 0_u32..5).prop_map(|(k, n)| Op::Peek(k, n)),
    ]
}

/// An answer as text; `Debug` of the value, or the refusal as the guest sees it.
pub fn told<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(_) => refusal(answer),
    }
}

/// What is left of a time to live, in units.
pub fn units(ttl_ms: u64) -> u64 {
    (ttl_ms + TTL_UNIT_MS / 2) / TTL_UNIT_MS
}

/// Plays one call and tells what it answered.
pub async fn play(view: &mut View, op: Op) -> String {
    let in_units = |units: Option<u64>| units.map(|units| units * TTL_UNIT_MS);
    match op {
        Op::Get(key) => told(view.get(key).await),
        Op::GetMany(keys) => told(view.get_many(keys).await),
        Op::Set(key, value) => told(view.set(key, value).await),
        Op::SetWith(key, value, ttl, condition) => {
            told(view.set_with(key, value, SetOptions { ttl_ms: in_units(ttl), condition }).await)
        }
        Op::SetMany(entries) => told(view.set_many(entries).await),
        Op::Delete(key) => told(view.delete(key).await),
        Op::Exists(key) => told(view.exists(key).await),
        Op::Add(key, delta) => told(view.add(key, delta).await),
        Op::Increment(key, delta) => told(view.increment(key, delta).await),
        Op::Swap(key, expected, replacement) => told(view.compare_and_swap(key, expected, replacement).await),
        Op::Expire(key, ttl) => told(view.expire(key, in_units(ttl)).await),
        Op::Ttl(key) => told(view.ttl(key).await.map(|ttl| ttl.map(units))),
        Op::Keys(prefix) => told(list(view, &prefix).await),
        Op::Push(queue, payload, End::Back) => told(view.push(queue, payload).await),
        Op::Push(queue, payload, end) => {
            let options = PushOptions { end, delay_ms: None, unique: None };
            told(view.push_with(queue, payload, options).await.map(|outcome| match outcome {
                PushOutcome::Pushed(count) => count,
                other => panic!("{other:?}"),
            }))
        }
        Op::PushMany(queue, payloads) => told(view.push_many(queue, payloads).await),
        Op::PushJob(queue, payload, delayed, unique) => {
            let delay_ms = delayed.then_some(TTL_UNIT_MS);
            // Without either it would be a plain push; a delay of nothing is still a job of its own.
            let delay_ms = if unique.is_none() { delay_ms.or(Some(2 * TTL_UNIT_MS)) } else { delay_ms };
            let unique = unique.map(|key| Uniqueness { key, ttl_ms: TTL_UNIT_MS });
            let options = PushOptions { end: End::Back, delay_ms, unique };
            told(view.push_with(queue, payload, options).await.map(|outcome| match outcome {
                PushOutcome::Pushed(count) => format!("pushed {count}"),
                PushOutcome::Delayed(_) => "delayed".to_owned(),
                PushOutcome::Duplicate => "duplicate".to_owned(),
            }))
        }
        Op::Pop(queue, end) => told(view.pop(queue, end).await),
        Op::Length(queue) => told(view.length(queue).await),
        Op::Peek(queue, count) => told(view.peek(queue, count).await),
    }
}

/// All pages, in order, each key once.
async fn list(view: &mut View, prefix: &str) -> Result<Vec<String>, Refusal> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = view.list_keys(prefix.to_owned(), cursor).await?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}
