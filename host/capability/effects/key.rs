//! Strings: the operations behind `kv`.

use std::sync::LazyLock;

use redis::{Value, cmd};

use super::{Effects, unexpected, value_or_too_long, values_or_too_long};
use crate::capability::refusal::Refusal;
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
pub enum SetCondition {
    /// Whatever it holds.
    Always,
    /// Only if it is absent.
    IfAbsent,
    /// Only if it is there.
    IfPresent,
}

/// Some keys, and where to go on.
#[derive(Debug)]
pub struct KeyPage {
    /// Those that are UTF-8.
    pub keys: Vec<String>,
    /// None: there are no more.
    pub cursor: Option<u64>,
}

impl Effects {
    /// The value of `key`.
    pub async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let mut call = GET.call(&[key]);
        call.arg(self.value_bytes_max);
        value_or_too_long(self.run(&GET, &call, key).await?)
    }

    /// The values of `keys`, of which there is at least one.
    pub async fn get_many(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        let mut call = GET_MANY.call(keys);
        call.arg(self.value_bytes_max);
        let values = values_or_too_long(self.run(&GET_MANY, &call, &keys[0]).await?)?;
        values.into_iter().map(value_or_too_long).collect()
    }

    /// Sets `key` if the condition holds; tells whether it did.
    pub async fn set(
        &mut self,
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
        Ok(!matches!(self.query(&set, key).await?, Value::Nil))
    }

    /// Sets all `entries`, of which there is at least one, in one step.
    pub async fn set_many(&mut self, entries: &[(String, Vec<u8>)]) -> Result<(), Refusal> {
        let mut mset = cmd("MSET");
        for (key, value) in entries {
            mset.arg(key).arg(value);
        }
        self.query(&mset, &entries[0].0).await
    }

    /// Deletes `key`; tells whether it was there.
    pub async fn delete(&mut self, key: &str) -> Result<bool, Refusal> {
        self.query(cmd("UNLINK").arg(key), key).await
    }

    /// Whether there is such a key.
    pub async fn exists(&mut self, key: &str) -> Result<bool, Refusal> {
        self.query(cmd("EXISTS").arg(key), key).await
    }

    /// Adds `delta`, without telling the sum: in the atomic mode this one never conflicts.
    pub async fn add(&mut self, key: &str, delta: i64) -> Result<(), Refusal> {
        self.increment(key, delta).await.map(drop)
    }

    /// Adds `delta` and tells the sum.
    pub async fn increment(&mut self, key: &str, delta: i64) -> Result<i64, Refusal> {
        self.query(cmd("INCRBY").arg(key).arg(delta), key).await
    }

    /// Replaces (none: deletes) the value if it is still the expected one (none: absent); tells whether it did.
    pub async fn compare_and_swap(
        &mut self,
        key: &str,
        expected: Option<&[u8]>,
        replacement: Option<&[u8]>,
    ) -> Result<bool, Refusal> {
        let mut call = CAS.call(&[key]);
        for side in [expected, replacement] {
            call.arg(i32::from(side.is_some())).arg(side.unwrap_or_default());
        }
        self.run(&CAS, &call, key).await
    }

    /// Lets `key` expire (none: never); tells whether it was there. 0 deletes it.
    pub async fn expire(&mut self, key: &str, ttl_ms: Option<u64>) -> Result<bool, Refusal> {
        match ttl_ms {
            Some(ttl_ms) => self.query(cmd("PEXPIRE").arg(key).arg(ttl_ms), key).await,
            None => self.run(&PERSIST, &PERSIST.call(&[key]), key).await,
        }
    }

    /// Milliseconds until `key` expires; none if it does not, or is absent.
    pub async fn ttl(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        let left: i64 = self.query(cmd("PTTL").arg(key), key).await?;
        Ok(u64::try_from(left).ok())
    }

    /// A page of the keys that start with `prefix`.
    pub async fn list_keys(
        &mut self,
        prefix: &str,
        cursor: u64,
        key_bytes_max: usize,
    ) -> Result<KeyPage, Refusal> {
        let mut call = LIST_KEYS.call::<&str>(&[]);
        call.arg(cursor).arg(pattern(prefix)).arg(LOOKS_MAX).arg(PAGE_KEYS).arg(key_bytes_max);
        let Value::Array(parts) = self.run(&LIST_KEYS, &call, prefix).await? else {
            return Err(unexpected(&Value::Nil));
        };
        let mut texts = parts.into_iter().filter_map(|part| match part {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        });
        let next = texts.next().and_then(|c| c.parse::<u64>().ok()).ok_or_else(|| unexpected(&Value::Nil))?;
        Ok(KeyPage { keys: texts.collect(), cursor: (next != 0).then_some(next) })
    }
}

/// The pattern of SCAN for everything that starts with exactly `prefix`.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_prefix_is_taken_literally() {
        for (prefix, expected) in
            [("", "*"), ("a:", "a:*"), ("a*[b]?\\", "a\\*\\[b\\]\\?\\\\*"), ("^-", "^-*")]
        {
            assert_eq!(pattern(prefix), expected);
        }
    }
}
