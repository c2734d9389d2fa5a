//! Fires schedules. Every host does it for all queues, and whoever is first has fired; there is no leader. A host
//! sleeps until the earliest one is due and is woken when one changes, so schedules cost nothing in between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::membership::Membership;
use crate::job::key::{SCHEDULE_FILES, SCHEDULES};
use crate::job::schedule::book::{self, BookError};
use crate::job::schedule::fired::Fired;
use crate::job::schedule::firing::{self, Due};
use crate::job::schedule::{Schedule, ScheduleError};
use crate::job::store::StoreError;
use crate::storage::link::Link;
use crate::storage::wake::Wake;

/// How often a host says that its file still holds what it held.
const REFRESH: Duration = Duration::from_secs(600);
/// Period where Redis does not tell of changed keys.
const PERIOD_UNTRACKED: Duration = Duration::from_secs(1);
/// Wait before what has failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Wait before a file that was refused is told again.
const REFUSED: Duration = Duration::from_secs(10);
/// Changes that come close together are looked at together.
const GATHER: Duration = Duration::from_millis(10);
/// Most problems that a host remembers so as not to log them again each second.
const PROBLEMS_MAX: usize = 1000;
/// Corrections of Redis' clock by less than this are normal.
const CLOCK_TOLERANCE_MS: u64 = 1_000;
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

/// What the fleet was told of this host's file.
struct Told {
    /// Whether it was told everything once.
    all: bool,
    /// When it is to be told again.
    again: Instant,
    /// Schedules that cannot be fired, with the error. Each is logged once until the settings are published again.
    problems: HashMap<String, String>,
}

impl Told {
    fn new(all: bool, again: Instant) -> Self {
        Self { all, again, problems: HashMap::new() }
    }

    /// Remembers this problem. Returns whether it was known and has therefore been logged.
    fn knows(&mut self, name: &str, problem: &str) -> bool {
        if self.problems.get(name).is_some_and(|known| known == problem) {
            return true;
        }
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.insert(name.to_owned(), problem.to_owned());
        }
        false
    }
}

/// What this host knows of Redis' clock.
struct RedisClock {
    /// What it showed last, and when that was.
    seen: Option<(u64, Instant)>,
    /// When schedules are compared with it at the latest.
    compare: Instant,
}

impl RedisClock {
    /// Records what the clock shows. Returns whether schedules may wait for a slot that was computed while the clock
    /// was ahead: it was set back, or schedules were not compared for long.
    fn observe(&mut self, now_ms: u64) -> bool {
        let now = Instant::now();
        let expected = |(ms, at): (u64, Instant)| ms + now.duration_since(at).as_millis() as u64;
        let is_back = self.seen.is_some_and(|seen| now_ms + CLOCK_TOLERANCE_MS < expected(seen));
        self.seen = Some((now_ms, now));
        if is_back {
            // Kept until the comparison has succeeded, because the connection may be lost before.
            self.compare = self.compare.min(now);
        }
        self.compare <= now
    }
}

