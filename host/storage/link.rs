//! A connection to Redis that comes back. One `Link` is one multiplexed connection: whoever uses it at the same
//! time shares its pipeline. A broken connection is replaced at the next call or the next check, whichever comes
//! first. A write is never sent twice, because nobody knows whether the first one took place; a read may be.
//!
//! `link/open.rs` makes connections; `primary` knows which server all links of a host belong to.

mod open;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::{Mutex, OnceCell, watch};

use self::open::{Opened, Process, end_former};
use super::address::{Address, AddressError};
use super::fault::Fault;
use super::obstacle::Obstacle;
use super::primary::Primary;
use super::server::has_small_nodes;
use super::together::Together;
use super::user::Door;
use super::wake::Wake;

/// After a failed attempt to connect, calls fail at once for this long instead of trying again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Most processes of servers that a link remembers.
const PROCESSES_MAX: usize = 8;

/// What a connection is told to report about keys that change.
#[derive(Clone, Debug, Default)]
pub enum Tracking {
    /// Nothing.
    #[default]
    Off,
    /// Every key that a command on this connection read, once, until it is read again.
    Keys(Arc<Wake>),
    /// Every change of a key with one of these prefixes. No prefix may start with another.
    Prefixes(Arc<Wake>, Vec<String>),
}

/// A connection that comes back; clones share it.
#[derive(Clone, Debug)]
pub struct Link {
    inner: Arc<Inner>,
}

/// A link that may have been dropped.
#[derive(Clone, Debug)]
pub(super) struct WeakLink {
    inner: Weak<Inner>,
}

struct Inner {
    client: redis::Client,
    deadline: Duration,
    tracking: Tracking,
    role: &'static str,
    address: String,
    primary: Primary,
    slot: Mutex<Slot>,
    current: arc_swap::ArcSwapOption<Current>,
    generation: watch::Sender<u64>,
    together: Together,
    /// What has to be done before each connection of a plugin's own user.
    door: Option<Door>,
}

struct Slot {
    failed: Option<(Instant, Fault)>,
    tracks: bool,
    /// The servers' processes that this link was connected to, and the id of the last connection at each; the latest
    /// process last. A connection that is lost may still be open at its server when the link comes back to it.
    processes: Vec<Process>,
}

/// The connection that calls use now.
struct Current {
    /// 1 for the first connection of the link, and one more for each further one.
    generation: u64,
    /// The epoch of the server that it leads to (`primary`).
    epoch: u64,
    connection: MultiplexedConnection,
    /// Set when the server has closed it, possibly long before the next call.
    closed: Arc<AtomicBool>,
    /// Whether nodes of lists are small; unknown before the first request.
    small_nodes: OnceCell<bool>,
}

impl WeakLink {
    pub(super) fn upgrade(&self) -> Option<Link> {
        self.inner.upgrade().map(|inner| Link { inner })
    }

    pub(super) fn is_used(&self) -> bool {
        self.inner.strong_count() > 0
    }
}

impl Link {
    /// Prepares a link on its own, to whatever server is at the address; it connects at the first call. `role` names
    /// the connection in `CLIENT LIST`; `deadline` bounds the wait for each reply.
    ///
    /// # Errors
    ///
    /// The address cannot be used with its TLS files.
    pub fn new(
        address: &Address,
        role: &'static str,
        deadline: Duration,
        tracking: Tracking,
    ) -> Result<Self, AddressError> {
        Self::to(&Primary::any(address, deadline), role, tracking)
    }

    /// As `new`, for a link that is always at the same server as all other links of `primary`.
    pub(super) fn to(
        primary: &Primary,
        role: &'static str,
        tracking: Tracking,
    ) -> Result<Self, AddressError> {
        Self::make(primary, primary.address(), role, tracking, None)
    }

    /// As `to`, as a plugin's own user. The user is created before each connection, because a Redis that was
    /// restarted does not know it.
    pub(super) fn through(door: Door, role: &'static str, tracking: Tracking) -> Result<Self, AddressError> {
        let primary = door.primary().clone();
        let address = door.address(primary.address());
        Self::make(&primary, &address, role, tracking, Some(door))
    }

