//! Reads the jobs of a host in flight from Redis: the slots, the records, and the cancellation notice. Anybody with
//! write access to Redis can write there, so each read has a bound.

use super::name::HostId;
use super::store::{Claimed, JobStore, Slot, StoreError, read_record, wrong_type};
use crate::storage::bounded::{self, Bound, Element, Of};

/// Most records of a host in one queue, and the longest name of one.
pub(super) const INFLIGHT_BOUND: Bound = Bound { elements: 1_000_000, bytes: 32 };
/// Most records of unanswered claims that are fetched at a time, and the longest one. A longer one is fetched alone.
const FETCH_BOUND: Bound = Bound { elements: 32, bytes: 2 << 20 };
/// Longest record that is fetched: the largest payload that settings can allow, and a header.
const RECORD_BYTES_MAX: usize = (512 << 20) + 16_896;
/// Longest cancellation notice; of a longer one, only this beginning is compared.
const WORD_BYTES_MAX: usize = 63;

impl JobStore {
    /// The slots of the jobs that `host` owns.
    pub async fn inflight(&self, host: &HostId) -> Result<Vec<Slot>, StoreError> {
        let key = self.keys.inflight(host);
        let fields = bounded::texts(&self.link, &key, Of::Names, INFLIGHT_BOUND).await;
        let fields = fields.map_err(|fault| wrong_type(fault, &key))?;
        let mut slots: Vec<Slot> = fields.iter().filter_map(|field| field.parse().ok()).collect();
        slots.sort_unstable();
        Ok(slots)
    }

    /// The last cancellation notice of `host`, if it is recent. Redis reports the next one to a connection that tracks
    /// keys.
    pub async fn word(&self, host: &HostId) -> Result<Option<String>, StoreError> {
        let key = self.keys.word(host);
        let mut get = redis::cmd("GETRANGE");
        get.arg(&key).arg(0).arg(WORD_BYTES_MAX);
        let word: Vec<u8> = self.link.query(&get).await.map_err(|fault| wrong_type(fault, &key))?;
        Ok(Some(String::from_utf8_lossy(&word).into_owned()).filter(|word| !word.is_empty()))
    }

    /// The jobs in these slots, whose claims were not answered. Empty slots are left out.
    pub async fn fetch(&self, host: &HostId, slots: &[Slot]) -> Result<Vec<Claimed>, StoreError> {
        let key = self.keys.inflight(host);
        let mut claimed = Vec::with_capacity(slots.len());
        for page in slots.chunks(FETCH_BOUND.elements) {
            let fields: Vec<String> = page.iter().map(ToString::to_string).collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let records = bounded::read(&self.link, &key, Of::Fields(&fields), FETCH_BOUND).await;
            let records = records.map_err(|fault| wrong_type(fault, &key))?;
            for ((slot, field), record) in page.iter().zip(&fields).zip(records) {
                match self.whole(&key, field, record).await? {
                    Element::Whole(record) => claimed.push(read_record(host, *slot, record)),
                    Element::Absent => {}
                    Element::TooLong(bytes) => tracing::warn!(
                        "a record of `{key}` has {bytes} bytes, more than any job that a host claims: it stays there \
                         until this host ends"
                    ),
                }
            }
        }
        Ok(claimed)
    }

    /// The record in a field; one that was too long for its page is read now.
    async fn whole(&self, key: &str, field: &str, record: Element) -> Result<Element, StoreError> {
        let Element::TooLong(_) = record else { return Ok(record) };
        let bound = Bound { elements: 1, bytes: RECORD_BYTES_MAX };
        let found = bounded::read(&self.link, key, Of::Fields(&[field]), bound).await;
        let found = found.map_err(|fault| wrong_type(fault, key))?;
        Ok(found.into_iter().next().unwrap_or(Element::Absent))
    }
}
