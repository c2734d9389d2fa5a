//! The registry of hosts.

use std::time::Duration;

use sandhog::job::lease::{HostInfo, Leases, Renewal};
use sandhog::job::name::{HostId, QueueName};
use sandhog::job::report::PluginReport;
use sandhog::job::store::StoreError;

use super::Scene;

const LEASE: Duration = Duration::from_secs(60);

fn info(queues: &[&str]) -> HostInfo {
    HostInfo {
        queues: queues.iter().map(|q| QueueName::new(*q).unwrap()).collect(),
        plugins: vec![PluginReport { name: "thumbs".to_owned(), ..PluginReport::default() }],
        fleet: true,
        version: "0.1.0".to_owned(),
        pid: 17,
        origin: "boot:1:2".to_owned(),
    }
}

/// The ids of a seat.
async fn ids_of_seat(leases: &Leases) -> Vec<HostId> {
    leases.of_seat("web.00000001").await.unwrap().into_iter().map(|life| life.id).collect()
}

#[tokio::test]
async fn a_life_begins_is_renewed_and_forgotten() {
    let mut scene = Scene::new().await;
    scene.send(&["FLUSHALL"]).await;
    let leases = Leases::new(scene.link.clone());
    let before_ms = scene.now_ms().await as u64;
    let host = leases.register("web.1", 0xabc, LEASE, &info(&["orders", "a b"]), &[]).await.unwrap();
    assert_eq!((host.name(), host.seat()), ("web.1", "web.1.00000abc"));
    assert!((before_ms..before_ms + 5_000).contains(&host.epoch_ms()));
    scene.host = host.clone();
    let about = |queues: &str| {
        format!(
            "hash fleet=1, lease_ms=60000, origin=boot:1:2, pid=17, plugins=[{{\"name\":\"thumbs\",\"kind\":\"\",\"version\":\"\",\"release\":\"\",\"queues\":[],\"versions\":[]}}], \
             queues={queues}, started_ms=T, version=0.1.0"
        )
    };
    let found = scene.dump_all().await;
    let expected = [
        ("sandhog:contact", "string T".to_owned()),
        ("sandhog:host:HOST", about("[\"orders\",\"a b\"]")),
        ("sandhog:hosts", "zset HOST@T+60".to_owned()),
        ("sandhog:queues", "set a b, orders".to_owned()),
    ];
    assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v)).into());

    assert_eq!(leases.renew(&[&host], LEASE * 2).await, Ok(vec![Renewal::Kept]));
    assert_eq!(leases.describe(&host, &info(&["more"])).await, Ok(true));
    let found = scene.dump_all().await;
    assert_eq!(found["sandhog:hosts"], "zset HOST@T+120");
    assert_eq!(found["sandhog:host:HOST"], about("[\"more\"]"));
    assert_eq!(found["sandhog:queues"], "set a b, more, orders");
    assert_eq!(leases.queues_of(&host).await.unwrap(), [QueueName::new("more").unwrap()]);
    let rows = leases.list().await.unwrap();
    assert_eq!((rows.len(), &rows[0].id, &rows[0].info), (1, &host, &info(&["more"])));
    assert!((60_000..=120_000).contains(&rows[0].expires_in_ms), "{rows:?}");

    assert_eq!(leases.forget(&host, false, &[]).await, Ok(false), "it lives");
    assert_eq!(leases.forget(&host, true, &[]).await, Ok(true));
    assert_eq!(leases.forget(&host, true, &[]).await, Ok(true), "a host deleted by hand is forgotten");
    assert_eq!(scene.dump_all().await.keys().collect::<Vec<_>>(), ["sandhog:queues"]);
    assert_eq!(leases.renew(&[&host], LEASE).await, Ok(vec![Renewal::Gone]));
    assert_eq!(leases.describe(&host, &info(&["x"])).await, Ok(false));
    assert_eq!(scene.dump_all().await.keys().collect::<Vec<_>>(), ["sandhog:queues"], "nothing came back");
}

