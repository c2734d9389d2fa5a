//! Takes back what hosts held that are gone: every few seconds those whose lease has run out, and at start the
//! former lives of this host, immediately. Any host does it for all. But a host whose own lease had ended takes
//! nothing back for the time of one lease, because what kept it from Redis may have kept other hosts as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::membership::{Membership, Tenure};
use crate::job::lease::Death;
use crate::job::name::{HostId, QueueName};
use crate::job::store::{DeadLimits, JobStore, StoreError};
use crate::job::take;
use crate::storage::link::Link;

/// Most pages of dead hosts that the reaper reads in one period; the next one continues behind them.
const PAGES_MAX: u32 = 100;
/// Most hosts about which the reaper remembers that it has warned.
const WARNED_MAX: usize = 1000;

/// Takes back jobs of dead hosts.
#[derive(Debug)]
pub struct Reaper {
    /// Who is alive, and who we are.
    pub membership: Arc<Membership>,
    /// The connection to use.
    pub link: Link,
    /// How often to look; the recovery bound is lease + this + a margin for the work itself.
    pub period: Duration,
    /// Crashes after which a job is buried.
    pub crashes_max: u32,
    /// Bounds of the dead jobs.
    pub dead: DeadLimits,
    /// Queues to look into besides those a dead host told of.
    pub own_queues: watch::Receiver<Vec<QueueName>>,
}

