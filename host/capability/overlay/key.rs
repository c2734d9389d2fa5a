//! Strings in an overlay: the operations behind `kv`.

use std::collections::BTreeSet;
use std::time::Instant;

use super::slot::{Due, Held, Presence, Slot, millis};
use super::{Overlay, due_in};
use crate::capability::direct::SetCondition;
use crate::capability::foresight::{Asked, Found};
use crate::capability::glob::of_prefix;
use crate::capability::refusal::Refusal;
use crate::job::change::{Page, Seen};

/// What Redis holds at a key that is to be a string.
enum Stored {
    Absent,
    Text(Vec<u8>),
    /// Longer than a run may fetch.
    Long,
}

impl Overlay {
    /// The value of `key`.
    pub(in crate::capability) async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.text(key, false).await
    }

    /// The values of `keys`, of which there is at least one. What has to be asked for travels together.
    pub(in crate::capability) async fn get_many(
        &mut self,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, Refusal> {
        let mut asked: BTreeSet<String> = BTreeSet::new();
        for key in keys {
            let known =
                self.known.of(key).is_some_and(|known| known.text.is_some() || known.present == Some(false));
            let own = self.slot(key).is_some_and(|slot| slot.replaced);
            if !known && !own {
                asked.insert(key.clone());
            }
        }
        let asked: Vec<String> = asked.into_iter().collect();
        let stored = if asked.is_empty() { Vec::new() } else { self.stored().get_many(&asked).await? };
        if self.is_serializable() {
            for (key, value) in asked.iter().zip(&stored) {
                match value {
                    Some(value) => self.known.assume_text(key, value)?,
                    // Absent, or of another type.
                    None => drop(self.is_stored(key, true).await?),
                }
            }
        }
        let mut values = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for key in keys {
            let value = match asked.binary_search(key) {
                Ok(at) => self.merged(key, stored[at].clone())?,
                Err(_) => match self.text(key, false).await {
                    Err(Refusal::WrongType(_)) => None,
                    answer => answer?,
                },
            };
            bytes += value.as_ref().map_or(0, Vec::len);
            self.check_length(bytes)?;
            values.push(value);
        }
        Ok(values)
    }

    /// Sets `key` if the condition holds; tells whether it did.
    pub(in crate::capability) async fn set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        condition: SetCondition,
    ) -> Result<bool, Refusal> {
        self.charge(key.len() + value.len())?;
        let holds = match condition {
            SetCondition::Always => true,
            SetCondition::IfAbsent => !self.is_taken(key).await?,
            SetCondition::IfPresent => self.is_present(key, true).await?,
        };
        if holds {
            self.slot_mut(key).set(value, ttl_ms.map_or(Due::Never, due_in));
        }
        Ok(holds)
    }

    /// Sets all `entries`.
    pub(in crate::capability) fn set_many(&mut self, entries: Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
        for (key, value) in &entries {
            self.charge(key.len() + value.len())?;
        }
        for (key, value) in entries {
            self.slot_mut(&key).set(value, Due::Never);
        }
        Ok(())
    }

    /// Deletes `key`; tells whether it was there.
    pub(in crate::capability) async fn delete(&mut self, key: &str) -> Result<bool, Refusal> {
        self.charge(key.len())?;
        let present = self.is_present(key, true).await?;
        if present {
            self.slot_mut(key).delete();
        }
        Ok(present)
    }

    /// Whether there is such a key.
    pub(in crate::capability) async fn exists(&mut self, key: &str) -> Result<bool, Refusal> {
        self.is_present(key, false).await
    }

    /// Adds `delta`. Asks Redis nothing, so what it finds out of type there shows at the commit.
    pub(in crate::capability) async fn add(&mut self, key: &str, delta: i64) -> Result<(), Refusal> {
        let sum = match self.slot(key) {
            None => Some(delta),
            Some(Slot { held: Held::Nothing, replaced: false, .. }) => Some(delta),
            Some(Slot { held: Held::Sum(sum), .. }) => sum.checked_add(delta),
            // What is there is the run's own: the sum is known.
            Some(_) => None,
        };
        // Where Redis' value counts and is known, it shows what can never be added.
        let stored = match self.known.of(key) {
            Some(known) if sum.is_some() && known.present == Some(false) => Some(0),
            Some(known) if sum.is_some() => {
                let wrong = || Refusal::WrongType(key.to_owned());
                known.text.as_deref().map(|text| integer(text).ok_or_else(wrong)).transpose()?
            }
            _ => None,
        };
        match sum {
            Some(sum) if stored.is_none_or(|stored| stored.checked_add(sum).is_some()) => {
                self.charge(key.len())?;
                let slot = self.slot_mut(key);
                slot.held = Held::Sum(sum);
                Ok(())
            }
            _ => self.increment(key, delta).await.map(drop),
        }
    }

    /// Adds `delta` and tells the sum.
    pub(in crate::capability) async fn increment(&mut self, key: &str, delta: i64) -> Result<i64, Refusal> {
        self.charge(key.len())?;
        let before = match self.text(key, true).await {
            Err(Refusal::Quota(_)) => return Err(Refusal::WrongType(key.to_owned())),
            answer => answer?,
        };
        let wrong = || Refusal::WrongType(key.to_owned());
        let value = before.as_deref().map_or(Some(0), integer).ok_or_else(wrong)?;
        let sum = value.checked_add(delta).ok_or_else(wrong)?;
        let slot = self.slot_mut(key);
        // A new value for what was there stays as long as that would have.
        let due = if before.is_some() { slot.due } else { Due::Never };
        slot.set(sum.to_string().into_bytes(), due);
        Ok(sum)
    }

    /// Replaces (none: deletes) the value if it is still the expected one (none: absent); tells whether it did.
    pub(in crate::capability) async fn compare_and_swap(
        &mut self,
        key: &str,
        expected: Option<&[u8]>,
        replacement: Option<Vec<u8>>,
    ) -> Result<bool, Refusal> {
        self.charge(key.len() + replacement.as_ref().map_or(0, Vec::len))?;
        let holds = match expected {
            None => !self.is_taken(key).await?,
            Some(expected) => match self.text(key, true).await {
                // Too long to be fetched, so longer than anything that can be expected.
                Err(Refusal::Quota("value")) => false,
                answer => answer?.as_deref() == Some(expected),
            },
        };
        if holds {
            match replacement {
                Some(value) => self.slot_mut(key).set(value, Due::Never),
                None if expected.is_some() => self.slot_mut(key).delete(),
                None => {}
            }
        }
        Ok(holds)
    }

    /// Lets `key` expire (none: never); tells whether it was there. 0 deletes it.
    pub(in crate::capability) async fn expire(
        &mut self,
        key: &str,
        ttl_ms: Option<u64>,
    ) -> Result<bool, Refusal> {
        self.charge(key.len())?;
        if !self.is_present(key, true).await? {
            return Ok(false);
        }
        let slot = self.slot_mut(key);
        match ttl_ms {
            Some(0) => slot.delete(),
            Some(ttl_ms) => slot.due = due_in(ttl_ms),
            None => slot.due = Due::Never,
        }
        Ok(true)
    }

    /// Milliseconds until `key` expires; none if it does not, or is absent.
    pub(in crate::capability) async fn ttl(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        let (due, is_new) = self.slot(key).map_or((Due::Keep, false), |slot| {
            // A string that took the place of another by `increment` stays as long as that would have.
            (slot.due, slot.replaced && !matches!(slot.held, Held::Text(_)))
        });
        match due {
            Due::At(at) => Ok(Some(millis(at.saturating_duration_since(Instant::now())))),
            Due::Never => Ok(None),
            Due::Keep if is_new => Ok(None),
            Due::Keep => {
                if self.is_serializable() {
                    let expires = self.stored().expires_at(key).await?;
                    self.known.assume(key, Seen::Expires(expires))?;
                }
                self.stored().ttl(key).await
            }
        }
    }

    /// A page of the keys that start with `prefix`. What the run made comes with the first page.
    pub(in crate::capability) async fn list_keys(
        &mut self,
        prefix: &str,
        cursor: u64,
        key_bytes_max: usize,
    ) -> Result<Page, Refusal> {
        let pattern = of_prefix(prefix);
        // Else a run could have the same keys looked at again and again.
        if self.is_serializable() && !self.known.has_page_from(&pattern, cursor) {
            return Err(Refusal::Quota("cursor"));
        }
        let mut page = self.stored().list_keys(prefix, cursor, key_bytes_max).await?;
        if self.is_serializable() {
            self.known.assume(&pattern, Seen::Page(page.clone()))?;
        }
        page.keys.retain(|key| {
            let name = std::str::from_utf8(key).ok();
            name.is_none_or(|name| self.presence(name) != Presence::Absent)
        });
        if cursor == 0 {
            let listed: BTreeSet<Vec<u8>> = page.keys.iter().cloned().collect();
            let own = self.slots.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            let own = own.filter(|(_, slot)| slot.presence() == Presence::Present);
            page.keys
                .extend(own.map(|(key, _)| key.clone().into_bytes()).filter(|key| !listed.contains(key)));
        }
        Ok(page)
    }

    /// The value of `key`. `decides`: what Redis says is taken for granted in any case.
    async fn text(&mut self, key: &str, decides: bool) -> Result<Option<Vec<u8>>, Refusal> {
        let bytes_max = self.direct.value_bytes_max;
        match self.slot(key) {
            Some(Slot { held: Held::Text(value), .. }) if value.len() as u64 <= bytes_max => {
                return Ok(Some(value.clone()));
            }
            Some(Slot { held: Held::Text(_), .. }) => return Err(Refusal::Quota("value")),
            Some(slot) if slot.presence() == Presence::Absent => return Ok(None),
            Some(slot @ Slot { held: Held::List(_), .. }) if slot.presence() == Presence::Present => {
                return Err(Refusal::WrongType(key.to_owned()));
            }
            _ => {}
        }
        match self.stored_text(key, decides).await? {
            Stored::Long => Err(Refusal::Quota("value")),
            Stored::Absent => self.merged(key, None),
            Stored::Text(text) => self.merged(key, Some(text)),
        }
    }

    /// The value in Redis with what the run adds to it.
    fn merged(&mut self, key: &str, stored: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Refusal> {
        match self.slot(key) {
            Some(Slot { held: Held::Sum(sum), .. }) => {
                let value = stored.as_deref().map_or(Some(0), integer);
                let value = value.and_then(|value| value.checked_add(*sum));
                let value = value.ok_or_else(|| Refusal::WrongType(key.to_owned()))?;
                Ok(Some(value.to_string().into_bytes()))
            }
            _ => Ok(stored),
        }
    }

    async fn stored_text(&mut self, key: &str, decides: bool) -> Result<Stored, Refusal> {
        if let Some(known) = self.known.of(key) {
            match (&known.text, known.present) {
                (Some(text), _) => return Ok(Stored::Text(text.clone())),
                (None, Some(false)) => return Ok(Stored::Absent),
                _ if known.is_longer => return Ok(Stored::Long),
                _ => {}
            }
        }
        if decides {
            self.decide(key).await;
        }
        let keeps = decides || self.is_serializable();
        match self.fetch(key, decides).await {
            Ok(None) => {
                if keeps {
                    self.known.assume_presence(key, false)?;
                }
                Ok(Stored::Absent)
            }
            Ok(Some(value)) => {
                if keeps {
                    self.known.assume_text(key, &value)?;
                }
                Ok(Stored::Text(value))
            }
            Err(Refusal::Quota("value")) => {
                if keeps {
                    self.known.assume_longer(key, self.direct.value_bytes_max)?;
                }
                Ok(Stored::Long)
            }
            Err(refusal) => {
                if keeps && matches!(refusal, Refusal::WrongType(_)) {
                    self.known.assume_presence(key, true)?;
                }
                Err(refusal)
            }
        }
    }

    /// The value in Redis. `decides`: as it is now.
    async fn fetch(&mut self, key: &str, decides: bool) -> Result<Option<Vec<u8>>, Refusal> {
        let foreseen = match &mut self.foreseen {
            Some(foreseen) if !decides => foreseen.find(Asked::Text(key), &self.direct).await,
            _ => {
                self.learns();
                None
            }
        };
        match foreseen {
            Some(Found::Text(text)) => Ok(text),
            _ => self.direct.get(key).await,
        }
    }

    fn check_length(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes as u64 > self.direct.value_bytes_max { Err(Refusal::Quota("value")) } else { Ok(()) }
    }
}

/// The integer that Redis would read in this text: digits without leading zeros, at most one minus before them.
fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn an_integer_is_what_redis_takes_for_one() {
        for (text, value) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("007", None),
            ("+1", None),
            ("-0", None),
            ("1.0", None),
            (" 1", None),
            ("", None),
        ] {
            assert_eq!(integer(text.as_bytes()), value, "{text}");
        }
    }
}
