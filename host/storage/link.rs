//! A connection to Redis that comes back. One `Link` is one multiplexed connection: whoever uses it at the same
//! time shares its pipeline. A broken connection is replaced at the next call; a call is never sent twice,
//! because nobody knows whether the first one took place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::{Mutex, watch};

use super::address::{Address, AddressError};
use super::fault::Fault;
use super::together::Together;
use super::user::Door;
use super::wake::Wake;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failed attempt to connect, calls fail at once for this long instead of trying again.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Commands that may wait in the pipeline before callers wait.
const PIPELINE_BUFFER: usize = 1024;

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

struct Inner {
    client: redis::Client,
    config: AsyncConnectionConfig,
    tracking: Tracking,
    role: &'static str,
    address: String,
    slot: Mutex<Slot>,
    current: arc_swap::ArcSwapOption<(u64, MultiplexedConnection)>,
    generation: watch::Sender<u64>,
    together: Together,
    /// What has to be done before each connection of a plugin's own user.
    door: Option<Door>,
}

struct Slot {
    failed: Option<(Instant, Fault)>,
    tracks: bool,
    /// The server's process and its number for the present connection.
    identity: Option<(String, i64)>,
}

impl Link {
    /// Prepares a link; it connects at the first call. `role` names the connection in `CLIENT LIST`;
    /// `deadline` bounds each answer.
    pub fn new(
        address: &Address,
        role: &'static str,
        deadline: Duration,
        tracking: Tracking,
    ) -> Result<Self, AddressError> {
        Self::make(address, role, deadline, tracking, None)
    }

    /// The same as a plugin's own user, who is made before each connection: a Redis that has been started again knows
    /// none.
    pub(super) fn through(
        door: Door,
        address: &Address,
        role: &'static str,
        deadline: Duration,
        tracking: Tracking,
    ) -> Result<Self, AddressError> {
        let address = door.address(address);
        Self::make(&address, role, deadline, tracking, Some(door))
    }

