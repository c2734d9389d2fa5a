//! Every change of a job's place: exact structures in Redis before and after, with the queue `q` and a host
//! whose numbers are known. Companion keys are written without `{q}:sandhog`, so `:ready` is that of `q`.

mod adverse;
mod assume;
mod claim_bytes;
mod commit;
mod commit_property;
mod commit_refused;
mod commit_several;
mod conserve;
mod contact;
mod dead_bytes;
mod edit;
mod fair;
mod heal;
mod heal_moves;
mod inspect;
mod keys;
mod lease;
mod limits;
mod longest;
mod longest_behind;
mod lost;
mod lost_reply;
mod pointer;
mod popped;
mod push;
mod reap;
mod rolling;
mod same_id;
mod settle;
mod spoiled;
mod take;
mod turn;

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;
use redis::cmd;
use sandhog::job::envelope::Header;
use sandhog::job::limit::QueueLimits;
use sandhog::job::name::{HostId, JobId, QueueName};
use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::store::{
    Claimed, DeadLimits, Delivery, JobStore, Order, Slot, StoreError, Turn, TurnReply,
};
use sandhog::storage::link::Link;

use crate::support::dump::{dump, without_times};
use crate::support::redis::TestRedis;

/// An epoch in the far future, so that sequence numbers begin at zero.
pub const EPOCH: u64 = 4_000_000_000_000;
/// A lease that does not end.
const FOREVER: &str = "8000000000000";
/// Caps nothing here reaches by chance.
pub const ROOMY: DeadLimits = DeadLimits { count: 1_000, age_ms: 3_600_000, bytes: 1 << 30 };

/// For queues without any.
pub static NO_LIMITS: QueueLimits = QueueLimits { fleet_concurrency: None, rate: None, key: None };

/// A turn that claims nothing, oldest first, whatever its size.
pub fn turn<'a>(host: &'a HostId, acks: &'a [Slot]) -> Turn<'a> {
    let (order, delivery) = (Order::Fifo, Delivery::AtLeastOnce);
    Turn {
        host,
        acks,
        claim: 0,
        next_seq: 0,
        order,
        delivery,
        bytes_max: 1 << 40,
        payload_bytes_max: 1 << 40,
        limits: &NO_LIMITS,
        nth: 0,
    }
}

/// A Redis of its own, the queue `q` and one living host.
pub struct Scene {
    pub redis: TestRedis,
    pub plain: MultiplexedConnection,
    pub link: Link,
    pub store: JobStore,
    pub host: HostId,
    pub next_seq: u64,
}

impl Scene {
    pub async fn new() -> Self {
        Self::on(TestRedis::start(), ROOMY).await
    }

    pub async fn on(redis: TestRedis, dead: DeadLimits) -> Self {
        let plain = redis.plain().await;
        let link = redis.link();
        let store = JobStore::new(link.clone(), queue(), dead);
        let mut scene = Self { plain, store, link, host: host(1), next_seq: 0, redis };
        scene.begin(&[]).await;
        scene
    }

    /// Empties the database and seeds it; the host lives.
    pub async fn begin(&mut self, seeds: &[&[&str]]) {
        self.send(&["FLUSHALL"]).await;
        self.next_seq = 0;
        let host = self.host.clone();
        self.send(&["ZADD", "sandhog:hosts", FOREVER, host.as_str()]).await;
        for seed in seeds {
            self.send(seed).await;
        }
    }

    /// Sends one command; keys that begin with `:` are companions of `q`, and `HOST` is the host.
    pub async fn send(&mut self, words: &[&str]) -> redis::Value {
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            let word = word.replace("HOST", self.host.as_str());
            command.arg(if word.starts_with(':') { format!("{{q}}:sandhog{word}") } else { word });
        }
        command.query_async(&mut self.plain).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub async fn now_ms(&mut self) -> i64 {
        let (seconds, micros): (i64, i64) = cmd("TIME").query_async(&mut self.plain).await.unwrap();
        seconds * 1000 + micros / 1000
    }

    /// The database without the registry of hosts, and without the number of dead jobs in `stats`.
    pub async fn dump(&mut self) -> BTreeMap<String, String> {
        let mut all = self.dump_all().await;
        all.retain(|key, _| !key.starts_with("sandhog:"));
        if let Some(stats) = all.get_mut(":stats").filter(|stats| stats.starts_with("hash ")) {
            let counters =
                stats["hash ".len()..].split(", ").filter(|counter| !counter.starts_with("dead_jobs="));
            *stats = format!("hash {}", counters.collect::<Vec<_>>().join(", "));
        }
        all
    }

    pub async fn dump_all(&mut self) -> BTreeMap<String, String> {
        let now_ms = self.now_ms().await;
        let short = |text: &str| {
            without_times(&text.replace("{q}:sandhog", "").replace(self.host.as_str(), "HOST"), now_ms)
        };
        dump(&mut self.plain).await.iter().map(|(k, v)| (short(k), short(v))).collect()
    }

    /// Compares the database, but for the registry of hosts.
    #[track_caller]
    pub fn expect(&mut self, case: &str, expected: &[(&str, &str)]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let expected: BTreeMap<String, String> =
                expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let found = self.dump().await;
            assert!(found == expected, "{case} at {caller}\nfound {found:#?}\nnot {expected:#?}");
        }
    }

    /// A turn that claims `claim` jobs, oldest first.
    pub async fn claim(&mut self, claim: u32) -> Result<TurnReply, StoreError> {
        self.turn(&[], claim, Order::Fifo, Delivery::AtLeastOnce).await
    }

    pub async fn turn(
        &mut self,
        acks: &[Slot],
        claim: u32,
        order: Order,
        delivery: Delivery,
    ) -> Result<TurnReply, StoreError> {
        let host = self.host.clone();
        let next_seq = self.next_seq;
        let turn = Turn { claim, next_seq, order, delivery, ..turn(&host, acks) };
        let reply = self.store.turn(&turn).await?;
        self.next_seq = reply.next_seq;
        Ok(reply)
    }

    /// Settles one job.
    pub async fn settle(&mut self, slot: Slot, header: &Header, fate: Fate) -> Result<bool, StoreError> {
        let settlement = Settlement { slot, header: header.clone(), fate };
        self.store.settle(&self.host, &[settlement]).await?.remove(0)
    }
}

pub fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

pub fn host(seat: u32) -> HostId {
    HostId::new("h", seat, EPOCH).unwrap()
}

pub const fn bare(seq: u64) -> Slot {
    Slot { seq, enveloped: false }
}

pub const fn enveloped(seq: u64) -> Slot {
    Slot { seq, enveloped: true }
}

/// The header of a job with an id.
pub fn header(id: &str, attempts: u32, crashes: u32, notes: &[(&str, &str)]) -> Header {
    Header {
        id: JobId::new(id).unwrap(),
        attempts,
        crashes,
        first_seen_ms: 5,
        notes: notes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

/// Payloads as text, in order.
pub fn payloads(jobs: &[Claimed]) -> Vec<String> {
    jobs.iter().map(|job| String::from_utf8_lossy(&job.payload).into_owned()).collect()
}
