//! `make chaos`: a storm over a ledger for as long as wanted. Prints what is going on now and then, at the end a
//! table of the faults and a summary as its last line. Ends with 1 at the first broken invariant, with the seed,
//! and leaves logs and a dump behind. No part of `make test`, which has short storms of its own.

#![expect(clippy::print_stdout, reason = "it is a tool")]
#![expect(clippy::unwrap_used, reason = "the setting that allows it in tests does not see helper functions")]
#![expect(dead_code, unreachable_pub, reason = "a part of what the tests share")]

mod storm;
mod support {
    pub mod dump;
    pub mod faults;
    pub mod redis;
}

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use storm::Storm;
use storm::weather::{Broken, Tally, Weather};

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Rounds after which everything begins anew, with an empty Redis.
const STORM_ROUNDS: usize = 50;
/// One storm in so many is over a ledger in serializable isolation.
const SERIALIZABLE_EVERY: u64 = 4;
/// One storm in this many has only faults of Redis, and jobs with few attempts.
const STRICT_EVERY: u64 = 5;
/// Fewest strikes of faults in a round, and how many different numbers of them there are.
const STRIKES_MIN: usize = 2;
const STRIKES_MORE: usize = 5;
const SERIALIZABLE: &str = "mode = \"atomic\"\nisolation = \"serializable\"";

/// Lets faults strike hosts that keep a ledger, and checks the books after every round.
#[derive(Parser)]
struct Args {
    /// For how long.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// What everything random comes from.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The effects mode; without it atomic, now and then in the other isolation. `immediate` must break the ledger.
    #[arg(long, value_parser = ["atomic", "serializable", "immediate"])]
    effects: Option<String>,
    /// Only these faults, by the names of the table.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// No jobs that fail half way by themselves.
    #[arg(long)]
    no_mishaps: bool,
    /// Only faults of Redis, and few attempts per job: a job that is charged for such a fault dies.
    #[arg(long)]
    strict: bool,
    /// No random limits of queues and no random options of jobs.
    #[arg(long)]
    unmixed: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        code = run(Args::parse()) => code,
        // Whatever was started ends as it is dropped.
        _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
        _ = terminate.recv() => ExitCode::FAILURE,
    }
}

async fn run(args: Args) -> ExitCode {
    let files = tempfile::Builder::new().prefix("chaos-").tempdir().unwrap();
    // Copies: both may be built again while this runs.
    let program = files.path().join("sandhog");
    std::fs::copy(env!("CARGO_BIN_EXE_sandhog"), &program).unwrap();
    let [component, batch] = ["chaos-ledger", "batch-probe"].map(guest);

    let long = Duration::from_secs_f64(args.minutes * 60.0);
    let mut report = Report { begun: Instant::now(), sum: Tally::default(), counted: BTreeMap::new() };
    let mut seed = args.seed;
    while report.begun.elapsed() < long {
        let mut storm = Storm::gather(weather(&args, seed), &program, &component, &batch);
        let broken = rage(&mut storm, &report, report.begun + long).await.err();
        let counted = storm.counted().await;
        report.add(&storm.tally, counted);
        if let Some(broken) = broken {
            return fail(&report, &broken, storm).await;
        }
        seed += 1;
    }
    println!("{}", report.table());
    println!("{}: the books were right after every round", report.summary());
    ExitCode::SUCCESS
}

/// Rounds until the storm is over or it is time to end.
async fn rage(storm: &mut Storm, report: &Report, until: Instant) -> Result<(), Broken> {
    let mut said = Instant::now();
    for nth in 0..STORM_ROUNDS {
        storm.round(STRIKES_MIN + nth % STRIKES_MORE).await?;
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            println!("{}", report.with(&storm.tally).summary());
        }
        if Instant::now() > until {
            break;
        }
    }
    storm.pass_over().await
}

async fn fail(report: &Report, broken: &Broken, storm: Storm) -> ExitCode {
    println!("{}\n{broken}", report.table());
    println!("logs and a dump of Redis are in {}", storm.keep().await.display());
    println!("{}: BROKEN; again with SEED={}", report.summary(), broken.seed);
    ExitCode::FAILURE
}

