//! Strings: the operations behind `kv`.

use std::sync::LazyLock;

use redis::{Pipeline, Value, cmd};

use super::{Direct, unexpected, value_or_too_long, values_or_too_long};
use crate::capability::glob::of_prefix;
use crate::capability::refusal::Refusal;
use crate::job::change::Page;
use crate::storage::fault::Fault;
use crate::storage::script::Script;

/// Keys one page of a listing looks at: it bounds how long Redis is busy with it.
const LOOKS_MAX: u32 = 2_000;
/// Keys that make a page full; one more step of SCAN may come on top.
const PAGE_KEYS: u32 = 100;

static GET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/get.lua")));
static GET_MANY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/get_many.lua")));
static CAS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/compare_and_swap.lua")));
static PERSIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../script/persist.lua")));
static LIST_KEYS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        "#!lua flags=no-writes\n",
        include_str!("../../job/script/part/key_page.lua"),
        include_str!("../script/list_keys.lua")
    ))
});

/// When a key is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::capability) enum SetCondition {
    /// Whatever it holds.
    Always,
    /// Only if it is absent.
    IfAbsent,
    /// Only if it is there.
    IfPresent,
}

impl Direct {
    /// The value of `key`. Two plain commands in one write cost Redis half of what a script does.
    pub(in crate::capability) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let _room = self.room(0).await;
        let answers = self.read(Self::ask_for(key, self.value_bytes_max), key).await?;
        self.value(key, answers).await
    }

    fn ask_for(key: &str, value_bytes_max: u64) -> Pipeline {
        let mut ask = Pipeline::with_capacity(2);
        // To the byte after the last one allowed: it shows a longer value.
        ask.cmd("EXISTS").arg(key).cmd("GETRANGE").arg(key).arg(0).arg(value_bytes_max);
        ask
    }

    /// Takes the value from the replies to `ask_for`.
    async fn value(&self, key: &str, answers: Vec<Result<Value, Fault>>) -> Result<Option<Vec<u8>>, Refusal> {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Nil)).map_err(|fault| Refusal::of(fault, key));
        let (exists, value) = (next()?, next()?);
        self.fetched(if let Value::BulkString(bytes) = &value { bytes.len() } else { 0 });
        match (exists, value) {
            (_, Value::BulkString(value)) if value.len() as u64 > self.value_bytes_max => {
                Err(Refusal::Quota("value"))
            }
            (Value::Int(0), Value::BulkString(value)) if value.is_empty() => Ok(None),
            // An empty value, or one that went between the two: a script looks at one moment.
            (_, Value::BulkString(value)) if value.is_empty() => self.get_at_once(key).await,
            (_, Value::BulkString(value)) => Ok(Some(value)),
            (_, other) => Err(unexpected(&other)),
        }
    }

    async fn get_at_once(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let mut call = GET.call(&[key]);
        call.arg(self.value_bytes_max);
        value_or_too_long(self.run(&GET, &call, key).await?)
    }

    /// The values of `keys`, of which there is at least one.
    pub(in crate::capability) async fn get_many(
        &self,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        let mut call = GET_MANY.call(keys);
        call.arg(self.value_bytes_max);
        let _room = self.room(0).await;
        let values = values_or_too_long(self.run(&GET_MANY, &call, &keys[0]).await?)?;
        let values: Result<Vec<_>, _> = values.into_iter().map(value_or_too_long).collect();
        self.fetched(values.iter().flatten().flatten().map(Vec::len).sum());
        values
    }

    /// Sets `key` if the condition holds; tells whether it did.
    pub(in crate::capability) async fn set(
        &self,
        key: &str,
        value: &[u8],
        ttl_ms: Option<u64>,
        condition: SetCondition,
    ) -> Result<bool, Refusal> {
        let mut set = cmd("SET");
        set.arg(key).arg(value);
        match condition {
            SetCondition::Always => {}
            SetCondition::IfAbsent => drop(set.arg("NX")),
            SetCondition::IfPresent => drop(set.arg("XX")),
        }
        if let Some(ttl_ms) = ttl_ms {
            set.arg("PX").arg(ttl_ms);
        }
        let _room = self.room_to_send(value.len()).await;
        Ok(!matches!(self.query(&set, key).await?, Value::Nil))
    }

    /// Sets all `entries`, of which there is at least one, in one step.
    pub(in crate::capability) async fn set_many(&self, entries: &[(String, Vec<u8>)]) -> Result<(), Refusal> {
        let mut mset = cmd("MSET");
        for (key, value) in entries {
            mset.arg(key).arg(value);
        }
        let _room = self.room_to_send(entries.iter().map(|(_, value)| value.len()).sum()).await;
        self.query(&mset, &entries[0].0).await
    }

    /// Deletes `key`; tells whether it was there.
    pub(in crate::capability) async fn delete(&self, key: &str) -> Result<bool, Refusal> {
        self.query(cmd("UNLINK").arg(key), key).await
    }

    /// Whether there is such a key.
    pub(in crate::capability) async fn exists(&self, key: &str) -> Result<bool, Refusal> {
        self.ask(cmd("EXISTS").arg(key), key).await
    }

    /// Adds `delta`, without telling the sum: in the atomic mode this one never conflicts.
    pub(in crate::capability) async fn add(&self, key: &str, delta: i64) -> Result<(), Refusal> {
        self.increment(key, delta).await.map(drop)
    }

    /// Adds `delta` and tells the sum.
    pub(in crate::capability) async fn increment(&self, key: &str, delta: i64) -> Result<i64, Refusal> {
        self.query(cmd("INCRBY").arg(key).arg(delta), key).await
    }

    /// Replaces (none: deletes) the value if it is still the expected one (none: absent); tells whether it did.
    pub(in crate::capability) async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        replacement: Option<&[u8]>,
    ) -> Result<bool, Refusal> {
        let mut call = CAS.call(&[key]);
        for side in [expected, replacement] {
            call.arg(i32::from(side.is_some())).arg(side.unwrap_or_default());
        }
        let sent = expected.map_or(0, <[u8]>::len) + replacement.map_or(0, <[u8]>::len);
        let _room = self.room_to_send(sent).await;
        self.run(&CAS, &call, key).await
    }

    /// Lets `key` expire (none: never); tells whether it was there. 0 deletes it.
    pub(in crate::capability) async fn expire(
        &self,
        key: &str,
        ttl_ms: Option<u64>,
    ) -> Result<bool, Refusal> {
        match ttl_ms {
            Some(ttl_ms) => self.query(cmd("PEXPIRE").arg(key).arg(ttl_ms), key).await,
            None => self.run(&PERSIST, &PERSIST.call(&[key]), key).await,
        }
    }

    /// Milliseconds until `key` expires; none if it does not, or is absent.
    pub(in crate::capability) async fn ttl(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let left: i64 = self.ask(cmd("PTTL").arg(key), key).await?;
        Ok(u64::try_from(left).ok())
    }

    /// When `key` expires, as PEXPIRETIME tells it.
    pub(in crate::capability) async fn expires_at(&self, key: &str) -> Result<i64, Refusal> {
        self.ask(cmd("PEXPIRETIME").arg(key), key).await
    }

    /// A page of the keys that start with `prefix`.
    pub(in crate::capability) async fn list_keys(
        &self,
        prefix: &str,
        cursor: u64,
        key_bytes_max: usize,
    ) -> Result<Page, Refusal> {
        let mut call = LIST_KEYS.call::<&str>(&[]);
        call.arg(cursor).arg(of_prefix(prefix)).arg(LOOKS_MAX).arg(PAGE_KEYS).arg(key_bytes_max);
        let mut parts: Vec<Vec<u8>> = self.run(&LIST_KEYS, &call, prefix).await?;
        let keys = parts.split_off(parts.len().min(2));
        let number = |nth: usize| std::str::from_utf8(parts.get(nth)?).ok()?.parse::<u64>().ok();
        let (Some(next), Some(looked)) = (number(0), number(1)) else {
            return Err(unexpected(&Value::Nil));
        };
        let (looks, enough) = (LOOKS_MAX, PAGE_KEYS);
        Ok(Page { cursor, looks, enough, key_bytes_max, looked, next, keys })
    }
}
