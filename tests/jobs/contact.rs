//! Leases that do not show whether their host is alive: no host reached Redis, or its clock was set. Instead of waiting,
//! tests change times in Redis.

use std::time::Duration;

use sandhog::job::lease::{HostInfo, HostRow, Leases, Renewal};
use sandhog::job::name::HostId;

use super::Scene;

const LEASE: Duration = Duration::from_secs(15);
const LEASE_MS: i64 = 15_000;

/// A registry with hosts, and nothing else.
struct Registry {
    scene: Scene,
    leases: Leases,
}

impl Registry {
    async fn new() -> Self {
        let mut scene = Scene::new().await;
        scene.send(&["FLUSHALL"]).await;
        let leases = Leases::new(scene.link.clone());
        Self { scene, leases }
    }

    async fn host(&self, name: &str, lease: Duration) -> HostId {
        self.leases.register(name, 1, lease, &HostInfo::default(), &[]).await.unwrap()
    }

    /// Sets the last contact and the ends of leases to this many milliseconds from now.
    async fn age(&mut self, contact_ms: i64, leases: &[(&HostId, i64)]) {
        let now = self.scene.now_ms().await;
        self.scene.send(&["SET", "sandhog:contact", &(now + contact_ms).to_string()]).await;
        for (host, ends_ms) in leases {
            let ends = (now + ends_ms).to_string();
            self.scene.send(&["ZADD", "sandhog:hosts", &ends, host.as_str()]).await;
        }
    }

    async fn expired(&self) -> Vec<HostId> {
        self.leases.expired(LEASE, 0).await.unwrap().hosts
    }

    async fn row(&self, host: &HostId) -> HostRow {
        self.leases.list().await.unwrap().into_iter().find(|row| row.id == *host).unwrap()
    }
}

/// Whether this is about a whole lease from now; a busy machine may be slow.
fn is_whole(row: &HostRow, lease_ms: i64) -> bool {
    (lease_ms - 5_000..=lease_ms).contains(&row.expires_in_ms)
}

#[tokio::test]
async fn a_lease_that_ended_during_an_outage_starts_again() {
    let mut registry = Registry::new().await;
    let lived = registry.host("lived", LEASE).await;
    let ending = registry.host("ending", LEASE).await;
    let dead = registry.host("dead", LEASE).await;
    let patient = registry.host("patient", Duration::from_secs(600)).await;
    let ages = [(&lived, -2_000), (&ending, 300), (&dead, -20_500), (&patient, 60_000)];
    registry.age(-20_000, &ages).await;
    assert_eq!(registry.expired().await, std::slice::from_ref(&dead), "only the host that was dead before");
    for host in [&lived, &ending] {
        let row = registry.row(host).await;
        assert!(is_whole(&row, LEASE_MS) && row.is_silent, "{row:?}");
    }
    let row = registry.row(&patient).await;
    assert!(row.expires_in_ms <= 60_000 && !row.is_silent, "20 s do not extend a lease of 10 min: {row:?}");

    assert_eq!(registry.leases.renew(&[&lived], LEASE).await, Ok(vec![Renewal::Kept]), "it had not ended");
    assert!(!registry.row(&lived).await.is_silent, "it renewed its lease");
    // A host that still does not renew is dead.
    registry.age(-1_000, &[(&lived, 10_000), (&ending, -1)]).await;
    assert_eq!(registry.expired().await, [dead, ending]);
}

#[tokio::test]
async fn the_first_host_to_reach_redis_renews_the_leases_of_the_others() {
    for first in ["renews", "registers"] {
        let mut registry = Registry::new().await;
        let (one, other) = (registry.host("one", LEASE).await, registry.host("other", LEASE).await);
        registry.age(-18_000, &[(&one, -3_000), (&other, -5_000)]).await;
        match first {
            "renews" => {
                assert_eq!(registry.leases.renew(&[&one], LEASE).await, Ok(vec![Renewal::Kept]));
            }
            _ => drop(registry.host("new", LEASE).await),
        }
        assert!(is_whole(&registry.row(&other).await, LEASE_MS), "{first}");
        assert_eq!(registry.expired().await, [], "{first}");
    }
}

#[tokio::test]
async fn regular_contacts_renew_no_expired_lease() {
    let mut registry = Registry::new().await;
    let dead = registry.host("dead", LEASE).await;
    // One other host renews its lease every five seconds and does nothing else.
    registry.age(-5_500, &[(&dead, -5_000)]).await;
    assert_eq!(registry.expired().await, [dead]);
}

