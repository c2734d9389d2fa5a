//! Commits against what they must be equal to: sums to those of Redis itself, a batch to its jobs one by one.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use redis::cmd;
use sandhog::job::change::{Changes, Expiry, Seen, Write};
use sandhog::job::commit::{Commit, Verdict, Why};
use sandhog::job::store::Slot;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::commit::{add, assuming, pop, push, set, writes};
use super::commit_refused::refused;
use super::{Scene, bare};

/// Each case is a conversation with Redis.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn scene() -> (Runtime, Mutex<Scene>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = Mutex::new(runtime.block_on(Scene::new()));
    (runtime, scene)
}

/// Text that is often a number, often near the ends of what 64 bits hold.
fn numbers() -> impl Strategy<Value = String> {
    let near = |edge: i64| {
        (-3_000_000_000i128..3_000_000_000).prop_map(move |far| (i128::from(edge) + far).to_string())
    };
    let half = (-1000i128..1000).prop_map(|far| (i128::from(i64::MAX) / 2 + far).to_string());
    prop_oneof![
        near(0),
        near(i64::MAX),
        near(i64::MIN),
        near(i64::MAX / 2),
        half,
        any::<i64>().prop_map(|number| number.to_string()),
        "[-+ 0]?[0-9]{1,20}[ .e]?",
    ]
}

#[test]
fn sums_are_refused_exactly_when_redis_would_refuse_them() {
    let (runtime, scene) = scene();
    let delta = numbers().prop_filter_map("a change has 64 bits", |text| text.parse::<i64>().ok());
    proptest!(config(200), |(held in numbers(), delta in delta)| {
        runtime.block_on(async {
            let scene = &mut *scene.lock().await;
            scene.begin(&[&["SET", "n", &held], &["SET", "plain", &held]]).await;
            let plain = cmd("INCRBY").arg("plain").arg(delta).query_async::<i64>(&mut scene.plain).await;
            let verdict = scene.commit_one(writes([add("n", delta, Expiry::Keep)])).await;
            let canonical = held.parse::<i64>().ok().filter(|number| number.to_string() == held);
            let expected = match canonical.map(|number| number.checked_add(delta)) {
                None => refused("n", Why::NotAnInteger),
                Some(None) => refused("n", Why::OutOfRange),
                Some(Some(sum)) => {
                    prop_assert_eq!(plain.as_ref().ok(), Some(&sum));
                    Verdict::Done
                }
            };
            prop_assert_eq!(&verdict, &expected);
            prop_assert_eq!(plain.is_ok(), verdict == Verdict::Done);
            let found = scene.dump().await;
            prop_assert_eq!(&found["n"], &found["plain"]);
            Ok(())
        })?;
    });
}

/// A write to one of three keys, which hold now this, now that.
fn write() -> impl Strategy<Value = Write> {
    let expiry = || {
        prop_oneof![
            4 => Just(Expiry::Keep),
            1 => Just(Expiry::Never),
            1 => Just(Expiry::In(0)),
            1 => Just(Expiry::In(60_000)),
        ]
    };
    let delta = prop_oneof![-9i64..9, Just(i64::MAX), Just(i64::MIN), Just(999_999_999_999_999)];
    let value = prop_oneof![Just("x".to_owned()), numbers()];
    prop_oneof![
        3 => (delta, expiry()).prop_map(|(delta, expiry)| add("", delta, expiry)),
        1 => (value, expiry()).prop_map(|(value, expiry)| set("", value.as_bytes(), expiry)),
        3 => expiry().prop_map(|expiry| push("", false, &[], &["a"], expiry)),
        1 => (any::<bool>(), expiry()).prop_map(|(replaces, expiry)| push("", replaces, &["b"], &["c", "d"], expiry)),
        1 => (0u64..3, 0u64..3).prop_map(|(front, back)| pop(front, back)),
        1 => Just(Write::Delete { key: String::new() }),
        1 => expiry().prop_map(|expiry| Write::Expire { key: String::new(), expiry }),
    ]
}

