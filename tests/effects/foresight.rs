//! What runs are given beforehand: it costs Redis nothing, is never older than the job's claim, and a presumption that is
//! wrong costs a run, never a wrong effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, cmd};
use sandhog::app::Host;
use sandhog::capability::binding::sandhog::worker::kv::{Condition, Host as _, SetOptions};
use sandhog::capability::binding::sandhog::worker::queue::Host as _;
use sandhog::capability::foresight::Foresight;
use sandhog::capability::limits::Limits;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops};
use sandhog::capability::view::View;
use sandhog::job::commit::{Verdict, apply};
use sandhog::storage::link::Link;
use sandhog::worker::lane::Lane;

use crate::support::example;
use crate::support::guest::all_grants;
use crate::support::host::{Plugins, lane, stop, until};
use crate::support::redis::TestRedis;
use crate::support::view::scope;

/// Keys that were absent, until the next one is presumed to be.
const LESSONS: u32 = 32;

const IF_ABSENT: SetOptions = SetOptions { ttl_ms: None, condition: Condition::IfAbsent };

/// Sets so many keys that are not there, which nobody commits.
pub(super) async fn teach(foresight: &Arc<Foresight>, view: &mut View) {
    view.foresee(foresight.clone(), Instant::now());
    for n in 0..LESSONS {
        assert!(view.set_with(format!("lesson:{n}"), Vec::new(), IF_ABSENT).await.unwrap());
    }
}

fn view(link: &Link) -> View {
    let isolation = Isolation::ReadCommitted;
    let plan = Plan::Atomic(Arc::new(Atomic { isolation, pops: Pops::Look, contention: None }));
    let scope = Arc::new(scope(all_grants(), Limits::default()));
    View::new(scope, Some(link.clone()), Arc::default(), None, &plan)
}

/// Reads a run makes, and how many commands each costs Redis.
struct Runs {
    link: Link,
    plain: MultiplexedConnection,
    foresight: Arc<Foresight>,
}

impl Runs {
    async fn new(redis: &TestRedis) -> Self {
        Self { link: redis.link(), plain: redis.plain().await, foresight: Arc::default() }
    }

    /// A run of a job claimed at `since` reads these, `#` before the names of lists; the answers.
    async fn run(&self, since: Instant, names: &[&str]) -> Vec<String> {
        let mut view = view(&self.link);
        view.foresee(self.foresight.clone(), since);
        let mut answers = Vec::new();
        for name in names {
            answers.push(match name.strip_prefix('#') {
                Some(list) => view.length(list.to_owned()).await.unwrap().to_string(),
                None => match view.get((*name).to_owned()).await.unwrap() {
                    Some(value) => String::from_utf8_lossy(&value).into_owned(),
                    None => "none".to_owned(),
                },
            });
        }
        view.finish().unwrap();
        answers
    }