#[tokio::test]
async fn an_unresponsive_host_gets_at_most_three_new_leases() {
    let mut registry = Registry::new().await;
    let dead = registry.host("dead", LEASE).await;
    for _ in 0..3 {
        registry.age(-200_000, &[(&dead, -190_000)]).await;
        assert_eq!(registry.expired().await, []);
    }
    registry.age(-200_000, &[(&dead, -190_000)]).await;
    assert_eq!(registry.expired().await, [dead]);
}

#[tokio::test]
async fn every_host_gets_a_lease_if_the_last_contact_is_unknown() {
    for spoil in [&["DEL", "sandhog:contact"][..], &["LPUSH", "sandhog:contact", "x"]] {
        let mut registry = Registry::new().await;
        let host = registry.host("h", LEASE).await;
        registry.age(0, &[(&host, -100_000)]).await;
        registry.scene.send(&["DEL", "sandhog:contact"]).await;
        registry.scene.send(spoil).await;
        assert_eq!(registry.expired().await, [], "{spoil:?}");
        assert!(registry.row(&host).await.is_silent);
        registry.age(-1_000, &[(&host, -500)]).await;
        assert_eq!(registry.expired().await, [host]);
    }
}

#[tokio::test]
async fn a_lease_never_lasts_longer_than_its_length() {
    const HOUR: i64 = 3_600_000;
    let mut registry = Registry::new().await;
    let (dead, long) = (registry.host("dead", LEASE).await, registry.host("l", LEASE * 20).await);
    // Redis' clock was an hour ahead: the last contact is in the future.
    registry.age(HOUR, &[(&dead, HOUR + 9_000), (&long, HOUR + 200_000)]).await;
    assert!(is_whole(&registry.row(&dead).await, LEASE_MS), "shown as it is after the correction");
    assert_eq!(registry.expired().await, []);
    assert!(is_whole(&registry.row(&dead).await, LEASE_MS));
    assert!(is_whole(&registry.row(&long).await, 20 * LEASE_MS));
    let set = registry.scene.dump_all().await["sandhog:hosts"].clone();
    assert!(set.contains("@T+10") || set.contains("@T+20"), "Redis has the same: {set}");
    registry.age(-1_000, &[(&dead, -500)]).await;
    assert_eq!(registry.expired().await, std::slice::from_ref(&dead));

    // Changed by hand, with regular contacts.
    registry.age(0, &[(&dead, 1_000 * HOUR)]).await;
    assert_eq!(registry.expired().await, []);
    registry.age(-1_000, &[(&dead, -500)]).await;
    assert_eq!(registry.expired().await, [dead]);
}

#[tokio::test]
async fn a_host_missing_from_the_registry_returns_and_a_forgotten_one_does_not() {
    let mut registry = Registry::new().await;
    let host = registry.host("h", LEASE).await;
    registry.scene.send(&["DEL", "sandhog:hosts"]).await;
    assert_eq!(registry.leases.renew(&[&host], LEASE).await, Ok(vec![Renewal::Revived]));
    assert!(is_whole(&registry.row(&host).await, LEASE_MS));
    assert_eq!(registry.leases.forget(&host, true, &[]).await, Ok(true));
    assert_eq!(registry.leases.renew(&[&host], LEASE).await, Ok(vec![Renewal::Gone]));
    assert_eq!(registry.scene.dump_all().await.len(), 0, "the last host leaves no keys");
}

#[tokio::test]
async fn former_ids_stay_registered_and_do_not_count_as_hosts() {
    let registry = Registry::new().await;
    let former = super::host(2);
    let leases = &registry.leases;
    let info = HostInfo { pid: 17, ..HostInfo::default() };
    let present = leases.register("h", 1, LEASE, &info, &[&former]).await.unwrap();
    let rows = leases.list_all().await.unwrap();
    let former_row = rows.iter().find(|row| row.id == former).unwrap();
    assert_eq!((former_row.successor.as_ref(), former_row.info.pid), (Some(&present), 17));
    assert_eq!(leases.list().await.unwrap().len(), 1, "one host");
    let renewals = leases.renew(&[&present, &former], LEASE).await;
    assert_eq!(renewals, Ok(vec![Renewal::Kept, Renewal::Kept]));
}
