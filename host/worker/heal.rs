//! Checks from time to time whether jobs are parked for slots that no job holds, and frees them (`job::heal`). Every
//! host checks, at random times; the first one does it for all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::lane::Lane;
use super::membership::Membership;
use crate::job::store::StoreError;

/// Keys in one command.
const KEYS_MAX: usize = 512;
/// Time between two checks, in periods of the reaper: one minute by default.
const PERIODS: u32 = 12;

/// Frees jobs that are parked for slots that no job holds.
#[derive(Debug)]
pub struct Healer {
    /// The host's membership.
    pub membership: Arc<Membership>,
    /// The queues served.
    pub lanes: watch::Receiver<Vec<Arc<Lane>>>,
    /// How often the reaper looks for dead hosts.
    pub reap_every: Duration,
}

impl Healer {
    /// Checks again and again until `stop`.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let wait = (self.reap_every * PERIODS).mul_f64(0.75 + 0.5 * fastrand::f64());
            tokio::select! {
                () = async { tokio::time::sleep(wait).await; self.look().await } => {}
                changed = stop.changed() => {
                    if changed.is_err() { return }
                }
            }
        }
    }

    async fn look(&self) {
        let lanes = self.lanes.borrow().clone();
        for some in lanes.chunks(KEYS_MAX) {
            // One command for all these queues; mostly no further one is needed.
            let mut any = redis::cmd("EXISTS");
            for lane in some {
                any.arg(&lane.store.keys().parked);
            }
            if some[0].commits.query::<u64>(&any).await.unwrap_or(0) == 0 {
                continue;
            }
            for lane in some {
                let queue = lane.queue.as_str();
                match self.heal(lane).await {
                    Ok(()) => {}
                    Err(StoreError::WrongType(key)) => {
                        let hint = "rename or delete the key; until then parked jobs are not checked";
                        tracing::warn!(queue, key, hint, "a key of this queue holds another type");
                    }
                    Err(error) => tracing::debug!(queue, %error, "parked jobs not checked; will retry"),
                }
            }
        }
    }

    async fn heal(&self, lane: &Lane) -> Result<(), StoreError> {
        let queue = lane.queue.as_str();
        let edition = lane.current();
        let key_limits = edition.policy.limits.key.as_ref();
        let most = key_limits.and_then(|key| key.concurrency).unwrap_or(0);
        // Not over the connection of claims: Redis would report every change of what is read here.
        let gap = self.reap_every * PERIODS / 2;
        let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        let host = self.membership.tenure();
        let healed = lane.store.heal_all(&lane.commits, &host.host, most, gap_ms).await?;
        let (jobs, keys) = (healed.freed, healed.keys);
        if most == 0 && jobs > 0 {
            tracing::info!(queue, jobs, "freed parked jobs: the queue no longer has a `key_concurrency`");
        } else if keys > 0 || jobs > 0 {
            tracing::warn!(queue, jobs, keys, "freed parked jobs: their keys had slots that no job held");
        }
        Ok(())
    }
}
