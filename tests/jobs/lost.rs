//! Records under ids that are not registered.

use std::time::Duration;

use sandhog::job::inspect;
use sandhog::job::lease::Leases;
use sandhog::job::lost::{is_our_turn, search};
use sandhog::job::name::{HostId, QueueName};

use super::{Scene, queue};

const LEASE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn an_id_with_records_that_is_not_registered_is_found_and_counted() {
    let mut scene = Scene::new().await;
    let lost = HostId::new("gone", 7, 1_700_000_000_000).unwrap();
    let key = format!("{{q}}:sandhog:inflight:{lost}");
    let tagged = format!("eu{{7}}:sandhog:inflight:{lost}");
    scene.begin(&[&["HSET", ":inflight:HOST", "1", "of a living host"], &["HSET", &key, "1", "a"]]).await;
    for n in 0..3_000 {
        scene.send(&["SET", &format!("other:{n}"), "x"]).await;
    }
    scene.send(&["HSET", &tagged, "1", "b"]).await;
    scene.send(&["SET", "{q}:sandhog:inflight:gone.00000008.018bcfe56800", "of another type"]).await;
    scene.send(&["HSET", "{q}:sandhog:inflight:nobody", "1", "no host"]).await;
    assert_eq!(inspect::counts(&scene.link, &queue()).await.unwrap().inflight, 1);

    assert_eq!(search(&scene.link, LEASE).await.unwrap(), std::slice::from_ref(&lost));
    assert_eq!(search(&scene.link, LEASE).await.unwrap(), [], "it is known now");
    let leases = Leases::new(scene.link.clone());
    let row = leases.list().await.unwrap().into_iter().find(|row| row.id == lost).unwrap();
    assert!((10_000..=15_000).contains(&row.expires_in_ms), "a living host has time to renew: {row:?}");
    assert_eq!(inspect::counts(&scene.link, &queue()).await.unwrap().inflight, 2);
}

/// The host that reclaims the jobs must know the queue, which no host may have served since.
#[tokio::test]
async fn a_found_id_is_registered_with_its_queue() {
    let mut scene = Scene::new().await;
    let lost = HostId::new("gone", 7, 1_700_000_000_000).unwrap();
    scene.begin(&[&["HSET", &format!("{{q}}:sandhog:inflight:{lost}"), "1", "a"]]).await;
    search(&scene.link, LEASE).await.unwrap();
    let queues = Leases::new(scene.link.clone()).queues_of(&lost).await.unwrap();
    assert_eq!(queues, [QueueName::new("q").unwrap()]);
}

#[tokio::test]
async fn one_host_searches_per_hour_and_a_starting_one_immediately() {
    let mut scene = Scene::new().await;
    assert_eq!(is_our_turn(&scene.link, true).await, Ok(true));
    assert_eq!(is_our_turn(&scene.link, true).await, Ok(false), "another host has just started a search");
    assert_eq!(is_our_turn(&scene.link, false).await, Ok(false));
    scene.send(&["PEXPIRE", "sandhog:searched", "3000000"]).await;
    assert_eq!(is_our_turn(&scene.link, false).await, Ok(false), "ten minutes ago");
    assert_eq!(is_our_turn(&scene.link, true).await, Ok(true));
    scene.send(&["DEL", "sandhog:searched"]).await;
    assert_eq!(is_our_turn(&scene.link, false).await, Ok(true));
}