    fn make(
        primary: &Primary,
        address: &Address,
        role: &'static str,
        tracking: Tracking,
        door: Option<Door>,
    ) -> Result<Self, AddressError> {
        let inner = Inner {
            client: address.client()?,
            deadline: primary.deadline(),
            tracking,
            role,
            address: address.to_string(),
            primary: primary.clone(),
            slot: Mutex::new(Slot { failed: None, tracks: false, processes: Vec::new() }),
            current: arc_swap::ArcSwapOption::empty(),
            generation: watch::Sender::new(0),
            together: Together::default(),
            door,
        };
        let inner = Arc::new(inner);
        primary.add(WeakLink { inner: Arc::downgrade(&inner) });
        Ok(Self { inner })
    }

    /// Sends one command and waits for its answer.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Fault> {
        let current = self.current().await?;
        let answer = cmd.query_async::<T>(&mut current.connection.clone()).await;
        self.check_epoch(&current)?;
        answer.map_err(|error| self.broken(&current, &error))
    }

    /// As `query`, for a command that only reads: if the connection is lost, it is sent once more over a new one.
    pub async fn ask<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Fault> {
        match self.query(cmd).await {
            Err(Fault::Lost { .. }) => self.query(cmd).await,
            answer => answer,
        }
    }

    /// Sends many commands as one write; answers each one's own result, in order.
    pub async fn pipeline(&self, pipe: &Pipeline) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let current = self.current().await?;
        let sent = current.connection.clone().send_packed_commands(pipe, 0, pipe.len()).await;
        self.check_epoch(&current)?;
        let values = sent.map_err(|error| self.broken(&current, &error))?;
        let each = |value: Value| match value.extract_error() {
            Ok(value) => Ok(value),
            Err(error) => Err(self.broken(&current, &error)),
        };
        Ok(values.into_iter().map(each).collect())
    }

    /// As `pipeline`, for commands that only read. Concurrent callers that ask the same share one reply; if the
    /// connection is lost, the commands are sent once more over a new one.
    pub async fn read(&self, read: Pipeline) -> Result<Vec<Result<Value, Fault>>, Fault> {
        self.inner.together.ask(self, read).await
    }

    /// Tells the number of the present connection, 1 for the first, and every later one: whoever keeps state
    /// on the server's side of a connection (key tracking) renews it then.
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.inner.generation.subscribe()
    }

    /// Connects if there is no connection; answers whether key tracking works on it.
    pub async fn connect(&self) -> Result<bool, Fault> {
        self.current().await?;
        Ok(self.inner.slot.lock().await.tracks)
    }

    /// Whether nodes of lists are not compressed and have at most 8 KiB, unless one entry is larger. Each connection
    /// asks once; false if the server does not answer.
    pub async fn has_small_nodes(&self) -> Result<bool, Fault> {
        let current = self.current().await?;
        let asked = current.small_nodes.get_or_try_init(|| has_small_nodes(self)).await;
        asked.copied()
    }

    /// The address, without secrets.
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// The server that this link shares with other links.
    pub fn primary(&self) -> &Primary {
        &self.inner.primary
    }

    /// Asks the server whether it is alive and the primary, and replaces the connection if it cannot be used any
    /// more.
    pub(super) async fn check(&self) {
        let inner = &*self.inner;
        let current = inner.current.load_full();
        if let Some(current) = current.filter(|current| self.is_usable(current)) {
            match open::hello(&mut current.connection.clone()).await {
                Ok(hello) if hello.is_replica && inner.primary.is_demanded() => {
                    inner.primary.leave(current.epoch, "the server is a replica");
                }
                Ok(_) => return,
                // Commands were not lost. If Redis is away, the attempt to connect logs the cause.
                Err(error) => drop(self.broken_by(&current, &error, false)),
            }
        }
        // A link that was never used needs no connection, and a plugin's user is created only for calls of the
        // plugin.
        if *inner.generation.borrow() > 0 && inner.door.is_none() {
            let _ = self.current().await;
        }
    }

    fn is_usable(&self, current: &Current) -> bool {
        current.epoch == self.inner.primary.epoch() && !current.closed.load(Ordering::Acquire)
    }

    async fn current(&self) -> Result<Arc<Current>, Fault> {
        let usable = || self.inner.current.load_full().filter(|current| self.is_usable(current));
        if let Some(current) = usable() {
            return Ok(current);
        }
        let mut slot = self.inner.slot.lock().await;
        if let Some(current) = usable() {
            return Ok(current);
        }
        if let Some((at, fault)) = &slot.failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(fault.clone());
        }
        let current = self.replace(&mut slot).await;
        if let Err(fault) = &current {
            slot.failed = Some((Instant::now(), fault.clone()));
        }
        current
    }

    /// Makes a new connection and lets calls use it.
    async fn replace(&self, slot: &mut Slot) -> Result<Arc<Current>, Fault> {
        let inner = &*self.inner;
        if let Some(former) = inner.current.swap(None)
            && former.closed.load(Ordering::Acquire)
        {
            // The connection was idle. A server may close idle connections (`timeout`), which needs no warning.
            tracing::debug!(role = inner.role, "the server closed a connection; opening a new one");
            self.forget(&former);
        }
        let begun = inner.primary.epoch();
        let opened = self.open().await;
        if let Err(fault) = &opened
            && inner.door.is_none()
        {
            inner.primary.unreachable(&inner.address, fault);
        }
        let Opened { mut connection, process, tracks, closed } = opened?;
        let run_id = process.as_ref().map(|process| process.run_id.as_str());
        let Some(epoch) = inner.primary.reached(begun, run_id) else {
            return Err(self.server_changed());
        };
        let generation = *inner.generation.borrow() + 1;
        inner.primary.arrived(&inner.address);
        let mut processes = std::mem::take(&mut slot.processes);
        if let Some(now) = process {
            if let Some(nth) = processes.iter().position(|former| former.run_id == now.run_id) {
                end_former(&mut connection, processes.remove(nth).connection).await;
            }
            processes.push(now);
            let surplus = processes.len().saturating_sub(PROCESSES_MAX);
            processes.drain(..surplus);
        }
        *slot = Slot { failed: None, tracks, processes };
        let small_nodes = OnceCell::new();
        let current = Arc::new(Current { generation, epoch, connection, closed, small_nodes });
        inner.current.store(Some(current.clone()));
        inner.generation.send_replace(generation);
        Ok(current)
    }

    /// Accepts a reply only if it came from the server that all links use now.
    fn check_epoch(&self, current: &Current) -> Result<(), Fault> {
        if current.epoch == self.inner.primary.epoch() { Ok(()) } else { Err(self.server_changed()) }
    }

    fn server_changed(&self) -> Fault {
        let cause = "the server at this address has changed".to_owned();
        Fault::Lost { address: self.inner.address.clone(), cause, obstacle: Obstacle::NotReady }
    }

    /// Converts an error, and drops the connection if the error says that it cannot be used any more.
    fn broken(&self, broken: &Current, error: &redis::RedisError) -> Fault {
        self.broken_by(broken, error, true)
    }

    fn broken_by(&self, broken: &Current, error: &redis::RedisError, in_use: bool) -> Fault {
        let fault = Fault::new(error, &self.inner.address);
        let primary = &self.inner.primary;
        if fault.is_wrong_server() {
            primary.leave(broken.epoch, &fault.to_string());
            return Fault::lost(&self.inner.address, &fault);
        }
        if fault.is_state_of_server() {
            primary.refused(broken.epoch, &fault.to_string());
        }
        if fault.is_lost()
            && let Some(current) = self.inner.current.load_full()
            && current.generation == broken.generation
        {
            let before = self.inner.current.compare_and_swap(&current, None);
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &current)) {
                if in_use {
                    primary.lost_in_use(self.inner.role, &fault.to_string());
                }
                self.forget(broken);
            }
        }
        match (fault, &self.inner.door) {
            (Fault::Refused { code, detail }, Some(door)) if is_forbidden(&code, &detail) => {
                Fault::Forbidden { user: door.name().to_owned(), detail }
            }
            (fault, _) => fault,
        }
    }

    fn forget(&self, lost: &Current) {
        // A plugin's new connection is compared with those of the host when it is made (`is_elsewhere`).
        if self.inner.door.is_none() {
            self.inner.primary.lost(lost.epoch);
        }
    }
}

/// Whether Redis refused because of the user, of the command itself or of one in a script.
fn is_forbidden(code: &str, detail: &str) -> bool {
    code == "NOPERM" || code == "ERR" && detail.contains("ACL failure in script")
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({} for {})", self.address, self.role)
    }
}
