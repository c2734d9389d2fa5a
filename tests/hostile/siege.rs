//! An attack that lasts for a while, by many jobs, by several plugins or on several hosts. The table shows how long a
//! neighbour's jobs take meanwhile, and how long one command blocks Redis. Both depend on the machine, so a test fails
//! only if they are far too long.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sandhog::app::Host;
use sandhog::job::envelope::Header;

use super::attack::{GOOD, good, shown};
use super::table::{Figures, Pending};
use crate::support::host::{PATIENCE, Plugins, lane, stop};
use crate::support::redis::TestRedis;

/// Least number of the neighbour's jobs, and the pause between two of them.
const JOBS_MIN: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);
/// How long one job of the neighbour may take, in seconds: far beyond the bound of a run of an attacker.
const JOB_S_MAX: f64 = 20.0;
/// Most units that a command may take (`commit_work`).
const UNITS_MAX: u64 = 6;
/// Commands that may take longer: a busy machine may stop Redis during any command. What an attacker can do to one command it can
/// do to many.
const CHANCE: usize = 2;
const UNIT: &str = "
redis.call('SET', KEYS[1], string.rep('x', 1048576))
for _ = 1, 8 do redis.sha1hex(redis.call('GET', KEYS[1])) end
redis.call('DEL', KEYS[1])";

