//! How long one command blocks Redis, with the worst payloads that the defaults allow: at most one unit, 25 ms on an idle
//! machine of two 2.6 GHz cores. A unit is the processor time that Redis' main thread needs for a script of fixed work, so a
//! slower machine or other load slows down both.

use redis::{AsyncCommands, cmd};
use sandhog::job::change::{Changes, Expiry, Seen};
use sandhog::job::commit::{Commit, Verdict};
use sandhog::job::lease::Death;
use sandhog::job::limit::QueueLimits;
use sandhog::job::settle::Fate;
use sandhog::job::store::{DeadLimits, Slot, Turn, TurnReply};
use sandhog::worker::feeder::CLAIM_BYTES_MAX;

use super::commit::{assuming, set};
use super::limits::key;
use super::{NO_LIMITS, ROOMY, Scene, turn};
use crate::support::redis::TestRedis;

/// The default of `limits.value`.
pub(super) const VALUE_MAX: usize = 1 << 20;
/// The script that defines one unit: it pushes seven payloads of a mebibyte and pops them.
const UNIT: &str = "
local payload = string.rep('x', 1048576)
for nth = 1, 7 do
  redis.call('RPUSH', KEYS[1], payload .. nth)
  redis.call('LPOP', KEYS[1], 1)
end";
/// How often a scenario is tried.
const TRIES: usize = 4;

/// The processor time that Redis' main thread has used, in milliseconds.
pub(super) async fn used_ms(scene: &mut Scene) -> f64 {
    let info: String = cmd("INFO").arg("cpu").query_async(&mut scene.plain).await.unwrap();
    let of = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{info}"));
        line.trim_start_matches(':').trim().parse().unwrap()
    };
    (of("used_cpu_user_main_thread") + of("used_cpu_sys_main_thread")) * 1000.0
}

/// A scene and the longest command so far, in units.
pub(super) struct Watch {
    pub(super) scene: Scene,
    unit_ms: f64,
    longest: (f64, String),
}

impl Watch {
    pub(super) async fn new(dead: DeadLimits) -> Self {
        Self::on(TestRedis::start(), dead).await
    }

    async fn on(redis: TestRedis, dead: DeadLimits) -> Self {
        let mut watch =
            Self { scene: Scene::on(redis, dead).await, unit_ms: 1.0, longest: (0.0, String::new()) };
        let mut units = Vec::new();
        for _ in 0..5 {
            let before = used_ms(&mut watch.scene).await;
            watch.scene.send(&["EVAL", UNIT, "1", "unit"]).await;
            units.push(used_ms(&mut watch.scene).await - before);
        }
        units.sort_by(f64::total_cmp);
        watch.unit_ms = units[2];
        watch
    }

    /// Records the time of a command that began at `before`.
    pub(super) async fn note(&mut self, before: f64, what: &str) {
        self.note_mean(before, 1, what).await;
    }

    /// Records the mean time of this many commands, the first of which began at `before`.
    pub(super) async fn note_mean(&mut self, before: f64, commands: u32, what: &str) {
        let units = (used_ms(&mut self.scene).await - before) / self.unit_ms / f64::from(commands);
        if units > self.longest.0 {
            self.longest = (units, what.to_owned());
        }
    }

    async fn turn(&mut self, what: &str, limits: &QueueLimits, acks: &[Slot], nth: u64) -> TurnReply {
        let (host, next_seq) = (self.scene.host.clone(), self.scene.next_seq);
        let (bytes_max, payload_bytes_max) = (CLAIM_BYTES_MAX, VALUE_MAX as u64);
        let turn =
            Turn { claim: 64, next_seq, bytes_max, payload_bytes_max, limits, nth, ..turn(&host, acks) };
        let before = used_ms(&mut self.scene).await;
        let reply = self.scene.store.turn(&turn).await.unwrap();
        self.note(before, what).await;
        self.scene.next_seq = reply.next_seq;
        reply
    }

