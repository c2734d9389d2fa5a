//! Makes one connection: creates the user it needs, names the connection, checks which server it reached, and
//! switches key tracking on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, PushKind, RedisError, Value, cmd};

use super::{Link, Tracking};
use crate::storage::fault::Fault;
use crate::storage::obstacle::Obstacle;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that may wait in the pipeline before callers wait.
const PIPELINE_BUFFER: usize = 1024;

/// A connection, and what is known of the server.
pub(super) struct Opened {
    pub(super) connection: MultiplexedConnection,
    /// None if the server does not name its process to this user.
    pub(super) process: Option<Process>,
    pub(super) tracks: bool,
    /// Set when the server closes the connection.
    pub(super) closed: Arc<AtomicBool>,
}

/// A server's process, and the server's id for one connection.
pub(super) struct Process {
    pub(super) run_id: String,
    pub(super) connection: i64,
}

/// What a server tells every user.
pub(super) struct Hello {
    pub(super) is_replica: bool,
    /// The server's id for this connection.
    connection: Option<i64>,
}

impl Link {
    /// Makes one attempt to connect, and sets the connection up.
    pub(super) async fn open(&self) -> Result<Opened, Fault> {
        let inner = &*self.inner;
        if let Some(door) = &inner.door {
            door.make_user().await.map_err(|fault| {
                self.lost(format!("could not create a plugin's user: {fault}"), Obstacle::of(&fault))
            })?;
        }
        let closed = Arc::new(AtomicBool::new(false));
        let config = self.config(&closed);
        let opening = inner.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| Fault::TimedOut { address: inner.address.clone() })?
            .map_err(|error| self.no_connection(&error))?;
        let mut setup = Pipeline::with_capacity(4);
        // The name is for people who read CLIENT LIST; whether the server accepts it does not matter.
        setup.cmd("CLIENT").arg("SETNAME").arg(format!("sandhog-{}", inner.role));
        setup.cmd("HELLO");
        // A plugin's own user may not ask: each attempt would leave a line in the server's ACL log.
        if inner.door.is_none() {
            setup.cmd("INFO").arg("server");
            // Unlike the other commands, the server refuses this one while it loads its data.
            setup.cmd("PING");
        }
        let answers = connection.send_packed_commands(&setup, 0, setup.len()).await;
        let answers = answers.map_err(|error| self.no_connection(&error))?;
        let mut answers = answers.into_iter().skip(1);
        let (hello, info) = (answers.next().unwrap_or(Value::Nil), answers.next().unwrap_or(Value::Nil));
        self.check_refusal(&info)?;
        self.check_loaded(&answers.next().unwrap_or(Value::Nil))?;
        let hello = Hello::read(&hello);
        if hello.is_replica && inner.primary.is_demanded() {
            let cause = "it is a replica, and a host needs the primary".to_owned();
            return Err(self.lost(cause, Obstacle::Replica));
        }
        if let (Some(door), Some(number)) = (&inner.door, hello.connection)
            && door.is_elsewhere(number).await
        {
            inner.primary.leave(inner.primary.epoch(), "a plugin's connection led to another server");
            return Err(self.server_changed());
        }
        let tracks = self.track(&mut connection).await?;
        let process = hello.connection.zip(run_id(&info));
        let process = process.map(|(connection, run_id)| Process { run_id, connection });
        Ok(Opened { connection, process, tracks, closed })
    }

    fn config(&self, closed: &Arc<AtomicBool>) -> AsyncConnectionConfig {
        let wake = match &self.inner.tracking {
            Tracking::Off => None,
            Tracking::Keys(wake) | Tracking::Prefixes(wake, _) => Some(wake.clone()),
        };
        let closed = closed.clone();
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.inner.deadline))
            .set_pipeline_buffer_size(PIPELINE_BUFFER)
            .set_push_sender(move |push: redis::PushInfo| {
                if push.kind == PushKind::Disconnection {
                    closed.store(true, Ordering::Release);
                }
                if let Some(wake) = &wake {
                    wake.receive(push);
                }
                Ok::<(), redis::aio::SendError>(())
            })
    }

    /// Switches key tracking on; false if the server does not allow it.
    async fn track(&self, connection: &mut MultiplexedConnection) -> Result<bool, Fault> {
        let mut tracking = cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON");
        match &self.inner.tracking {
            Tracking::Off => return Ok(false),
            Tracking::Keys(_) => {}
            Tracking::Prefixes(_, prefixes) => {
                tracking.arg("BCAST");
                for prefix in prefixes {
                    tracking.arg("PREFIX").arg(prefix);
                }
            }
        }
        match tracking.query_async::<Value>(connection).await {
            Ok(_) => Ok(true),
            Err(error) => match Fault::new(&error, &self.inner.address) {
                // Refused to this user, or not known to this server. A busy server refuses everybody for a while.
                Fault::Refused { code, .. } if code == "NOPERM" || code == "ERR" => Ok(false),
                _ => Err(self.no_connection(&error)),
            },
        }
    }

    /// If the server refuses a new connection (LOADING, NOAUTH), there is no connection.
    fn no_connection(&self, error: &RedisError) -> Fault {
        match Fault::new(error, &self.inner.address) {
            refused @ Fault::Refused { .. } => Fault::lost(&self.inner.address, &refused),
            fault => fault,
        }
    }

    /// Fails if the server cannot name its process because of its own state. A server that is busy with a script
    /// names it later; until then nobody knows whether commands of the former connection are still to be carried out.
    /// If this user may not ask, the connection is used without it.
    fn check_refusal(&self, info: &Value) -> Result<(), Fault> {
        match info.clone().extract_error().map_err(|error| Fault::new(&error, &self.inner.address)) {
            Err(fault @ Fault::Refused { .. }) if fault.is_state_of_server() => {
                Err(Fault::lost(&self.inner.address, &fault))
            }
            _ => Ok(()),
        }
    }

    /// Fails if the server still loads its data and therefore refuses every command.
    fn check_loaded(&self, pong: &Value) -> Result<(), Fault> {
        match pong.clone().extract_error().map_err(|error| Fault::new(&error, &self.inner.address)) {
            Err(fault) if fault.is_code("LOADING") => Err(Fault::lost(&self.inner.address, &fault)),
            _ => Ok(()),
        }
    }

    fn lost(&self, cause: String, obstacle: Obstacle) -> Fault {
        Fault::Lost { address: self.inner.address.clone(), cause, obstacle }
    }
}

