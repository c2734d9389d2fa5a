//! The counter of the bytes of dead jobs: it is recounted if somebody has changed the set by hand.

use redis::cmd;
use sandhog::job::settle::Fate;
use sandhog::job::store::{DeadLimits, JobStore};

use super::{ROOMY, Scene, bare, header, queue};

/// Bytes of one job, header and payload.
const JOB_BYTES: u64 = 1000;

impl Scene {
    async fn bury(&mut self, n: u32) {
        let id = format!("job-{n:04}");
        let header = header(&id, 1, 0, &[]);
        let payload = "x".repeat(usize::try_from(JOB_BYTES).unwrap() - header.encode().len());
        self.send(&["HSET", ":inflight:HOST", "1", &payload]).await;
        assert_eq!(self.settle(bare(1), &header, Fate::Bury).await, Ok(true));
    }

    async fn dead(&mut self) -> u64 {
        redis::from_redis_value(self.send(&["ZCARD", ":dead"]).await).unwrap()
    }

    async fn counter(&mut self, name: &str) -> Option<String> {
        redis::from_redis_value(self.send(&["HGET", ":stats", name]).await).unwrap()
    }

    async fn with_cap(bytes: u64) -> Self {
        let mut scene = Self::new().await;
        let limits = DeadLimits { count: 1_000_000, bytes, age_ms: 8_000_000_000_000 };
        scene.store = JobStore::new(scene.link.clone(), queue(), limits);
        scene
    }
}

#[tokio::test]
async fn no_job_is_dropped_because_others_were_removed_by_hand() {
    let mut scene = Scene::with_cap(20 * JOB_BYTES).await;
    for n in 0..30 {
        scene.bury(n).await;
    }
    assert_eq!(scene.dead().await, 20);
    scene.send(&["ZREMRANGEBYRANK", ":dead", "0", "14"]).await;
    for n in 30..40 {
        scene.bury(n).await;
        assert_eq!(scene.dead().await, u64::from(n - 24), "no job is dropped below the cap");
    }
    for n in 40..60 {
        scene.bury(n).await;
    }
    assert_eq!(scene.dead().await, 20, "the cap applies again");
    assert_eq!(scene.counter("dead_bytes").await, Some((20 * JOB_BYTES).to_string()));
}

#[tokio::test]
async fn jobs_added_by_hand_count() {
    let mut scene = Scene::with_cap(20 * JOB_BYTES).await;
    for n in 0..30 {
        let record = format!("1 hand-{n:04} 1 0 5\n");
        let record = format!("{record}{}", "x".repeat(1000 - record.len()));
        scene.send(&["ZADD", ":dead", &n.to_string(), &record]).await;
    }
    scene.bury(1).await;
    assert_eq!(scene.dead().await, 20);
}

#[tokio::test]
async fn many_dead_jobs_are_recounted_in_bounded_steps() {
    let mut scene = Scene::with_cap(ROOMY.bytes).await;
    let mut seed = cmd("ZADD");
    seed.arg("{q}:sandhog:dead");
    let mut bytes = 0;
    for n in 0..2_500_u64 {
        let record = format!("1 hand-{n} 1 0 5\n{n}");
        bytes += record.len();
        seed.arg(n + 10).arg(record);
    }
    let () = seed.query_async(&mut scene.plain).await.unwrap();
    let mut calls = 0;
    while scene.counter("dead_jobs").await.as_deref() != Some("2500") {
        assert_eq!(scene.store.trim().await, Ok(0));
        calls += 1;
        assert!(calls <= 10, "the recount does not end");
    }
    assert!(calls >= 3, "{calls} calls for 2,500 jobs");
    assert_eq!(scene.counter("dead_bytes").await, Some(bytes.to_string()));
    assert_eq!(scene.counter("dead_recount").await, None);
}

#[tokio::test]
async fn a_recount_survives_drops_by_the_caps() {
    let mut scene = Scene::new().await;
    let limits = DeadLimits { count: 2_400, bytes: ROOMY.bytes, age_ms: 8_000_000_000_000 };
    scene.store = JobStore::new(scene.link.clone(), queue(), limits);
    let mut seed = cmd("ZADD");
    seed.arg("{q}:sandhog:dead");
    for n in 0..2_450_u64 {
        seed.arg(n + 10).arg(format!("1 hand-{n} 1 0 5\n{n}"));
    }
    let () = seed.query_async(&mut scene.plain).await.unwrap();
    for n in 0..10 {
        scene.bury(n).await;
    }
    assert_eq!((scene.dead().await, scene.counter("dead_jobs").await.as_deref()), (2_400, Some("2400")));
    let records: Vec<String> =
        cmd("ZRANGE").arg("{q}:sandhog:dead").arg(0).arg(-1).query_async(&mut scene.plain).await.unwrap();
    let bytes: usize = records.iter().map(String::len).sum();
    assert_eq!(scene.counter("dead_bytes").await, Some(bytes.to_string()));
}