fn guest(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/built/probes");
    std::fs::read(folder.join(name).with_extension("wasm"))
        .expect("the guests are built; `make chaos` does it")
}

fn weather(args: &Args, seed: u64) -> Weather {
    let effects = match args.effects.as_deref() {
        Some("immediate") => "mode = \"immediate\"",
        Some("serializable") => SERIALIZABLE,
        None if seed.is_multiple_of(SERIALIZABLE_EVERY) => SERIALIZABLE,
        _ => "mode = \"atomic\"",
    };
    let mut weather = Weather { effects: effects.to_owned(), ..Weather::all(seed) };
    if args.strict || args.only.is_empty() && seed.is_multiple_of(STRICT_EVERY) {
        weather = weather.strict();
    }
    let names: Vec<String> = weather.faults.iter().map(|(fault, _)| format!("{fault:?}")).collect();
    weather.faults.retain(|(fault, _)| args.only.is_empty() || args.only.contains(&format!("{fault:?}")));
    assert!(!weather.faults.is_empty(), "there is no such fault; there are {names:?}");
    // There every job that leaves a receipt has read how many there are, and must run again when another was faster.
    let portion = if effects == SERIALIZABLE { 10 } else { weather.portion };
    let (mishaps, mixed) = (weather.mishaps && !args.no_mishaps, weather.mixed && !args.unmixed);
    Weather { mishaps, mixed, portion, ..weather }
}

/// What all storms together have seen.
#[derive(Clone)]
struct Report {
    begun: Instant,
    sum: Tally,
    /// What the hosts counted in Redis. What Redis forgot is missing here too.
    counted: BTreeMap<String, u64>,
}

impl Report {
    fn add(&mut self, tally: &Tally, counted: BTreeMap<String, u64>) {
        self.sum.rounds += tally.rounds;
        self.sum.jobs += tally.jobs;
        self.sum.pushed_again += tally.pushed_again;
        self.sum.swaps += tally.swaps;
        self.sum.broken += tally.broken;
        self.sum.host_kills += tally.host_kills;
        self.sum.redis_kills += tally.redis_kills;
        for (fault, times) in &tally.faults {
            *self.sum.faults.entry(*fault).or_default() += times;
        }
        for (name, count) in counted {
            *self.counted.entry(name).or_default() += count;
        }
    }

    fn with(&self, tally: &Tally) -> Self {
        let mut both = self.clone();
        both.add(tally, BTreeMap::new());
        both
    }

    fn table(&self) -> String {
        let faults = self.sum.faults.iter().map(|(fault, times)| (format!("{fault:?}"), *times));
        let counted = self.counted.iter().map(|(name, count)| (format!("jobs {name}"), *count));
        let lines = [("fault".to_owned(), None)].into_iter();
        let lines = lines.chain(faults.map(|(name, times)| (name, Some(times))));
        let versions = [("swapped in", self.sum.swaps), ("broken", self.sum.broken)];
        let versions = versions.map(|(name, count)| (name.to_owned(), Some(count)));
        let lines = lines.chain([("versions of the handler".to_owned(), None)]).chain(versions);
        let lines = lines.chain([("counted by the hosts".to_owned(), None)]);
        let lines = lines.chain(counted.map(|(name, count)| (name, Some(count))));
        let line = |(name, count): (String, Option<u64>)| match count {
            Some(count) => format!("  {name:<24}{count:>10}\n"),
            None => format!("{name}\n"),
        };
        lines.map(line).collect()
    }

    fn summary(&self) -> String {
        let sum = &self.sum;
        let faults: u64 = sum.faults.values().sum();
        format!(
            "{} min: {} rounds, {} jobs ({} pushed again), {faults} faults, {} kills ({} of hosts, {} of Redis)",
            self.begun.elapsed().as_secs() / 60,
            sum.rounds,
            sum.jobs,
            sum.pushed_again,
            sum.host_kills + sum.redis_kills,
            sum.host_kills,
            sum.redis_kills,
        )
    }
}