impl Hello {
    fn read(answer: &Value) -> Self {
        let mut hello = Self { is_replica: false, connection: None };
        let Value::Map(fields) = answer else { return hello };
        for (name, value) in fields {
            match (text(name), value) {
                (Some("role"), value) => hello.is_replica = text(value) == Some("replica"),
                (Some("id"), Value::Int(number)) => hello.connection = Some(*number),
                _ => {}
            }
        }
        hello
    }
}

/// Asks a server what it tells every user.
pub(super) async fn hello(connection: &mut MultiplexedConnection) -> Result<Hello, RedisError> {
    cmd("HELLO").query_async::<Value>(connection).await.map(|answer| Hello::read(&answer))
}

/// Ends the former connection at the server. A command that was sent over it and not read yet could otherwise be
/// carried out after the host has checked what became of it.
pub(super) async fn end_former(connection: &mut MultiplexedConnection, number: i64) {
    // If the server refuses, the audit of the feeder finds such jobs later.
    let _ = cmd("CLIENT").arg("KILL").arg("ID").arg(number).query_async::<Value>(connection).await;
}

/// The run id in the reply to INFO, if the user may ask.
fn run_id(info: &Value) -> Option<String> {
    let run_id = text(info)?.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some(run_id.trim().to_owned())
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}
