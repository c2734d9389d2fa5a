//! Effects that take place together with their job's completion: the overlay against a model and against the
//! immediate mode, conflicts, and runs that fail half-way.

mod cut;
mod foresight;
mod host;
mod model;
mod op;
mod overlay;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, cmd};
use sandhog::capability::foresight::Foresight;
use sandhog::capability::limits::Limits;
use sandhog::capability::plan::{Atomic, Isolation, Plan, Pops, Take};
use sandhog::capability::takings::Takings;
use sandhog::capability::view::View;
use sandhog::job::commit::{Commit, Verdict, apply};
use sandhog::job::key::QueueKeys;
use sandhog::job::name::{HostId, QueueName};
use sandhog::job::store::{DeadLimits, JobStore, Slot};
use sandhog::job::take::put_back;

use crate::support::guest::all_grants;
use crate::support::redis::TestRedis;
use crate::support::view::scope;
use model::{Entry, Held, Model};
use op::{Op, TTL_UNIT_MS, key, op, play, units, value};

/// Sequences tried; each plays its calls three times.
const CASES: u32 = 1000;
/// Runs of one case, as a host would run a job again after a conflict.
const RUNS_MAX: u32 = 16;

/// What runs learn from those before them: here from quite different ones.
static FORESIGHT: LazyLock<Arc<Foresight>> = LazyLock::new(Arc::default);

/// How a run is to be played and ended.
#[derive(Debug, Clone, Copy)]
struct Way {
    isolation: Isolation,
    /// Whether pops take, as in a host, or look, as outside of one.
    takes: bool,
    /// Whether the run fails at its end.
    fails: bool,
    /// Whether keys are presumed to be absent.
    presumes: bool,
}

