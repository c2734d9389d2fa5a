//! Storms over a ledger: hosts work while faults strike, and when the dust has settled the books must be right.
//! A storm goes by rounds: push jobs, strike, wait until nothing is anywhere, check, begin anew. Shared by the
//! quick form (`tests/ledger.rs`) and the long one (`tests/chaos.rs`).

pub mod book;
pub mod clock;
pub mod fault;
pub mod manifest;
mod push;
mod reach;
mod replica;
pub mod seat;
pub mod server;
pub mod snapshot;
mod strike;
pub mod swap;
mod trust;
pub mod twins;
pub mod weather;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::cmd;

use book::Book;
use fault::{End, Fault};
use seat::Seat;
use server::Server;
use snapshot::Snapshot;
use swap::Swaps;
use weather::{Broken, Tally, Weather};

use crate::support::dump::dump;

/// How long a round may take to settle once the faults are over.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How long it may take until hosts that are gone are forgotten: a lease, looking for them, a busy machine.
const FORGET_MAX: Duration = Duration::from_secs(10);
/// Hosts of every storm.
const NAMES: [&str; 2] = ["one", "two"];

/// A ledger, its hosts, its Redis.
pub struct Storm {
    weather: Weather,
    rng: fastrand::Rng,
    // Before the server and the folder: hosts end first.
    seats: Vec<Seat>,
    server: Server,
    /// Former primaries of this round, whose connections stay open.
    demoted: Vec<Server>,
    swaps: Swaps,
    book: Book,
    ends: Vec<(Instant, End)>,
    /// How long nothing is to be pushed.
    quiet: Duration,
    /// Whether Redis' clock was wrong in this round.
    was_wrong: bool,
    story: Vec<String>,
    begun: Instant,
    next_id: u64,
    next_ticket: u64,
    /// What has happened so far.
    pub tally: Tally,
    folder: tempfile::TempDir,
}

impl Storm {
    /// Starts Redis; hosts run `program` and serve the ledger `component`, and `batch` if there are twins.
    pub fn gather(weather: Weather, program: &Path, component: &[u8], batch: &[u8]) -> Self {
        let mut rng = fastrand::Rng::with_seed(weather.seed);
        let folder = tempfile::Builder::new().prefix("storm-").tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::write(plugins.join("chaos-ledger.wasm"), component).unwrap();
        std::fs::write(plugins.join("chaos-ledger.toml"), manifest::ledger(&weather, &mut rng)).unwrap();
        if weather.twins {
            std::fs::write(plugins.join("batch-probe.wasm"), batch).unwrap();
            std::fs::write(plugins.join("batch-probe.toml"), manifest::twins(&weather)).unwrap();
        }
        let swaps = Swaps::new(&plugins, component, weather.swaps);
        let server = Server::start();
        let seats = NAMES.map(|name| Seat::new(name, folder.path(), program, &server.socket())).into();
        Self {
            rng,
            weather,
            seats,
            server,
            demoted: Vec::new(),
            swaps,
            book: Book::default(),
            ends: Vec::new(),
            quiet: Duration::ZERO,
            was_wrong: false,
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
        self.was_wrong = false;
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
        self.demoted.clear();
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

    /// What hosts counted in Redis, summed over all queues.
    pub async fn counted(&mut self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for queue in ["ledger", "ledger-follow", twins::QUEUE] {
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
            let gap = self.moment(10, 120) + std::mem::take(&mut self.quiet);
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
        let mut restored = false;
        loop {
            self.pass(Duration::from_millis(5)).await.map_err(|problem| vec![problem])?;
            let calm = self.ends.is_empty() && self.seats.iter().all(Seat::is_up);
            if calm && !restored {
                self.restore_all().await;
                restored = true;
            }
            let busy = match snapshot::busy(&mut self.server).await {
                Ok(busy) => busy,
                Err(error) => vec![error.to_string()],
            };
            if calm
                && busy.is_empty()
                && let Ok(found) = snapshot::read(&mut self.server).await
            {
                let (jobs, twins) = (self.book.missing(&found), self.book.twins.missing(&found.twins));
                let none = jobs.is_empty() && twins.is_empty();
                let excused = self.book.excuses(&jobs) && self.book.twins.excuses(&twins, self.book.lossy);
                if none || found.dead > 0 || !excused {
                    return Ok(found);
                }
                self.push_again(&jobs, &twins).await;
            }
            if begun.elapsed() > SETTLE_MAX {
                let mut problems = vec![format!("not settled after {SETTLE_MAX:?}; still there:")];
                problems.extend(busy);
                return Err(problems);
            }
        }
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{:>6} ms  {what}", self.begun.elapsed().as_millis()));
    }

    fn broken(&self, problems: Vec<String>) -> Broken {
        Broken { seed: self.weather.seed, round: self.tally.rounds, problems, story: self.story.clone() }
    }
}
