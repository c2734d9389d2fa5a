//! Replicas that take over from their primary.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::{RedisResult, cmd};

use super::server::{PATIENCE, Server};

/// How long the primary of a clean failover refuses writes, at most.
const PAUSE_MS: u64 = 20_000;

impl Server {
    /// Starts a replica, waits until it has all data, and lets it take over; the primary is killed.
    /// With a `lag` the primary serves for that long without replicating: these writes are lost.
    /// `redirect` is called with the socket of the new primary. Fails if the primary went away meanwhile.
    pub async fn fail_over(&mut self, lag: Option<Duration>, redirect: impl Fn(&Path)) -> RedisResult<()> {
        let replica = self.promoted(lag.is_none()).await?;
        tokio::time::sleep(lag.unwrap_or_default()).await;
        self.take_away();
        redirect(&replica.socket());
        *self = replica;
        Ok(())
    }

    /// The same, but the former primary becomes a replica of the new one, keeps its connections open and answers them.
    /// New connections lead to the new primary first. With a `lag` the former one accepts writes for that long.
    pub async fn fail_over_open(
        &mut self,
        lag: Option<Duration>,
        redirect: impl Fn(&Path),
    ) -> RedisResult<Self> {
        let mut replica = self.promoted(lag.is_none()).await?;
        let port = replica.open_port().await?;
        redirect(&replica.socket());
        tokio::time::sleep(lag.unwrap_or_default()).await;
        let demoted = self.ask::<()>(cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await;
        let unpaused = self.ask::<()>(cmd("CLIENT").arg("UNPAUSE")).await;
        let former = std::mem::replace(self, replica);
        // The switch has happened: new connections lead to the new primary. If the former one has died meanwhile, its
        // connections are closed, which is another fault.
        demoted.and(unpaused).map(|()| former)
    }

    /// A new primary with the data of this one; if it must have all data, this one accepts no more writes.
    async fn promoted(&mut self, all: bool) -> RedisResult<Self> {
        let port = self.open_port().await?;
        // By a command instead of an argument, so that a restart makes it a primary.
        let mut replica = Self::start();
        replica.ask::<()>(cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await?;
        // It must be on disk as well: it may be killed immediately after it becomes the primary.
        let ready = |info: &str| {
            info.contains("master_link_status:up")
                && info.contains("aof_rewrite_in_progress:0")
                && info.contains("aof_rewrite_scheduled:0")
        };
        replica.wait_for(ready).await;
        if all {
            self.ask::<()>(cmd("CLIENT").arg("PAUSE").arg(PAUSE_MS).arg("WRITE")).await?;
            let info: String = self.ask(cmd("INFO").arg("replication")).await?;
            let offset = |info: &str| -> u64 {
                let found = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
                found.and_then(|digits| digits.trim().parse().ok()).unwrap_or(0)
            };
            let reached = offset(&info);
            // The offset is larger if the primary has sent a ping meanwhile.
            replica.wait_for(|info| offset(info) >= reached).await;
        }
        replica.ask::<()>(cmd("REPLICAOF").arg("NO").arg("ONE")).await?;
        // Its file now contains a complete copy of the primary's data.
        replica.marked = (PathBuf::new(), 0);
        Ok(replica)
    }

    async fn wait_for(&mut self, condition: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !condition(&self.surely::<String>(&cmd("INFO")).await) {
            assert!(begun.elapsed() < PATIENCE, "the replica does not come up:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes it listen on a port, because replicas cannot use unix sockets.
    async fn open_port(&mut self) -> RedisResult<u16> {
        loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            // Another process may take the port first; then try another one.
            match self.ask::<()>(cmd("CONFIG").arg("SET").arg("port").arg(free)).await {
                Ok(()) => return Ok(free),
                Err(error) if error.is_io_error() || error.is_connection_dropped() => return Err(error),
                Err(error) if error.code() == Some("BUSY") => return Err(error),
                Err(_) => {}
            }
        }
    }
}
