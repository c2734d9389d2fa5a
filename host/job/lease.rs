//! Which hosts live: one registry for all queues, in Redis time. A host without a lease claims nothing, and
//! others take back what it had. Jobs themselves are in `store`.

use std::time::Duration;

use redis::Value;

use super::key::{HOSTS, QUEUES, QueueKeys, SWAPS, host_info};
use super::name::{HostId, QueueName};
use super::reply::{Fields, list, text, unexpected};
use super::report::{PluginReport, SWAPS_MAX, Swap};
use super::script;
use super::store::StoreError;
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Most dead hosts told at once; the rest is told when these are forgotten.
pub const EXPIRED_MAX: u32 = 100;
/// Most hosts in a listing.
pub const HOSTS_MAX: u32 = 10_000;

/// In what is known about a host, before the name of a queue that its runs popped from.
const POPPED: &str = "pop:";

/// What a host tells about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostInfo {
    /// Queues it claims from, or may have claimed from: whoever reaps it looks there.
    pub queues: Vec<QueueName>,
    /// Its plugins.
    pub plugins: Vec<PluginReport>,
    /// Whether it runs what is deployed to the fleet.
    pub fleet: bool,
    /// Of the program.
    pub version: String,
    /// Of the process, on its machine.
    pub pid: u32,
}

/// One registered host.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRow {
    /// Its id, which tells when it began.
    pub id: HostId,
    /// Until its lease ends; negative when it has ended.
    pub expires_in_ms: i64,
    /// What it told; empty where somebody deleted it.
    pub info: HostInfo,
}

/// The registry of hosts; clones share the connection.
#[derive(Debug, Clone)]
pub struct Leases {
    link: Link,
}

impl Leases {
    /// The registry at the other end of `link`.
    pub fn new(link: Link) -> Self {
        Self { link }
    }

    /// Begins a life of the host `name` on `seat`, with a lease from now.
    pub async fn register(
        &self,
        name: &str,
        seat: u32,
        lease: Duration,
        info: &HostInfo,
    ) -> Result<HostId, StoreError> {
        let refused = |error: super::name::NameError| Fault::Unexpected(error.to_string());
        // Any epoch will do to learn what the name and the seat look like.
        let sample = HostId::new(name, seat, 0).map_err(refused)?;
        let mut call = script::REGISTER.call(&[HOSTS, QUEUES]);
        call.arg(sample.seat()).arg(milliseconds(lease)).arg(host_info(""));
        add_info(&mut call, info);
        match script::REGISTER.run::<Value>(&self.link, &call).await? {
            Value::Array(mut key) => Err(StoreError::WrongType(text(key.pop().unwrap_or_default())?)),
            id => {
                let id = text(id)?;
                HostId::parse(&id).ok_or_else(|| Fault::Unexpected(format!("`{id}` for a host id")).into())
            }
        }
    }

    /// Keeps the lease of `host` from now on; false when it is not registered any more.
    pub async fn renew(&self, host: &HostId, lease: Duration) -> Result<bool, Fault> {
        let mut call = script::RENEW.call(&[HOSTS]);
        call.arg(host.as_str()).arg(milliseconds(lease));
        script::RENEW.run(&self.link, &call).await
    }

    /// Tells anew what `host` serves; false when it is not registered any more. Comes before the first claim
    /// from a new queue, and after the last record of an old one is gone.
    pub async fn describe(&self, host: &HostId, info: &HostInfo) -> Result<bool, StoreError> {
        let about = host_info(host.as_str());
        let mut call = script::DESCRIBE.call(&[HOSTS, QUEUES, &about]);
        call.arg(host.as_str());
        add_info(&mut call, info);
        match script::DESCRIBE.run::<Value>(&self.link, &call).await? {
            Value::Int(written) => Ok(written != 0),
            key => Err(StoreError::WrongType(text(key)?)),
        }
    }

    /// Adds to what the fleet remembers of swaps, the oldest of these first.
    pub async fn remember(&self, host: &HostId, swaps: &[Swap]) -> Result<(), Fault> {
        let mut add = redis::Pipeline::with_capacity(2);
        let lines = swaps.iter().map(|swap| {
            serde_json::to_string(&(host.as_str(), swap)).expect("strings and numbers always make JSON")
        });
        add.cmd("LPUSH").arg(SWAPS).arg(lines.collect::<Vec<_>>());
        add.cmd("LTRIM").arg(SWAPS).arg(0).arg(SWAPS_MAX - 1);
        for answer in self.link.pipeline(&add).await? {
            answer?;
        }
        Ok(())
    }