    /// Claims and acknowledges all jobs.
    async fn drain(&mut self, what: &str, limits: &QueueLimits) -> usize {
        let (mut acks, mut jobs) = (Vec::new(), 0);
        for nth in 0..10_000 {
            let reply = self.turn(what, limits, &acks, nth).await;
            jobs += reply.jobs.len();
            acks = reply.jobs.iter().map(|job| job.slot).collect();
            if acks.is_empty() && !reply.more {
                return jobs;
            }
        }
        panic!("{what}: the queue does not drain");
    }

    /// The longest command in words. Printed, it is seen with `--nocapture`.
    fn report(&self) -> String {
        let (units, what) = &self.longest;
        format!("longest command: {units:.2} units, {:.1} ms: {what}", units * self.unit_ms)
    }
}

/// Fails if a command of this scenario takes too long in each of a few attempts: other load can slow down one of them,
/// a command that does too much is slow in all.
pub(super) async fn expect_short(scenario: impl AsyncFn() -> Watch) {
    let mut reports = Vec::new();
    for _ in 0..TRIES {
        let watch = scenario().await;
        reports.push(watch.report());
        if watch.longest.0 < 1.0 {
            println!("{}", watch.report());
            return;
        }
    }
    panic!("{reports:#?}");
}

/// A JSON text of about a mebibyte, or with this many of `part` in it.
fn payload(tenant: &str, part: &str, count: usize) -> String {
    format!(r#"{{"tenant":"{tenant}","text":"","rows":[{}0]}}"#, part.repeat(count))
}

/// Makes the payload of a tenant.
type Payload = Box<dyn Fn(&str) -> String>;

/// Payloads that are allowed, each the worst in one respect.
fn worst() -> Vec<(&'static str, Payload)> {
    let whole = |part: &'static str| move |tenant: &str| payload(tenant, part, (VALUE_MAX - 60) / part.len());
    vec![
        (
            "a long text",
            Box::new(|tenant| {
                payload(tenant, "", 0).replace("\"\"", &format!("\"{}\"", "x".repeat(VALUE_MAX - 60)))
            }),
        ),
        ("small objects", Box::new(whole("{\"a\":1},"))),
        ("small arrays", Box::new(whole("[1,2],"))),
        ("texts", Box::new(whole("\"\","))),
        ("as many objects as are read", Box::new(|tenant| payload(tenant, "{\"a\":1},", 3_500))),
        ("names", Box::new(|tenant| format!("{{{}\"tenant\":\"{tenant}\"}}", "\"\":1,".repeat(4_500)))),
    ]
}

#[tokio::test]
async fn no_claim_blocks_redis_for_long_whatever_the_payloads() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        for (what, payload) in worst() {
            for (how, tenants, limits) in [
                ("of one key", 1, key("/tenant", Some(1), None)),
                ("of many keys", 64, key("/tenant", Some(1), None)),
                ("with a rate", 1, key("/tenant", None, Some(100_000))),
                ("without limits", 1, NO_LIMITS.clone()),
            ] {
                watch.scene.begin(&[]).await;
                for nth in 0..24 {
                    let _: u64 =
                        watch.scene.plain.rpush("q", payload(&format!("t{}", nth % tenants))).await.unwrap();
                }
                assert_eq!(watch.drain(&format!("{what}, {how}"), &limits).await, 24, "{what}, {how}");
            }
        }
        watch
    })
    .await;
}

#[tokio::test]
async fn no_claim_blocks_redis_for_long_if_large_jobs_follow_small_ones() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        let giant = "x".repeat(VALUE_MAX - 60);
        for limits in [NO_LIMITS.clone(), key("header:t", Some(1), None)] {
            watch.scene.begin(&[]).await;
            for nth in 0..96 {
                let text = if nth % 48 < 24 { "" } else { giant.as_str() };
                let envelope = format!("1 job-{nth} 0 0 5 t={nth}\n{text}");
                let plain = &mut watch.scene.plain;
                let _: u64 = plain.rpush("q", text).await.unwrap();
                let _: u64 = plain.rpush("{q}:sandhog:ready", &envelope).await.unwrap();
                let _: u64 = plain.zadd("{q}:sandhog:delayed", &envelope, nth).await.unwrap();
            }
            assert_eq!(watch.drain("small and large", &limits).await, 288);
        }
        watch
    })
    .await;
}

