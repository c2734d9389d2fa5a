//! Which hosts live: one registry for all queues, in Redis time. A host without a lease claims nothing, and
//! others take back what it had. Jobs themselves are in `store`.

use std::time::Duration;

use redis::Value;

use super::key::{CONTACT, HOSTS, QUEUES, QueueKeys, SEARCHED, SWAPS, host_info};
use super::name::{HostId, QUEUE_NAME_BYTES_MAX, QueueName};
use super::reply::{Fields, list, text, unexpected};
use super::report::{PluginReport, SWAPS_MAX, Swap};
use super::script;
use super::store::StoreError;
use crate::storage::bounded::{self, Bound, Element, Listed, Of};
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Most dead hosts in one page.
pub const EXPIRED_MAX: u32 = 100;
/// Most hosts in a listing.
pub const HOSTS_MAX: u32 = 10_000;
/// Longest field of the hash about a host that is read: thousands of queues with long names.
const ABOUT_BYTES_MAX: usize = 4 << 20;
/// Bytes of all hosts together after which reading stops.
const HOSTS_BYTES_MAX: usize = 64 << 20;
/// The fields that are read of a host. Its other fields name lists that its runs popped from.
const ABOUT_FIELDS: [&str; 9] =
    ["queues", "plugins", "fleet", "version", "pid", "origin", "lease_ms", "spared", "successor"];
/// Longest entry about a swap, in JSON.
const SWAP_BYTES_MAX: usize = 4096;
/// Most queues in the list of queues that hosts have served, and the longest name of one.
const QUEUES_BOUND: Bound = Bound { elements: 100_000, bytes: QUEUE_NAME_BYTES_MAX };

/// The longest lease that a host can have, in milliseconds; the same as in `script/part/contact.lua`.
const LEASE_MAX_MS: i64 = 600_000;
/// Most keys in one command that ends a registration.
const FORGET_KEYS_MAX: usize = 1000;

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
    /// The machine since its last boot, and the file of the seat; empty without such a file.
    pub origin: String,
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
    /// Whether the host has not renewed its lease since Redis was unreachable: its lease was extended for it.
    pub is_silent: bool,
    /// The id under which the process of this host continues.
    pub successor: Option<HostId>,
}

/// One registered life of a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its id.
    pub id: HostId,
    /// Whether its lease is still running.
    pub is_leased: bool,
    /// As in `HostInfo`.
    pub origin: String,
}

/// A page of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Hosts whose lease has ended.
    pub hosts: Vec<HostId>,
    /// Number of members in the page: these hosts, and members that are not ids of hosts.
    pub members: u64,
}

impl Expired {
    /// Whether further pages may follow.
    pub fn is_full(&self) -> bool {
        self.members == u64::from(EXPIRED_MAX)
    }
}

/// The result of renewing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease was renewed.
    Kept,
    /// The lease was renewed, but it had ended: other hosts may have taken jobs back.
    Revived,
    /// The host is not registered any more: other hosts have its jobs now.
    Gone,
}

/// Why the jobs of a host are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Its lease has ended. If the lease is renewed meanwhile, nothing is taken back.
    Expired,
    /// Its process has certainly ended, whatever its lease says.
    Certain,
    /// It did not die: it is an id of this process, which does not run these jobs. No crash is counted.
    Alive,
}

impl Death {
    /// The argument of the script.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Expired => 0,
            Self::Certain => 1,
            Self::Alive => 2,
        }
    }
}

/// The registry of hosts; clones share the connection.
#[derive(Debug, Clone)]
pub struct Leases {
    pub(super) link: Link,
}

impl Leases {
    /// The registry at the other end of `link`.
    pub fn new(link: Link) -> Self {
        Self { link }
    }

