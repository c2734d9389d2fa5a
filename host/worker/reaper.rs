//! Takes back what hosts held that are gone: every few seconds those whose lease has run out, and at start the
//! former lives of this very host, at once. Any host does it for all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::membership::Membership;
use crate::job::name::{HostId, QueueName};
use crate::job::store::{DeadLimits, JobStore, StoreError};
use crate::job::take;
use crate::storage::link::Link;

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
        while !*stop.borrow() {
            let wait = self.period.mul_f64(0.75 + 0.25 * fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = stop.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            }
            if let Err(error) = self.look().await {
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

    /// Takes back what former lives of this host's seat left; they cannot be alive, for we hold the seat.
    pub async fn take_over(&self) -> Result<(), StoreError> {
        let own = self.membership.tenure();
        for former in self.membership.leases().of_seat(own.host.seat()).await? {
            if former != own.host {
                self.reap(&former, true).await?;
            }
        }
        Ok(())
    }

    /// After a reconnect, perhaps to another server that has not heard our last words: looks for entries that runs
    /// have popped and that were done with.
    async fn put_back_forgotten(&self) -> Result<(), StoreError> {
        let own = self.membership.tenure();
        let mut count = 0;
        for queue in self.membership.leases().queues_of(&own.host).await? {
            count += take::put_back_forgotten(&self.link, &own.host, &queue).await?;
        }
        if count > 0 {
            tracing::info!(count, "popped entries that nobody held any more were put back");
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), StoreError> {
        let own = self.membership.tenure();
        let mut failure = None;
        for host in self.membership.leases().expired().await? {
            if host != own.host
                && let Err(error) = self.reap(&host, false).await
            {
                // What is wrong with one host's queue keeps no other host's jobs waiting.
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Ends this host's own registration, once it holds no job any more. What is there in its name all the same, a
    /// failover has brought back.
    pub async fn leave(&self) -> Result<(), StoreError> {
        if let Some((moved @ 1.., _)) = self.take_back(&self.membership.tenure().host, true).await? {
            tracing::info!(moved, "jobs that nobody held any more were taken back");
        }
        Ok(())
    }

    async fn reap(&self, host: &HostId, by_force: bool) -> Result<(), StoreError> {
        if let Some((moved, buried)) = self.take_back(host, by_force).await? {
            tracing::warn!(host = host.as_str(), moved, buried, "a host is gone; its jobs were taken back");
        }
        Ok(())
    }

    /// Takes back what a host has in flight, and forgets it. Answers how many jobs were moved and buried; none if
    /// it lives, or a failover has just brought some back: then it is looked at again.
    async fn take_back(&self, host: &HostId, by_force: bool) -> Result<Option<(u64, u64)>, StoreError> {
        let leases = self.membership.leases();
        let mut queues: BTreeSet<QueueName> = leases.queues_of(host).await?.into_iter().collect();
        queues.extend(self.own_queues.borrow().iter().cloned());
        let (mut moved, mut buried, mut failure) = (0, 0, None);
        for queue in &queues {
            let store = JobStore::new(self.link.clone(), queue.clone(), self.dead);
            loop {
                let reaped = match store.reap(host, by_force, self.crashes_max).await {
                    Ok(reaped) => reaped,
                    Err(error @ StoreError::WrongType(_)) => {
                        failure = Some(error);
                        break;
                    }
                    Err(error) => return Err(error),
                };
                moved += reaped.moved;
                buried += reaped.buried;
                if reaped.alive {
                    return Ok(None);
                }
                if reaped.left == 0 || reaped.moved + reaped.buried == 0 {
                    break;
                }
            }
        }
        if let Some(error) = failure {
            // Not forgotten: its records in that queue wait until an operator moves the key away.
            return Err(error);
        }
        let queues: Vec<QueueName> = queues.into_iter().collect();
        Ok(leases.forget(host, by_force, &queues).await?.then_some((moved, buried)))
    }
}