#[tokio::test]
async fn no_claim_blocks_redis_for_long_whatever_its_settings_for_lists() {
    for settings in [
        ["--list-compress-depth", "1"],
        ["--list-max-listpack-size", "-3"],
        ["--list-max-listpack-size", "-5"],
        ["--list-max-listpack-size", "1000"],
    ] {
        expect_short(async || drained_with(settings).await).await;
    }
}

/// Drains a list of small and large payloads on a server with these settings for lists.
async fn drained_with(settings: [&str; 2]) -> Watch {
    let (small, giant) = ("s".repeat(540), "x".repeat(VALUE_MAX - 60));
    let mut watch = Watch::on(TestRedis::start_with(&settings), ROOMY).await;
    let can_measure = watch.scene.link.has_small_nodes().await;
    assert_eq!(can_measure, Ok(settings[1] == "1000"), "{settings:?}");
    watch.scene.begin(&[]).await;
    // A node at the head as large as the settings allow, so that the nodes behind it seem small.
    let head = if settings[1] == "-5" { 63_000 } else { 7_400 };
    let mut seeds = vec![small.clone(); 15];
    seeds.extend(vec![giant.clone(); 80]);
    seeds.extend(vec!["s".to_owned(); 5]);
    seeds.push("h".repeat(head));
    seeds.extend((0..80).map(|nth: u32| format!("{nth}").repeat(120_000)));
    for seed in &seeds {
        let _: u64 = watch.scene.plain.rpush("q", seed).await.unwrap();
    }
    assert_eq!(watch.drain(&settings.join(" "), &NO_LIMITS).await, 181, "{settings:?}");
    watch
}

#[tokio::test]
async fn payloads_far_above_the_limit_are_popped_one_at_a_time() {
    let mut watch = Watch::new(DeadLimits { bytes: 1 << 20, ..ROOMY }).await;
    let giant = "x".repeat(4 << 20);
    let mut one_alone: f64 = 0.0;
    for small in [0, 1, 5, 70] {
        watch.scene.begin(&[]).await;
        for nth in 0..small + 8 {
            let seed = if nth < small { "s" } else { giant.as_str() };
            let _: u64 = watch.scene.plain.rpush("q", seed).await.unwrap();
        }
        watch.longest = (0.0, String::new());
        assert_eq!(watch.drain("giants", &NO_LIMITS).await, small, "{small}");
        let dead: u64 = watch.scene.plain.zcard("{q}:sandhog:dead").await.unwrap();
        assert_eq!(dead, 8, "{small}: all giants are dead, without their payloads");
        if small == 0 {
            one_alone = watch.longest.0;
        }
        let (units, most) = (watch.longest.0, f64::max(1.0, 2.5 * one_alone));
        assert!(
            units < most,
            "{small} small jobs first: {units:.1} units, and one giant alone {one_alone:.1}"
        );
    }
}

