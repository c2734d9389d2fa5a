//! Random sequences of all operations that move jobs, on a real Redis: the number of jobs stays the same even if jobs are
//! equal, and no two living jobs have the same unique key.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use redis::cmd;
use sandhog::job::edit::{self, Which};
use sandhog::job::filter::Filter;
use sandhog::job::import::{Imported, import};
use sandhog::job::inspect::{Place, counts};
use sandhog::job::lease::Death;
use sandhog::job::name::JobId;
use sandhog::job::push::{PushOptions, Pushed, push};
use sandhog::job::settle::{Fate, Settlement};
use sandhog::job::store::{Claimed, Order};
use sandhog::job::transfer;
use sandhog::job::walk::{self, Change, Walk};
use tokio::runtime::Runtime;

use super::{Scene, queue};

/// One operation.
#[derive(Debug, Clone)]
enum Op {
    /// A producer pushes a job that equals others.
    Push { payload: u8, id: Option<u8>, is_delayed: bool, is_unique: bool },
    /// The host claims.
    Claim(u32),
    /// This many of its runs end like this.
    End(usize, Fate),
    /// The host dies.
    Reap,
    /// An operator requeues all jobs of a place, or those with an id.
    Requeue(Place, Option<u8>),
    /// An operator edits the payload of those with an id.
    Edit(u8),
    /// An operator exports a place, discards its jobs, and imports the file twice.
    Carry(Place),
    /// An operator discards jobs, or cancels running ones.
    Drop(Place, u8),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Dead), Just(Place::Delayed), Just(Place::Ready)]
}

fn op() -> impl Strategy<Value = Op> {
    let id = || prop::option::of(0..2u8);
    let push = (0..2u8, id(), any::<bool>(), any::<bool>())
        .prop_map(|(payload, id, is_delayed, is_unique)| Op::Push { payload, id, is_delayed, is_unique });
    let fate = prop_oneof![
        2 => Just(Fate::Complete),
        1 => Just(Fate::Discard),
        4 => Just(Fate::Retry { delay_ms: 0 }),
        2 => Just(Fate::Retry { delay_ms: 60_000 }),
        4 => Just(Fate::Bury),
        1 => Just(Fate::Release),
        1 => Just(Fate::GiveBack(Order::Fifo)),
    ];
    prop_oneof![
        8 => push,
        4 => (1..8u32).prop_map(Op::Claim),
        6 => (1..8usize, fate).prop_map(|(count, fate)| Op::End(count, fate)),
        1 => Just(Op::Reap),
        2 => (place(), id()).prop_map(|(place, id)| Op::Requeue(place, id)),
        1 => (0..2u8).prop_map(Op::Edit),
        2 => place().prop_map(Op::Carry),
        1 => (place(), 0..2u8).prop_map(|(place, id)| Op::Drop(place, id)),
    ]
}

fn named(id: u8) -> JobId {
    JobId::new(format!("order-{id}")).unwrap()
}

/// A queue, and the number of jobs that it must have.
struct Books {
    scene: Scene,
    running: Vec<Claimed>,
    jobs: u64,
}

impl Books {
    async fn apply(&mut self, op: &Op) {
        match op {
            Op::Push { payload, id, is_delayed, is_unique } => {
                let options = PushOptions {
                    id: id.map(named),
                    delay: is_delayed.then_some(Duration::from_secs(60)),
                    unique: is_unique.then(|| ("k".to_owned(), Duration::from_secs(600))),
                    ..PushOptions::default()
                };
                let pushed = push(&self.scene.link, &queue(), &[*payload], &options).await.unwrap();
                self.jobs += u64::from(!matches!(pushed, Pushed::Duplicate));
            }
            Op::Claim(most) => self.running.extend(self.scene.claim(*most).await.unwrap().jobs),
            Op::End(count, fate) => self.end(*count, *fate).await,
            Op::Reap => {
                let reaped = self.scene.store.reap(&self.scene.host, Death::Certain, 2).await.unwrap();
                assert_eq!(reaped.moved + reaped.buried, self.running.len() as u64);
                self.running.clear();
            }
            Op::Requeue(place, None) => {
                let all = Which::All(*place);
                edit::requeue(&self.scene.link, &queue(), &all, 1000, |_| ()).await.unwrap();
            }
            Op::Requeue(_, Some(id)) => {
                let ids = [named(*id)];
                edit::requeue(&self.scene.link, &queue(), &Which::Ids(&ids), 1000, |_| ()).await.unwrap();
            }
            Op::Edit(id) => {
                self.change(&[Place::Dead, Place::Delayed], *id, Change::Requeue(Some(b"edited"))).await;
            }
            Op::Carry(place) => self.carry(*place).await,
            Op::Drop(place, id) => self.jobs -= self.change(&[*place], *id, Change::Discard).await,
        }
    }

