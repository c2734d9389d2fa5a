//! Storms over a ledger: hosts work while faults strike, and when the dust has settled the books must be right.
//! A storm goes by rounds: push jobs, strike, wait until nothing is anywhere, check, begin anew. Shared by the
//! quick form (`tests/ledger.rs`) and the long one (`tests/chaos.rs`).

pub mod book;
pub mod fault;
pub mod seat;
pub mod server;
pub mod snapshot;
pub mod swap;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::cmd;

use book::{Book, Job};
use fault::{End, Fault};
use seat::Seat;
use server::Server;
use snapshot::Snapshot;
use swap::Swaps;

use crate::support::dump::dump;

/// How long a round may take to settle once the faults are over.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How long it may take until hosts that are gone are forgotten: a lease, looking for them, a busy machine.
const FORGET_MAX: Duration = Duration::from_secs(10);
/// Tickets there are at the beginning of a round.
const TICKETS: usize = 60;
/// Hosts of every storm.
const NAMES: [&str; 2] = ["one", "two"];

/// What a storm is like.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Everything random comes from this.
    pub seed: u64,
    /// The `[effects]` of the manifest.
    pub effects: String,
    /// Faults, and how often each is chosen.
    pub faults: Vec<(Fault, u32)>,
    /// Whether some jobs fail after they have written everything.
    pub mishaps: bool,
    /// Whether the handler is replaced all the time.
    pub swaps: bool,
    /// Jobs pushed between two faults.
    pub portion: usize,
}

impl Weather {
    /// Every fault.
    pub fn all(seed: u64) -> Self {
        let effects = "mode = \"atomic\"".to_owned();
        Self { seed, effects, faults: fault::ALL.to_vec(), mishaps: true, swaps: true, portion: 80 }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Rounds that were found right.
    pub rounds: u64,
    /// Jobs of those rounds, followers among them.
    pub jobs: u64,
    /// Jobs that were pushed again, because a fault may have lost them.
    pub pushed_again: u64,
    /// Faults, counted.
    pub faults: BTreeMap<Fault, u64>,
    /// Versions of the handler that took the place of another.
    pub swaps: u64,
    /// Versions that were broken.
    pub broken: u64,
    /// Hosts killed.
    pub host_kills: u64,
    /// Times that Redis was killed.
    pub redis_kills: u64,
}

/// The books are wrong.
#[derive(Debug)]
pub struct Broken {
    /// The seed of the storm.
    pub seed: u64,
    /// The round, from 0.
    pub round: u64,
    /// What is not as it must be.
    pub problems: Vec<String>,
    /// The faults of the round, in order.
    pub story: Vec<String>,
}

/// A ledger, its hosts, its Redis.
pub struct Storm {
    weather: Weather,
    rng: fastrand::Rng,
    // Before the server and the folder: hosts end first.
    seats: Vec<Seat>,
    server: Server,
    swaps: Swaps,
    book: Book,
    ends: Vec<(Instant, End)>,
    story: Vec<String>,
    begun: Instant,
    next_id: u64,
    next_ticket: u64,
    /// What has happened so far.
    pub tally: Tally,
    folder: tempfile::TempDir,
}

impl Storm {
    /// Starts Redis; hosts run `program` and serve the worker `component`.
    pub fn gather(weather: Weather, program: &Path, component: &[u8]) -> Self {
        let folder = tempfile::Builder::new().prefix("storm-").tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::write(plugins.join("chaos-ledger.wasm"), component).unwrap();
        std::fs::write(plugins.join("chaos-ledger.toml"), manifest(&weather.effects)).unwrap();
        let swaps = Swaps::new(&plugins, component, weather.swaps);
        let server = Server::start();
        let seats = NAMES.map(|name| Seat::new(name, folder.path(), program, &server.socket())).into();
        Self {
            rng: fastrand::Rng::with_seed(weather.seed),
            weather,
            seats,
            server,
            swaps,
            book: Book::default(),
            ends: Vec::new(),
            story: Vec::new(),
            begun: Instant::now(),
            next_id: 1,
            next_ticket: 1,
            tally: Tally::default(),
            folder,
        }
    }

