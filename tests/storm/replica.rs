//! Replicas that take the place of their master.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::{RedisResult, cmd};

use super::server::{PATIENCE, Server};

/// How long the master of a clean failover takes no writes, at the most.
const PAUSE_MS: u64 = 20_000;

impl Server {
    /// Starts a replica, waits until it has everything, and puts it in the place of the master, which is killed.
    /// With a `lag` the master goes on serving for so long without the replica knowing: all that is lost.
    /// `redirect` is told the socket of the new master. Fails where the master went away meanwhile.
    pub async fn fail_over(&mut self, lag: Option<Duration>, redirect: impl Fn(&Path)) -> RedisResult<()> {
        let replica = self.promoted(lag.is_none()).await?;
        tokio::time::sleep(lag.unwrap_or_default()).await;
        self.take_away();
        redirect(&replica.socket());
        *self = replica;
        Ok(())
    }

    /// The same, but the former master becomes a replica of the new one and ends no connection; it is answered. New
    /// connections lead to the new master before the former one knows. With a `lag` it takes writes for so long.
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
        // From here on there is no way back: new connections lead to the new master. A former one that has died
        // meanwhile has closed its connections, which is another fault.
        demoted.and(unpaused).map(|()| former)
    }

    /// A master with everything that this one has at some moment; if it is to have all, this one takes no writes any more.
    async fn promoted(&mut self, all: bool) -> RedisResult<Self> {
        let port = self.open_port().await?;
        // By a command and not by an argument: started again it is a master.
        let mut replica = Self::start();
        replica.ask::<()>(cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await?;
        // On disk as well: it may be killed the moment it is the master.
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
            // More than that where the master has pinged meanwhile.
            replica.wait_for(|info| offset(info) >= reached).await;
        }
        replica.ask::<()>(cmd("REPLICAOF").arg("NO").arg("ONE")).await?;
        // What is in its file now is a copy of the master's data as a whole.
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

    /// Lets it listen for replicas, which do not speak through sockets of files.
    async fn open_port(&mut self) -> RedisResult<u16> {
        loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            // Somebody else may be faster: then another one.
            match self.ask::<()>(cmd("CONFIG").arg("SET").arg("port").arg(free)).await {
                Ok(()) => return Ok(free),
                Err(error) if error.is_io_error() || error.is_connection_dropped() => return Err(error),
                Err(error) if error.code() == Some("BUSY") => return Err(error),
                Err(_) => {}
            }
        }
    }
}