/// One job: some writes, each to a key of its own; perhaps an assumption.
fn job() -> impl Strategy<Value = Changes> {
    let keys = proptest::sample::subsequence(vec!["k1", "k2", "k3"], 0..=3);
    let seen = prop_oneof![
        Just(Seen::Present),
        Just(Seen::Absent),
        (1u64..5).prop_map(Seen::Length),
        (-9i64..9).prop_map(|sum| Seen::Value(sum.to_string().into_bytes())),
        Just(Seen::Range { start: -1, stop: -1, entries: vec![b"a".to_vec()] }),
    ];
    let assumed = proptest::option::weighted(0.3, (1..=3, seen));
    (keys, vec(write(), 3), assumed).prop_map(|(keys, some, assumed)| {
        let mut changes = assumed
            .map_or_else(Changes::default, |(number, seen): (i32, _)| assuming(&format!("k{number}"), seen));
        changes.writes = some;
        changes.writes.truncate(keys.len());
        for (write, name) in changes.writes.iter_mut().zip(keys) {
            match write {
                Write::Set { key, .. }
                | Write::Delete { key }
                | Write::Add { key, .. }
                | Write::Expire { key, .. }
                | Write::Pop { key, .. }
                | Write::Push { key, .. } => name.clone_into(key),
                Write::PushJob { .. } => {}
            }
        }
        changes
    })
}

/// Commits the jobs in calls of so many, and tells what became of them and of the keys.
async fn commit_in_calls(
    scene: &mut Scene,
    link: &sandhog::storage::link::Link,
    jobs: &[Changes],
    calls_of: usize,
) -> (Vec<Verdict>, BTreeMap<String, String>) {
    scene.begin(&[]).await;
    for n in 0..jobs.len() {
        scene.send(&["HSET", ":inflight:HOST", &n.to_string(), ""]).await;
    }
    let mut verdicts = Vec::new();
    let slots: Vec<(Slot, &Changes)> = (0..).map(bare).zip(jobs).collect();
    for some in slots.chunks(calls_of) {
        let commits: Vec<Commit<'_>> =
            some.iter().map(|(slot, changes)| Commit { slot: *slot, others: &[], changes }).collect();
        verdicts.extend(scene.store.commit(link, &scene.host, &commits).await.unwrap());
    }
    (verdicts, scene.dump().await)
}

#[test]
fn a_batch_is_its_jobs_one_by_one() {
    let (runtime, scene) = scene();
    // What only frees memory goes in a call of its own; a write that does not makes all of one kind.
    let jobs = vec(job(), 1..24).prop_map(|mut jobs| {
        jobs.iter_mut().for_each(|job| job.writes.push(set("grows", b"", Expiry::Never)));
        jobs
    });
    proptest!(config(300), |(jobs in jobs)| {
        runtime.block_on(async {
            let scene = &mut *scene.lock().await;
            let anyone = scene.link.clone();
            let restricted = scene.user(&["+@all", "~{q}:*", "~k1", "~k2", "~grows"]).await;
            for link in [anyone, restricted] {
                let together = commit_in_calls(scene, &link, &jobs, jobs.len()).await;
                let alone = commit_in_calls(scene, &link, &jobs, 1).await;
                prop_assert_eq!(together, alone);
            }
            Ok(())
        })?;
    });
}

#[tokio::test]
async fn what_many_jobs_do_alike_is_said_to_redis_once() {
    let mut scene = Scene::new().await;
    for n in 0..100 {
        scene.send(&["HSET", ":inflight:HOST", &n.to_string(), ""]).await;
    }
    scene.send(&["CONFIG", "RESETSTAT"]).await;
    let jobs: Vec<(Slot, Changes)> = (0..100)
        .map(|n| {
            let entry = n.to_string();
            (bare(n), writes([add("n", 7, Expiry::Keep), push("l", false, &[], &[&entry], Expiry::Keep)]))
        })
        .collect();
    assert_eq!(scene.commit(&jobs).await, Ok(vec![Verdict::Done; 100]));
    let stats: String = cmd("INFO").arg("commandstats").query_async(&mut scene.plain).await.unwrap();
    for command in ["incrby", "rpush"] {
        // The first job's, and one for the others.
        assert!(stats.contains(&format!("cmdstat_{command}:calls=2,")), "{stats}");
    }
    let found = scene.dump().await;
    let entries: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(found["n"], "string 700");
    assert_eq!(found["l"], format!("list {}", entries.join(", ")));
    assert_eq!(found[":stats"], "hash commits=100, completed=100, effects=200");
}