    /// One round: `strikes` times faults strike.
    pub async fn round(&mut self, strikes: usize) -> Result<(), Broken> {
        self.begun = Instant::now();
        self.story.clear();
        self.hand_out_tickets().await;
        self.server.mark();
        let done = self.strike(strikes).await;
        let settled = match done {
            Ok(()) => self.settle().await,
            Err(problem) => Err(vec![problem]),
        };
        let found = settled.map_err(|problems| self.broken(problems))?;
        let problems = self.book.check(&found);
        if !problems.is_empty() {
            return Err(self.broken(problems));
        }
        self.serve_the_last().await.map_err(|problem| self.broken(vec![problem]))?;
        self.tally.rounds += 1;
        self.tally.jobs += self.book.jobs.len() as u64 + found.followed.len() as u64;
        self.book.close(&found);
        snapshot::clear(&mut self.server).await;
        Ok(())
    }

    /// After the last round: nothing more happens, and hosts that are gone are forgotten.
    pub async fn pass_over(&mut self) -> Result<(), Broken> {
        self.story.clear();
        let begun = Instant::now();
        loop {
            // Whatever still wakes up somewhere has the time to show itself.
            let passed = self.pass(seat::LEASE).await;
            let hosts: Vec<String> = self.server.surely(cmd("KEYS").arg("sandhog:host:*")).await;
            let found = snapshot::read(&mut self.server).await.expect("after a storm Redis is there");
            let mut problems = self.book.check(&found);
            problems.extend(passed.err());
            if problems.is_empty() && hosts.len() != NAMES.len() && begun.elapsed() > FORGET_MAX {
                problems.push(format!("hosts are not forgotten: {hosts:?}"));
            }
            if !problems.is_empty() {
                return Err(self.broken(problems));
            }
            if hosts.len() == NAMES.len() {
                return Ok(());
            }
        }
    }

    /// What hosts counted in Redis, summed over both queues.
    pub async fn counted(&mut self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for queue in ["ledger", "ledger-follow"] {
            let stats = format!("{{{queue}}}:sandhog:stats");
            let counters = self.server.ask::<BTreeMap<String, u64>>(cmd("HGETALL").arg(stats)).await;
            for (name, count) in counters.unwrap_or_default() {
                *sums.entry(name).or_default() += count;
            }
        }
        sums
    }

    /// Leaves the folder with the hosts' logs, Redis' log and a dump of Redis where it is.
    pub async fn keep(mut self) -> PathBuf {
        let folder = self.folder.path().to_owned();
        if let Ok(mut plain) = self.server.plain().await {
            let lines: Vec<String> =
                dump(&mut plain).await.into_iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
            std::fs::write(folder.join("redis.dump"), lines.concat()).unwrap();
        }
        self.server.copy_to(&folder.join("redis"));
        std::fs::write(folder.join("redis.log"), self.server.log()).unwrap();
        std::fs::write(folder.join("story"), self.story.join("\n")).unwrap();
        self.folder.disable_cleanup(true);
        folder
    }

    async fn strike(&mut self, strikes: usize) -> Result<(), String> {
        self.push_portion().await;
        for _ in 0..strikes {
            let gap = self.moment(10, 120);
            self.pass(gap).await?;
            self.push_portion().await;
            // Now and then two at the same moment.
            for _ in 0..self.rng.usize(1..=5).div_ceil(4) {
                let fault = self.choose();
                self.tell(&format!("{fault:?}"));
                match self.inject(fault).await {
                    Ok(()) => *self.tally.faults.entry(fault).or_default() += 1,
                    Err(error) => self.story.push(format!("  not possible now: {error}")),
                }
            }
        }
        Ok(())
    }

    fn choose(&mut self) -> Fault {
        let sum = self.weather.faults.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.u32(0..sum);
        for (fault, weight) in &self.weather.faults {
            if at < *weight {
                return *fault;
            }
            at -= weight;
        }
        unreachable!("it is below the sum of all weights")
    }

    /// Lets time pass; hosts are looked after.
    async fn pass(&mut self, long: Duration) -> Result<(), String> {
        let end = Instant::now() + long;
        loop {
            self.end_what_is_over().await;
            self.swap_when_due();
            self.seats.iter_mut().try_for_each(Seat::tend)?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(Duration::from_millis(10))).await;
        }
    }

