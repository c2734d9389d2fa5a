//! Places of keys that no job has: found and given to parked jobs. A place is lost if somebody deletes a key or a record
//! by hand, or if hosts with different limits serve one queue. Every end of a run hands its place on itself; this is for
//! what has no end any more.

use redis::Value;

use super::key::HOSTS;
use super::name::HostId;
use super::pace::Pace;
use super::reply::Fields;
use super::script;
use super::store::{JobStore, StoreError};
use crate::storage::link::Link;

/// Most records that one call reads, so that Redis serves others in between.
pub const HEAL_RECORDS_MAX: u32 = 1000;
/// Bytes of records after which a call stops early.
pub const HEAL_BYTES_MAX: u64 = 2 << 20;

/// Calls after which a round is left to be gone on with the next time.
const CALLS_MAX: u32 = 10_000;

/// One call of a round.
#[derive(Debug, Clone, Copy)]
pub struct Heal<'a> {
    /// Who asks.
    pub host: &'a HostId,
    /// Most runs at once of one key; 0: keys have no limit, and all parked jobs become ready.
    pub key_concurrency: u32,
    /// Shortest time between two rounds.
    pub gap_ms: u64,
    /// Most records to read.
    pub records_max: u32,
    /// Bytes after which no more are read.
    pub bytes_max: u64,
}

/// What a call has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Healed {
    /// The round goes on: call again.
    pub more: bool,
    /// Parked jobs that became ready.
    pub freed: u64,
    /// Keys whose number of places was wrong.
    pub keys: u64,
}

impl JobStore {
    /// Goes through a round, or frees all parked jobs, a call at a time.
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

    /// Does a bounded part of a round over `link`. Nothing is done while another host is at it, nor too soon after the
    /// last round. `link` tracks no keys: what is read here is not to be watched.
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