    /// Commands that Redis has carried out.
    async fn commands(&mut self) -> u64 {
        let info: String = cmd("INFO").arg("stats").query_async(&mut self.plain).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn what_all_runs_begin_with_is_asked_for_once() {
    let redis = TestRedis::start();
    let mut runs = Runs::new(&redis).await;
    let _: () = runs.plain.set("rate", "3").await.unwrap();
    let names = ["rate", "unset", "#audit"];
    let expected = ["3", "none", "0"];
    for _ in 0..3 {
        assert_eq!(runs.run(Instant::now(), &names).await, expected);
    }
    // One after the other within some milliseconds, or else the machine has stalled.
    until("runs share an answer", async || {
        let before = runs.commands().await;
        let since = Instant::now();
        assert_eq!(runs.run(since, &names).await, expected);
        let asked = runs.commands().await - before;
        for _ in 0..10 {
            assert_eq!(runs.run(since, &names).await, expected);
        }
        // INFO itself, and perhaps one that asked again because the answer was no longer fresh.
        asked > 1 && runs.commands().await - before <= 2 * asked
    })
    .await;
}

#[tokio::test]
async fn nothing_is_older_than_the_claim() {
    let redis = TestRedis::start();
    let mut runs = Runs::new(&redis).await;
    for n in 0..200 {
        let _: () = runs.plain.set("rate", n).await.unwrap();
        let _: () = runs.plain.rpush("audit", n).await.unwrap();
        let (rate, length) = (n.to_string(), (n + 1).to_string());
        assert_eq!(runs.run(Instant::now(), &["rate", "#audit"]).await, [rate, length], "run {n}");
    }
}

#[tokio::test]
async fn runs_that_turn_out_different_are_given_what_is_so() {
    let redis = TestRedis::start();
    let mut runs = Runs::new(&redis).await;
    let _: () = runs.plain.set("rate", "3").await.unwrap();
    let _: () = runs.plain.set("other", "4").await.unwrap();
    let _: () = runs.plain.set("long", "x".repeat(5000)).await.unwrap();
    let _: () = runs.plain.set("empty", "").await.unwrap();
    let long = "x".repeat(5000);
    let since = Instant::now();
    for names in
        [&["rate", "other"][..], &["other"], &["rate"], &["long", "rate"], &["empty", "other"], &["#none"]]
    {
        for _ in 0..5 {
            let value = |name: &&str| match *name {
                "rate" => "3",
                "other" => "4",
                "long" => &long,
                "empty" => "",
                _ => "0",
            };
            let expected: Vec<String> = names.iter().map(|name| value(name).to_owned()).collect();
            assert_eq!(runs.run(since, names).await, expected);
        }
    }
}

#[tokio::test]
async fn a_run_that_has_learnt_more_is_given_nothing_older() {
    let redis = TestRedis::start();
    let mut runs = Runs::new(&redis).await;
    let _: () = runs.plain.set("rate", "1").await.unwrap();
    let _: () = runs.plain.set("other", "1").await.unwrap();
    for _ in 0..3 {
        runs.run(Instant::now(), &["rate", "other"]).await;
    }
    let mut view = view(&runs.link);
    view.foresee(runs.foresight.clone(), Instant::now());
    assert_eq!(view.get("rate".to_owned()).await.unwrap(), Some(b"1".to_vec()));
    let _: () = runs.plain.set("other", "2").await.unwrap();
    assert!(view.exists("rate".to_owned()).await.unwrap());
    assert_eq!(view.get("other".to_owned()).await.unwrap(), Some(b"2".to_vec()));
}

#[tokio::test]
async fn a_key_presumed_absent_is_proved_by_the_commit() {
    let redis = TestRedis::start();
    let (link, mut plain) = (redis.link(), redis.plain().await);
    let _: () = plain.set("there", "1").await.unwrap();
    let foresight: Arc<Foresight> = Arc::default();
    let mut wary = view(&link);
    wary.foresee(foresight.clone(), Instant::now());
    assert!(!wary.set_with("there".to_owned(), b"2".to_vec(), IF_ABSENT).await.unwrap());
    assert!(!wary.has_presumed());
    for (key, verdict) in [("new", Verdict::Done), ("there", Verdict::Conflict("there".to_owned()))] {
        teach(&foresight, &mut view(&link)).await;
        let mut run = view(&link);
        run.foresee(foresight.clone(), Instant::now());
        assert!(run.set_with(key.to_owned(), b"2".to_vec(), IF_ABSENT).await.unwrap());
        assert!(run.has_presumed());
        run.set("side".to_owned(), key.as_bytes().to_vec()).await.unwrap();
        assert_eq!(apply(&link, &run.finish().unwrap().changes).await.unwrap(), verdict);
        foresight.doubt();
    }
    let left: BTreeMap<String, String> = [("there", "1"), ("new", "2"), ("side", "new")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    for (key, value) in left {
        assert_eq!(plain.get::<_, String>(key).await.unwrap(), value);
    }
}

const MANIFEST: &str = r#"
kind = "worker"
[[consume]]
queue = "jobs"
max_attempts = 1
[grants]
kv.read = ["*"]
kv.write = ["*"]
queue.push = ["*"]
"#;

/// A host that serves one worker.
struct Served {
    _redis: TestRedis,
    plain: MultiplexedConnection,
    _plugins: Plugins,
    host: Host,
    lane: Arc<Lane>,
}

impl Served {
    async fn new(name: &str) -> Self {
        let redis = TestRedis::start();
        let plain = redis.plain().await;
        let plugins = Plugins::new().with(name, &example::component(name), MANIFEST);
        let host = plugins.serve(&redis.url(), "h").await;
        let lane = lane(&host, "jobs");
        Self { _redis: redis, plain, _plugins: plugins, host, lane }
    }

    async fn push(&mut self, jobs: impl Iterator<Item = String>) {
        let _: u64 = self.plain.rpush("jobs", jobs.collect::<Vec<_>>()).await.unwrap();
    }

    async fn dead(&mut self) -> u64 {
        self.plain.zcard("{jobs}:sandhog:dead").await.unwrap()
    }

    async fn completed(&self, jobs: u64) {
        let completed = &self.lane.counters.completed;
        until("so many are done", async || completed.load(Relaxed) == jobs).await;
    }

    fn conflicts(&self) -> u64 {
        self.lane.counters.conflicts.load(Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_come_twice_are_booked_once() {
    let mut served = Served::new("ledger").await;
    for (numbers, booked, buried) in
        [(0..300_u64, 300_u64, 0_u64), (200..500, 500, 100), (480..510, 510, 120)]
    {
        served.push(numbers.map(|n| n.to_string())).await;
        until("all are booked or buried", async || {
            served.lane.counters.commits.load(Relaxed) == booked && served.dead().await == buried
        })
        .await;
        let mut sum = 0;
        for n in 0..16 {
            sum += served.plain.get::<_, u64>(format!("jobs:balance:{n}")).await.unwrap();
        }
        assert_eq!(sum, booked * (booked - 1) / 2);
        assert_eq!(served.plain.llen::<_, u64>("jobs:receipts").await.unwrap(), booked);
    }
    assert!(served.conflicts() > 0, "nothing was ever presumed");
    stop(served.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_after_a_presumption_fails_once() {
    let mut served = Served::new("probe").await;
    let job = |n: u32, end: &str| {
        format!("report none\nkv.set-with done:{n} x if=absent\nkv.add sum 1\nset-result x\n{end}")
    };
    let ends = ["bury enough", "trap", "discard enough", "retry enough"];
    for round in 0..4 {
        let good = (0..50).map(|n| job(100 * round + n, "done"));
        let bad = (50..60).map(|n| job(100 * round + n, ends[round as usize]));
        served.push(good.chain(bad)).await;
        let gone = u64::from(round >= 2) * 10;
        until("all are settled", async || {
            let booked: Option<u64> = served.plain.get("sum").await.unwrap();
            booked == Some(50 * u64::from(round + 1))
                && served.dead().await == 10 * u64::from(round + 1) - gone
        })
        .await;
    }
    let keys: Vec<String> = served.plain.keys("done:*").await.unwrap();
    assert_eq!(keys.len(), 200, "nothing of a run that failed is there");
    let dead: Vec<String> = served.plain.zrange("{jobs}:sandhog:dead", 0, -1).await.unwrap();
    for entry in dead {
        let attempts = entry.split(' ').nth(2);
        assert_eq!(attempts, Some("1"), "{entry}");
    }
    assert_eq!(served.conflicts(), 0);
    stop(served.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presumption_is_proved_where_nothing_is_written_too() {
    let mut served = Served::new("probe").await;
    let learnt = u64::from(LESSONS) + 10;
    served.push((0..learnt).map(|n| format!("kv.set-with done:{n} x if=absent"))).await;
    served.completed(learnt).await;
    let _: () = served.plain.set("there", "1").await.unwrap();
    // It would set nothing if the key were absent, and is to hear that it is not.
    served.push(["report none\nkv.compare-and-swap there - -".to_owned()].into_iter()).await;
    served.completed(learnt + 1).await;
    assert_eq!(served.conflicts(), 1);
    stop(served.host).await;
}
