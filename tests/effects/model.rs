//! What `kv` and `queue` mean, in memory: no Redis, no overlay, no commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sandhog::capability::binding::sandhog::worker::kv::Condition;
use sandhog::capability::binding::sandhog::worker::queue::End;

use super::op::Op;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    Hash,
}

/// A key with its time to live in units.
pub type Entry = (Held, Option<u64>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub keys: BTreeMap<String, Entry>,
    /// Payloads of jobs by queue: ready in their order, delayed sorted.
    pub ready: BTreeMap<String, Vec<Vec<u8>>>,
    pub delayed: BTreeMap<String, Vec<Vec<u8>>>,
    pub unique: BTreeSet<String>,
}

fn wrong(key: &str) -> String {
    format!("wrong-type {key}")
}

impl Model {
    /// Plays one call and tells what it answers.
    pub fn play(&mut self, op: Op) -> String {
        match op {
            Op::Get(key) => self.text(&key).map_or_else(|_| wrong(&key), |text| format!("{text:?}")),
            Op::GetMany(keys) => {
                format!("{:?}", keys.iter().map(|key| self.text(key).unwrap_or(None)).collect::<Vec<_>>())
            }
            Op::Set(key, value) => self.set(key, value, None),
            Op::SetWith(key, value, ttl, condition) => {
                let holds = match condition {
                    Condition::Always => true,
                    Condition::IfAbsent => !self.keys.contains_key(&key),
                    Condition::IfPresent => self.keys.contains_key(&key),
                };
                if holds {
                    self.set(key, value, ttl);
                }
                holds.to_string()
            }
            Op::SetMany(entries) => {
                entries.into_iter().for_each(|(key, value)| drop(self.set(key, value, None)));
                "()".to_owned()
            }
            Op::Delete(key) => self.keys.remove(&key).is_some().to_string(),
            Op::Exists(key) => self.keys.contains_key(&key).to_string(),
            Op::Add(key, delta) => self.add(&key, delta).map_or_else(|| wrong(&key), |_| "()".to_owned()),
            Op::Increment(key, delta) => self.add(&key, delta).map_or_else(|| wrong(&key), |n| n.to_string()),
            Op::Swap(key, expected, replacement) => self.swap(key, expected, replacement),
            Op::Expire(key, ttl) => {
                let Some(entry) = self.keys.get_mut(&key) else { return "false".to_owned() };
                entry.1 = ttl;
                if ttl == Some(0) {
                    self.keys.remove(&key);
                }
                "true".to_owned()
            }
            Op::Ttl(key) => format!("{:?}", self.keys.get(&key).and_then(|entry| entry.1)),
            Op::Keys(prefix) => {
                format!("{:?}", self.keys.keys().filter(|key| key.starts_with(&prefix)).collect::<Vec<_>>())
            }
            Op::Push(queue, payload, end) => self.push(queue, vec![payload], end),
            Op::PushMany(queue, payloads) => self.push(queue, payloads, End::Back),
            Op::PushJob(queue, payload, delayed, unique) => self.push_job(queue, payload, delayed, unique),
            Op::Pop(queue, end) => match self.keys.get_mut(&queue) {
                None => "None".to_owned(),
                Some((Held::List(list), _)) => {
                    let entry = if end == End::Front { list.pop_front() } else { list.pop_back() };
                    if list.is_empty() {
                        self.keys.remove(&queue);
                    }
                    format!("{entry:?}")
                }
                Some(_) => wrong(&queue),
            },
            Op::Length(queue) => match self.keys.get(&queue) {
                None => "0".to_owned(),
                Some((Held::List(list), _)) => list.len().to_string(),
                Some(_) => wrong(&queue),
            },
            Op::Peek(_, 0) => "[]".to_owned(),
            Op::Peek(queue, count) => match self.keys.get(&queue) {
                None => "[]".to_owned(),
                Some((Held::List(list), _)) => {
                    format!("{:?}", list.iter().take(count as usize).collect::<Vec<_>>())
                }
                Some(_) => wrong(&queue),
            },
        }
    }

    fn text(&self, key: &str) -> Result<Option<Vec<u8>>, ()> {
        match self.keys.get(key) {
            None => Ok(None),
            Some((Held::Text(text), _)) => Ok(Some(text.clone())),
            Some(_) => Err(()),
        }
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> String {
        self.keys.insert(key, (Held::Text(value), ttl));
        "()".to_owned()
    }

    fn add(&mut self, key: &str, delta: i64) -> Option<i64> {
        let ttl = self.keys.get(key).and_then(|entry| entry.1);
        let before = match self.text(key).ok()? {
            None => 0,
            Some(text) => {
                let text = String::from_utf8(text).ok()?;
                text.parse::<i64>().ok().filter(|number| number.to_string() == text)?
            }
        };
        let sum = before.checked_add(delta)?;
        self.keys.insert(key.to_owned(), (Held::Text(sum.to_string().into_bytes()), ttl));
        Some(sum)
    }

    fn swap(&mut self, key: String, expected: Option<Vec<u8>>, replacement: Option<Vec<u8>>) -> String {
        let holds = match expected {
            None => !self.keys.contains_key(&key),
            Some(expected) => match self.text(&key) {
                Err(()) => return wrong(&key),
                Ok(text) => text == Some(expected),
            },
        };
        if holds {
            match replacement {
                Some(value) => drop(self.set(key, value, None)),
                None => drop(self.keys.remove(&key)),
            }
        }
        holds.to_string()
    }

    fn push(&mut self, queue: String, payloads: Vec<Vec<u8>>, end: End) -> String {
        if payloads.is_empty() {
            return self.play(Op::Length(queue));
        }
        let (Held::List(list), _) =
            self.keys.entry(queue.clone()).or_insert_with(|| (Held::List(VecDeque::new()), None))
        else {
            return wrong(&queue);
        };
        match end {
            End::Front => payloads.into_iter().for_each(|payload| list.push_front(payload)),
            End::Back => list.extend(payloads),
        }
        list.len().to_string()
    }

    fn push_job(&mut self, queue: String, payload: Vec<u8>, delayed: bool, unique: Option<String>) -> String {
        let delayed = delayed || unique.is_none();
        if let Some(name) = unique
            && !self.unique.insert(format!("{{{queue}}}:sandhog:unique:{name}"))
        {
            return "\"duplicate\"".to_owned();
        }
        let place = if delayed { &mut self.delayed } else { &mut self.ready };
        let place = place.entry(queue).or_default();
        place.push(payload);
        let count = place.len();
        if delayed {
            place.sort();
            return "\"delayed\"".to_owned();
        }
        format!("\"pushed {count}\"")
    }
}
