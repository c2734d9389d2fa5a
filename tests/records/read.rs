//! Calls all code of the host and its commands that reads records, on the queue `jobs`. Each call must answer or fail
//! without a panic. The fuzz target `records` uses this file, too.

use std::time::Duration;

use sandhog::job::edit::{Which, requeue};
use sandhog::job::filter::Filter;
use sandhog::job::heal::{HEAL_BYTES_MAX, HEAL_RECORDS_MAX, Heal};
use sandhog::job::hold;
use sandhog::job::inspect::{self, Place};
use sandhog::job::lease::{Death, HostInfo, Leases};
use sandhog::job::limit::{KeyLimits, KeySource, QueueLimits, Rate};
use sandhog::job::name::{HostId, JobId, QueueName};
use sandhog::job::schedule::book;
use sandhog::job::schedule::fired::Fired;
use sandhog::job::schedule::firing;
use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::status;
use sandhog::job::store::{DeadLimits, Delivery, JobStore, Order, Turn};
use sandhog::job::take;
use sandhog::job::transfer;
use sandhog::job::walk;
use sandhog::plugin::depot::Depot;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::Digest;
use sandhog::storage::link::Link;

use super::write::{DIGEST, JOB};

const LEASE: Duration = Duration::from_secs(60);
const PLACES: [Place; 6] =
    [Place::Waiting, Place::Ready, Place::Inflight, Place::Delayed, Place::Parked, Place::Dead];

/// Reads all records in every way there is; claims jobs, and ends them.
pub async fn read(link: &Link) {
    let queue = QueueName::new("jobs").expect("a name");
    let dead = DeadLimits { count: 10, age_ms: 1_000, bytes: 1_000 };
    let store = JobStore::new(link.clone(), queue.clone(), dead);
    show(link, &queue).await;
    schedules(link).await;
    let leases = Leases::new(link.clone());
    let _ = leases.list_all().await;
    let _ = leases.swaps(9).await;
    let _ = leases.of_seat("o.00000002").await;
    let info = HostInfo { queues: vec![queue.clone()], ..HostInfo::default() };
    let host = leases.register("o", 2, LEASE, &info, &[]).await;
    let expired = leases.expired(LEASE, 0).await.map(|page| page.hosts);
    for gone in expired.unwrap_or_default() {
        let _ = leases.queues_of(&gone).await;
        let _ = leases.popped_from(&gone).await;
        let _ = store.reap(&gone, Death::Certain, 3).await;
        let _ = leases.forget(&gone, true, std::slice::from_ref(&queue)).await;
    }
    if let Ok(host) = host {
        work(link, &store, &host, &queue).await;
    }
    let _ = requeue(link, &queue, &Which::All(Place::Dead), 99, |_| {}).await;
    show(link, &queue).await;
    fleet(link).await;
}

/// The reads of a host for a queue.
async fn work(link: &Link, store: &JobStore, host: &HostId, queue: &QueueName) {
    let rate = Some(Rate { count: 100, per: Duration::from_secs(1) });
    let source = KeySource::Header("t".to_owned());
    let key = Some(KeyLimits { source, concurrency: Some(2), rate, in_order: true });
    let limits = QueueLimits { fleet_concurrency: Some(50), rate, key };
    for limits in [&limits, &QueueLimits::default()] {
        let mut next_seq = 0;
        for fate in [Fate::Complete, Fate::Bury, Fate::Retry { delay_ms: 1 }, Fate::Release] {
            let turn = Turn {
                host,
                acks: &[],
                claim: 4,
                next_seq,
                order: Order::Fifo,
                delivery: Delivery::AtLeastOnce,
                bytes_max: 1 << 20,
                payload_bytes_max: 1 << 16,
                limits,
                nth: 0,
            };
            let Ok(reply) = store.turn(&turn).await else { break };
            next_seq = reply.next_seq;
            for job in reply.jobs {
                let settlement = Settlement { slot: job.slot, header: job.header, fate };
                let _ = store.settle(host, &[settlement]).await;
            }
        }
    }
    if let Ok(slots) = store.inflight(host).await {
        let _ = store.fetch(host, &slots).await;
    }
    let _ = take::put_back_forgotten(link, host, queue).await;
    let (records_max, bytes_max) = (HEAL_RECORDS_MAX, HEAL_BYTES_MAX);
    for key_concurrency in [2, 0] {
        let _ = store.heal(link, &Heal { host, key_concurrency, gap_ms: 0, records_max, bytes_max }).await;
    }
    let _ = store.trim().await;
}

/// The reads of the commands.
async fn show(link: &Link, queue: &QueueName) {
    let (id, all) = (JobId::new(JOB).expect("an id"), Filter::default());
    let some = Filter { text: Some("x".to_owned()), ..Filter::default() };
    let _ = inspect::known_queues(link).await;
    let _ = inspect::counts(link, queue).await;
    for place in PLACES {
        if let Ok((rows, _)) = inspect::search(link, queue, place, &all, None, 99).await {
            rows.iter().for_each(|row| drop(transfer::line(row)));
        }
        let _ = inspect::search(link, queue, place, &some, None, 99).await;
        let _ = inspect::list(link, queue, place, None, 3).await;
    }
    let _ = walk::groups(link, queue, &all, |_, _| {}).await;
    let _ = inspect::show(link, queue, &id).await;
    let _ = status::progress(link, queue, std::slice::from_ref(&id)).await;
    let _ = status::await_result(link, queue, &id, Duration::from_millis(1)).await;
    let _ = hold::read(link).await;
}

/// The reads of a scheduler, and those of `sandhog schedule`.
async fn schedules(link: &Link) {
    for row in book::list(link).await.unwrap_or_default() {
        if let Some((Ok(plan), next)) = row.schedule.map(|schedule| schedule.plan()).zip(row.next) {
            let _ = plan.show(next.slot);
        }
        let _ = book::pause(link, &row.name).await;
        let _ = book::resume(link, &row.name).await;
    }
    let Ok(look) = firing::due(link, "o.00000002", 0).await else { return };
    for due in look.due {
        let Ok((schedule, plan)) = book::read(&due.definition) else { continue };
        let fired = Fired::read(&due.fired);
        let step = plan.step(&due.name, schedule.jitter_ms, schedule.missed, due.firing, fired, look.now);
        let _ = firing::fire(link, &due, &schedule, &step).await;
    }
    if let Ok(look) = firing::ahead(link, "o.00000002", 0).await {
        for ahead in look.due {
            let _ = firing::reset(link, &ahead, look.now).await;
        }
    }
    let _ = book::declare(link, "o.00000002", true, &[]).await;
}

/// The reads of the fleet's wanted releases.
async fn fleet(link: &Link) {
    let depot = Depot::new(link.clone());
    let (plugin, digest) = (PluginName::new("p").expect("a name"), Digest::parse(DIGEST).expect("a digest"));
    let _ = depot.wanted().await;
    let _ = depot.history(&plugin).await;
    let _ = depot.release(&digest).await;
    let _ = depot.component(&digest, 1 << 20).await;
    let _ = depot.want(&plugin, &digest, &digest, "me").await;
}