    /// Waits until every fault is over and every job has ended; pushes again what may have been lost.
    async fn settle(&mut self) -> Result<Snapshot, Vec<String>> {
        self.tell("the faults are over");
        let begun = Instant::now();
        let mut mended = false;
        loop {
            self.pass(Duration::from_millis(5)).await.map_err(|problem| vec![problem])?;
            let calm = self.ends.is_empty() && self.seats.iter().all(Seat::is_up);
            if calm && !mended {
                self.mend_all().await;
                mended = true;
            }
            let busy = match snapshot::busy(&mut self.server).await {
                Ok(busy) => busy,
                Err(error) => vec![error.to_string()],
            };
            if calm
                && busy.is_empty()
                && let Ok(found) = snapshot::read(&mut self.server).await
            {
                let missing = self.book.missing(&found);
                if missing.is_empty() || found.dead > 0 || !self.book.excuses(&missing) {
                    return Ok(found);
                }
                self.tell(&format!("{} jobs are pushed again", missing.len()));
                self.tally.pushed_again += missing.len() as u64;
                self.push(&missing).await;
            }
            if begun.elapsed() > SETTLE_MAX {
                let mut problems = vec![format!("not settled after {SETTLE_MAX:?}; still there:")];
                problems.extend(busy);
                return Err(problems);
            }
        }
    }

    async fn hand_out_tickets(&mut self) {
        let mut push = cmd("RPUSH");
        push.arg("ledger-tickets");
        for _ in self.book.tickets.len()..TICKETS {
            push.arg(self.next_ticket);
            self.book.tickets.insert(self.next_ticket.to_string());
            self.next_ticket += 1;
        }
        if push.args_iter().count() > 2 {
            self.server.ask::<u64>(&push).await.expect("between rounds Redis is there");
        }
    }

    async fn push_portion(&mut self) {
        let first = self.next_id;
        self.next_id += self.weather.portion as u64;
        let ids: Vec<u64> = (first..self.next_id).collect();
        for id in &ids {
            let job = self.draw(*id);
            self.book.jobs.insert(*id, job);
        }
        self.push(&ids).await;
    }

    /// Pushes jobs with their notes, in one step. If that fails nobody knows whether it was done.
    async fn push(&mut self, ids: &[u64]) {
        let mut pipe = redis::pipe();
        for id in ids {
            pipe.cmd("SET").arg(format!("ledger:todo:{id}")).arg(1);
        }
        pipe.cmd("RPUSH")
            .arg("ledger")
            .arg(ids.iter().map(|id| self.book.jobs[id].payload()).collect::<Vec<_>>());
        if self.server.transact(&mut pipe).await.is_err() {
            self.book.excused.extend(ids);
        }
    }

    fn draw(&mut self, id: u64) -> Job {
        let mut words = String::new();
        let mut word = |name: &str, value: &str| words += &format!(" {name}={value}");
        let rng = &mut self.rng;
        match rng.u32(..10) {
            0 | 1 => word("seq", &rng.u32(..3).to_string()),
            2 => word("swap", &rng.u32(..3).to_string()),
            3 | 4 => word("ticket", if rng.bool() { "front" } else { "back" }),
            5 => word("follow", &(rng.u64(..3) * 40).to_string()),
            6 => word("once", &(rng.u64(..3) * 40).to_string()),
            _ => {}
        }
        if rng.u32(..4) == 0 {
            word("spin", &rng.u32(1..20).to_string());
        }
        if self.weather.mishaps {
            match rng.u32(..2000) {
                0..100 => word("retry", "1"),
                100..200 => word("trap", &rng.u32(1..3).to_string()),
                200..240 => word("hoard", "1"),
                // Rare: each holds its round up for as long as a run may take.
                240 => word("hang", "1"),
                _ => {}
            }
        }
        Job { id, amount: self.rng.i64(-1000..=1000), words }
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{:>6} ms  {what}", self.begun.elapsed().as_millis()));
    }

    fn broken(&self, problems: Vec<String>) -> Broken {
        Broken { seed: self.weather.seed, round: self.tally.rounds, problems, story: self.story.clone() }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "the ledger is broken in round {} of seed {}:", self.round, self.seed)?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))?;
        writeln!(f, "what happened in this round:")?;
        self.story.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Patient: faults must not use up a job's attempts.
fn manifest(effects: &str) -> String {
    let queue = |name: &str, concurrency: u32| {
        format!(
            "[[consume]]\nqueue = \"{name}\"\nconcurrency = {concurrency}\nmax_attempts = 1000\ntimeout = \"1s\"\n\
             backoff = {{ base = \"10ms\", factor = 1.0, max = \"10ms\", jitter = 0.5 }}\n"
        )
    };
    format!(
        "kind = \"worker\"\n{}{}[effects]\n{effects}\n\
         [grants]\nkv.read = [\"ledger:*\"]\nkv.write = [\"ledger:*\"]\n\
         queue.push = [\"ledger-*\"]\nqueue.pop = [\"ledger-tickets\"]\n\
         [limits]\nmemory = \"16MiB\"\n",
        queue("ledger", 16),
        queue("ledger-follow", 8),
    )
}