impl Scheduler {
    /// Fires what is due until `stop`.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let signal = Arc::new(Notify::new());
        self.wake.watch_key(SCHEDULES, &signal);
        self.wake.watch_key(SCHEDULE_FILES, &signal);
        let mut told = Told::new(false, Instant::now());
        let mut clock = RedisClock { seen: None, compare: Instant::now() };
        while !*stop.borrow() {
            let wait = match self.round(&mut told, &mut clock).await {
                Ok(wait) => wait.min(told.again.saturating_duration_since(Instant::now())),
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
    async fn round(&self, told: &mut Told, clock: &mut RedisClock) -> Result<Duration, BookError> {
        let seat = self.membership.tenure().host.seat().to_owned();
        if told.again <= Instant::now() {
            self.declare(&seat, told).await?;
        }
        // Those that stay due, because they cannot be fired now.
        let mut stuck = 0;
        // Slots of schedules that were no longer as they had been looked at.
        let mut changed = HashSet::new();
        loop {
            let mut look = firing::due(&self.link, &seat, stuck).await?;
            if clock.observe(look.now) {
                self.reset(&seat).await?;
                clock.compare = Instant::now() + REFRESH;
                look = firing::due(&self.link, &seat, stuck).await?;
            }
            if !look.declared && told.all && !self.schedules.is_empty() && told.again > Instant::now() {
                // Redis has lost what it was told. Should it not take it, it is told again later.
                self.declare(&seat, told).await?;
            }
            if look.due.is_empty() {
                return self.pause(stuck > 0, look.next.map(|next| next.saturating_sub(look.now))).await;
            }
            for due in &look.due {
                let fired = match self.fire(due, look.now).await {
                    // Another host was first, or an operator has changed it. Neither happens twice to one slot.
                    Ok(false) if !changed.insert((due.name.clone(), due.firing.slot)) => Err(spoiled()),
                    fired => fired,
                };
                match fired {
                    Err(error) if is_lost(&error) => return Err(error),
                    Err(error) => {
                        if !told.knows(&due.name, &error.to_string()) {
                            tracing::warn!(schedule = due.name, %error, "a schedule cannot be fired; trying again");
                        }
                        stuck += 1;
                    }
                    Ok(_) => {}
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

    /// Tells what the file holds. What others have is fired even if nobody wants to hear of it.
    async fn declare(&self, seat: &str, told: &mut Told) -> Result<(), BookError> {
        match book::declare(&self.link, seat, !told.all, &self.schedules).await {
            Ok(changes) => {
                for (what, name) in changes {
                    tracing::info!(schedule = name, what, "schedule of a settings file");
                }
                *told = Told::new(true, Instant::now() + REFRESH);
                Ok(())
            }
            Err(error) if is_lost(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "the schedules of the settings file are not taken; trying again");
                told.again = Instant::now() + REFUSED;
                Ok(())
            }
        }
    }

    /// Puts schedules back that wait for a slot that was computed while Redis' clock was ahead.
    async fn reset(&self, seat: &str) -> Result<(), BookError> {
        let mut seen = 0;
        loop {
            let look = firing::ahead(&self.link, seat, seen).await?;
            if look.due.is_empty() {
                return Ok(());
            }
            seen += look.due.len();
            for ahead in &look.due {
                match firing::reset(&self.link, ahead, look.now).await {
                    Err(error) if is_lost(&error) => return Err(error),
                    // It cannot be fired either, which is reported when it is due.
                    Err(error) => {
                        tracing::debug!(schedule = ahead.name, %error, "not compared with Redis' clock")
                    }
                    Ok(true) => {
                        let was_due_in_s = ahead.firing.at.saturating_sub(look.now) / 1000;
                        tracing::warn!(
                            schedule = ahead.name,
                            was_due_in_s,
                            "moved back to an earlier time: Redis' clock had been ahead"
                        );
                    }
                    Ok(false) => {}
                }
            }
        }
    }

    /// Fires a schedule that is due; false if it is not as it was looked at any more.
    async fn fire(&self, due: &Due, now: u64) -> Result<bool, BookError> {
        let (schedule, plan) = book::read(&due.definition)?;
        let fired = Fired::read(&due.fired);
        let step = plan.step(&due.name, schedule.jitter_ms, schedule.missed, due.firing, fired, now);
        let is_fired = firing::fire(&self.link, due, &schedule, &step).await?;
        if is_fired {
            let late_ms = now.saturating_sub(due.firing.at);
            match step.fire {
                Some(_) => tracing::debug!(schedule = due.name, late_ms, "fired"),
                None => tracing::warn!(schedule = due.name, late_ms, "firings were missed and are left out"),
            }
        }
        Ok(is_fired)
    }
}

/// Why a schedule is due again and again, and never as a host has looked at it.
fn spoiled() -> BookError {
    let text = "or `fired` of it in Redis is not as hosts write it; remove the schedule, and add it again";
    ScheduleError::new("slot", text).into()
}

/// Whether there is no connection: nothing else can be done either.
fn is_lost(error: &BookError) -> bool {
    matches!(error, BookError::Store(StoreError::Fault(fault)) if fault.is_lost())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_remembered_until_schedules_were_compared() {
        let later = Instant::now() + REFRESH;
        let mut clock = RedisClock { seen: None, compare: later };
        assert!(!clock.observe(1_000_000));
        assert!(!clock.observe(1_000_000), "a second of difference is normal");
        assert!(clock.observe(900_000));
        assert!(clock.observe(900_001), "the comparison failed");
        clock.compare = later;
        assert!(!clock.observe(900_002));
    }
}