fn way() -> impl Strategy<Value = Way> {
    let isolation = prop::sample::select(vec![Isolation::ReadCommitted, Isolation::Serializable]);
    let chances = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (isolation, chances).prop_map(|(isolation, (takes, fails, presumes))| Way {
        isolation,
        takes,
        fails,
        presumes,
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let held = prop_oneof![
        value().prop_map(Held::Text),
        vec(value(), 1..4).prop_map(|list| Held::List(list.into())),
        Just(Held::Hash),
    ];
    (held, prop::option::of(1_u64..4))
}

fn seed() -> impl Strategy<Value = BTreeMap<String, Entry>> {
    prop::collection::btree_map(key(), entry(), 0..4)
}

/// One Redis of a case, its model's start already in it.
struct Side {
    redis: TestRedis,
    plain: MultiplexedConnection,
}

impl Side {
    async fn new() -> Self {
        let redis = TestRedis::start();
        let plain = redis.plain().await;
        Self { redis, plain }
    }

    async fn begin(&mut self, keys: &BTreeMap<String, Entry>) {
        let mut pipe = redis::pipe();
        pipe.cmd("FLUSHALL");
        pipe.cmd("ZADD").arg("sandhog:hosts").arg("8000000000000").arg(host().as_str());
        pipe.cmd("HSET").arg(inflight()).arg("0").arg("job");
        for (key, (held, ttl)) in keys {
            match held {
                Held::Text(text) => pipe.cmd("SET").arg(key).arg(text),
                Held::List(list) => pipe.cmd("RPUSH").arg(key).arg(list.iter().collect::<Vec<_>>()),
                Held::Hash => pipe.cmd("HSET").arg(key).arg("field").arg("value"),
            };
            if let Some(units) = ttl {
                pipe.cmd("PEXPIRE").arg(key).arg(units * TTL_UNIT_MS);
            }
        }
        let _: () = pipe.query_async(&mut self.plain).await.unwrap();
    }

    fn view(&self, plan: &Plan) -> View {
        let scope = Arc::new(scope(all_grants(), Limits::default()));
        View::new(scope, Some(self.redis.link()), Arc::default(), None, plan)
    }

    /// Everything there is, as a model would have it.
    async fn look(&mut self) -> Model {
        let mut names: Vec<String> = self.plain.keys("*").await.unwrap();
        names.sort();
        let mut model = Model::default();
        for name in names {
            if name.starts_with("sandhog:") || name.contains(":inflight:") || name.ends_with(":stats") {
                continue;
            }
            if name.contains(":sandhog:unique:") {
                model.unique.insert(name);
                continue;
            }
            let payload = |envelope: Vec<u8>| {
                let at = envelope.iter().position(|byte| *byte == b'\n').unwrap();
                envelope[at + 1..].to_vec()
            };
            if let Some((queue, place)) = name.split_once("}:sandhog:") {
                let zset = place == "delayed";
                let read = if zset { "ZRANGE" } else { "LRANGE" };
                let envelopes: Vec<Vec<u8>> =
                    cmd(read).arg(&name).arg(0).arg(-1).query_async(&mut self.plain).await.unwrap();
                let mut payloads: Vec<Vec<u8>> = envelopes.into_iter().map(payload).collect();
                if zset {
                    payloads.sort();
                }
                let place = if zset { &mut model.delayed } else { &mut model.ready };
                place.insert(queue[1..].to_owned(), payloads);
                continue;
            }
            let ttl: i64 = self.plain.pttl(&name).await.unwrap();
            let kind: String = cmd("TYPE").arg(&name).query_async(&mut self.plain).await.unwrap();
            let held = match kind.as_str() {
                "string" => Held::Text(self.plain.get(&name).await.unwrap()),
                "list" => {
                    Held::List(self.plain.lrange::<_, Vec<Vec<u8>>>(&name, 0, -1).await.unwrap().into())
                }
                _ => Held::Hash,
            };
            model.keys.insert(name, (held, u64::try_from(ttl).ok().map(units)));
        }
        model
    }
}

fn host() -> HostId {
    HostId::new("h", 1, 4_000_000_000_000).unwrap()
}

fn job_queue() -> QueueName {
    QueueName::new("jobs").unwrap()
}

fn inflight() -> String {
    QueueKeys::new(&job_queue()).inflight(&host())
}

/// Plays the calls on the model, at once on one Redis and held back on the other, and compares every answer and
/// all that is left. False: a listing met a table that Redis was just resizing, which is a conflict like others.
async fn same_everywhere(
    at_once: &mut Side,
    held_back: &mut Side,
    seed: BTreeMap<String, Entry>,
    ops: Vec<Op>,
    way: Way,
) -> Result<bool, TestCaseError> {
    at_once.begin(&seed).await;
    held_back.begin(&seed).await;
    let start = Model { keys: seed, ..Model::default() };
    let mut model = start.clone();
    let takings = Arc::new(Takings::default());
    let link = held_back.redis.link();
    let take = Take { link: link.clone(), user: None, host: Arc::new(host()), takings: takings.clone() };
    let pops = if way.takes { Pops::Take(take) } else { Pops::Look };
    let plan = Plan::Atomic(Arc::new(Atomic { isolation: way.isolation, pops, contention: None }));
    let (mut first, mut second) = (at_once.view(&Plan::Immediate), held_back.view(&plan));
    if way.presumes {
        foresight::teach(&FORESIGHT, &mut held_back.view(&plan)).await;
    }
    second.foresee(FORESIGHT.clone(), Instant::now());
    // An `add` that asks Redis nothing learns only at the commit that it cannot be.
    let mut refused = false;
    for op in ops {
        let expected = model.play(op.clone());
        prop_assert_eq!(&play(&mut first, op.clone()).await, &expected, "at once: {:?}", op);
        let answer = play(&mut second, op.clone()).await;
        if matches!(op, Op::Add(..)) && answer == "()" && expected != "()" {
            refused = true;
            break;
        }
        if answer != expected && second.has_presumed() {
            // What was presumed is not so. Nothing but another run can come of it.
            FORESIGHT.doubt();
            let (mut pending, taken) = (second.finish().unwrap(), takings.drain());
            let verdict = commit(held_back, &mut pending.changes, taken.sure, way).await;
            prop_assert!(matches!(verdict, Verdict::Conflict(_)), "{:?} after {:?}", verdict, op);
            return Ok(false);
        }
        prop_assert_eq!(&answer, &expected, "held back: {:?}", op);
    }
    prop_assert_eq!(&at_once.look().await, &model, "left at once");
    let mut pending = second.finish().unwrap();
    let taken = takings.drain();
    prop_assert!(taken.unsure.is_empty());
    if way.fails || refused {
        if refused {
            let verdict = commit(held_back, &mut pending.changes, taken.sure.clone(), way).await;
            prop_assert!(matches!(verdict, Verdict::Refused { .. }), "{:?}", verdict);
        }
        put_back(&link, &host(), &taken.sure).await.unwrap();
        let (mut left, mut start) = (held_back.look().await, start);
        // A list whose last entry was taken is a new one when that is put back: without expiry.
        for (held, ttl) in left.keys.values_mut().chain(start.keys.values_mut()) {
            *ttl = if matches!(held, Held::List(_)) { None } else { *ttl };
        }
        prop_assert_eq!(&left, &start, "of a failed run nothing is left");
        return Ok(true);
    }
    let verdict = commit(held_back, &mut pending.changes, taken.sure, way).await;
    if matches!(&verdict, Verdict::Conflict(pattern) if pattern.ends_with('*')) {
        return Ok(false);
    }
    prop_assert!(matches!(verdict, Verdict::Done), "{:?}", verdict);
    prop_assert_eq!(&held_back.look().await, &model, "left after the commit");
    let records: Vec<String> = held_back.plain.keys("*:inflight:*").await.unwrap();
    prop_assert_eq!(records.len(), usize::from(!way.takes), "only a job that nobody committed is in flight");
    Ok(true)
}

/// With its job where pops take, as in a host; on its own where they look.
async fn commit(
    side: &Side,
    changes: &mut sandhog::job::change::Changes,
    taken: Vec<sandhog::job::change::Taken>,
    way: Way,
) -> Verdict {
    changes.taken = taken;
    let link = side.redis.link();
    if !way.takes {
        return apply(&link, changes).await.unwrap();
    }
    let dead = DeadLimits { count: 1, age_ms: 1, bytes: 1 };
    let store = JobStore::new(link.clone(), job_queue(), dead);
    let slot = Slot { seq: 0, enveloped: false };
    store.commit(&link, &host(), &[Commit { slot, others: &[], changes }]).await.unwrap().remove(0)
}

#[test]
fn a_run_with_commit_means_what_the_same_calls_mean_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sides = runtime.block_on(async { (Side::new().await, Side::new().await) });
    let sides = std::sync::Mutex::new(sides);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(seed(), vec(op(), 1..16), way()), |(seed, ops, mut way)| {
        let mut sides = sides.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (at_once, held_back) = &mut *sides;
        runtime.block_on(async {
            for _ in 0..RUNS_MAX {
                if same_everywhere(at_once, held_back, seed.clone(), ops.clone(), way).await? {
                    return Ok(());
                }
                way.presumes = false;
            }
            Err(TestCaseError::fail("conflicts again and again"))
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