    /// Registers a new life of the host `name` on `seat`, with a lease that starts now. Former ids of the same
    /// process (`formers`) stay registered, with a lease that starts now.
    ///
    /// # Errors
    ///
    /// Redis did not answer, a key is of a wrong type, or the name is not valid.
    pub async fn register(
        &self,
        name: &str,
        seat: u32,
        lease: Duration,
        info: &HostInfo,
        formers: &[&HostId],
    ) -> Result<HostId, StoreError> {
        let refused = |error: super::name::NameError| Fault::Unexpected(error.to_string());
        // Any epoch will do to learn what the name and the seat look like.
        let sample = HostId::new(name, seat, 0).map_err(refused)?;
        let mut call = script::REGISTER.call(&[HOSTS, QUEUES, CONTACT]);
        call.arg(sample.seat()).arg(milliseconds(lease)).arg(host_info(""));
        add_info(&mut call, info);
        call.arg(formers.len());
        for former in formers {
            call.arg(former.as_str());
        }
        add_queues(&mut call, info);
        match script::REGISTER.run::<Value>(&self.link, &call).await? {
            Value::Array(mut key) => Err(StoreError::WrongType(text(key.pop().unwrap_or_default())?)),
            id => {
                let id = text(id)?;
                HostId::parse(&id).ok_or_else(|| Fault::Unexpected(format!("`{id}` for a host id")).into())
            }
        }
    }

    /// Renews the leases of these ids of one host from now on; returns the result for each, in order.
    pub async fn renew(&self, hosts: &[&HostId], lease: Duration) -> Result<Vec<Renewal>, Fault> {
        let mut call = script::RENEW.call(&[HOSTS, CONTACT]);
        call.arg(host_info("")).arg(milliseconds(lease));
        for host in hosts {
            call.arg(host.as_str());
        }
        let codes: Vec<i64> = script::RENEW.run(&self.link, &call).await?;
        if codes.len() != hosts.len() {
            return Err(Fault::Unexpected(format!("{} answers about {} leases", codes.len(), hosts.len())));
        }
        let renewal = |code| match code {
            0 => Renewal::Gone,
            1 => Renewal::Kept,
            _ => Renewal::Revived,
        };
        Ok(codes.into_iter().map(renewal).collect())
    }