/// A check of a section of `INFO` after the attack. Returns the problem, if there is one.
type Check = (&'static str, fn(&str) -> Result<(), String>);

/// Plugins that attack together.
pub(super) struct Siege {
    hosts: usize,
    plugins: Vec<(&'static str, Vec<u8>, String)>,
    jobs: Vec<(&'static str, Vec<u8>)>,
    lasts: bool,
    check: Option<Check>,
}

impl Siege {
    /// An attack on one host, without attackers yet.
    pub(super) fn new() -> Self {
        Self { hosts: 1, plugins: Vec::new(), jobs: Vec::new(), lasts: false, check: None }
    }

    /// Runs on this number of hosts of one fleet.
    pub(super) fn on(self, hosts: usize) -> Self {
        Self { hosts, ..self }
    }

    /// Adds a plugin that consumes the queue of its name. `more` are lines of its manifest after the table of the queue.
    pub(super) fn by(mut self, name: &'static str, component: Vec<u8>, more: &str) -> Self {
        let manifest = format!(
            "kind = \"worker\"\n[[consume]]\nqueue = \"{name}\"\nmax_attempts = 1\ntimeout = \"2s\"\n{more}\n[grants]\n\
             kv = {{ read = [\"*\"], write = [\"*\"] }}\nqueue = {{ push = [\"*\"], pop = [\"*\"] }}\n"
        );
        self.plugins.push((name, component, manifest));
        self
    }

    /// Adds this job.
    pub(super) fn job(mut self, queue: &'static str, payload: impl Into<Vec<u8>>) -> Self {
        self.jobs.push((queue, payload.into()));
        self
    }

    /// Adds this number of jobs with numbered payloads.
    pub(super) fn jobs(self, queue: &'static str, count: usize, payload: impl Fn(usize) -> String) -> Self {
        (0..count).fold(self, |siege, nth| siege.job(queue, payload(nth)))
    }

    /// The attack never ends: the test stops when the neighbour's jobs are done.
    pub(super) fn lasting(self) -> Self {
        Self { lasts: true, ..self }
    }

    /// The check of this section of `INFO` when its jobs have ended.
    pub(super) fn leaves(self, section: &'static str, check: fn(&str) -> Result<(), String>) -> Self {
        Self { check: Some((section, check)), ..self }
    }
}

/// Runs the attack.
pub(super) async fn run(pending: Pending, siege: Siege) {
    let redis = TestRedis::start_with(&["--slowlog-max-len", "100000", "--slowlog-log-slower-than", "1000"]);
    let mut plain = redis.plain().await;
    let plugins = Plugins::new().with("good", &good(), &GOOD.replace("PROFILE", "short"));
    let mut hosts = Vec::new();
    for nth in 0..siege.hosts {
        hosts.push(plugins.serve(&redis.url(), &format!("h{nth}")).await);
    }
    let mut ids: Vec<String> = plain.zrange("sandhog:hosts", 0, -1).await.unwrap();
    ids.sort();
    for (name, component, manifest) in &siege.plugins {
        plugins.put(name, component, manifest);
    }
    for host in &hosts {
        host.reload().await.unwrap_or_else(|problems| panic!("refused: {problems}"));
    }
    let () = redis::cmd("EVAL").arg(UNIT).arg(1).arg("unit").query_async(&mut plain).await.unwrap();
    let unit_us = longest(&mut plain).await.0;
    let mut receipts = redis.plain().await;
    for (queue, payload) in &siege.jobs {
        let _: u64 = plain.rpush(queue, payload).await.unwrap();
    }
    let waits = neighbour(&hosts, &siege, &mut plain, &mut receipts).await;
    let slow = slow(&mut plain).await;
    let took_us = slow.first().map_or(0, |(took_us, _)| *took_us);
    if let Some((section, check)) = siege.check {
        let info: String = redis::cmd("INFO").arg(section).query_async(&mut plain).await.unwrap();
        check(&info).unwrap_or_else(|problem| panic!("{problem}:\n{info}"));
    }
    let mut after: Vec<String> = plain.zrange("sandhog:hosts", 0, -1).await.unwrap();
    after.sort();
    assert_eq!(after, ids, "a lease was lost, and a host goes on under another id");
    if let Some((took_us, what)) = slow.get(CHANCE) {
        assert!(*took_us < UNITS_MAX * unit_us, "{took_us} us, and a unit took {unit_us} us: {what}");
    }
    let outcome = outcome(&hosts, &siege, &mut plain).await;
    let p99 = waits[(waits.len() * 99 / 100).min(waits.len() - 1)];
    pending.report_with(outcome, Figures { p99, longest: Duration::from_micros(took_us) });
    for host in hosts {
        stop(host).await;
    }
}

/// Pushes one job after the other to the neighbour until the attack has ended. Returns how long each took, the shortest
/// first.
async fn neighbour(
    hosts: &[Host],
    siege: &Siege,
    plain: &mut MultiplexedConnection,
    receipts: &mut MultiplexedConnection,
) -> Vec<Duration> {
    let begun = Instant::now();
    let mut waits = Vec::new();
    loop {
        let pushed = Instant::now();
        let _: u64 = plain.rpush("good", "a good job").await.unwrap();
        let receipt: Option<(String, String)> = receipts.blpop("receipts", JOB_S_MAX).await.unwrap();
        assert!(receipt.is_some(), "a job of the neighbour was not done within {JOB_S_MAX} s");
        waits.push(pushed.elapsed());
        let (done, dead) = ended(hosts, siege);
        if waits.len() >= JOBS_MIN && (siege.lasts || done + dead >= siege.jobs.len() as u64) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the attack has not ended: {done} done, {dead} dead");
        tokio::time::sleep(PAUSE).await;
    }
    waits.sort_unstable();
    waits
}

/// The attackers' completed jobs and their dead jobs, on all hosts.
fn ended(hosts: &[Host], siege: &Siege) -> (u64, u64) {
    use sandhog::worker::counters::Counters;
    let lanes = hosts.iter().flat_map(|host| siege.plugins.iter().map(|(name, ..)| lane(host, name)));
    lanes.fold((0, 0), |(done, dead), lane| {
        (done + Counters::read(&lane.counters.completed), dead + Counters::read(&lane.counters.buried))
    })
}

/// The outcome of the attackers' jobs, and the reason of the first dead one.
async fn outcome(hosts: &[Host], siege: &Siege, plain: &mut MultiplexedConnection) -> String {
    let (done, dead) = ended(hosts, siege);
    let mut text = format!("{done} done, {dead} dead");
    for (name, ..) in &siege.plugins {
        let records: Vec<Vec<u8>> = plain.zrange(format!("{{{name}}}:sandhog:dead"), 0, 0).await.unwrap();
        let header = records.first().map(|record| Header::decode(record).unwrap().0);
        if let Some(reason) = header.as_ref().and_then(|header| header.note("!reason")) {
            text.push_str(&format!(": {}", shown(reason)));
            break;
        }
    }
    text
}

/// The longest command in the slow log, in microseconds, and its text. Empties the log.
pub(super) async fn longest(plain: &mut MultiplexedConnection) -> (u64, String) {
    slow(plain).await.into_iter().next().unwrap_or_default()
}

/// The commands in the slow log, in microseconds, with their texts, the longest first. Empties the log.
async fn slow(plain: &mut MultiplexedConnection) -> Vec<(u64, String)> {
    type Row = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let rows: Vec<Row> = redis::cmd("SLOWLOG").arg("GET").arg(100_000).query_async(plain).await.unwrap();
    let () = redis::cmd("SLOWLOG").arg("RESET").query_async(plain).await.unwrap();
    let text = |words: &[Vec<u8>]| {
        let words = words.iter().take(6);
        let words = words.map(|word| String::from_utf8_lossy(&word[..word.len().min(40)]).into_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    let mut slow: Vec<_> = rows.into_iter().map(|row| (row.2, text(&row.3))).collect();
    slow.sort_unstable_by(|one, other| other.cmp(one));
    slow
}
