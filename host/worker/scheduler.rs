//! Fires schedules. Every host does it for all queues, and whoever is first has fired; there is no leader. A host
//! sleeps until the earliest one is due and is woken when one changes, so schedules cost nothing in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::membership::Membership;
use crate::job::key::{SCHEDULE_FILES, SCHEDULES};
use crate::job::schedule::Schedule;
use crate::job::schedule::book::{self, BookError, Due};
use crate::storage::link::Link;
use crate::storage::wake::Wake;

/// How often a host says that its file still holds what it held.
const REFRESH: Duration = Duration::from_secs(600);
/// Period where Redis does not tell of changed keys.
const PERIOD_UNTRACKED: Duration = Duration::from_secs(1);
/// Wait before what has failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Changes that come close together are looked at together.
const GATHER: Duration = Duration::from_millis(10);
/// Hosts do not all begin in the same moment; most are spared the work.
const STAGGER_MS: u64 = 10;

/// Fires schedules.
pub struct Scheduler {
    /// Who we are.
    pub membership: Arc<Membership>,
    /// The connection to use: one that reports changed keys.
    pub link: Link,
    /// What it reports them to.
    pub wake: Arc<Wake>,
    /// What this host's file holds.
    pub schedules: Vec<(String, Schedule)>,
}

impl Scheduler {
    /// Fires what is due until `stop`.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let signal = Arc::new(Notify::new());
        self.wake.watch_key(SCHEDULES, &signal);
        self.wake.watch_key(SCHEDULE_FILES, &signal);
        let (mut told, mut refresh) = (false, tokio::time::Instant::now());
        while !*stop.borrow() {
            let wait = match self.round(&mut told, &mut refresh).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::debug!(%error, "schedules will be looked at again");
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = signal.notified() => tokio::time::sleep(GATHER).await,
                changed = stop.changed() => {
                    if changed.is_err() { return }
                }
            }
        }
        self.wake.forget(&signal);
    }

    /// Fires everything that is due; answers how long nothing will be.
    async fn round(
        &self,
        told: &mut bool,
        refresh: &mut tokio::time::Instant,
    ) -> Result<Duration, BookError> {
        let seat = self.membership.tenure().host.seat().to_owned();
        if !*told || refresh.elapsed() >= REFRESH {
            self.declare(&seat, !*told).await?;
            (*told, *refresh) = (true, tokio::time::Instant::now());
        }
        // Those that stay due, because they cannot be fired now.
        let mut stuck = 0;
        loop {
            let look = book::due(&self.link, &seat, stuck).await?;
            if !look.declared && !self.schedules.is_empty() {
                // Redis has lost what it was told.
                self.declare(&seat, false).await?;
                continue;
            }
            if look.due.is_empty() {
                return self.pause(stuck > 0, look.next.map(|next| next - look.now)).await;
            }
            for due in &look.due {
                if let Err(error) = self.fire(due, look.now).await {
                    if let BookError::Store(crate::job::store::StoreError::Fault(fault)) = &error
                        && fault.is_lost()
                    {
                        return Err(error);
                    }
                    tracing::warn!(schedule = due.name, %error, "a schedule cannot be fired; trying again");
                    stuck += 1;
                }
            }
        }
    }

    async fn pause(&self, stuck: bool, next_ms: Option<u64>) -> Result<Duration, BookError> {
        let most = if stuck {
            RETRY
        } else if self.link.connect().await? {
            REFRESH
        } else {
            PERIOD_UNTRACKED
        };
        let next = next_ms.map(|ms| Duration::from_millis(ms + fastrand::u64(..=STAGGER_MS)));
        Ok(next.map_or(most, |next| next.min(most)))
    }

    async fn declare(&self, seat: &str, all: bool) -> Result<(), BookError> {
        for (what, name) in book::declare(&self.link, seat, all, &self.schedules).await? {
            tracing::info!(schedule = name, what, "schedule of a settings file");
        }
        Ok(())
    }

    async fn fire(&self, due: &Due, now: u64) -> Result<(), BookError> {
        let (schedule, plan) = book::read(&due.definition)?;
        let step = plan.step(&due.name, schedule.jitter_ms, schedule.missed, due.firing, now);
        if book::fire(&self.link, due, &schedule, &step).await? {
            let late_ms = now.saturating_sub(due.firing.at);
            match step.fire {
                Some(_) => tracing::debug!(schedule = due.name, late_ms, "fired"),
                None => tracing::warn!(schedule = due.name, late_ms, "firings were missed and are left out"),
            }
        }
        Ok(())
    }
}
