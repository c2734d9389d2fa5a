//! Finds key slots that no job holds, and gives them to parked jobs. A slot is lost if somebody deletes a key or a
//! record by hand, or if hosts with different limits serve one queue. Normally the end of a run gives its slot to the
//! next parked job; this is for slots whose run has no end any more.

use redis::Value;

use super::key::HOSTS;
use super::name::HostId;
use super::pace::Pace;
use super::reply::Fields;
use super::script;
use super::store::{JobStore, StoreError};
use crate::storage::link::Link;

/// Most records that one call reads, so that Redis can serve other clients between calls.
pub const HEAL_RECORDS_MAX: u32 = 1000;
/// Bytes of records after which a call stops early.
pub const HEAL_BYTES_MAX: u64 = 2 << 20;

/// Calls after which a round is left for the next time.
const CALLS_MAX: u32 = 10_000;

/// One call of a round.
#[derive(Debug, Clone, Copy)]
pub struct Heal<'a> {
    /// The host that asks.
    pub host: &'a HostId,
    /// Most jobs of one key that may run at once; 0: keys have no limit, and all parked jobs become ready.
    pub key_concurrency: u32,
    /// Shortest time between two rounds, in milliseconds.
    pub gap_ms: u64,
    /// Most records that the call reads.
    pub records_max: u32,
    /// Bytes of records after which the call stops early.
    pub bytes_max: u64,
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Healed {
    /// The round is not finished: call again.
    pub more: bool,
    /// Parked jobs that became ready.
    pub freed: u64,
    /// Keys whose count of slots in use was wrong.
    pub keys: u64,
}

impl JobStore {
    /// Does a round, or frees all parked jobs, in as many calls as it takes.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or a key of the queue is of a wrong type.
    pub async fn heal_all(
        &self,
        link: &Link,
        host: &HostId,
        key_concurrency: u32,
        gap_ms: u64,
    ) -> Result<Healed, StoreError> {
        let heal =
            Heal { host, key_concurrency, gap_ms, records_max: HEAL_RECORDS_MAX, bytes_max: HEAL_BYTES_MAX };
        let mut pace = Pace::default();
        let mut sum = Healed::default();
        for _ in 0..CALLS_MAX {
            let healed = pace.page(self.heal(link, &heal)).await?;
            sum.freed += healed.freed;
            sum.keys += healed.keys;
            sum.more = healed.more;
            if !sum.more {
                break;
            }
        }
        Ok(sum)
    }

    /// Does a bounded part of a round over `link`. Does nothing while another host works on a round, or too soon
    /// after the last one. `link` must not track keys: Redis would report every change of what is read here.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or a key of the queue is of a wrong type.
    pub async fn heal(&self, link: &Link, heal: &Heal<'_>) -> Result<Healed, StoreError> {
        let keys = self.keys();
        let mut call = script::HEAL.call(&[&keys.stats, &keys.ready, &keys.delayed, HOSTS]);
        call.arg(heal.host.as_str()).arg(heal.key_concurrency).arg(heal.gap_ms);
        call.arg(heal.records_max).arg(heal.bytes_max);
        let mut fields = Fields::new(script::HEAL.run::<Value>(link, &call).await?)?;
        if fields.number()? != 0 {
            return Err(StoreError::WrongType(fields.text()?));
        }
        Ok(Healed { more: fields.number()? != 0, freed: fields.number()?, keys: fields.number()? })
    }
}