#[tokio::test]
async fn no_end_of_a_run_blocks_redis_for_long() {
    expect_short(async || {
        // More jobs are dead than are kept: each burial drops some.
        let mut watch = Watch::new(DeadLimits { bytes: 4 << 20, ..ROOMY }).await;
        let envelope = |nth: u64| format!("1 job-{nth} 0 0 5\n{}", "x".repeat(VALUE_MAX));
        watch.scene.begin(&[]).await;
        for nth in 0..48 {
            let _: u64 = watch.scene.plain.zadd("{q}:sandhog:dead", envelope(nth), nth).await.unwrap();
        }
        let _: u64 = watch.scene.plain.hset("{q}:sandhog:stats", "dead_bytes", 48 * VALUE_MAX).await.unwrap();
        let fates =
            [Fate::Complete, Fate::Discard, Fate::Retry { delay_ms: 60_000 }, Fate::Bury, Fate::Release];
        for (nth, fate) in (100..).zip(fates) {
            let _: u64 = watch.scene.plain.rpush("{q}:sandhog:ready", envelope(nth)).await.unwrap();
            let job = watch.turn("a claim", &NO_LIMITS, &[], 1).await.jobs.remove(0);
            let before = used_ms(&mut watch.scene).await;
            assert!(watch.scene.settle(job.slot, &job.header, fate).await.unwrap());
            watch.note(before, &format!("{fate:?}")).await;
        }
        let before = used_ms(&mut watch.scene).await;
        watch.scene.store.trim().await.unwrap();
        watch.note(before, "trimming").await;
        watch.scene.begin(&[]).await;
        for nth in 200..204 {
            let _: u64 = watch.scene.plain.rpush("{q}:sandhog:ready", envelope(nth)).await.unwrap();
        }
        let jobs = [
            watch.turn("a claim", &NO_LIMITS, &[], 1).await.jobs,
            watch.turn("a claim", &NO_LIMITS, &[], 1).await.jobs,
        ];
        let (slots, changes): (Vec<Slot>, _) =
            (jobs.concat().iter().map(|job| job.slot).collect(), Changes::default());
        let commits: Vec<Commit<'_>> =
            slots[..2].iter().map(|slot| Commit { slot: *slot, others: &[], changes: &changes }).collect();
        let (before, link) = (used_ms(&mut watch.scene).await, watch.scene.link.clone());
        watch.scene.store.commit(&link, &watch.scene.host, &commits).await.unwrap();
        watch.note(before, "a commit of the most bytes that a host sends").await;
        for nth in 0..24 {
            watch.scene.send(&["HSET", ":inflight:HOST", &format!("e{nth}"), &envelope(nth)]).await;
        }
        let mut left = 1;
        while left > 0 {
            let before = used_ms(&mut watch.scene).await;
            left = watch.scene.store.reap(&watch.scene.host, Death::Certain, 9).await.unwrap().left;
            watch.note(before, "reclaiming from a dead host").await;
        }
        watch
    })
    .await;
}

#[tokio::test]
async fn no_end_of_runs_blocks_redis_for_long_if_large_jobs_wait_for_slots() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        let limits = key("header:t", Some(1), None);
        watch.scene.begin(&[]).await;
        let job =
            |kind: &str, nth: u64, size: usize| format!("1 {kind}-{nth} 0 0 5 t={nth}\n{}", "x".repeat(size));
        for nth in 0..192 {
            let _: u64 = watch.scene.plain.rpush("{q}:sandhog:ready", job("small", nth, 0)).await.unwrap();
        }
        let mut running = Vec::new();
        while running.len() < 192 {
            running.extend(watch.turn("a claim", &limits, &[], 0).await.jobs);
        }
        for nth in 0..192 {
            let _: u64 =
                watch.scene.plain.rpush("{q}:sandhog:ready", job("large", nth, VALUE_MAX)).await.unwrap();
        }
        assert_eq!(watch.drain("parking", &limits).await, 0);
        let acks: Vec<Slot> = running.iter().map(|job| job.slot).collect();
        let first = watch.turn("jobs end that others wait for", &limits, &acks, 0).await.jobs.len();
        assert_eq!(first + watch.drain("those that waited", &limits).await, 192);
        watch
    })
    .await;
}

#[tokio::test]
async fn no_commit_blocks_redis_for_long_if_others_have_grown_a_list_that_was_peeked_at() {
    expect_short(async || {
        let mut watch = Watch::new(ROOMY).await;
        watch.scene.begin(&[]).await;
        for _ in 0..64 {
            let _: u64 = watch.scene.plain.rpush("k", vec![b'x'; VALUE_MAX]).await.unwrap();
        }
        let seen = Seen::Range { start: 0, stop: 999, entries: vec![b"a".to_vec()] };
        let changes = Changes { writes: vec![set("w", b"", Expiry::Never)], ..assuming("k", seen) };
        let before = used_ms(&mut watch.scene).await;
        assert_eq!(watch.scene.commit_one(changes).await, Verdict::Conflict("k".to_owned()));
        watch.note(before, "a list that has grown").await;
        watch
    })
    .await;
}