    /// Tells anew what `host` serves; false when it is not registered any more. Comes before the first claim
    /// from a new queue, and after the last record of an old one is gone.
    pub async fn describe(&self, host: &HostId, info: &HostInfo) -> Result<bool, StoreError> {
        let about = host_info(host.as_str());
        let mut call = script::DESCRIBE.call(&[HOSTS, QUEUES, &about]);
        call.arg(host.as_str());
        add_info(&mut call, info);
        add_queues(&mut call, info);
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
    pub async fn swaps(&self, count: usize) -> Result<Listed<Vec<(String, Swap)>>, Fault> {
        let bound = Bound { elements: count.min(SWAPS_MAX), bytes: SWAP_BYTES_MAX };
        let mut swaps = Listed::<Vec<_>>::default();
        for (nth, element) in bounded::read(&self.link, SWAPS, Of::List, bound).await?.into_iter().enumerate()
        {
            match element {
                Element::TooLong(bytes) => swaps.left_out.push(format!(
                    "entry {nth} of `{SWAPS}` has {bytes} bytes, and can have {SWAP_BYTES_MAX} at the most; it is left out"
                )),
                element => swaps.entries.extend(element.text().and_then(|line| serde_json::from_str(&line).ok())),
            }
        }
        Ok(swaps)
    }

    /// A page of the members of the registry whose lease has ended, the longest dead first. Leases that ended while no
    /// host reached Redis are extended first. `lease` is the lease of the host that asks; `skip` members come before
    /// the page.
    pub async fn expired(&self, lease: Duration, skip: u64) -> Result<Expired, Fault> {
        let mut call = script::EXPIRED.call(&[HOSTS, CONTACT]);
        call.arg(EXPIRED_MAX).arg(host_info("")).arg(milliseconds(lease)).arg(skip);
        let ids: Vec<Vec<u8>> = script::EXPIRED.run(&self.link, &call).await?;
        let hosts = ids.iter().filter_map(|id| HostId::parse(std::str::from_utf8(id).ok()?)).collect();
        Ok(Expired { hosts, members: ids.len() as u64 })
    }

    /// All registered lives of one seat (`HostId::seat`), the latest last.
    pub async fn of_seat(&self, seat: &str) -> Result<Vec<Life>, Fault> {
        let mut call = script::SEAT.call(&[HOSTS]);
        call.arg(host_info("")).arg(seat);
        let mut lives = Vec::new();
        for row in list(script::SEAT.run::<Value>(&self.link, &call).await?)? {
            let mut fields = Fields::new(row)?;
            let (id, left, origin) = (fields.text()?, fields.next(), fields.text()?);
            if let Some(id) = HostId::parse(&id)
                && id.seat() == seat
            {
                lives.push(Life { id, is_leased: matches!(left, Value::Int(1..)), origin });
            }
        }
        lives.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(lives)
    }

    /// The queues that `host` served; all queues ever served if its entry was deleted.
    pub async fn served_by(&self, host: &HostId) -> Result<Vec<QueueName>, Fault> {
        let bound = Bound { elements: 1, bytes: ABOUT_BYTES_MAX };
        let about = host_info(host.as_str());
        let served = bounded::read(&self.link, &about, Of::Fields(&["queues"]), bound).await?.pop();
        let served = served.and_then(Element::whole);
        match served.and_then(|json| serde_json::from_slice::<Vec<String>>(&json).ok()) {
            Some(queues) => Ok(queue_names(queues)),
            None => known_queues(&self.link).await,
        }
    }

    /// The queues in which `host` may have records: those it served, then those its runs popped from.
    pub async fn queues_of(&self, host: &HostId) -> Result<Vec<QueueName>, Fault> {
        let mut queues = self.served_by(host).await?;
        let popped = self.popped_from(host).await?;
        queues.extend(popped.into_iter().filter(|queue| !queues.contains(queue)).collect::<Vec<_>>());
        Ok(queues)
    }

    /// Ends the registration of `host`, after all its records were reaped; false when its lease lives (again), or
    /// when it has records in one of `queues` (again): a failover can bring some back.
    pub async fn forget(&self, host: &HostId, by_force: bool, queues: &[QueueName]) -> Result<bool, Fault> {
        let mut records: Vec<String> =
            queues.iter().map(|queue| QueueKeys::new(queue).inflight(host)).collect();
        let last = records.split_off(records.len().saturating_sub(FORGET_KEYS_MAX));
        for some in records.chunks(FORGET_KEYS_MAX) {
            if self.link.query::<u64>(redis::cmd("EXISTS").arg(some)).await? > 0 {
                return Ok(false);
            }
        }
        let mut keys = vec![HOSTS.to_owned(), host_info(host.as_str())];
        keys.extend(last);
        let mut call = script::FORGET.call(&keys);
        call.arg(host.as_str()).arg(u8::from(by_force)).arg(CONTACT).arg(SEARCHED);
        script::FORGET.run(&self.link, &call).await
    }

    /// All registered hosts under their present ids, in the order in which their leases end.
    pub async fn list(&self) -> Result<Vec<HostRow>, Fault> {
        let mut rows = self.list_all().await?;
        rows.retain(|row| row.successor.is_none());
        Ok(rows)
    }

    /// As `list`, with former ids under which hosts may still have records.
    pub async fn list_all(&self) -> Result<Vec<HostRow>, Fault> {
        let mut call = script::HOSTS.call(&[HOSTS]);
        call.arg(host_info("")).arg(HOSTS_MAX).arg(ABOUT_BYTES_MAX).arg(HOSTS_BYTES_MAX).arg(&ABOUT_FIELDS);
        let rows = list(script::HOSTS.run::<Value>(&self.link, &call).await?)?;
        rows.into_iter().filter_map(|row| read_host(row).transpose()).collect()
    }
}

/// All queues that hosts ever served, in alphabetical order.
pub async fn known_queues(link: &Link) -> Result<Vec<QueueName>, Fault> {
    let mut names = queue_names(bounded::texts(link, QUEUES, Of::Set, QUEUES_BOUND).await?);
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
    call.arg(u8::from(info.fleet)).arg(&info.origin);
}

/// The arguments that follow: each queue.
fn add_queues(call: &mut redis::Cmd, info: &HostInfo) {
    for queue in &info.queues {
        call.arg(queue.as_str());
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
    let (mut lease_ms, mut is_silent, mut successor) = (LEASE_MAX_MS, false, None);
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
            "origin" => info.origin = value,
            "lease_ms" => lease_ms = value.parse().unwrap_or(LEASE_MAX_MS).min(LEASE_MAX_MS),
            "spared" => is_silent = true,
            "successor" => successor = HostId::parse(&value),
            _ => {}
        }
    }
    // A lease cannot last longer than its length; the next host that reaches Redis corrects it there.
    let expires_in_ms = expires_in_ms.min(lease_ms);
    Ok(id.map(|id| HostRow { id, expires_in_ms, info, is_silent, successor }))
}
