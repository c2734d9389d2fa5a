//! `sandhog:worker/kv` for guests: budget, bounds and grants, then the operation.

use super::binding::sandhog::worker::kv::{Condition, Host, KeyPage, SetOptions};
use super::direct::SetCondition;
use super::refusal::Refusal;
use super::view::{BATCH_MAX, NAME_BYTES_MAX, View, check_grant};

/// Longest time to live: 100 years. Beyond it Redis' own arithmetic would fail.
const TTL_MS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

impl Host for View {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Refusal> {
        self.spend_call("kv.get")?;
        self.check_read(&key)?;
        self.effects.get(&key).await
    }

    async fn get_many(&mut self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        self.spend_call("kv.get-many")?;
        check_batch(keys.len())?;
        keys.iter().try_for_each(|key| self.check_read(key))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.effects.get_many(&keys).await
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Refusal> {
        self.spend_call("kv.set")?;
        self.check_write(&key)?;
        self.check_value(value.len())?;
        self.spend_writes(1, key.len() + value.len()).await?;
        self.effects.set(&key, value, None, SetCondition::Always).await.map(drop)
    }

    async fn set_with(&mut self, key: String, value: Vec<u8>, options: SetOptions) -> Result<bool, Refusal> {
        self.spend_call("kv.set-with")?;
        self.check_write(&key)?;
        self.check_value(value.len())?;
        if options.ttl_ms.is_some_and(|ttl| ttl == 0 || ttl > TTL_MS_MAX) {
            return Err(Refusal::Quota("ttl-ms"));
        }
        self.spend_writes(1, key.len() + value.len()).await?;
        let condition = match options.condition {
            Condition::Always => SetCondition::Always,
            Condition::IfAbsent => SetCondition::IfAbsent,
            Condition::IfPresent => SetCondition::IfPresent,
        };
        self.effects.set(&key, value, options.ttl_ms, condition).await
    }

    async fn set_many(&mut self, entries: Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
        self.spend_call("kv.set-many")?;
        check_batch(entries.len())?;
        entries.iter().try_for_each(|(key, _)| self.check_write(key))?;
        self.check_value(entries.iter().map(|(_, value)| value.len()).sum())?;
        if entries.is_empty() {
            return Ok(());
        }
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.spend_writes(entries.len(), bytes).await?;
        self.effects.set_many(entries).await
    }

    async fn delete(&mut self, key: String) -> Result<bool, Refusal> {
        self.spend_call("kv.delete")?;
        self.check_write(&key)?;
        self.spend_effects(1)?;
        self.effects.delete(&key).await
    }

    async fn exists(&mut self, key: String) -> Result<bool, Refusal> {
        self.spend_call("kv.exists")?;
        self.check_read(&key)?;
        self.effects.exists(&key).await
    }

    async fn add(&mut self, key: String, delta: i64) -> Result<(), Refusal> {
        self.spend_call("kv.add")?;
        self.check_write(&key)?;
        self.spend_writes(1, key.len()).await?;
        self.effects.add(&key, delta).await
    }

    async fn increment(&mut self, key: String, delta: i64) -> Result<i64, Refusal> {
        self.spend_call("kv.increment")?;
        self.check_write(&key)?;
        self.spend_writes(1, key.len()).await?;
        self.effects.increment(&key, delta).await
    }

    async fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        replacement: Option<Vec<u8>>,
    ) -> Result<bool, Refusal> {
        self.spend_call("kv.compare-and-swap")?;
        self.check_write(&key)?;
        for value in [&expected, &replacement].into_iter().flatten() {
            self.check_value(value.len())?;
        }
        self.spend_writes(1, key.len() + replacement.as_ref().map_or(0, Vec::len)).await?;
        self.effects.compare_and_swap(&key, expected, replacement).await
    }

    async fn expire(&mut self, key: String, ttl_ms: Option<u64>) -> Result<bool, Refusal> {
        self.spend_call("kv.expire")?;
        self.check_write(&key)?;
        if ttl_ms.is_some_and(|ttl| ttl > TTL_MS_MAX) {
            return Err(Refusal::Quota("ttl-ms"));
        }
        self.spend_writes(1, key.len()).await?;
        self.effects.expire(&key, ttl_ms).await
    }

    async fn ttl(&mut self, key: String) -> Result<Option<u64>, Refusal> {
        self.spend_call("kv.ttl")?;
        self.check_read(&key)?;
        self.effects.ttl(&key).await
    }

    async fn list_keys(&mut self, prefix: String, cursor: Option<String>) -> Result<KeyPage, Refusal> {
        self.spend_call("kv.list-keys")?;
        self.check_prefix(&prefix)?;
        let start = match cursor {
            None => 0,
            Some(text) => own_cursor(&text).ok_or(Refusal::Quota("cursor"))?,
        };
        let page = self.effects.list_keys(&prefix, start, NAME_BYTES_MAX).await?;
        let keys = page.keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        let covered = |key: &String| check_grant(&self.scope.grants.kv_read, key).is_ok();
        let keys = keys.filter(covered).collect();
        Ok(KeyPage { keys, cursor: (page.next != 0).then(|| page.next.to_string()) })
    }
}

/// A cursor in the form that this file writes; other spellings of the same number are refused.
fn own_cursor(text: &str) -> Option<u64> {
    text.parse().ok().filter(|cursor: &u64| cursor.to_string() == text)
}

fn check_batch(count: usize) -> Result<(), Refusal> {
    if count > BATCH_MAX { Err(Refusal::Quota("keys")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cursors_as_they_were_given_are_accepted() {
        for (text, cursor) in [("0", Some(0)), ("17", Some(17)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(own_cursor(text), cursor);
        }
        for text in ["", "+1", "-1", "01", "00", " 1", "1 ", "1.0", "1e3", "18446744073709551616"] {
            assert_eq!(own_cursor(text), None, "{text:?}");
        }
    }
}
