//! Jobs that are equal in every byte: an id is a label, and a producer may push the same job many times. No script may
//! merge them, wherever they move.

use std::collections::HashSet;
use std::time::Duration;

use redis::cmd;
use sandhog::job::change::Changes;
use sandhog::job::envelope::HEADER_MADE_BYTES_MAX;
use sandhog::job::lease::Death;
use sandhog::job::limit::{KeyLimits, KeySource, QueueLimits, Rate};
use sandhog::job::name::JobId;
use sandhog::job::producer;
use sandhog::job::push::{PushOptions, push};
use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::store::{Claimed, Turn};

use super::commit::{push_job, writes};
use super::{Scene, enveloped, payloads, queue, turn};

/// How many equal jobs.
const MANY: usize = 10;

impl Scene {
    /// How many jobs a place holds.
    async fn size(&mut self, place: &str) -> usize {
        let command = if place == ":ready" { "LLEN" } else { "ZCARD" };
        redis::from_redis_value(self.send(&[command, place]).await).unwrap()
    }

    /// `MANY` equal jobs in `ready`, with this header and payload.
    async fn equal_ready(&mut self, record: &str) {
        let seed: Vec<&str> = ["RPUSH", ":ready"].into_iter().chain([record; MANY]).collect();
        self.begin(&[&seed]).await;
    }

    /// Ends all these in the same way.
    async fn settle_all(&mut self, jobs: &[Claimed], fate: Fate) {
        let end = |job: &Claimed| Settlement { slot: job.slot, header: job.header.clone(), fate };
        let ends: Vec<Settlement> = jobs.iter().map(end).collect();
        for answer in self.store.settle(&self.host, &ends).await.unwrap() {
            assert_eq!(answer, Ok(true));
        }
    }
}

#[tokio::test]
async fn equal_delayed_pushes_are_separate_jobs() {
    let mut scene = Scene::new().await;
    let script = producer::scripts().remove(0);
    // In one step, so that all of them have the same millisecond.
    let mut pushes = redis::pipe();
    pushes.atomic();
    for _ in 0..100 {
        pushes.cmd("EVAL").arg(script.text).arg(1).arg("q").arg("pay");
        pushes.arg("delay").arg(1).arg("id").arg("order-7");
    }
    let answers: Vec<(String, String, u64)> = pushes.query_async(&mut scene.plain).await.unwrap();
    assert!(answers.iter().all(|(outcome, id, _)| (outcome.as_str(), id.as_str()) == ("delayed", "order-7")));
    assert_eq!(scene.size(":delayed").await, 100);
    let mut claimed = Vec::new();
    while claimed.len() < 100 {
        claimed.extend(scene.claim(100).await.unwrap().jobs);
    }
    assert!(claimed.iter().all(|job| job.header.id.as_str() == "order-7" && job.payload == b"pay"));
    assert_eq!(claimed.len(), 100);
}

