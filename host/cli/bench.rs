//! `sandhog bench`: the standard workloads, run through a real component in a real host against a real Redis.
//! Each workload is a file in `bench/`; what they share is in `bench/stage` (host, queue, folder) and `bench/server`
//! (what Redis did meanwhile).

mod backlog;
mod boot;
mod figure;
mod fill;
mod growth;
mod idle;
mod latency;
mod ledger;
mod load;
mod meter;
mod neighbour;
mod plot;
mod scripts;
mod server;
mod sitting;
mod soak;
mod stage;
mod start;
mod swap;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use sandhog::config::settings::Overrides;
use sandhog::telemetry::Reader;

use crate::cli::argument;
use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use figure::{
    line, made_with, micros, micros_to_ms, per, percentiles, percentiles_text, processor_us, resident_kib,
    round,
};
use meter::StandIn;

/// Queues and plugins of `mixed`.
const MIXED_QUEUES: u32 = 100;
const MIXED_PLUGINS: u32 = 20;
/// Plugins of `boot`.
const BOOT_PLUGINS: u32 = 10;

/// Measures a host on this machine.
///
/// Redis is a private one, thrown away after, unless `--redis` names another. Queues of the bench have names of
/// their own, and their keys are deleted at the end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(long, value_enum, default_value = "noop")]
    workload: Workload,
    /// Jobs to push; 100000 for `noop`, `ledger` and `mixed`, 5000 for `cpu`, 500 for `echo-1m` and `idle-latency` when
    /// not given. Swaps for `swap`, 50. Runs of each kind for `start`, 2000. Starts of a host for `boot`, 20.
    /// Most jobs that wait for `growth`, 1000000.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    jobs: Option<u64>,
    /// Bytes of a payload; 100, for `echo-1m` 1048576 when not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(8..=1_048_576))]
    payload: Option<u64>,
    /// Runs of the whole workload, each on an empty Redis: figures are medians. For `neighbour`,
    /// `growth` and those that work off a backlog.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// What takes the place of the component: what the host costs without a guest. For `noop`, `cpu` and `mixed`; `scripts`
    /// for `noop`.
    #[arg(long, value_enum)]
    baseline: Option<Baseline>,
    /// Jobs one after the other in the same sandbox, as a manifest's `[instances] reuse`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    reuse: u32,
    /// Runs at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: u32,
    /// Queues that idle, for `idle`.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    queues: u32,
    /// Plugins that share them, for `idle`, one for each hundred when not given; plugins that are loaded, for `boot`, 10.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    plugins: Option<u32>,
    /// How long they idle, for `idle`, 10s; how long each rate is measured, for `neighbour`,
    /// `growth` and `load`, 3s; the whole time of `soak`, 1h.
    #[arg(long, value_parser = argument::duration)]
    time: Option<Duration>,
    /// When a job's writes take place.
    #[arg(long, value_enum, default_value = "atomic")]
    effects: Effects,
    /// Where the curves of `load` are drawn: an SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The component that does the work; the example `ledger`, `cpu` or `echo` for the workload of its name, `noop` for
    /// the others when not given.
    /// Given again, `swap` and `start` measure each.
    #[arg(long, value_name = "FILE")]
    component: Vec<PathBuf>,
    /// The job's bytes, for `start`; those of every job, for workloads that work off a backlog, instead of `--payload`.
    #[arg(long, value_name = "BYTES", conflicts_with = "payload")]
    job: Option<String>,
    /// Where the guests are that attack, for `neighbour`.
    #[arg(long, value_name = "DIR", default_value = "guest-examples/built/probes")]
    probes: PathBuf,
    /// Only the attacks with this in their names, for `neighbour`.
    #[arg(long, value_name = "WORDS")]
    attack: Option<String>,
}

