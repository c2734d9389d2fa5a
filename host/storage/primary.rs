//! Which server a host talks to: one fact for all of its connections. An address may be a name that later leads to
//! another server while old connections stay open to the former one, as after a failover behind a load balancer. A
//! host with connections to two servers would read stale data, so all of them are replaced together.
//!
//! The *epoch* counts these changes. Each connection belongs to the epoch in which it was opened. A connection of a
//! former epoch is not used any more, and a reply that still arrives over it is dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::address::{Address, AddressError};
use super::fault::Fault;
use super::link::{Link, Tracking, WeakLink};
use super::outage::Outage;

/// Time between two checks of every connection: that it is alive, and that its server is still the primary.
const CHECK_EVERY: Duration = Duration::from_secs(3);
/// How long a server may keep refusing commands before all connections are opened again.
const REFUSING_MAX: Duration = Duration::from_secs(5);
/// Refusals that are further apart than this do not belong to the same incident.
const REFUSING_GAP: Duration = Duration::from_secs(5);
/// Longest time between two such attempts; the first is `REFUSING_MAX`, and each further one is doubled.
const REFUSING_PATIENCE_MAX: Duration = Duration::from_secs(60);

/// The server that a group of links talks to. Clones share it.
#[derive(Debug, Clone)]
pub struct Primary {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: Address,
    deadline: Duration,
    /// Whether connections to a replica are refused.
    is_demanded: bool,
    epoch: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The server's process in this epoch, if a connection was allowed to ask.
    run_id: Option<String>,
    links: Vec<WeakLink>,
    refusing: Option<Refusing>,
    outage: Outage,
}

/// A time in which the server keeps refusing commands.
#[derive(Debug, Clone, Copy)]
struct Refusing {
    since: Instant,
    last: Instant,
    patience: Duration,
}

impl Primary {
    /// The primary at this address, for all links of a host: a connection to a replica is refused. `deadline` bounds
    /// the wait for each reply.
    pub fn at(address: &Address, deadline: Duration) -> Self {
        Self::new(address, deadline, true)
    }

    /// Whatever server is at this address, for one link.
    pub(super) fn any(address: &Address, deadline: Duration) -> Self {
        Self::new(address, deadline, false)
    }

    fn new(address: &Address, deadline: Duration, is_demanded: bool) -> Self {
        let (address, epoch, state) = (address.clone(), AtomicU64::new(0), Mutex::default());
        Self { inner: Arc::new(Inner { address, deadline, is_demanded, epoch, state }) }
    }

    /// Prepares a link; it connects at the first call. `role` names the connection in `CLIENT LIST`.
    pub fn link(&self, role: &'static str, tracking: Tracking) -> Result<Link, AddressError> {
        Link::to(self, role, tracking)
    }

    pub(super) fn address(&self) -> &Address {
        &self.inner.address
    }

    pub(super) fn deadline(&self) -> Duration {
        self.inner.deadline
    }