impl Reaper {
    /// Looks again and again until `stop`.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut generations = self.link.generations();
        let mut round = Round::default();
        while !*stop.borrow() {
            let wait = self.period.mul_f64(0.75 + 0.25 * fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = stop.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            }
            if let Err(error) = self.look(&mut round).await {
                tracing::debug!(%error, "reaping will be tried again");
            }
            if generations.has_changed().unwrap_or(false) {
                generations.mark_unchanged();
                if let Err(error) = self.put_back_forgotten().await {
                    generations.mark_changed();
                    tracing::debug!(%error, "entries that nobody holds will be looked for again");
                }
            }
        }
    }

    /// Takes back what former lives of this host's seat left. They cannot be alive: this process holds the lock of
    /// the very file that they had locked, and the machine has not been rebooted since. A former life with a copy of
    /// the file elsewhere keeps its jobs until its lease ends.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or a key is of a wrong type.
    pub async fn take_over(&self) -> Result<(), StoreError> {
        let (own, origin) = (self.membership.tenure(), self.membership.origin());
        let mut failure = None;
        for former in self.membership.leases().of_seat(own.host.seat()).await? {
            if former.id != own.host
                && !origin.is_empty()
                && former.origin == origin
                && let Err(error) = self.reap(&former.id, Death::Certain).await
            {
                // The other dead hosts do not wait for this one.
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// After a reconnect, perhaps to another server that has not heard our last words: looks for entries that runs
    /// have popped and that were done with.
    async fn put_back_forgotten(&self) -> Result<(), StoreError> {
        let mut count = 0;
        for own in self.membership.formers().into_iter().chain([self.membership.tenure()]) {
            for queue in self.membership.leases().queues_of(&own.host).await? {
                count += take::put_back_forgotten(&self.link, &own.host, &queue).await?;
            }
        }
        if count > 0 {
            tracing::info!(count, "popped entries that nobody held any more were put back");
        }
        Ok(())
    }

    /// Reclaims the jobs of dead hosts, a bounded number of pages at a time. A host whose jobs cannot be reclaimed is
    /// skipped until the next round, so that the jobs of other hosts do not wait.
    async fn look(&self, round: &mut Round) -> Result<(), StoreError> {
        let failure = self.clear_former().await.err();
        if self.membership.has_lapsed_lately() {
            return failure.map_or(Ok(()), Err);
        }
        let own = self.membership.formers().into_iter().chain([self.membership.tenure()]);
        let own: Vec<Arc<Tenure>> = own.collect();
        for _ in 0..PAGES_MAX {
            let page = self.membership.leases().expired(self.membership.lease(), round.skip).await?;
            // Hosts that are removed here leave the registry, and the others move up.
            round.skip += page.members;
            for host in page.hosts.iter().filter(|host| own.iter().all(|own| own.host != **host)) {
                match self.reap(host, Death::Expired).await {
                    Ok(true) => round.skip -= 1,
                    Ok(false) => {}
                    Err(error) if is_outage(&error) => {
                        round.skip = 0;
                        return Err(error);
                    }
                    Err(error) => round.note(host, &error),
                }
            }
            if !page.is_full() {
                round.end();
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Ends the registration of this host's former ids under which it holds no jobs any more.
    async fn clear_former(&self) -> Result<(), StoreError> {
        for host in self.membership.abandoned() {
            if self.end_own(&host).await? {
                self.membership.drop_former(&host);
            }
        }
        Ok(())
    }

    /// Ends this host's own registration, once it holds no job any more. What is there in its name all the same, a
    /// failover has brought back.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let cleared = self.clear_former().await;
        self.end_own(&self.membership.tenure().host).await?;
        cleared
    }

    /// Ends the registration of an id of this process, which holds no jobs under it; false if it had records again.
    async fn end_own(&self, host: &HostId) -> Result<bool, StoreError> {
        let ended = self.take_back(host, Death::Alive).await?;
        if let Some((moved @ 1.., _)) = ended {
            tracing::info!(moved, "reclaimed jobs that no run held any more");
        }
        Ok(ended.is_some())
    }

    /// Reclaims the jobs of a dead host. Returns true if the host is no longer registered.
    async fn reap(&self, host: &HostId, death: Death) -> Result<bool, StoreError> {
        let ended = self.take_back(host, death).await?;
        if let Some((moved, buried)) = ended {
            tracing::warn!(host = host.as_str(), moved, buried, "a host is gone; reclaimed its jobs");
        }
        Ok(ended.is_some())
    }

    /// Takes back what a host has in flight, and forgets it. Answers how many jobs were moved and buried; none if
    /// it lives, or a failover has just brought some back: then it is looked at again.
    async fn take_back(&self, host: &HostId, death: Death) -> Result<Option<(u64, u64)>, StoreError> {
        let leases = self.membership.leases();
        // The queues it served first: the lists that its runs popped from can be many.
        let mut queues = leases.served_by(host).await?;
        let own: Vec<QueueName> = self.own_queues.borrow().clone();
        queues.extend(own.into_iter().filter(|queue| !queues.contains(queue)).collect::<Vec<_>>());
        let mut sum = Back::default();
        if !self.take_back_from(host, death, &queues, &mut sum).await? {
            return Ok(None);
        }
        let popped = leases.popped_from(host).await?;
        if !self.take_back_from(host, death, &popped, &mut sum).await? {
            return Ok(None);
        }
        if let Some(error) = sum.failure {
            // Stays registered: its records in that queue wait until an operator moves the key away.
            return Err(error);
        }
        queues.extend(popped);
        let by_force = death != Death::Expired;
        Ok(leases.forget(host, by_force, &queues).await?.then_some((sum.moved, sum.buried)))
    }

    /// Takes back what the host has in these queues; false if it is alive.
    async fn take_back_from(
        &self,
        host: &HostId,
        death: Death,
        queues: &[QueueName],
        sum: &mut Back,
    ) -> Result<bool, StoreError> {
        for queue in queues {
            let store = JobStore::new(self.link.clone(), queue.clone(), self.dead);
            loop {
                let reaped = match store.reap(host, death, self.crashes_max).await {
                    Ok(reaped) => reaped,
                    Err(error @ StoreError::WrongType(_)) => {
                        sum.failure = Some(error);
                        break;
                    }
                    Err(error) => return Err(error),
                };
                sum.moved += reaped.moved;
                sum.buried += reaped.buried;
                if reaped.alive {
                    return Ok(false);
                }
                if reaped.left == 0 || reaped.moved + reaped.buried == 0 {
                    break;
                }
            }
        }
        Ok(true)
    }
}

/// A round over all dead hosts.
#[derive(Debug, Default)]
struct Round {
    /// Members of the registry that this round has read and that are still there.
    skip: u64,
    /// Hosts whose jobs could not be reclaimed, in the former round and in this one, and why.
    former: BTreeMap<HostId, String>,
    failed: BTreeMap<HostId, String>,
}

impl Round {
    /// Warns once about each host and reason, until a round succeeds. Hosts beyond the number that it can remember get
    /// no warning.
    fn note(&mut self, host: &HostId, error: &StoreError) {
        let reason = error.to_string();
        let is_known = [&self.former, &self.failed].iter().any(|hosts| hosts.get(host) == Some(&reason));
        if self.failed.len() >= WARNED_MAX {
            return;
        }
        if !is_known {
            tracing::warn!(
                host = host.as_str(),
                %error,
                "cannot reclaim the jobs of a dead host; the host stays registered; trying again"
            );
        }
        self.failed.insert(host.clone(), reason);
    }

    fn end(&mut self) {
        self.skip = 0;
        self.former = std::mem::take(&mut self.failed);
    }
}

/// Whether Redis refuses all commands now, not only those about one host. A missing right may be about one key.
fn is_outage(error: &StoreError) -> bool {
    matches!(error, StoreError::Fault(fault) if fault.is_outage() && !fault.is_code("NOPERM"))
}

/// What was taken back from one host.
#[derive(Debug, Default)]
struct Back {
    moved: u64,
    buried: u64,
    failure: Option<StoreError>,
}