impl Args {
    fn component(&self) -> &Path {
        // Where `make guests` puts components.
        let example = match self.workload {
            Workload::Ledger => "guest-examples/built/ledger.wasm",
            Workload::Cpu => "guest-examples/built/cpu.wasm",
            Workload::Echo1m => "guest-examples/built/echo.wasm",
            _ => "guest-examples/built/noop.wasm",
        };
        self.component.first().map_or(Path::new(example), PathBuf::as_path)
    }

    fn payload_bytes(&self) -> u64 {
        if let Some(job) = &self.job {
            return job.len() as u64;
        }
        self.payload.unwrap_or(if self.workload == Workload::Echo1m { 1 << 20 } else { 100 })
    }

    /// Where all jobs are the same.
    fn one_payload(&self) -> Vec<u8> {
        if let Some(job) = &self.job {
            return job.clone().into_bytes();
        }
        vec![b'x'; usize::try_from(self.payload_bytes()).unwrap_or(0)]
    }

    /// Of a workload that works off a backlog.
    fn job_count(&self) -> u64 {
        self.jobs.unwrap_or(match self.workload {
            Workload::Cpu => 5000,
            Workload::Echo1m => 500,
            _ => 100_000,
        })
    }

    /// The same's queues.
    fn backlog_queues(&self) -> u32 {
        if self.workload == Workload::Mixed { MIXED_QUEUES } else { 1 }
    }

    /// Plugins that share the queues: one has 256 at the most.
    fn plugins(&self) -> u32 {
        match self.workload {
            Workload::Mixed => MIXED_PLUGINS,
            Workload::Idle => self.plugins.unwrap_or(self.queues.div_ceil(100)),
            Workload::Boot => self.plugins.unwrap_or(BOOT_PLUGINS),
            _ => 1,
        }
    }

    /// What takes the place of the component.
    fn stand_in(&self) -> Option<StandIn> {
        match (self.baseline?, self.workload) {
            (Baseline::Scripts, _) => None,
            (Baseline::Native, Workload::Cpu) => Some(meter::cpu),
            (Baseline::Native, _) => Some(meter::noop),
        }
    }

    /// What makes no sense together.
    fn refusal(&self) -> Option<Failure> {
        let word = self.workload.word();
        let backlog = self.workload.is_backlog();
        let refuse = |text: String, hint: &str| Some(Failure::refused(text).with_hint(hint));
        if self.component.len() > 1 && !matches!(self.workload, Workload::Swap | Workload::Start) {
            Some(Failure::refused("only the workloads `swap` and `start` take several components"))
        } else if self.runs > 1
            && !backlog
            && !matches!(self.workload, Workload::Neighbour | Workload::Growth)
        {
            refuse(format!("`{word}` knows no `--runs`"), "it repeats what it measures by itself")
        } else if self.plugins.is_some() && !matches!(self.workload, Workload::Idle | Workload::Boot) {
            refuse(format!("`{word}` knows no `--plugins`"), "`idle` and `boot` know it")
        } else if self.plot.is_some() && self.workload != Workload::Load {
            refuse(format!("`{word}` draws no picture"), "`--plot` is for `load`")
        } else if self.reuse > 1
            && !backlog
            && !matches!(self.workload, Workload::Growth | Workload::Soak | Workload::Load)
        {
            refuse(
                format!("`{word}` knows no `--reuse`"),
                "leave it out, or choose a workload that works off a backlog",
            )
        } else if self.job.is_some() && !self.workload.takes_any_job() {
            refuse(
                format!("`{word}` knows no `--job`"),
                "its jobs tell it something; `--payload` says how long they are",
            )
        } else if self.baseline.is_some()
            && !matches!(self.workload, Workload::Noop | Workload::Cpu | Workload::Mixed)
        {
            refuse(format!("`{word}` has no baseline"), "`noop`, `cpu` and `mixed` have one")
        } else if self.baseline == Some(Baseline::Scripts) && self.workload != Workload::Noop {
            refuse(format!("`{word}` has no baseline `scripts`"), "`noop` has it")
        } else {
            None
        }
    }