    fn make(
        address: &Address,
        role: &'static str,
        deadline: Duration,
        tracking: Tracking,
        door: Option<Door>,
    ) -> Result<Self, AddressError> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(deadline))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        if let Tracking::Keys(wake) | Tracking::Prefixes(wake, _) = &tracking {
            let wake = wake.clone();
            config = config.set_push_sender(move |push| {
                wake.receive(push);
                Ok::<(), redis::aio::SendError>(())
            });
        }
        let inner = Inner {
            client: address.client()?,
            config,
            tracking,
            role,
            address: address.to_string(),
            slot: Mutex::new(Slot { failed: None, tracks: false, identity: None }),
            current: arc_swap::ArcSwapOption::empty(),
            generation: watch::Sender::new(0),
            together: Together::default(),
            door,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends one command and waits for its answer.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Fault> {
        let (generation, mut connection) = self.connection().await?;
        let answer = cmd.query_async::<T>(&mut connection).await;
        answer.map_err(|error| self.broken(generation, &error))
    }

    /// Sends many commands as one write; answers each one's own result, in order.
    pub async fn pipeline(&self, pipe: &Pipeline) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let (generation, mut connection) = self.connection().await?;
        let sent = connection.send_packed_commands(pipe, 0, pipe.len()).await;
        let values = sent.map_err(|error| self.broken(generation, &error))?;
        let each = |value: Value| match value.extract_error() {
            Ok(value) => Ok(value),
            Err(error) => Err(self.broken(generation, &error)),
        };
        Ok(values.into_iter().map(each).collect())
    }

    /// As `pipeline`, for commands that only read: sent once for all who ask the same at the same time.
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
        self.connection().await?;
        Ok(self.inner.slot.lock().await.tracks)
    }

    /// The address, without secrets.
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Fault> {
        if let Some(current) = self.inner.current.load().as_deref() {
            return Ok((current.0, current.1.clone()));
        }
        let mut slot = self.inner.slot.lock().await;
        if let Some(current) = self.inner.current.load().as_deref() {
            return Ok((current.0, current.1.clone()));
        }
        if let Some((at, fault)) = &slot.failed
            && at.elapsed() < RETRY_AFTER
        {
            return Err(fault.clone());
        }
        match self.open().await {
            Ok((connection, tracks)) => {
                let generation = *self.inner.generation.borrow() + 1;
                if generation > 1 || slot.failed.is_some() {
                    tracing::info!(role = self.inner.role, redis = self.inner.address, "Redis is back");
                }
                let mut connection = connection;
                // A plugin's own user may not ask.
                let is_host = self.inner.door.is_none();
                let identity = if is_host { identify(&mut connection).await } else { None };
                if let (Some((process, number)), Some(now)) = (&slot.identity, &identity)
                    && *process == now.0
                {
                    end_former(&mut connection, *number).await;
                }
                *slot = Slot { failed: None, tracks, identity };
                self.inner.current.store(Some(Arc::new((generation, connection.clone()))));
                self.inner.generation.send_replace(generation);
                Ok((generation, connection))
            }
            Err(fault) => {
                // Not logged: `broken` has said that a connection was lost, and who never had one is told.
                slot.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// One attempt to connect and set the connection up.
    async fn open(&self) -> Result<(MultiplexedConnection, bool), Fault> {
        let inner = &*self.inner;
        let fault = |error: redis::RedisError| match Fault::new(&error, &inner.address) {
            // Whatever the server says to a newcomer (LOADING, NOAUTH), there is no connection.
            Fault::Refused { code, detail } => {
                Fault::Lost { address: inner.address.clone(), cause: format!("{code} {detail}") }
            }
            fault => fault,
        };
        if let Some(door) = &inner.door {
            door.make_user().await.map_err(|fault| Fault::Lost {
                address: inner.address.clone(),
                cause: format!("a plugin's user could not be made: {fault}"),
            })?;
        }
        let opening = inner.client.get_multiplexed_async_connection_with_config(&inner.config);
        let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| Fault::TimedOut { address: inner.address.clone() })?
            .map_err(fault)?;
        // A name helps whoever reads CLIENT LIST; a server that refuses it serves all the same.
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(format!("sandhog-{}", inner.role));
        let _ = name.query_async::<Value>(&mut connection).await;
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON");
        let tracks = match &inner.tracking {
            Tracking::Off => return Ok((connection, false)),
            Tracking::Keys(_) => tracking.query_async::<Value>(&mut connection).await,
            Tracking::Prefixes(_, prefixes) => {
                tracking.arg("BCAST");
                for prefix in prefixes {
                    tracking.arg("PREFIX").arg(prefix);
                }
                tracking.query_async::<Value>(&mut connection).await
            }
        };
        match tracks {
            Ok(_) => Ok((connection, true)),
            Err(error) => match Fault::new(&error, &inner.address) {
                Fault::Refused { .. } => Ok((connection, false)),
                _ => Err(fault(error)),
            },
        }
    }

    /// Forgets the connection if this error says it is of no more use.
    fn broken(&self, generation: u64, error: &redis::RedisError) -> Fault {
        let fault = Fault::new(error, &self.inner.address);
        if fault.is_lost()
            && let Some(current) = self.inner.current.load_full()
            && current.0 == generation
        {
            let before = self.inner.current.compare_and_swap(&current, None);
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &current)) {
                tracing::warn!(role = self.inner.role, cause = %fault, "lost the connection to Redis");
            }
        }
        match (fault, &self.inner.door) {
            (Fault::Refused { code, detail }, Some(door)) if is_forbidden(&code, &detail) => {
                Fault::Forbidden { user: door.name().to_owned(), detail }
            }
            (fault, _) => fault,
        }
    }
}

/// Whether Redis refused because of the user, of the command itself or of one in a script.
fn is_forbidden(code: &str, detail: &str) -> bool {
    code == "NOPERM" || code == "ERR" && detail.contains("ACL failure in script")
}

/// The server's process and its number for this connection, if it tells.
async fn identify(connection: &mut MultiplexedConnection) -> Option<(String, i64)> {
    let mut ask = redis::pipe();
    ask.cmd("CLIENT").arg("ID").cmd("INFO").arg("server");
    let (number, info) = ask.query_async::<(i64, String)>(connection).await.ok()?;
    let process = info.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some((process.trim().to_owned(), number))
}

/// Ends the former connection at the server's side. A command that was sent over it and not yet read could
/// otherwise be carried out after we have looked what became of it.
async fn end_former(connection: &mut MultiplexedConnection, number: i64) {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("ID").arg(number);
    // A server that refuses is looked at again after a while (the feeder's audit).
    let _ = kill.query_async::<Value>(connection).await;
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({} for {})", self.address, self.role)
    }
}