    /// Checks every connection of these links every 3 seconds until `stop`. A connection that was lost while nobody
    /// used it is replaced here, not at the next call.
    pub async fn watch(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(CHECK_EVERY) => {}
                changed = stop.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            }
            let links: Vec<Link> = {
                let mut state = self.lock();
                state.links.retain(WeakLink::is_used);
                state.links.iter().filter_map(WeakLink::upgrade).collect()
            };
            tokio::select! {
                _ = join_all(links.iter().map(Link::check)) => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// The number of changes of the server so far.
    pub(super) fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Acquire)
    }

    pub(super) fn is_demanded(&self) -> bool {
        self.inner.is_demanded
    }

    pub(super) fn add(&self, link: WeakLink) {
        self.lock().links.push(link);
    }

    /// A connection that was begun in `epoch` has reached a server with this run id; none if it was not allowed to
    /// ask. Returns the epoch that the connection belongs to; none if the epoch has changed meanwhile, so that nobody
    /// knows which server this is.
    pub(super) fn reached(&self, epoch: u64, run_id: Option<&str>) -> Option<u64> {
        let mut state = self.lock();
        if epoch != self.epoch() {
            return None;
        }
        let Some(run_id) = run_id else { return Some(epoch) };
        let former = state.run_id.replace(run_id.to_owned());
        if former.is_some_and(|former| former != run_id) {
            self.next(&mut state);
            state.run_id = Some(run_id.to_owned());
            tracing::info!(run_id, "Redis was restarted or replaced; opening all connections again");
        }
        Some(self.epoch())
    }

    /// A connection of this epoch was lost. If no connection was allowed to ask for the run id, nobody can tell
    /// whether a new connection leads to another server, so all are replaced.
    pub(super) fn lost(&self, epoch: u64) {
        let mut state = self.lock();
        if epoch == self.epoch() && state.run_id.is_none() {
            self.next(&mut state);
        }
    }

    /// The server of this epoch is not, or is no longer, the primary: every connection is replaced.
    pub(super) fn leave(&self, epoch: u64, cause: &str) {
        let mut state = self.lock();
        if epoch == self.epoch() {
            tracing::warn!(cause, "not connected to the primary; opening all connections again");
            self.next(&mut state);
        }
    }

    /// The server of this epoch refused a command because of its own state. If that lasts for seconds, every
    /// connection is replaced, because the address may lead to another server by now. Successful replies in between
    /// do not count: a primary that lost its replicas refuses writes but answers reads.
    pub(super) fn refused(&self, epoch: u64, cause: &str) {
        let mut state = self.lock();
        if epoch != self.epoch() {
            return;
        }
        let now = Instant::now();
        let fresh = Refusing { since: now, last: now, patience: REFUSING_MAX };
        let mut refusing = state.refusing.unwrap_or(fresh);
        if now.duration_since(refusing.last) > REFUSING_GAP {
            refusing = fresh;
        }
        refusing.last = now;
        if now.duration_since(refusing.since) >= refusing.patience {
            refusing.since = now;
            refusing.patience = (refusing.patience * 2).min(REFUSING_PATIENCE_MAX);
            tracing::warn!(cause, "Redis keeps refusing commands; opening all connections again");
            self.next(&mut state);
        }
        state.refusing = Some(refusing);
    }

    /// A connection broke while commands used it.
    pub(super) fn lost_in_use(&self, role: &str, cause: &str) {
        self.lock().outage.lost(role, cause);
    }

    /// A connection could not be made.
    pub(super) fn unreachable(&self, address: &str, fault: &Fault) {
        self.lock().outage.failed(address, fault);
    }

    /// A connection was made.
    pub(super) fn arrived(&self, address: &str) {
        self.lock().outage.ended(address);
    }

    fn next(&self, state: &mut State) {
        state.run_id = None;
        self.inner.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves a consistent state, so a panic elsewhere does no harm.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::address::TlsFiles;

    fn primary() -> Primary {
        let address = Address::parse("unix:///nowhere/redis.sock", TlsFiles::default()).unwrap();
        Primary::at(&address, Duration::from_secs(1))
    }

    #[test]
    fn another_run_id_begins_an_epoch_and_the_same_one_does_not() {
        let primary = primary();
        assert_eq!(primary.reached(0, Some("a")), Some(0));
        assert_eq!(primary.reached(0, Some("a")), Some(0));
        assert_eq!(primary.reached(0, Some("b")), Some(1));
        assert_eq!(primary.reached(1, Some("b")), Some(1));
    }

    #[test]
    fn a_connection_begun_before_a_change_cannot_undo_it() {
        let primary = primary();
        primary.reached(0, Some("old"));
        assert_eq!(primary.reached(0, Some("new")), Some(1));
        assert_eq!(primary.reached(0, Some("old")), None, "begun when the name led to the old server");
        assert_eq!(primary.epoch(), 1);
    }

    #[test]
    fn a_server_that_is_not_the_primary_is_left_once() {
        let primary = primary();
        primary.leave(0, "READONLY");
        primary.leave(0, "READONLY");
        assert_eq!(primary.epoch(), 1);
    }

    #[test]
    fn a_loss_begins_an_epoch_only_if_nobody_knows_the_server() {
        let primary = primary();
        primary.lost(0);
        assert_eq!(primary.epoch(), 1);
        primary.reached(1, Some("a"));
        primary.lost(1);
        assert_eq!(primary.epoch(), 1);
    }

    #[test]
    fn refusals_that_go_on_begin_epochs_less_and_less_often() {
        let primary = primary();
        let age = |by: Duration| {
            if let Some(refusing) = &mut primary.lock().refusing {
                refusing.since -= by;
            }
        };
        primary.refused(0, "LOADING");
        primary.refused(0, "LOADING");
        assert_eq!(primary.epoch(), 0, "it may pass");
        age(REFUSING_MAX);
        primary.refused(0, "LOADING");
        assert_eq!(primary.epoch(), 1);
        age(REFUSING_MAX);
        primary.refused(1, "LOADING");
        assert_eq!(primary.epoch(), 1, "the second time it takes longer");
        age(REFUSING_MAX);
        primary.refused(1, "LOADING");
        assert_eq!(primary.epoch(), 2);
    }

    #[test]
    fn refusals_now_and_then_begin_no_epoch() {
        let primary = primary();
        for _ in 0..5 {
            primary.refused(0, "BUSY");
            if let Some(refusing) = &mut primary.lock().refusing {
                refusing.since -= REFUSING_MAX * 2;
                refusing.last -= REFUSING_GAP * 2;
            }
        }
        assert_eq!(primary.epoch(), 0);
    }
}