#[tokio::test]
async fn equal_pushes_in_one_transaction_have_different_ids() {
    let mut scene = Scene::new().await;
    let script = producer::scripts().remove(0);
    let mut pushes = redis::pipe();
    pushes.atomic();
    for number in 0..200 {
        let options: &[&str] = if number % 2 == 0 { &["header", "to", "anna"] } else { &["delay", "60000"] };
        pushes.cmd("EVAL").arg(script.text).arg(1).arg("q").arg("pay").arg(options);
    }
    let answers: Vec<(String, String, u64)> = pushes.query_async(&mut scene.plain).await.unwrap();
    let ids: HashSet<String> = answers.into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn equal_delayed_pushes_of_a_host_are_separate_jobs() {
    let mut scene = Scene::new().await;
    let id = Some(JobId::new("order-7").unwrap());
    let options = PushOptions { delay: Some(Duration::from_secs(60)), id, ..PushOptions::default() };
    for _ in 0..200 {
        push(&scene.link, &queue(), b"pay", &options).await.unwrap();
    }
    assert_eq!(scene.size(":delayed").await, 200);
}

#[tokio::test]
async fn equal_jobs_that_fail_all_run_again_and_all_die() {
    let mut scene = Scene::new().await;
    scene.equal_ready("1 order-7 0 0 5\npay").await;
    for round in 0..3 {
        let jobs = scene.claim(20).await.unwrap().jobs;
        assert_eq!(jobs.len(), MANY, "round {round}");
        scene.settle_all(&jobs, Fate::Retry { delay_ms: 0 }).await;
        assert_eq!(scene.size(":delayed").await, MANY, "round {round}");
    }
    let jobs = scene.claim(20).await.unwrap().jobs;
    scene.settle_all(&jobs, Fate::Bury).await;
    assert_eq!(scene.size(":dead").await, MANY);
    let records: Vec<String> =
        cmd("ZRANGE").arg("{q}:sandhog:dead").arg(0).arg(-1).query_async(&mut scene.plain).await.unwrap();
    let bytes: usize = records.iter().map(String::len).sum();
    let counted = scene.dump().await[":stats"].clone();
    assert!(counted.contains(&format!("dead_bytes={bytes}")), "{counted}");
    // The note that makes a record different appears once, however often it was needed.
    assert!(records.iter().all(|record| record.matches(" !n=").count() <= 1), "{records:?}");
}

#[tokio::test]
async fn equal_jobs_of_a_dead_host_all_die() {
    let mut scene = Scene::new().await;
    let mut records = vec!["HSET".to_owned(), ":inflight:HOST".to_owned()];
    for seq in 0..MANY {
        records.extend([format!("e{seq}"), "1 order-7 0 2 5\npay".to_owned()]);
    }
    let seed: Vec<&str> = records.iter().map(String::as_str).collect();
    scene.begin(&[&seed]).await;
    let reaped = scene.store.reap(&scene.host, Death::Certain, 3).await.unwrap();
    assert_eq!((reaped.buried, reaped.left), (MANY as u64, 0));
    assert_eq!(scene.size(":dead").await, MANY);
}

#[tokio::test]
async fn equal_jobs_that_are_too_large_are_all_buried() {
    let mut scene = Scene::new().await;
    // Longer than any header can be.
    scene.equal_ready(&format!("1 order-7 0 0 5\n{}", "too large ".repeat(2000))).await;
    let host = scene.host.clone();
    let turn = Turn { claim: 20, payload_bytes_max: 2, ..turn(&host, &[]) };
    assert_eq!(scene.store.turn(&turn).await.unwrap().oversized, MANY as u64);
    assert_eq!(scene.size(":dead").await, MANY);
}

#[tokio::test]
async fn equal_jobs_held_back_by_a_rate_all_wait() {
    let mut scene = Scene::new().await;
    scene.equal_ready("1 order-7 0 0 5 tenant=a\npay").await;
    let rate = Some(Rate { count: 1, per: Duration::from_millis(10) });
    let source = KeySource::Header("tenant".to_owned());
    let key = Some(KeyLimits { source, concurrency: None, rate, in_order: false });
    let limits = QueueLimits { key, ..QueueLimits::default() };
    let mut claimed = 0;
    let begun = std::time::Instant::now();
    while claimed < MANY {
        let (host, next_seq) = (scene.host.clone(), scene.next_seq);
        let reply =
            scene.store.turn(&Turn { claim: 20, next_seq, limits: &limits, ..turn(&host, &[]) }).await;
        let reply = reply.unwrap();
        scene.next_seq = reply.next_seq;
        claimed += reply.jobs.len();
        let waiting = scene.size(":ready").await + scene.size(":delayed").await;
        assert_eq!(claimed + waiting, MANY);
        assert!(begun.elapsed() < Duration::from_secs(60), "{claimed} were claimed");
    }
}

#[tokio::test]
async fn equal_jobs_pushed_by_runs_are_all_kept() {
    let mut scene = Scene::new().await;
    scene.begin(&[]).await;
    let pushes = || push_job("order-7", Some(60_000), None);
    scene.commit_one(writes([pushes(), pushes(), pushes()])).await;
    assert_eq!(scene.size(":delayed").await, 3);
}

#[tokio::test]
async fn equal_jobs_with_the_longest_headers_can_all_be_read() {
    let mut scene = Scene::new().await;
    let rest = "1 order-7 0 0 5 k=\n".len();
    let header = format!("1 order-7 0 0 5 k={}\n", "x".repeat(HEADER_MADE_BYTES_MAX - rest));
    scene.equal_ready(&format!("{header}pay")).await;
    for _ in 0..3 {
        let jobs = scene.claim(20).await.unwrap().jobs;
        assert_eq!(payloads(&jobs), ["pay"; MANY]);
        assert!(jobs.iter().all(|job| job.header.id.as_str() == "order-7"));
        scene.settle_all(&jobs, Fate::Retry { delay_ms: 0 }).await;
    }
}

#[tokio::test]
async fn the_end_of_a_job_does_not_free_the_unique_key_of_another_with_its_id() {
    let mut scene = Scene::new().await;
    let options = PushOptions {
        id: Some(JobId::new("order-7").unwrap()),
        unique: Some(("k".to_owned(), Duration::from_secs(60))),
        ..PushOptions::default()
    };
    let push = async |scene: &mut Scene| {
        let pushed = push(&scene.link, &queue(), b"pay", &options).await.unwrap();
        matches!(pushed, sandhog::job::push::Pushed::Waiting(_))
    };
    for way in
        ["turn", "commit", "complete", "discard", "bury", "cancel", "reap", "at most once", "thrown away"]
    {
        scene.begin(&[]).await;
        assert!(push(&mut scene).await);
        let former = if ["thrown away", "at most once"].contains(&way) {
            enveloped(0)
        } else {
            scene.claim(1).await.unwrap().jobs.remove(0).slot
        };
        let header = super::header("order-7", 0, 0, &[("!unique", "k")]);
        // Its unique key has expired, and the next job holds it now.
        scene.send(&["DEL", ":unique:k"]).await;
        assert!(push(&mut scene).await);
        match way {
            "turn" => drop(scene.turn(&[former], 0, Default::default(), Default::default()).await.unwrap()),
            "commit" => drop(scene.commit(&[(former, Changes::default())]).await.unwrap()),
            "complete" => assert!(scene.settle(former, &header, Fate::Complete).await.unwrap()),
            "discard" => assert!(scene.settle(former, &header, Fate::Discard).await.unwrap()),
            "bury" => assert!(scene.settle(former, &header, Fate::Bury).await.unwrap()),
            "cancel" => cancel_running(&scene).await,
            "reap" => assert_eq!(scene.store.reap(&scene.host, Death::Certain, 1).await.unwrap().buried, 1),
            "at most once" => {
                let once = sandhog::job::store::Delivery::AtMostOnce;
                scene.turn(&[], 1, Default::default(), once).await.unwrap();
            }
            _ => {
                let all = sandhog::job::edit::Which::All(sandhog::job::inspect::Place::Ready);
                sandhog::job::edit::discard(&scene.link, &queue(), &all, 1, |_| ()).await.unwrap();
            }
        }
        assert!(!push(&mut scene).await, "{way}: the next one still has its key");
    }
}

/// Cancels all running jobs.
async fn cancel_running(scene: &Scene) {
    let (all, places) = (sandhog::job::filter::Filter::default(), [sandhog::job::inspect::Place::Inflight]);
    let cancel = sandhog::job::walk::Change::Cancel;
    let changed =
        sandhog::job::walk::change(&scene.link, &queue(), &places, &all, cancel, |_, _, _| ()).await.unwrap();
    assert_eq!(changed.jobs, 1);
}