    /// Swaps with their hosts, the latest first, `count` at most.
    pub async fn swaps(&self, count: usize) -> Result<Vec<(String, Swap)>, Fault> {
        let last = count.min(SWAPS_MAX).saturating_sub(1);
        let lines: Vec<String> = self.link.query(redis::cmd("LRANGE").arg(SWAPS).arg(0).arg(last)).await?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Hosts whose lease ended, the longest dead first, `EXPIRED_MAX` at most.
    pub async fn expired(&self) -> Result<Vec<HostId>, Fault> {
        let mut call = script::EXPIRED.call(&[HOSTS]);
        call.arg(EXPIRED_MAX);
        let ids: Vec<String> = script::EXPIRED.run(&self.link, &call).await?;
        Ok(ids.iter().filter_map(|id| HostId::parse(id)).collect())
    }

    /// All registered lives of one seat (`HostId::seat`), the latest last.
    pub async fn of_seat(&self, seat: &str) -> Result<Vec<HostId>, Fault> {
        let ids: Vec<String> = self.link.query(redis::cmd("ZRANGE").arg(HOSTS).arg(0).arg(-1)).await?;
        let mut ids: Vec<HostId> = ids.iter().filter_map(|id| HostId::parse(id)).collect();
        ids.retain(|id| id.seat() == seat);
        ids.sort_unstable();
        Ok(ids)
    }

    /// The queues where `host` may have records: those it served (all ever served, where somebody deleted what
    /// it told), then those its runs popped from.
    pub async fn queues_of(&self, host: &HostId) -> Result<Vec<QueueName>, Fault> {
        let mut get = redis::cmd("HGETALL");
        get.arg(host_info(host.as_str()));
        let about: Vec<(Vec<u8>, Vec<u8>)> = self.link.query(&get).await?;
        let readable = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let about: Vec<(String, String)> = about.iter().map(|(f, v)| (readable(f), readable(v))).collect();
        let served = about.iter().find(|(field, _)| field == "queues");
        let mut queues = match served.and_then(|(_, json)| serde_json::from_str::<Vec<String>>(json).ok()) {
            Some(queues) => queue_names(queues),
            None => known_queues(&self.link).await?,
        };
        let popped = about.into_iter().filter_map(|(field, _)| field.strip_prefix(POPPED).map(str::to_owned));
        let popped = queue_names(popped.collect());
        queues.extend(popped.into_iter().filter(|queue| !queues.contains(queue)).collect::<Vec<_>>());
        Ok(queues)
    }

    /// Ends the registration of `host`, after all its records were reaped; false when its lease lives (again), or
    /// when it has records in one of `queues` (again): a failover can bring some back.
    pub async fn forget(&self, host: &HostId, by_force: bool, queues: &[QueueName]) -> Result<bool, Fault> {
        let mut keys = vec![HOSTS.to_owned(), host_info(host.as_str())];
        keys.extend(queues.iter().map(|queue| QueueKeys::new(queue).inflight(host)));
        let mut call = script::FORGET.call(&keys);
        call.arg(host.as_str()).arg(u8::from(by_force));
        script::FORGET.run(&self.link, &call).await
    }

    /// All registered hosts, those first whose lease ends first.
    pub async fn list(&self) -> Result<Vec<HostRow>, Fault> {
        let mut call = script::HOSTS.call(&[HOSTS]);
        call.arg(host_info("")).arg(HOSTS_MAX);
        let rows = list(script::HOSTS.run::<Value>(&self.link, &call).await?)?;
        rows.into_iter().filter_map(|row| read_host(row).transpose()).collect()
    }
}

/// All queues that hosts ever served, in alphabetical order.
pub async fn known_queues(link: &Link) -> Result<Vec<QueueName>, Fault> {
    let names: Vec<String> = link.query(redis::cmd("SMEMBERS").arg(QUEUES)).await?;
    let mut names = queue_names(names);
    names.sort_unstable();
    Ok(names)
}

fn queue_names(names: Vec<String>) -> Vec<QueueName> {
    names.into_iter().filter_map(|name| QueueName::new(name).ok()).collect()
}

fn milliseconds(lease: Duration) -> u64 {
    lease.as_millis().try_into().unwrap_or(u64::MAX)
}

/// The arguments that tell about a host.
fn add_info(call: &mut redis::Cmd, info: &HostInfo) {
    let queues: Vec<&str> = info.queues.iter().map(QueueName::as_str).collect();
    let names = serde_json::to_string(&queues).expect("strings always make JSON");
    let plugins = serde_json::to_string(&info.plugins).expect("strings and numbers always make JSON");
    call.arg(names).arg(plugins).arg(&info.version).arg(info.pid);
    call.arg(u8::from(info.fleet));
    for queue in queues {
        call.arg(queue);
    }
}

/// One row of the script's answer; none for what is no host.
fn read_host(row: Value) -> Result<Option<HostRow>, Fault> {
    let mut fields = Fields::new(row)?;
    let id = HostId::parse(&fields.text()?);
    let expires_in_ms = match fields.next() {
        Value::Int(ms) => ms,
        other => return Err(unexpected(&other)),
    };
    let mut info = HostInfo::default();
    let mut about = Fields::new(fields.next())?;
    loop {
        let field = match about.next() {
            Value::Nil => break,
            field => text(field)?,
        };
        let value = about.text()?;
        match field.as_str() {
            "queues" => info.queues = queue_names(serde_json::from_str(&value).unwrap_or_default()),
            "plugins" => info.plugins = serde_json::from_str(&value).unwrap_or_default(),
            "fleet" => info.fleet = value == "1",
            "version" => info.version = value,
            "pid" => info.pid = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    Ok(id.map(|id| HostRow { id, expires_in_ms, info }))
}