#[tokio::test]
async fn two_lives_never_share_an_epoch() {
    let scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    let info = info(&["q"]);
    let lives: Vec<_> = (0..50).map(|_| leases.register("web", 1, LEASE, &info, &[])).collect();
    let mut ids: Vec<HostId> =
        futures_util::future::join_all(lives).await.into_iter().map(Result::unwrap).collect();
    ids.sort();
    assert_eq!(ids_of_seat(&leases).await, ids);
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[tokio::test]
async fn the_dead_are_told_from_the_living() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    let dead = leases.register("web", 1, LEASE, &info(&["q"]), &[]).await.unwrap();
    let longer_dead = leases.register("web", 2, LEASE, &info(&["q"]), &[]).await.unwrap();
    let alive = leases.register("web", 1, LEASE, &info(&["q"]), &[]).await.unwrap();
    leases.register("web.00000001", 1, LEASE, &info(&["q"]), &[]).await.unwrap();
    let now = scene.now_ms().await;
    scene
        .send(&["ZADD", "sandhog:hosts", &(now - 5).to_string(), dead.as_str(), "3", longer_dead.as_str()])
        .await;
    scene.send(&["ZADD", "sandhog:hosts", "1", "nobody we know"]).await;
    assert_eq!(leases.expired(LEASE, 0).await.unwrap().hosts, [longer_dead.clone(), dead.clone()]);
    assert_eq!(ids_of_seat(&leases).await, [dead.clone(), alive]);
    assert!(leases.list().await.unwrap().iter().any(|row| row.id == dead && row.expires_in_ms < 0));
    // Renewed after all, before anybody forgot it.
    assert_eq!(leases.renew(&[&dead], LEASE).await, Ok(vec![Renewal::Revived]));
    assert_eq!(leases.expired(LEASE, 0).await.unwrap().hosts, std::slice::from_ref(&longer_dead));
    assert_eq!(leases.forget(&longer_dead, false, &[]).await, Ok(true));
    assert_eq!(leases.expired(LEASE, 0).await.unwrap().hosts, []);
}

#[tokio::test]
async fn more_dead_hosts_than_a_page_are_all_found_among_members_that_are_no_hosts() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    let living = leases.register("web", 1, LEASE, &info(&["q"]), &[]).await.unwrap();
    let mut dead = Vec::new();
    for nth in 0..150_u32 {
        let host = HostId::new("dead", nth, 5).unwrap();
        let (score, junk) = ((2 * nth + 1).to_string(), (2 * nth).to_string());
        scene.send(&["ZADD", "sandhog:hosts", &score, host.as_str(), &junk, &format!("nobody {nth}")]).await;
        dead.push(host);
    }
    let (mut found, mut skip, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = leases.expired(LEASE, skip).await.unwrap();
        (skip, pages) = (skip + page.members, pages + 1);
        let is_full = page.is_full();
        found.extend(page.hosts);
        if !is_full {
            break;
        }
    }
    assert_eq!((found, skip, pages), (dead, 300, 4));
    assert!(ids_of_seat(&leases).await.contains(&living));
}

#[tokio::test]
async fn a_host_whose_description_is_lost_may_have_served_any_queue() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    let host = leases.register("web", 1, LEASE, &info(&["b", "a"]), &[]).await.unwrap();
    scene.host = host.clone();
    scene.send(&["DEL", "sandhog:host:HOST"]).await;
    let names = leases.queues_of(&host).await.unwrap();
    assert_eq!(names.iter().map(QueueName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(leases.list().await.unwrap()[0].info, HostInfo::default());
}

#[tokio::test]
async fn a_registry_of_a_wrong_type_is_named() {
    let mut scene = Scene::new().await;
    let leases = Leases::new(scene.link.clone());
    for key in ["sandhog:hosts", "sandhog:queues"] {
        scene.send(&["FLUSHALL"]).await;
        scene.send(&["SET", key, "x"]).await;
        let refused = leases.register("web", 1, LEASE, &info(&["q"]), &[]).await;
        assert_eq!(refused, Err(StoreError::WrongType(key.to_owned())));
        assert_eq!(scene.dump_all().await.len(), 1, "nothing was written");
    }
}
