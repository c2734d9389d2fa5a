//! Notices that the fleet is to run something else: Redis says so (key tracking), and one looks now and then in any
//! case. What comes of it is the host's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::depot::{Depot, DepotError};
use super::name::PluginName;
use super::release::Wanted;
use crate::storage::address::AddressError;
use crate::storage::link::{Link, Tracking};
use crate::storage::primary::Primary;
use crate::storage::wake::Wake;

/// Longest time between two looks where Redis reports changes.
const SAFETY_POLL: Duration = Duration::from_secs(30);
/// And where it does not, or cannot be reached.
const QUICK_POLL: Duration = Duration::from_secs(1);

/// Most left-out entries that the log names.
const LEFT_OUT_LINES_MAX: usize = 20;

/// What is wanted of all plugins, by name.
pub type AllWanted = BTreeMap<PluginName, Wanted>;

/// Follows what the fleet is to run.
#[derive(Debug)]
pub struct Fleet {
    link: Link,
    depot: Depot,
    signal: Arc<Notify>,
    generations: watch::Receiver<u64>,
    look_at: Instant,
    told: Option<AllWanted>,
    problem: Option<String>,
    /// The lines already logged about entries that are left out.
    left_out: Vec<String>,
}

impl Fleet {
    /// Prepares a connection of its own; it connects with the first look.
    pub fn new(primary: &Primary) -> Result<Self, AddressError> {
        let (wake, signal) = (Arc::new(Wake::default()), Arc::new(Notify::new()));
        wake.watch_key(Depot::KEY, &signal);
        let link = primary.link("fleet", Tracking::Keys(wake))?;
        let (depot, generations) = (Depot::new(link.clone()), link.generations());
        let look_at = Instant::now();
        Ok(Self {
            link,
            depot,
            signal,
            generations,
            look_at,
            told: None,
            problem: None,
            left_out: Vec::new(),
        })
    }

    /// Where what is wanted can be fetched.
    pub fn depot(&self) -> &Depot {
        &self.depot
    }

    /// Returns what is wanted, when that is something else than it last returned; the first time as soon as Redis
    /// has told. Loses nothing if dropped. A Redis that cannot be reached wants nothing new; one that has lost its
    /// data wants nothing at all.
    pub async fn changed(&mut self) -> AllWanted {
        loop {
            tokio::select! {
                () = self.signal.notified() => self.look_at = Instant::now(),
                // What was read on an earlier connection is not watched any more.
                _ = self.generations.changed() => self.look_at = Instant::now(),
                () = sleep_until(self.look_at) => {}
            }
            let looked = self.look().await;
            let (pause, wanted) = match looked {
                Ok((true, wanted)) => (SAFETY_POLL, Some(wanted)),
                Ok((false, wanted)) => (QUICK_POLL, Some(wanted)),
                Err(error) => {
                    self.complain(&error);
                    (QUICK_POLL, None)
                }
            };
            // From here on nothing is waited for: if this is dropped before, the next call looks again.
            self.look_at = Instant::now() + pause;
            if let Some(wanted) = wanted {
                self.problem = None;
                if self.told.as_ref() != Some(&wanted) {
                    self.told = Some(wanted.clone());
                    return wanted;
                }
            }
        }
    }

    /// What is wanted now, and whether Redis reports its next change.
    async fn look(&mut self) -> Result<(bool, AllWanted), DepotError> {
        let tracked = self.link.connect().await?;
        // This connection's own beginning is no news.
        self.generations.mark_unchanged();
        let wanted = self.depot.wanted().await?;
        self.complain_of(wanted.left_out);
        Ok((tracked, wanted.entries))
    }

    /// Logs once for each entry why it is left out, until that changes.
    fn complain_of(&mut self, left_out: Vec<String>) {
        let news: Vec<&String> = left_out.iter().filter(|text| !self.left_out.contains(text)).collect();
        for text in news.iter().take(LEFT_OUT_LINES_MAX) {
            tracing::warn!("{text}");
        }
        if news.len() > LEFT_OUT_LINES_MAX {
            let more = news.len() - LEFT_OUT_LINES_MAX;
            tracing::warn!("`{}` has {more} more entries that are left out", Depot::KEY);
        }
        self.left_out = left_out;
    }

    /// Says why nothing is known, once for each reason.
    fn complain(&mut self, error: &DepotError) {
        let text = error.to_string();
        if self.problem.as_ref() != Some(&text) {
            tracing::warn!("cannot look what the fleet is to run: {text}");
            self.problem = Some(text);
        }
    }
}