    async fn end(&mut self, count: usize, fate: Fate) {
        let count = count.min(self.running.len());
        let ends: Vec<Settlement> = self
            .running
            .drain(..count)
            .map(|job| Settlement { slot: job.slot, header: job.header, fate })
            .collect();
        for answer in self.scene.store.settle(&self.scene.host, &ends).await.unwrap() {
            assert_eq!(answer, Ok(true));
        }
        if matches!(fate, Fate::Complete | Fate::Discard) {
            self.jobs -= count as u64;
        }
    }

    async fn change(&self, places: &[Place], id: u8, change: Change<'_>) -> u64 {
        let filter = Filter { ids: vec![named(id)], ..Filter::default() };
        let changed = walk::change(&self.scene.link, &queue(), places, &filter, change, |_, _, _| ()).await;
        changed.unwrap().jobs
    }

    async fn carry(&mut self, place: Place) {
        let (link, queue, all) = (self.scene.link.clone(), queue(), Filter::default());
        let mut walk = Walk::new(&link, &queue, place, &all, true).await.unwrap();
        let mut lines = Vec::new();
        while let Some(found) = walk.step().await.unwrap() {
            lines.extend(found.rows().map(|row| transfer::line(row).expect("only jobs are here")));
        }
        let jobs: Vec<_> = lines.iter().map(|line| transfer::read(line).unwrap()).collect();
        let gone = edit::discard(&link, &queue, &Which::All(place), 1000, |_| ()).await.unwrap();
        assert_eq!(gone.jobs, jobs.len() as u64);
        // Equal jobs in other places do not prevent the import: they existed before.
        let alike = self.import(&jobs).await;
        assert_eq!((alike.added, alike.duplicates), (jobs.len() as u64 - alike.present, 0));
        self.jobs -= alike.present;
        let again = self.import(&jobs).await;
        assert_eq!((again.added, again.duplicates), (0, 0), "the same file again");
    }

    async fn import(&self, jobs: &[transfer::Carried]) -> Imported {
        let mut sum = Imported::default();
        import(&self.scene.link, &queue(), jobs, &mut sum, |_| ()).await.unwrap();
        sum
    }

    async fn check(&mut self, op: &Op) {
        let counts = counts(&self.scene.link, &queue()).await.unwrap();
        let all = counts.waiting + counts.ready + counts.inflight + counts.delayed + counts.dead;
        assert_eq!(all, self.jobs, "after {op:?}: {counts:?}");
        let plain = &mut self.scene.plain;
        let ask = |command: &str, key: &str, rest: &[i64]| {
            let mut ask = cmd(command);
            ask.arg(format!("{{q}}:sandhog:{key}")).arg(rest);
            ask
        };
        let inflight = format!("inflight:{}", self.scene.host);
        let mut living: Vec<Vec<u8>> = ask("LRANGE", "ready", &[0, -1]).query_async(plain).await.unwrap();
        let delayed: Vec<Vec<u8>> = ask("ZRANGE", "delayed", &[0, -1]).query_async(plain).await.unwrap();
        let running: Vec<Vec<u8>> = ask("HVALS", &inflight, &[]).query_async(plain).await.unwrap();
        living.extend(delayed.into_iter().chain(running));
        let unique =
            living.iter().filter(|record| record.windows(9).any(|part| part == b" !unique=")).count();
        let is_held: bool = ask("EXISTS", "unique:k", &[]).query_async(plain).await.unwrap();
        assert!(
            unique <= 1 && is_held == (unique == 1),
            "after {op:?}: {unique} live with it, held: {is_held}"
        );
        let bytes: Option<u64> =
            ask("HGET", "stats", &[]).arg("dead_bytes").query_async(plain).await.unwrap();
        let dead: Vec<Vec<u8>> = ask("ZRANGE", "dead", &[0, -1]).query_async(plain).await.unwrap();
        assert_eq!(
            bytes.unwrap_or(0),
            dead.iter().map(|record| record.len() as u64).sum::<u64>(),
            "after {op:?}"
        );
    }
}

#[test]
fn no_equal_job_is_lost_or_duplicated() {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::new());
    let books = tokio::sync::Mutex::new(Books { scene, running: Vec::new(), jobs: 0 });
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(ops in vec(op(), 1..60))| {
        runtime.block_on(async {
            let books = &mut *books.lock().await;
            books.scene.begin(&[]).await;
            (books.running, books.jobs) = (Vec::new(), 0);
            for op in &ops {
                books.apply(op).await;
                books.check(op).await;
            }
        });
    });
}