    /// All that were named, or the example.
    fn components(&self) -> impl Iterator<Item = &Path> {
        let example = self.component.is_empty().then(|| self.component());
        self.component.iter().map(PathBuf::as_path).chain(example)
    }
}

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Jobs that do nothing, pushed first and then worked off: jobs per second.
    Noop,
    /// As `noop`, but each job reads a key, adds to a balance, pushes a receipt and sets a marker if there is none.
    /// Fails if the sums are wrong at the end.
    Ledger,
    /// As `noop`, but each job hashes its payload again and again, for about a millisecond.
    Cpu,
    /// As `noop`, but payloads have a megabyte, and each is written to a key.
    #[value(name = "echo-1m")]
    Echo1m,
    /// As `noop`, in 100 queues of 20 plugins.
    Mixed,
    /// One job at a time into an idle queue: from the push to the handler's start.
    IdleLatency,
    /// Queues without jobs: what waiting costs.
    Idle,
    /// A queue that never runs dry, whose handler is replaced again and again: gaps between the starts of runs.
    Swap,
    /// A component alone: compiling, loading, its first run, runs in fresh instances and in one that is kept, memory.
    Start,
    /// A host that starts with everything compiled before: from the start of its process to its first claim.
    Boot,
    /// A queue kept at a depth, a thousand jobs at first and then more and more, and one with many dead and delayed jobs:
    /// what each costs.
    Growth,
    /// Full load for a long time: memory and jobs per second in each tenth of it.
    Soak,
    /// Jobs that come at a rate, at several parts of the highest throughput: from the moment each was due to the start of
    /// its run.
    Load,
    /// A good plugin beside a hostile one, attack after attack, and beside one whose jobs are slow: what is left to the
    /// good one.
    Neighbour,
}

impl Workload {
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether all that its jobs say is for the component.
    fn takes_any_job(self) -> bool {
        self.is_backlog() && self != Self::Ledger
            || matches!(self, Self::Start | Self::Growth | Self::Soak | Self::Swap)
    }

    /// Whether its jobs are pushed first and then worked off.
    fn is_backlog(self) -> bool {
        matches!(self, Self::Noop | Self::Ledger | Self::Cpu | Self::Echo1m | Self::Mixed)
    }
}

/// What is measured instead of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Baseline {
    /// The same handler as a Rust function of this program: no sandbox, all else the same.
    Native,
    /// The script that claims and acknowledges, and nothing else of a host: what Redis and a connection let through.
    Scripts,
}

impl Baseline {
    fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Scripts => "scripts",
        }
    }
}

/// The words of a manifest's `effects.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Effects {
    /// All together with the job's completion.
    Atomic,
    /// Each at once.
    Immediate,
}

impl Effects {
    fn word(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Immediate => "immediate",
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    if let Some(missing) = args.components().find(|component| !component.is_file()) {
        return Err(Failure::refused(format!("there is no component `{}`", missing.display()))
            .with_hint("build the examples with `make guests`, or name one with `--component FILE`"));
    }
    if let Some(refusal) = args.refusal() {
        return Err(refusal);
    }
    // A log line per load or stop has no place among figures.
    let quiet = Overrides { log_level: Some("error".to_owned()), ..Overrides::default() };
    context::start_logging(&context.settings_with(quiet)?, Reader::Watcher)?;
    let (document, told) = match args.workload {
        workload if workload.is_backlog() => backlog::run(&args, context).await?,
        Workload::IdleLatency => latency::run(&args, context).await?,
        Workload::Idle => idle::run(&args, context).await?,
        Workload::Swap => swap::run(&args, context).await?,
        Workload::Start => start::run(&args, context).await?,
        Workload::Boot => boot::run(&args, context).await?,
        Workload::Growth => growth::run(&args, context).await?,
        Workload::Soak => soak::run(&args, context).await?,
        Workload::Load => load::run(&args, context).await?,
        _ => neighbour::run(&args, context).await?,
    };
    if context.out.is_json() {
        context.out.document(&document)?
    } else {
        context.out.text(&told)?
    }
    Ok(())
}
