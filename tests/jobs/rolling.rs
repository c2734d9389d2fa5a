//! Hosts with different limits on one queue, as during a rolling change: no job is lost or run twice, and in the end no
//! job is parked and no place is taken.

use std::collections::BTreeMap;

use sandhog::job::limit::{KeyLimits, KeySource, QueueLimits};
use sandhog::job::name::HostId;
use sandhog::job::settle::Fate;
use sandhog::job::store::{Claimed, Delivery, Turn};

use super::heal::per_key;
use super::{FOREVER, NO_LIMITS, Scene, host, turn};

/// Jobs per trial.
const JOBS: usize = 60;
/// Trials for each pair of manifests.
const TRIES: u64 = 12;

/// How a host serves the queue.
#[derive(Clone)]
struct Manifest {
    name: &'static str,
    limits: QueueLimits,
    delivery: Delivery,
}

fn manifests() -> [Manifest; 5] {
    let by_user = KeyLimits {
        source: KeySource::Header("u".to_owned()),
        concurrency: Some(2),
        rate: None,
        in_order: false,
    };
    let manifest = |name, limits, delivery| Manifest { name, limits, delivery };
    [
        manifest("one of a key", per_key(1), Delivery::AtLeastOnce),
        manifest("three of a key", per_key(3), Delivery::AtLeastOnce),
        manifest(
            "another key",
            QueueLimits { key: Some(by_user), ..QueueLimits::default() },
            Delivery::AtLeastOnce,
        ),
        manifest("no limits", NO_LIMITS.clone(), Delivery::AtLeastOnce),
        manifest("at most once", NO_LIMITS.clone(), Delivery::AtMostOnce),
    ]
}

/// One host of a trial.
struct Server {
    host: HostId,
    manifest: Manifest,
    next_seq: u64,
    running: Vec<Claimed>,
}

/// The hosts, and how their jobs ended.
struct Fleet<'a> {
    scene: &'a mut Scene,
    servers: [Server; 2],
    ends: BTreeMap<String, u32>,
}

impl Fleet<'_> {
    /// Ends up to `ends` runs of a host, then claims.
    async fn turn(&mut self, nth: usize, ends: usize, claim: u32) {
        let server = &mut self.servers[nth];
        let done: Vec<Claimed> = server.running.drain(..ends.min(server.running.len())).collect();
        let acks: Vec<_> = done.iter().map(|job| job.slot).collect();
        let Manifest { limits, delivery, .. } = server.manifest.clone();
        let next_seq = server.next_seq;
        let turn = Turn { claim, next_seq, delivery, limits: &limits, ..turn(&server.host, &acks) };
        let reply = self.scene.store.turn(&turn).await.unwrap();
        assert_eq!(usize::try_from(reply.settled), Ok(acks.len()), "every run still owned its job");
        if claim > 0 {
            server.next_seq = reply.next_seq;
        }
        match delivery {
            Delivery::AtLeastOnce => server.running.extend(reply.jobs),
            Delivery::AtMostOnce => reply.jobs.iter().for_each(|job| note(&mut self.ends, job)),
        }
        done.iter().for_each(|job| note(&mut self.ends, job));
    }

    /// A run ends in a way that does not complete its job.
    async fn fail_run(&mut self, nth: usize, way: u32) {
        let server = &mut self.servers[nth];
        let Some(mut job) = server.running.pop() else { return };
        let fate = match way {
            0 => Fate::Release,
            1 => Fate::Retry { delay_ms: 0 },
            _ => {
                job.header.drop_note("!key");
                Fate::Retry { delay_ms: 0 }
            }
        };
        let settlement = sandhog::job::settle::Settlement { slot: job.slot, header: job.header, fate };
        let answers = self.scene.store.settle(&server.host, &[settlement]).await.unwrap();
        assert_eq!(answers, [Ok(true)]);
    }

    async fn heal(&mut self, nth: usize) {
        let Server { host, manifest, .. } = &self.servers[nth];
        let most = manifest.limits.key.as_ref().and_then(|key| key.concurrency).unwrap_or(0);
        self.scene.store.heal_all(&self.scene.link, host, most, 0).await.unwrap();
    }

    /// Both hosts get the last manifest, and everything runs.
    async fn finish(&mut self, case: &str) {
        for _ in 0..10 * JOBS {
            for nth in 0..2 {
                self.turn(nth, 9, 4).await;
            }
            if self.ends.len() == JOBS {
                break;
            }
            self.heal(0).await;
        }
        self.turn(0, JOBS, 0).await;
        self.turn(1, JOBS, 0).await;
        self.heal(1).await;
        let found = self.scene.dump().await;
        let is_once = self.ends.len() == JOBS && self.ends.values().all(|times| *times == 1);
        assert!(is_once, "{case}: {:?}\n{found:#?}", self.ends);
        for gone in [":parked", ":parked:a", ":parked:b", ":ready", ":delayed", "q"] {
            assert!(!found.contains_key(gone), "{case}: {found:#?}");
        }
        let places = found.get(":places").map_or("", String::as_str);
        assert!(!places.contains(','), "{case}: a place is taken: {places}");
    }
}

fn note(ends: &mut BTreeMap<String, u32>, job: &Claimed) {
    *ends.entry(String::from_utf8_lossy(&job.payload).into_owned()).or_default() += 1;
}

async fn roll(scene: &mut Scene, from: &Manifest, to: &Manifest, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let jobs: Vec<String> = (0..JOBS)
        .map(|nth| {
            let (t, u) = (random.choice(["a", "a", "b"]).unwrap(), random.choice(["x", "y"]).unwrap());
            format!("1 j{nth} 0 0 5 t={t} u={u}\njob {nth}")
        })
        .collect();
    let mut push = vec!["RPUSH", ":ready"];
    push.extend(jobs.iter().map(String::as_str));
    scene.begin(&[&push]).await;
    let server = |nth| Server { host: host(nth), manifest: from.clone(), next_seq: 0, running: Vec::new() };
    let servers = [server(1), server(2)];
    scene.send(&["ZADD", "sandhog:hosts", FOREVER, servers[1].host.as_str()]).await;
    let mut fleet = Fleet { scene, servers, ends: BTreeMap::new() };
    for step in 0..40 {
        match step {
            10 => fleet.servers[0].manifest = to.clone(),
            30 => fleet.servers[1].manifest = to.clone(),
            _ => {}
        }
        let nth = random.usize(..2);
        match random.u32(..10) {
            0..6 => fleet.turn(nth, random.usize(..3), random.u32(..5)).await,
            6..9 => fleet.fail_run(nth, random.u32(..3)).await,
            _ => fleet.heal(nth).await,
        }
    }
    fleet.finish(&format!("{} to {}, seed {seed}", from.name, to.name)).await;
}

#[tokio::test]
async fn hosts_with_different_limits_leave_no_job_parked() {
    let mut scene = Scene::new().await;
    for from in manifests() {
        for to in manifests() {
            for seed in 0..TRIES {
                roll(&mut scene, &from, &to, seed).await;
            }
        }
    }
}
